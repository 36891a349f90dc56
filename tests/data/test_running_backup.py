"""A backup that is kept up: each mark can be come back to exactly, whatever breaks off; what is damaged is named."""

import fcntl
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import text

from billing import ledger
from data.backup import BackupFailed, NoBackup
from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.folder_store import FolderStore
from data.repositories import accounts
from data.restore import PlaceTaken, RestoreFailed
from data.running_backup import KEPT_CHAINS, RENEWED_AFTER, Mark, RunningBackup, chains_of
from data.running_restore import bring_objects, check_kept, newest, prove_kept, recover
from studio.words.ids import AccountId

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSWORD = "a-password-of-tests"
Books = dict[str, list[str]]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that Postgres' unprivileged user can walk to, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="melodeon-kept-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def server_in(place: Path) -> EmbeddedPostgres:
    quick = {"fsync": "off", "wal_keep_size": "0"}
    return EmbeddedPostgres(
        folder=place / "postgres", port=free_port(), password=PASSWORD, log=place / "log", settings=quick, outside=place
    )


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[EmbeddedPostgres]:
    server = server_in(place)
    server.start()
    migrate(server.url)
    yield server
    server.stop()


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    database = Database(server.url)
    with database.transaction() as session:
        session.execute(text("DELETE FROM asset"))  # each test has a store of its own
    yield database
    database.dispose()


_names = itertools.count(1)


@pytest.fixture
def buyer(database: Database) -> AccountId:
    """An account with an empty purse."""
    with database.transaction() as session:
        account = accounts.create(session, name=f"buyer{next(_names)}", email="", password_hash=None)
        ledger.open_account(session, account.id)
    return account.id


@pytest.fixture
def grant(database: Database, buyer: AccountId) -> Callable[[], None]:
    """Gives the buyer one credit."""

    def one() -> None:
        with database.transaction() as session:
            ledger.grant(session, buyer, 1, key=f"grant {next(_names)}", note="", now=NOON)

    return one


@pytest.fixture
def keep(database: Database, store: FolderStore) -> Callable[[str, bytes], str]:
    """Stores an object that the database needs; answers its key."""

    def put(name: str, content: bytes) -> str:
        asset = store.put(f"songs/{next(_names)}/{name}", content, media_type="audio/wav")
        with database.transaction() as session:
            query = (
                "INSERT INTO asset (id, key, sha256, media_type, size_bytes) VALUES (:key, :key, :hash, :type, :size)"
            )
            values = {"key": asset.key, "hash": asset.sha256, "type": asset.media_type, "size": asset.size_bytes}
            session.execute(text(query), values)
        return asset.key

    return put


@pytest.fixture
def mark(database: Database, store: FolderStore, tmp_path: Path) -> Callable[..., Mark]:
    """Makes a mark in ``tmp_path / "kept"``."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text(PASSWORD)
    kept = RunningBackup(tmp_path / "kept", version="1")
    minutes = itertools.count()

    def make(after: timedelta = timedelta(0)) -> Mark:
        now = NOON + after + timedelta(minutes=next(minutes))
        return kept.mark(database.conninfo, store, secrets=tmp_path / "secrets", now=now)

    return make


@pytest.fixture
def brought_back(place: Path, tmp_path: Path) -> Iterator[Callable[[], tuple[Database, FolderStore]]]:
    """Brings ``tmp_path / "kept"`` back somewhere else."""
    away = Path(tempfile.mkdtemp(prefix="back-", dir=place))
    away.chmod(0o755)
    server = EmbeddedPostgres(
        folder=away / "postgres", port=free_port(), password=PASSWORD, log=away / "log", outside=away
    )
    opened: list[Database] = []

    def bring() -> tuple[Database, FolderStore]:
        kept = tmp_path / "kept"
        recover(kept, away / "postgres", port=server.port, password=PASSWORD, log=away / "log", outside=away)
        server.start()
        migrate(server.url)
        opened.append(Database(server.url))
        store = FolderStore(tmp_path / "back", "another link key")
        bring_objects(kept, opened[0], store)
        return opened[0], store

    yield bring
    for database in opened:
        database.dispose()
    server.stop()


def everything(database: Database) -> Books:
    """Every row of every table, as text."""
    with database.transaction() as session:
        tables = session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"))
        names = [name for name in tables.scalars() if not name.startswith("procrastinate")]
        return {
            name: list(session.execute(text(f'SELECT t::text FROM "{name}" t ORDER BY 1')).scalars()) for name in names
        }


def balance(database: Database, account_id: AccountId) -> int:
    with database.transaction() as session:
        return ledger.balance(session, account_id).available_credits


def test_the_newest_mark_comes_back_row_for_row_and_nothing_after_it(
    database, store, buyer, grant, keep, mark, brought_back, tmp_path
) -> None:
    grant()
    keep("one.wav", b"one" * 1000)
    assert mark().objects >= 1
    grant()
    later = keep("two.wav", b"two" * 1000)
    newer = mark()
    kept = everything(database)
    grant()
    lost = keep("three.wav", b"three")
    assert len(chains_of(tmp_path / "kept")) == 1
    assert newer.missing == 0

    again, objects = brought_back()
    assert everything(again) == kept
    assert balance(again, buyer) == 2
    assert b"".join(objects.get(later)) == b"two" * 1000
    assert objects.head(lost) is None
    proof = prove_kept(tmp_path / "kept", again, objects)
    assert (proof.faults, proof.orphans, proof.objects) == ((), 0, newer.objects)
    assert proof.rows == sum(map(len, kept.values()))


def test_the_server_may_be_killed_between_marks(database, buyer, grant, mark, brought_back, server) -> None:
    mark()
    for _ in range(2):
        grant()
        mark()
        postmaster = psutil.Process(server.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # without their head the others end by themselves
                process.kill()
        server.stop()
        server.start()
        database.dispose()
    grant()
    mark()
    again, _ = brought_back()
    assert balance(again, buyer) == 3


def test_what_breaks_off_before_its_line_is_written_is_no_mark(
    buyer, grant, mark, brought_back, tmp_path, database
) -> None:
    grant()
    mark()
    marks = chains_of(tmp_path / "kept")[-1].path / "marks.jsonl"
    with marks.open("a") as file:
        file.write('{"name": "melodeon_torn", "lsn": "0/')
    assert newest(tmp_path / "kept")[1].name != "melodeon_torn"
    grant()
    mark()
    assert "torn" not in marks.read_text()
    again, _ = brought_back()
    assert balance(again, buyer) == 2


def test_a_log_that_is_gone_begins_a_new_chain_and_two_chains_are_kept(
    database, store, grant, keep, mark, server, tmp_path
) -> None:
    keep("a.wav", b"a" * 100)
    gone = keep("gone.wav", b"gone")
    mark()
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        for _ in range(4):
            grant()
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
    mark()
    assert len(chains_of(tmp_path / "kept")) == 2
    with database.transaction() as session:
        session.execute(
            text("UPDATE asset SET released_at = now() - interval '1 hour' WHERE key = :key"), {"key": gone}
        )
    assert (tmp_path / "kept" / "objects" / gone).is_file()
    for days in (1, 2):
        mark(days * RENEWED_AFTER)
    assert len(chains_of(tmp_path / "kept")) == KEPT_CHAINS == len(list((tmp_path / "kept" / "chains").iterdir()))
    assert not (tmp_path / "kept" / "objects" / gone).exists()
    check_kept(tmp_path / "kept")


def test_what_is_released_while_a_mark_is_made_is_still_there(database, keep, mark, tmp_path) -> None:
    key = keep("leaving.wav", b"leaving")
    with database.transaction() as session:
        session.execute(text("UPDATE asset SET released_at = now() WHERE key = :key"), {"key": key})
    mark()
    assert (tmp_path / "kept" / "objects" / key).read_bytes() == b"leaving"


def test_what_the_store_lost_is_counted_and_told_by_the_proof(
    database, store, keep, mark, brought_back, tmp_path
) -> None:
    key = keep("lost.wav", b"lost")
    store.delete(key)
    assert mark().missing == 1
    again, objects = brought_back()
    faults = prove_kept(tmp_path / "kept", again, objects).faults
    assert faults == (f"The object {key} is missing or not what it was.",)


def test_only_one_keeps_a_folder_up_and_only_an_empty_place_is_filled(mark, tmp_path, place) -> None:
    mark()
    kept = tmp_path / "kept"
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupFailed, match="another process"):
            mark()
    with pytest.raises(PlaceTaken):
        recover(kept, place / "postgres", port=free_port(), password=PASSWORD, log=place / "log2", outside=place)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_a_damaged_backup_is_refused_by_name(keep, grant, mark, brought_back, tmp_path) -> None:
    key = keep("one.wav", b"one")
    mark()
    kept = tmp_path / "kept"
    chain = chains_of(kept)[-1].path
    for name, told in (("objects/" + key, key), (f"chains/{chain.name}/base/global/pg_control", "global/pg_control")):
        whole = (kept / name).read_bytes()
        for harm in (Path.unlink, _cut):
            harm(kept / name)
            with pytest.raises(NoBackup, match=told):
                check_kept(kept)
            (kept / name).write_bytes(whole)
    for name in ("marks.jsonl", "objects.jsonl", "chain.json"):
        whole = (chain / name).read_bytes()
        for nonsense in (b"[]\n", b"not JSON\n", b'{"key": "../../etc/passwd"}\n'):
            (chain / name).write_bytes(nonsense)
            with pytest.raises(NoBackup):
                _ = (chains_of(kept)[-1].origin, check_kept(kept))
        (chain / name).write_bytes(whole)
    (chain / "marks.jsonl").write_bytes(b"not JSON\n")
    mark()
    assert len(chains_of(kept)) == 2  # whoever keeps it up begins anew
    for file in (chains_of(kept)[-1].path / "wal").iterdir():
        file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(RestoreFailed, match="cannot be played back"):
        brought_back()


def test_without_a_server_a_mark_is_a_sentence_and_nothing_half_made_stays(store, tmp_path) -> None:
    (tmp_path / "secrets").mkdir()
    kept = RunningBackup(tmp_path / "kept", version="1")
    address = f"postgresql://melodeon:x@127.0.0.1:{free_port()}/melodeon"
    with pytest.raises(BackupFailed):
        kept.mark(address, store, secrets=tmp_path / "secrets", now=NOON)
    assert chains_of(tmp_path / "kept") == []
    with pytest.raises(NoBackup):
        newest(tmp_path / "kept")
