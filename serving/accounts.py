"""Signing up: the account, its lane's plan and its first credits come into being together."""

from datetime import datetime

from billing import ledger
from data.database import Session
from data.passwords import check_password, hash_password
from data.repositories import accounts
from studio.words.account import Account


def sign_up(
    session: Session, *, name: str, email: str, password: str, signup_credits: int, now: datetime
) -> Account:
    """Make an account with its first credits. The first account of an installation is its administrator.

    Raises:
        WeakPassword, BadName, BadEmail, NameTaken, EmailTaken: with a sentence for the person.
    """
    check_password(password)
    account = accounts.create(session, name=name, email=email, password_hash=hash_password(password))
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    return account


def local_account(session: Session, *, signup_credits: int, now: datetime) -> Account:
    """The account ``local`` that the command line acts as; made, with its first credits, when first needed."""
    account = accounts.local_account(session)
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    return account
