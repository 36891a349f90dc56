"""What every bench has in common: its options, its verdict, and a Postgres that keeps what it is told."""

import argparse
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from report import Row, report

from configs import logs
from configs.settings import LogSettings
from data.embedded_postgres import EmbeddedPostgres, free_port

Size = TypeVar("Size")
"""Of a bench: how much is measured."""


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
