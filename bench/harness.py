"""What every bench has in common: its options, its verdict, a Postgres that keeps what it is told, the open doors."""

import argparse
import http.client
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from report import Row, report
from sqlalchemy import text

from configs import logs
from configs.settings import LogSettings
from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres, free_port

Size = TypeVar("Size")
"""Of a bench: how much is measured."""
START_S: Final = 120.0
"""For how long the doors may take to open."""


def options_of(about: str | None, *, quick: str) -> argparse.ArgumentParser:
    """The options of every bench, which may add its own; from here on logs go to standard error.

    Args:
        about: the bench's docstring; its first line is shown.
        quick: what ``--quick`` makes smaller.
    """
    # standard output is for the figures alone
    logs.configure(LogSettings(level="WARNING", format="text"), part="bench")
    parser = argparse.ArgumentParser(description=(about or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--csv", type=Path, help="also write the rows to this file")
    return parser


def conclude(name: str, rows: Sequence[Row], options: argparse.Namespace, *, judge_quick: bool = False) -> int:
    """Show the rows; answers the exit code: 1 if a promise was not kept.

    ``--quick`` is too small to judge figures and answers 0; laws it can judge (``judge_quick``).
    """
    report(name, rows, json=options.json, csv=options.csv)
    judged = judge_quick or not options.quick
    return 1 if judged and any_broken(rows) else 0


def any_broken(rows: Sequence[Row]) -> bool:
    """Whether a row says of its promise that it was not kept."""
    return any(row.get("kept") in (False, "no") for row in rows)


def run(
    name: str, about: str | None, measure: Callable[[Size], Sequence[Row]], *, full: Size, quick: Size, smaller: str
) -> int:
    """Be the command line of a bench without further options; answers the exit code.

    Args:
        name: of the bench.
        about: its docstring.
        measure: given a size, answers one row for each figure.
        full, quick: the sizes.
        smaller: what ``--quick`` makes smaller.
    """
    options = options_of(about, quick=smaller).parse_args()
    return conclude(name, measure(quick if options.quick else full), options)


def row(figure: str, value: float, unit: str, promise: float | None) -> dict[str, object]:
    """One line of the table; a promise is an upper bound."""
    kept = "" if promise is None else "yes" if value <= promise else "no"
    bound = "" if promise is None else f"≤ {promise:g}"
    return {"figure": figure, "value": value, "unit": unit, "promise": bound, "kept": kept}


@contextmanager
def durable_postgres() -> Iterator[EmbeddedPostgres]:
    """A server with the product's own settings: a commit is on the disk when it returns."""
    folder = Path(tempfile.mkdtemp(prefix="melodeon-bench-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(
        folder=folder / "postgres",
        port=free_port(),
        password=secrets.token_urlsafe(16),
        log=folder / "postgres.log",
        outside=folder,
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def created(server: EmbeddedPostgres, name: str) -> str:
    """The address of a new, empty database."""
    database = Database(server.url_of("postgres"))
    with database.transaction() as session:
        connection = session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        connection.execute(text(f"CREATE DATABASE {name}"))
    database.dispose()
    return server.url_of(name)


def migrated(server: EmbeddedPostgres, name: str) -> str:
    """The address of a new database with the product's tables in it."""
    url = created(server, name)
    migrate(url)
    return url


@contextmanager
def doors(database_url: str, folder: Path, **settings: str) -> Iterator[int]:
    """The doors alone in a process of their own; yields their port. More settings by their environment names."""
    port = free_port()
    environment = os.environ | {
        "MELODEON_VAR": str(folder),
        "MELODEON_DATABASE__URL": database_url,
        "MELODEON_LOGS__LEVEL": "WARNING",
        **settings,
    }
    command = [sys.executable, "-m", "uvicorn", "serving.api.app:alone", "--factory", f"--port={port}"]
    child = subprocess.Popen([*command, "--log-level=warning", "--no-access-log"], env=environment)
    try:
        _until_open(port)
        yield port
    finally:
        child.terminate()
        child.wait(30)


def _until_open(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/api/v1/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise SystemExit(f"The doors did not open within {START_S:g} s.")
