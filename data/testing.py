"""A real Postgres for tests: one server a process, one fresh migrated database a test; and the laws of its rows.

A database is made from a migrated template in some 50 ms. The servers do not sync to disk: their data live no longer
than the tests. What a killed test run leaves behind is swept by the next one.
"""

import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import text

from data.database import Database, Session, migrate
from data.embedded_postgres import EmbeddedPostgres, FolderInUse, end_orphan, free_port
from studio.words.asset import Asset

_PREFIX: Final = "melodeon-tests-"
_TEMPLATE: Final = "template_of_tests"
_FAST: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "max_connections": "200",
}
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one
_MEMORY_NEEDED_BYTES: Final = 4 * 1024**3
_numbers = itertools.count(1)


JOB_LAWS: Final = {
    "an ended job holds nothing": """
        SELECT job.id FROM job JOIN hold ON hold.job_id = job.id AND hold.state = 'open'
        WHERE job.state NOT IN ('queued', 'processing')""",
    "a job under way holds its whole price": """
        SELECT job.id FROM job LEFT JOIN hold ON hold.job_id = job.id AND hold.state = 'open'
        WHERE job.state IN ('queued', 'processing') AND coalesce(hold.amount, 0) <> job.price_credits""",
    "a processed job is paid once for each processed song, any other not at all": """
        SELECT job.id FROM job
        WHERE job.state NOT IN ('queued', 'processing') AND job.kind = 'song'
            AND (SELECT coalesce(sum(amount), 0) FROM transfer WHERE job_id = job.id AND kind = 'capture')
                <> (SELECT count(*) FROM song WHERE job_id = job.id AND status = 'processed')""",
    "a song stands as its job does": """
        SELECT song.id FROM song JOIN job ON job.id = song.job_id
        WHERE song.status <> job.state AND NOT (job.state = 'processed' AND song.status = 'failed')""",
    "a processed song has sound, stream and peaks": """
        SELECT song.id FROM song WHERE status = 'processed' AND deleted_at IS NULL
            AND (SELECT count(*) FROM song_asset
                 WHERE song_id = song.id AND role IN ('wav', 'stream', 'peaks')) <> 3""",
    "a processed song has a cover in three sizes, or none and says so": """
        SELECT song.id FROM song CROSS JOIN LATERAL (
            SELECT count(*) AS covers FROM song_asset WHERE song_id = song.id AND role LIKE 'cover%') painted
        WHERE status = 'processed' AND deleted_at IS NULL
            AND covers <> 3 AND NOT (covers = 0 AND note LIKE '%no cover%')""",
    "a song that is not processed has no objects": """
        SELECT song.id FROM song JOIN song_asset ON song_asset.song_id = song.id WHERE status <> 'processed'""",
    "nobody has two jobs in process": """
        SELECT account_id FROM job WHERE state = 'processing' GROUP BY account_id HAVING count(*) > 1""",
}


def broken_job_laws(session: Session) -> dict[str, list[str]]:
    """The laws of jobs, songs and holds that do not hold, each with the ids that break it; empty when all is well."""
    found = {law: [str(row[0]) for row in session.execute(text(query))] for law, query in JOB_LAWS.items()}
    return {law: ids for law, ids in found.items() if ids}


def coverless_songs(session: Session) -> list[str]:
    """Processed songs that were left without a cover, which the product allows itself when the painter is away."""
    rows = session.execute(
        text(
            "SELECT id FROM song WHERE status = 'processed'"
            " AND NOT EXISTS (SELECT FROM song_asset WHERE song_id = song.id AND role = 'cover')"
        )
    )
    return [str(row[0]) for row in rows]


def stored_assets(session: Session) -> list[Asset]:
    """Every object that somebody needs, as the database describes it."""
    rows = session.execute(text("SELECT key, sha256, media_type, size_bytes FROM asset WHERE released_at IS NULL"))
    return [Asset(key=row.key, sha256=row.sha256, media_type=row.media_type, size_bytes=row.size_bytes) for row in rows]


@contextmanager
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A running server with a migrated template, in a folder of its own that is removed afterwards."""
    parent = _parent()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    # Ours, and open for the unprivileged user that Postgres runs as when the tests run as root.
    folder.chmod(0o755)
    server = _server(folder, password=secrets.token_urlsafe(16))
    try:
        server.start()
        _execute(server, f"CREATE DATABASE {_TEMPLATE}")
        migrate(server.url_of(_TEMPLATE))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated database of its own, dropped afterwards even if connections are left open."""
    name = f"test_{next(_numbers)}"
    # copying the files is quicker than logging their pages, where nothing waits for a disk
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY")
    database = Database(server.url_of(name), application_name="tests")
    try:
        yield database
    finally:
        database.dispose()
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _server(folder: Path, *, password: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        folder=folder / "postgres",
        port=free_port(),
        password=password,
        log=folder / "postgres.log",
        settings=_FAST,
        outside=folder,
    )


def _execute(server: EmbeddedPostgres, sql: str) -> None:
    address = server.url_of("postgres").replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.encode())


def _parent() -> Path:
    """Memory if there is plenty, which halves the time of a database; else the folder for temporary files."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED_BYTES and os.access(_MEMORY, os.W_OK):
        return _MEMORY
    return Path(tempfile.gettempdir())


def _sweep(parent: Path) -> None:
    """End the servers of test processes that died and remove their folders."""
    for folder in parent.glob(_PREFIX + "*"):
        if not (folder / "postgres" / "data").exists():
            continue
        with suppress(FolderInUse):
            end_orphan(folder / "postgres")
            shutil.rmtree(folder, ignore_errors=True)
