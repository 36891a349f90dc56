"""Signing up and signing in, for the pages, the doors and the command line alike."""

from datetime import datetime

from billing import ledger
from data.database import Database, Session
from data.passwords import check_password, hash_password, verify_password
from data.repositories import accounts
from studio.errors import MelodeonError
from studio.words.account import Account


class WrongPassword(MelodeonError):
    """Name and password do not belong together. Never says which of them is wrong."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The name or the password is wrong.")


class SignInLocked(MelodeonError):
    """Too many wrong passwords in a row; the lock opens by itself."""

    code = "sign_in_locked"
    retry_after_s = 60

    def __init__(self) -> None:
        super().__init__("Too many wrong passwords. Wait a few minutes and try again.")


def sign_up(session: Session, *, name: str, email: str, password: str, signup_credits: int, now: datetime) -> Account:
    """Make an account with its first credits. The first account of an installation is its administrator.

    Raises:
        WeakPassword, BadName, BadEmail, NameTaken, EmailTaken: with a sentence for the person.
    """
    check_password(password)
    account = accounts.create(session, name=name, email=email, password_hash=hash_password(password))
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    return account


def sign_in(database: Database, name: str, password: str) -> Account:
    """The account that name and password belong to. Works in transactions of its own.

    An attempt is counted before the password is looked at and forgiven when it was right: many at once count like many
    in a row. No connection is held while the hash is computed.

    Raises:
        WrongPassword: unknown name or wrong password; both take the same time.
        SignInLocked: too many wrong passwords in a row.
    """
    with database.transaction() as session:
        known = accounts.credentials(session, name)
        if known is not None and known.locked_until is not None:
            raise SignInLocked
        if known is not None:
            accounts.note_failed_sign_in(session, known.account_id)
    right = verify_password(known.password_hash if known else None, password)
    if known is None or not right:
        raise WrongPassword
    with database.transaction() as session:
        accounts.clear_failed_sign_ins(session, known.account_id)
        account = accounts.by_id(session, known.account_id)
    if account is None:  # deleted in the meantime
        raise WrongPassword
    return account


def local_account(session: Session, *, signup_credits: int, now: datetime) -> Account:
    """The account ``local`` that the command line acts as; made, with its first credits, when first needed."""
    account = accounts.local_account(session)
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    return account
