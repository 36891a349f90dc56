"""Bringing back what `data.running_backup` has kept: the cluster as of the newest mark, and its objects."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, table, text

from data.backup import NoBackup, sha256_of
from data.database import Database
from data.embedded_postgres import OUTSIDE, EmbeddedPostgres, ServerExited
from data.object_store import ObjectStore
from data.postgres_place import settle
from data.repositories import assets
from data.restore import PlaceTaken, Proof, RestoreFailed, proof_of
from data.running_backup import Chain, Mark, chains_of, check_base

_LOG: Final = "melodeon_wal"
"""Where the log lies in the cluster while it is played back: the server's user can read nothing of the backup."""
_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'procrastinate%'"


def newest(folder: Path) -> tuple[Chain, Mark]:
    """The newest moment that can be come back to. Raises `NoBackup` when there is none."""
    for chain in reversed(chains_of(folder)):
        if chain.marks:
            return chain, chain.marks[-1]
    raise NoBackup(folder, "no moment of it can be come back to yet.")


def check_kept(folder: Path) -> None:
    """Look whether base and objects are whole, without restoring. Raises `NoBackup` naming the first broken file.

    The log says itself whether it is whole when it is played back.
    """
    chain, _ = newest(folder)
    check_base(chain)
    for asset in chain.objects.values():
        path = folder / "objects" / asset.key
        if not path.is_file() or sha256_of(path) != asset.sha256:
            raise NoBackup(folder, f"objects/{asset.key} is missing or damaged.")


def recover(
    folder: Path, cluster: Path, *, port: int, password: str, log: Path, outside: Path = OUTSIDE
) -> tuple[Chain, Mark]:
    """Bring the database back into ``cluster`` as of the newest mark; the server is stopped again.

    Args:
        folder: the backup.
        cluster: where the embedded Postgres is to stand, e.g. ``var/postgres``; it must not hold one.
        port: for the time of playing back.
        password: of the owner, as in the secrets that belong to the backup.
        log: file of the server's messages.
        outside: see `EmbeddedPostgres`.

    Raises:
        NoBackup, PlaceTaken, RestoreFailed, PostgresFailed: with a sentence.
    """
    check_kept(folder)
    chain, mark = newest(folder)
    cluster.mkdir(parents=True, exist_ok=True)
    if (cluster / "data").exists():
        raise PlaceTaken(f"There is a database in {cluster} already.")
    data = _lay_out(chain, cluster, outside=outside)
    settings = {
        "restore_command": f"cp {_LOG}/%f %p",
        "recovery_target_name": mark.name,
        "recovery_target_action": "promote",
        "hot_standby": "off",  # nobody gets in before the mark is reached
    }
    server = EmbeddedPostgres(folder=cluster, port=port, password=password, log=log, settings=settings, outside=outside)
    try:
        server.start()
    except BaseException as error:
        shutil.rmtree(data)
        if (cluster / "data").is_symlink():
            (cluster / "data").unlink()
        if isinstance(error, ServerExited):
            raise RestoreFailed(f"its log cannot be played back to {mark.taken_at}. {error.sentence}") from error
        raise
    server.stop()
    shutil.rmtree(data / _LOG)
    return chain, mark


def bring_objects(folder: Path, database: Database, store: ObjectStore) -> None:
    """Put every object that the restored database needs into the store, as far as the backup holds it."""
    with database.transaction() as session:
        needed = tuple(assets.needed(session))
    for asset in needed:
        path = folder / "objects" / asset.key
        if path.is_file() and store.put(asset.key, path, media_type=asset.media_type) != asset:
            raise RestoreFailed(f"the object {asset.key} changed on its way.")


def prove_kept(folder: Path, database: Database, store: ObjectStore) -> Proof:
    """Compare a restored place with its newest mark: the newest movement of credits, the ledger, the objects."""
    _, mark = newest(folder)
    with database.transaction() as session:
        names = session.execute(text(_TABLES)).scalars().all()
        rows = sum(session.scalar(select(func.count()).select_from(table(name))) or 0 for name in names)
        last = session.execute(text("SELECT coalesce(max(id), '') FROM transfer")).scalar_one()
    faults = [] if last >= mark.transfer else [f"The movement of credits {mark.transfer} is missing."]
    return proof_of(database, store, rows=rows, faults=faults)


def _lay_out(chain: Chain, cluster: Path, *, outside: Path) -> Path:
    """Put base and log where the server wants them, made aside and renamed; answers the data folder."""
    place = settle(cluster, outside=outside)
    aside = Path(tempfile.mkdtemp(prefix=".restore-", dir=place.data.parent))
    try:
        shutil.copytree(chain.path / "base", aside / "data")
        (aside / "data" / "pg_wal").mkdir(exist_ok=True)
        shutil.copytree(chain.path / "wal", aside / "data" / _LOG)
        for path in (aside / "data" / _LOG).glob("*.partial"):
            path.rename(path.with_suffix(""))
        (aside / "data" / "recovery.signal").touch()
        (aside / "data").chmod(0o700)
        if place.run_as is not None:
            for path in (aside / "data", *(aside / "data").rglob("*")):
                os.chown(path, place.run_as.uid, place.run_as.gid)
        (aside / "data").rename(place.data)
    except OSError as error:
        raise RestoreFailed(f"{error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place.data
