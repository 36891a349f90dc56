"""A backup comes back: promised is 10 GB in at most 15 minutes.

    python bench/restore.py [--quick] [--json] [--csv FILE]

Objects of the sizes that a song has lie in a folder store, their rows and the movements of many accounts in Postgres.
They are backed up, then brought back into an empty database and an empty store and compared there, as
``melodeon restore`` does, and as ``melodeon restore --verify`` does aside. In full it takes 30 GB of disk. Noise is
stored: nothing here is spared by compressing.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from harness import created, durable_postgres, migrated, row, run
from sqlalchemy import insert, text

from billing import ledger
from data.backup import take
from data.database import Database
from data.folder_store import FolderStore
from data.ids import new_id
from data.restore import prove, restore
from data.tables.asset import AssetRow
from studio.words.ids import AccountId

PROMISE_S: Final = 900.0
FULL: Final = (10_000, 2_000)
"""Megabytes of objects, accounts."""
QUICK: Final = (200, 50)
MOVEMENTS_EACH: Final = 10
SIZES_BYTES: Final = (8_640_000, 720_000, 1_300_000, 60_000, 15_000, 4_000)
"""WAV, MP3, the cover in its sizes and the peaks of a song of 30 s."""
SEED: Final = 7
SECRET: Final = "bench" * 9


def fill_store(database: Database, store: FolderStore, folder: Path, total_bytes: int) -> tuple[int, int]:
    """Store songs' objects with their rows until there are so many bytes; answers how many objects and bytes."""
    chance, aside = np.random.default_rng(SEED), folder / "object"
    number = stored_bytes = 0
    while stored_bytes < total_bytes:
        song_id = new_id("song")
        kept = []
        for place, size_bytes in enumerate(SIZES_BYTES):
            aside.write_bytes(chance.bytes(size_bytes))
            kept.append(store.put(f"songs/{song_id}/{place}", aside, media_type="application/octet-stream"))
        with database.transaction() as session:
            session.execute(
                insert(AssetRow),
                [
                    {"id": new_id("asset"), "key": asset.key, "sha256": asset.sha256,
                     "media_type": asset.media_type, "size_bytes": asset.size_bytes}
                    for asset in kept
                ],
            )  # fmt: skip
        number, stored_bytes = number + len(kept), stored_bytes + sum(asset.size_bytes for asset in kept)
    return number, stored_bytes


def fill_ledger(database: Database, accounts: int) -> None:
    """Move credits of so many accounts."""
    for _ in range(accounts):
        account_id = AccountId(new_id("account"))
        with database.transaction() as session:
            session.execute(
                text("INSERT INTO account (id, name, role) VALUES (:id, :name, 'creator')"),
                {"id": account_id, "name": account_id[-32:]},
            )
            for number in range(MOVEMENTS_EACH):
                key = f"bench:{account_id}:{number}"
                ledger.grant(session, account_id, 1, key=key, note="", now=datetime.now(UTC))


def timed(work: Callable[[], object]) -> float:
    """Seconds by the wall."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(size: tuple[int, int]) -> list[dict[str, object]]:
    """Fill a place, back it up, bring it back, compare."""
    megabytes, accounts = size
    with durable_postgres() as server, tempfile.TemporaryDirectory(prefix="melodeon-bench-") as name:
        folder = Path(name)
        store = FolderStore(folder / "objects", SECRET)
        database = Database(migrated(server, "here"))
        objects, stored_bytes = fill_store(database, store, folder, megabytes * 1_000_000)
        fill_ledger(database, accounts)
        kept, now = folder / "kept", datetime.now(UTC)
        take_s = timed(lambda: take(database.conninfo, store, kept, secrets=None, version="bench", now=now))
        database.dispose()
        (backup,) = kept.iterdir()
        there, url = FolderStore(folder / "there", SECRET), created(server, "there")
        restore_s = timed(lambda: restore(backup, url, there))
        restored = Database(url)
        begin = time.perf_counter()
        proof = prove(backup, restored, there)
        prove_s = time.perf_counter() - begin
        restored.dispose()
        return [
            row("bytes of objects", stored_bytes / 1e9, "GB", None),
            row("objects", objects, "", None),
            row("rows", proof.rows, "", None),
            row("back up", take_s, "s", None),
            row("restore", restore_s, "s", None),
            row("compare", prove_s, "s", None),
            row("restore and compare", restore_s + prove_s, "s", PROMISE_S),
            row("faults", len(proof.faults), "", 0),
        ]


if __name__ == "__main__":
    sys.exit(run("restore", __doc__, measure, full=FULL, quick=QUICK, smaller=f"{QUICK[0]} MB"))
