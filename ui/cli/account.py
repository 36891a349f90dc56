"""``melodeon account``: what an operator may do with accounts. Everything that changes one is in the audit log."""

import json

import click

from data import access
from data.database import Session
from data.passwords import check_password, hash_password
from data.repositories import accounts, api_keys, audit
from serving.account_factors import end_second_factor
from serving.account_sessions import sign_out_everywhere
from serving.accounts import put_password, set_role
from studio.words.account import Account, Role
from ui.cli.session import operator_services


@click.group()
def account() -> None:
    """Accounts."""


@account.command("reset-password")
@click.argument("name")
@click.password_option(help="Asked for when absent.")
def reset_password(name: str, password: str) -> None:
    """Set a new password for the account NAME; every session and every API key of it ends."""
    check_password(password, of=(name,))
    with operator_services() as services, services.database.transaction() as session:
        put_password(session, _named(session, name), hash_password(password), actor=audit.OPERATOR, revoke_keys=True)
    click.echo(f"{name} has a new password; every session and every API key of it has ended.")


@account.command()
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
def role(name: str, role: str) -> None:
    """Give the account NAME the role ROLE."""
    with operator_services() as services, services.database.transaction() as session:
        changed = set_role(session, audit.OPERATOR, _named(session, name), Role(role))
    click.echo(f"{changed.name} is {changed.role.value} now.")


@account.command("second-factor-off")
@click.argument("name")
def second_factor_off(name: str) -> None:
    """Ask the account NAME for no code any more: for somebody who lost phone and recovery codes."""
    with operator_services() as services, services.database.transaction() as session:
        end_second_factor(session, _named(session, name), actor=audit.OPERATOR)
    click.echo(f"{name} signs in by the password alone.")


@account.command("sign-out")
@click.argument("name")
def sign_out(name: str) -> None:
    """End every session and every API key of the account NAME."""
    with operator_services() as services, services.database.transaction() as session:
        sign_out_everywhere(session, _named(session, name).id, actor=audit.OPERATOR, keys_too=True)
    click.echo(f"Every session and every API key of {name} has ended.")


@account.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def keys(name: str, *, as_json: bool) -> None:
    """Show the API keys of the account NAME; never their secrets."""
    with operator_services() as services, services.database.transaction() as session:
        found = api_keys.list_of(session, _named(session, name).id)
    for key in found:
        scopes = ",".join(sorted(scope.value for scope in key.scopes))
        used = key.last_used_at.isoformat() if key.last_used_at else "never"
        line = {"id": key.id, "label": key.label, "shown": key.shown, "scopes": scopes, "last_used": used}
        click.echo(json.dumps(line) if as_json else "  ".join(line.values()))


@account.command("audit")
@click.argument("name", default="")
@click.option("--limit", default=50, type=click.IntRange(1, 1000), help="How many lines.")
def audit_(name: str, limit: int) -> None:
    """Show the last lines of the audit log, newest first; with NAME, those about this account."""
    with operator_services() as services, services.database.transaction() as session:
        subject = _named(session, name).id if name else ""
        lines = audit.latest(session, subject=subject, limit=limit)
    for line in lines:
        click.echo(f"{line.at:%Y-%m-%d %H:%M:%S}  {line.actor}  {line.action}  {line.subject}  {line.detail}".rstrip())


def _named(session: Session, name: str) -> Account:
    found = accounts.by_name(session, name)
    if found is None:
        raise access.NotFound("account")
    return found
