"""``melodeon account``: help for people who are locked out."""

import click

from data import access
from data.passwords import check_password, hash_password
from data.repositories import accounts
from ui.cli.session import operator_services


@click.group()
def account() -> None:
    """Accounts."""


@account.command("reset-password")
@click.argument("name")
@click.password_option(help="Asked for when absent.")
def reset_password(name: str, password: str) -> None:
    """Set a new password for the account NAME; every session of it ends."""
    check_password(password)
    with operator_services() as services, services.database.transaction() as session:
        found = accounts.by_name(session, name)
        if found is None:
            raise access.NotFound("account")
        accounts.set_password(session, found.id, hash_password(password))
    click.echo(f"{name} has a new password; every session of it has ended.")
