"""``melodeon ledger``: the books of all accounts."""

import json
import sys
from dataclasses import asdict

import click

from billing import ledger
from data.repositories import books
from ui.cli.session import operator_services

FAULTS_SHOWN = 100


@click.group("ledger")
def ledger_() -> None:
    """The books of all accounts."""


@ledger_.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(as_json: bool) -> None:
    """Count the books again from their entries, walk every chain of hashes, and say what is wrong."""
    with operator_services() as services, services.database.transaction() as session:
        books.hold_still(session)
        faults = ledger.verify(session)
        booked = books.count(session)
    if as_json:
        found = [{"rule": rule, "subject": subject} for rule, subject in faults]
        click.echo(json.dumps({"ok": not faults, "faults": found, **asdict(booked)}, indent=2))
    else:
        click.echo(_told(faults, booked))
    sys.exit(1 if faults else 0)


def _told(faults: tuple[tuple[str, str], ...], booked: books.Books) -> str:
    counted = ", ".join(
        _many(*count)
        for count in (
            (booked.accounts, "account", "accounts"),
            (booked.transfers, "transfer", "transfers"),
            (booked.entries, "entry", "entries"),
        )
    )
    if not faults:
        return f"The books are right: {counted}."
    lines = [f"FAULT  not true that {rule}: {subject}" for rule, subject in faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        lines.append(f"… and {len(faults) - FAULTS_SHOWN:,} more; --json tells all.")
    return "\n".join(
        [
            *lines,
            f"The books are wrong in {_many(len(faults), 'place', 'places')}: {counted}. Take a backup, then look.",
        ]
    )


def _many(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
