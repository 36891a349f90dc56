"""``melodeon ledger``: the books of all accounts."""

import json
import sys
from dataclasses import asdict
from typing import TextIO

import click

from billing import ledger
from data.repositories import books
from studio.words.ids import AccountId
from ui.cli.session import operator_services

FAULTS_SHOWN = 100


@click.group("ledger")
def ledger_() -> None:
    """The books of all accounts."""


@ledger_.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--heads", "file", type=click.File(encoding="utf-8"), help="What `melodeon ledger heads` printed before.")
def verify(as_json: bool, file: TextIO | None) -> None:
    """Count the books again from their entries, walk every chain of hashes, and say what is wrong."""
    kept = _heads_in(file) if file else {}
    with operator_services() as services, services.database.transaction() as session:
        books.hold_still(session)
        faults = ledger.verify(session, kept)
        booked = books.count(session)
    if as_json:
        found = [{"rule": rule, "subject": subject} for rule, subject in faults]
        click.echo(json.dumps({"ok": not faults, "faults": found, **asdict(booked)}, indent=2))
    else:
        click.echo(_told(faults, booked))
    sys.exit(1 if faults else 0)


@ledger_.command()
def heads() -> None:
    """Print the end of every account's chain, to be kept where the books are not."""
    with operator_services() as services, services.database.transaction() as session:
        click.echo(json.dumps(ledger.heads(session), indent=0))


def _heads_in(file: TextIO) -> dict[AccountId, str]:
    try:
        return {AccountId(account_id): str(head) for account_id, head in json.load(file).items()}
    except (ValueError, AttributeError) as error:
        raise click.BadParameter(f"{file.name} is not what `melodeon ledger heads` prints.") from error


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
