"""``melodeon credits``: what an operator may do with credits."""

import secrets as random_secrets

import click

from billing import ledger
from data import access
from data.repositories import accounts, audit
from studio.words.account import Account
from studio.words.ids import TransferId
from ui.cli.session import operator_services


@click.group("credits")
def credits_() -> None:
    """Credits of an account."""


@credits_.command()
@click.argument("name")
@click.argument("amount", type=click.IntRange(1, 1_000_000))
@click.option("--note", default="granted by the operator", help="Stands in the account's statement.")
@click.option("--key", default="", help="A repeat with the same key does nothing; default: a new one each time.")
def grant(name: str, amount: int, note: str, key: str) -> None:
    """Give AMOUNT credits to the account NAME."""
    with operator_services() as services, services.database.transaction() as session:
        account: Account | None = accounts.by_name(session, name)
        if account is None:
            raise access.NotFound("account")
        transfer: TransferId = ledger.grant(
            session,
            account.id,
            amount,
            key=f"operator:{key or random_secrets.token_hex(12)}",
            note=note,
            now=services.now(),
        )
        audit.note(session, audit.OPERATOR, "credits_granted", account.id, f"{amount} as {transfer}")
        have = ledger.balance(session, account.id)
    click.echo(f"{name} now has {have.available_credits} credits ({transfer}).")
