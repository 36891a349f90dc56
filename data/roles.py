"""Roles of the database: who may do what there, and how the web process names the account whose books it reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from studio.words.ids import AccountId

_GRANTS: Final = Path(__file__).parent / "migrations" / "sql" / "grants.sql"

_log = structlog.get_logger(__name__)


def grant_roles(connection: Connection, passwords: Mapping[str, str] | None = None) -> bool:
    """Make the roles and give each what it may do, as ``migrations/sql/grants.sql`` says; safe to repeat.

    Args:
        connection: in a transaction, as a user that may make roles and owns the tables.
        passwords: of the roles that may log in from now on, by their name; None: whoever looks after the server
            sees to that.

    Returns:
        Whether it was done. A user that may not make roles is told so in the log, and everything is left as it was:
        the product then works with that one user.
    """
    try:
        with connection.begin_nested():
            driver = _driver(connection)
            driver.execute(_GRANTS.read_bytes())
            for name, password in (passwords or {}).items():
                _let_in(driver, name, password)
    except psycopg.errors.InsufficientPrivilege as error:
        _log.warning(
            "the database's user may not make roles, so every part of the product works as this one user; "
            "docs/operators.md says how to give each part a login of its own",
            reason=str(error).split("\n", 1)[0],
        )
        return False
    return True


def read_books_of(session: Session, account_id: AccountId) -> None:
    """Let the rest of this transaction read this account's rows of the ledger, and no other's.

    The web process sees none without it. Other logins see what they see.
    """
    session.execute(text("SELECT set_config('melodeon.account_id', :account, true)"), {"account": account_id})


def may_edit_books(session: Session) -> bool:
    """Whether this login could change what was booked, so that only the triggers stand in its way."""
    return bool(session.execute(text("SELECT has_table_privilege('entry', 'UPDATE')")).scalar_one())


def _driver(connection: Connection) -> psycopg.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"the roles are made through psycopg, not {type(driver).__name__}")
    return driver


def _let_in(driver: psycopg.Connection, name: str, password: str) -> None:
    # The server is sent the verifier only, so the password stands in no log and no activity view.
    verifier = driver.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    driver.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))
