"""The second factor: switched on with an authenticator app, proved by a code, switched off with both proofs."""

from dataclasses import dataclass, field
from datetime import datetime

from configs.settings import WebSettings
from data.database import Database, Session
from data.one_time_codes import address_of, new_recovery_codes, new_secret
from data.repositories import accounts, audit, outbox, second_factors
from data.sealed import SealedBox
from serving.account_confirm import Shown, confirm
from serving.accounts import WrongCode, confirm_password
from serving.api.services import Services
from serving.limits import GUESSES, take
from studio.errors import MelodeonError
from studio.words.account import Account, Role
from studio.words.letter import LetterKind


class SecondFactorOn(MelodeonError):
    """The account has a second factor already."""

    code = "second_factor_on"

    def __init__(self) -> None:
        super().__init__("A second factor is on already. Switch it off before you set up another one.")


class FactorDemanded(MelodeonError):
    """Somebody has no second factor, and this installation demands one of them."""

    code = "factor_demanded"

    def __init__(self) -> None:
        super().__init__("This place asks a second step of you at signing in. Set it up first: sign in on its pages.")


def is_demanded_of(settings: WebSettings, account: Account) -> bool:
    """Whether this installation demands a second factor of somebody with this role."""
    team = settings.second_factor == "team" and account.role is not Role.CREATOR
    return team or settings.second_factor == "everybody"


def owes_factor(services: Services, account: Account) -> bool:
    """Whether the account must set up a second factor before anything else is done for it.

    One without a password comes by another provider, whose affair the second factor is.
    """
    if not is_demanded_of(services.settings.web, account):
        return False
    with services.database.transaction() as session:
        known = accounts.credentials(session, account.name)
    return known is not None and known.password_hash is not None and not known.second_factor


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


def totp_end(services: Services, account: Account, shown: Shown) -> None:
    """Ask the account for no code any more, once somebody has shown password and code (or a recovery code).

    Raises:
        WrongPassword, CodeNeeded, WrongCode, SignInLocked, NotConfirmed: as `confirm`.
    """
    confirm(services, account, shown)
    with services.database.transaction() as session:
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
