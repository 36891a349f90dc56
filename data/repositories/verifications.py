"""What links in letters are good for: proving an address, setting a new password. Time here is the database's.

The token itself is made when the letter is sent (`issue`) and stands nowhere but in it. A newer one of the same purpose
takes the place of the older, and each is good once.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.repositories.tokens import fresh_token, hash_of
from data.tables import AccountRow, OneTimeTokenRow
from studio.errors import MelodeonError
from studio.words.ids import AccountId
from studio.words.letter import TokenPurpose

LIFE: Final = {TokenPurpose.VERIFY: timedelta(hours=24), TokenPurpose.RESET: timedelta(hours=1)}
PENDING_LIFE: Final = timedelta(days=30)


class BadToken(MelodeonError):
    """The link was used before, is too old, has a newer one, or was never ours. Never says which."""

    code = "bad_token"

    def __init__(self) -> None:
        super().__init__("This link does not work any more. Please ask for a new one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a token proves: that somebody reads the letters to ``email`` and may act for the account."""

    account_id: AccountId
    email: str


def expect(session: Session, account_id: AccountId, purpose: TokenPurpose, email: str) -> None:
    """Expect a token of this purpose, sent to ``email``; one sent before is worth nothing from now on."""
    values = {"email": email, "token_hash": None, "expires_at": None}
    session.execute(
        insert(OneTimeTokenRow)
        .values(account_id=account_id, purpose=purpose.value, **values)
        .on_conflict_do_update(index_elements=["account_id", "purpose"], set_={**values, "created_at": func.now()})
    )


def issue(session: Session, account_id: AccountId, purpose: TokenPurpose, email: str) -> str | None:
    """Make the token that is expected at ``email``; None: it is not expected there (any more)."""
    token = fresh_token()
    found = session.execute(
        update(OneTimeTokenRow)
        .where(
            OneTimeTokenRow.account_id == account_id,
            OneTimeTokenRow.purpose == purpose.value,
            OneTimeTokenRow.email == email,
        )
        .values(token_hash=hash_of(token), expires_at=func.now() + LIFE[purpose])
        .returning(OneTimeTokenRow.account_id)
    ).scalar_one_or_none()
    return token if found else None


def look(session: Session, purpose: TokenPurpose, token: str) -> Proof:
    """What this token proves, without using it up.

    Raises:
        BadToken: nothing.
    """
    row = session.execute(
        select(OneTimeTokenRow.account_id, OneTimeTokenRow.email)
        .join(AccountRow, AccountRow.id == OneTimeTokenRow.account_id)
        .where(
            OneTimeTokenRow.purpose == purpose.value,
            OneTimeTokenRow.token_hash == hash_of(token),
            OneTimeTokenRow.expires_at > func.now(),
            AccountRow.deleted_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise BadToken
    return Proof(account_id=AccountId(row[0]), email=row[1])


def use(session: Session, purpose: TokenPurpose, token: str) -> Proof:
    """What this token proves; it is used up. Of several callers with one token, one wins.

    Raises:
        BadToken: nothing.
    """
    proof = look(session, purpose, token)
    used = session.execute(
        delete(OneTimeTokenRow)
        .where(OneTimeTokenRow.purpose == purpose.value, OneTimeTokenRow.token_hash == hash_of(token))
        .returning(OneTimeTokenRow.account_id)
    ).scalar_one_or_none()
    if used is None:
        raise BadToken
    return proof


def pending_email(session: Session, account_id: AccountId) -> str:
    """The address that waits to be proved; empty: none does."""
    found = session.execute(
        select(OneTimeTokenRow.email).where(
            OneTimeTokenRow.account_id == account_id, OneTimeTokenRow.purpose == TokenPurpose.VERIFY.value
        )
    ).scalar_one_or_none()
    return found or ""


def void(session: Session, account_id: AccountId, purpose: TokenPurpose) -> None:
    """Expect no token of this purpose any more."""
    session.execute(
        delete(OneTimeTokenRow).where(
            OneTimeTokenRow.account_id == account_id, OneTimeTokenRow.purpose == purpose.value
        )
    )


def sweep(session: Session) -> None:
    """Forget links that are no longer good: at once those for passwords, after 30 days an address nobody proved."""
    dead = and_(OneTimeTokenRow.purpose == TokenPurpose.RESET.value, OneTimeTokenRow.expires_at < func.now())
    forgotten = OneTimeTokenRow.created_at < func.now() - PENDING_LIFE
    session.execute(delete(OneTimeTokenRow).where(or_(dead, forgotten)))
