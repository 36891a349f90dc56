"""A real Postgres for tests: one server a process, one fresh migrated database a test.

A database is made from a migrated template in some 50 ms. The servers do not sync to disk: their data live no longer
than the tests. What a killed test run leaves behind is swept by the next one.
"""

import itertools
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres, FolderInUse, end_orphan

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


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
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
