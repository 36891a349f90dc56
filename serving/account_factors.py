"""The second factor: switched on with an authenticator app, proved by a code, switched off with the password."""

from dataclasses import dataclass, field
from datetime import datetime

from data.database import Database, Session
from data.one_time_codes import address_of, new_recovery_codes, new_secret
from data.repositories import audit, outbox, second_factors
from data.sealed import SealedBox
from serving.accounts import WrongCode, confirm_password
from serving.limits import GUESSES, take
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.letter import LetterKind


class SecondFactorOn(MelodeonError):
    """The account has a second factor already."""

    code = "second_factor_on"

    def __init__(self) -> None:
        super().__init__("A second factor is on already. Switch it off before you set up another one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFactor:
    """What an authenticator app must be told, once.

    Attributes:
        secret: in base 32, to type in.
        address: the same as an ``otpauth://`` address, to be shown as a picture.
    """

    secret: str = field(repr=False)
    address: str = field(repr=False)


def totp_begin(database: Database, account: Account, box: SealedBox, *, password: str, source: str = "") -> NewFactor:
    """Make a secret for the account's authenticator app; it is in force once `totp_confirm` saw a code of it.

    Args:
        database: where accounts are.
        account: whose factor.
        box: seals the secret.
        password: proves once more who asks.
        source: network address of the request.

    Raises:
        WrongPassword, SignInLocked: the password is not right.
        SecondFactorOn: one is in force.
    """
    confirm_password(database, account, password, address=source)
    secret = new_secret()
    with database.transaction() as session:
        if second_factors.is_on(session, account.id):
            raise SecondFactorOn
        second_factors.begin(session, account.id, secret, box)
    return NewFactor(secret=secret, address=address_of(secret, account.name))


def totp_confirm(database: Database, account: Account, box: SealedBox, code: str, *, now: datetime) -> tuple[str, ...]:
    """Put the second factor in force, and answer ten recovery codes, which are told only now.

    Raises:
        WrongCode: the code is not one of the app's.
        SecondFactorOn: one is in force.
        TooManyRequests: too many wrong ones.
    """
    take(database, GUESSES, f"confirm {account.id}")
    codes = new_recovery_codes()
    with database.transaction() as session:
        if second_factors.is_on(session, account.id):
            raise SecondFactorOn
        if not second_factors.use_code(session, account.id, code, box, now=now):
            raise WrongCode
        second_factors.confirm(session, account.id, codes)
        _tell(session, account, "second_factor_on")
    return codes


def totp_end(database: Database, account: Account, *, password: str, source: str = "") -> None:
    """Ask the account for no code any more.

    Raises:
        WrongPassword, SignInLocked: the password is not right.
    """
    confirm_password(database, account, password, address=source)
    with database.transaction() as session:
        end_second_factor(session, account, actor=account.id)


def end_second_factor(session: Session, account: Account, *, actor: str) -> None:
    """Take an account's second factor away; written down, and told to its owner by letter."""
    if second_factors.is_on(session, account.id):
        second_factors.end(session, account.id)
        _tell(session, account, "second_factor_off", actor=actor)


def _tell(session: Session, account: Account, action: str, *, actor: str = "") -> None:
    audit.note(session, actor or account.id, action, account.id)
    if account.email_verified:
        outbox.put(session, LetterKind.SECOND_FACTOR_CHANGED, account.email, account.id)
