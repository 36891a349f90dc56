"""``melodeon billing``: what an operator may do about payments."""

import json as json_text
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from billing import reconcile as books
from billing.handlers import Desk
from billing.payments import Payments, PaymentsOff
from billing.reconcile import Difference
from data.repositories import notices
from serving.api.services import Services
from studio.errors import MelodeonError
from ui.cli.session import operator_services

_DEAD_MAX = 1000


class BooksDiffer(MelodeonError):
    """The books and Stripe do not agree."""

    code = "books_differ"

    def __init__(self, number: int) -> None:
        super().__init__(f"The books and Stripe differ in {number} {'point' if number == 1 else 'points'}.")


class NoDeadLetter(MelodeonError):
    """There is no message of this id among those given up."""

    code = "no_dead_letter"

    def __init__(self, notice_id: str) -> None:
        super().__init__(f"“{notice_id}” is not among the messages given up; see melodeon billing dead.")


@click.group()
def billing() -> None:
    """Payments: compare with Stripe, messages given up, prices."""


@billing.command()
@click.option("--check", is_flag=True, help="Only say what differs; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def reconcile(check: bool, as_json: bool) -> None:
    """Compare the books of the last 30 days with Stripe and heal what differs. Exit code 1 if something is left."""
    with _paid_services() as (services, payments):
        desk = Desk(database=services.database, door=payments.door, now=services.now())
        left = books.check(desk) if check else books.heal(desk)
    if as_json:
        found = [{"kind": str(each.kind), "subject": each.subject, "sentence": each.sentence} for each in left]
        click.echo(json_text.dumps({"ok": not left, "differences": found}))
    else:
        click.echo("\n".join(_lines(left)) or "The books and Stripe agree.")
    if left:
        raise BooksDiffer(len(left))


@billing.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def dead(as_json: bool) -> None:
    """The messages of Stripe that were given up, oldest first, and why."""
    with operator_services() as services, services.database.transaction() as session:
        found = notices.dead(session, most=_DEAD_MAX)
    if as_json:
        letters = [
            {"id": each.id, "type": each.type, "object": each.object_id, "why": each.last_error} for each in found
        ]
        click.echo(json_text.dumps({"ok": not found, "dead": letters}))
        return
    for each in found:
        click.echo(f"{each.id}  {each.type}  {each.object_id}\n    {each.last_error}")
    if not found:
        click.echo("No message was given up.")


@billing.command()
@click.argument("notice_id", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="Every message that was given up.")
def replay(notice_id: str | None, everything: bool) -> None:
    """Have messages that were given up handled again, by the worker."""
    if (notice_id is None) is not everything:
        raise click.UsageError("Give one ID, or --all.")
    with operator_services() as services, services.database.transaction() as session:
        number = notices.replay(session, notice_id, now=services.now())
    if notice_id is not None and not number:
        raise NoDeadLetter(notice_id)
    click.echo(f"{number} {'message' if number == 1 else 'messages'} will be handled again.")


@billing.command()
@click.option("--sync", is_flag=True, required=True, help="Write them to Stripe.")
def prices(sync: bool) -> None:  # noqa: ARG001 - required: it says what is done
    """Write the packs and plans of configs/plans.toml to Stripe as its prices; a repeat changes nothing."""
    with _paid_services() as (_, payments):
        made = payments.sync_prices()
    click.echo(f"{made} prices were made or changed at Stripe." if made else "Stripe has every price already.")


@contextmanager
def _paid_services() -> Iterator[tuple[Services, Payments]]:
    with operator_services() as services:
        if services.payments is None:
            raise PaymentsOff
        yield services, services.payments


def _lines(found: Sequence[Difference]) -> Iterator[str]:
    for each in found:
        yield f"{each.kind}: {each.subject}" + (f" ({each.sentence})" if each.sentence else "")
