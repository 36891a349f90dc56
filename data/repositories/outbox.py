"""Letters that wait to be sent. They are put here in the transaction that they tell of, so none is lost and none lies.

A row says only what about and to whom. Text and token are made when the letter goes. Time here is the database's.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import case, delete, func, insert, literal, or_, select, update

from data.database import Session
from data.ids import new_id
from data.tables import MailRow
from studio.words.ids import AccountId, MailId
from studio.words.letter import LetterKind

GIVE_UP_AFTER: Final = timedelta(days=3)
KEPT: Final = timedelta(days=30)
LATELY: Final = timedelta(days=1)
_FIRST_PAUSE_S: Final = 10
_LONGEST_PAUSE_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A letter whose turn it is.

    Attributes:
        account_id: whom it is about; None: whoever has proved ``to_address`` to be theirs, perhaps nobody.
        attempts: how often it was tried, this time included.
    """

    id: MailId
    kind: LetterKind
    to_address: str = field(repr=False)
    account_id: AccountId | None
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the letters stand.

    Attributes:
        waiting: those that wait to be sent.
        oldest_s: age of the oldest of them; None: none waits.
        given_up: those of the last 30 days that will never go.
        lost_lately: those of them that were given up within the last day because three days of trying were over.
    """

    waiting: int
    oldest_s: float | None
    given_up: int
    lost_lately: int


def put(session: Session, kind: LetterKind, to_address: str, account_id: AccountId | None) -> None:
    """Have a letter sent once the caller's transaction commits."""
    session.execute(
        insert(MailRow).values(id=new_id("mail"), kind=kind.value, to_address=to_address, account_id=account_id)
    )


def take(session: Session) -> Waiting | None:
    """The letter that has waited longest, and count the attempt; None: none is ready.

    It is ready again after a pause of 10, 20, 40 … at most 3600 seconds unless it is taken off with `sent`: whoever
    sends it may die. Several senders never take the same one.
    """
    ready = (
        select(MailRow.id)
        .where(MailRow.ready_at <= func.now(), MailRow.given_up_at.is_(None))
        .order_by(MailRow.ready_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    pause_s = func.least(_FIRST_PAUSE_S * func.power(2, func.least(MailRow.attempts, 10)), _LONGEST_PAUSE_S)
    row = session.execute(
        update(MailRow)
        .where(MailRow.id == ready)
        .values(
            attempts=MailRow.attempts + 1,
            ready_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, pause_s),
        )
        .returning(MailRow.id, MailRow.kind, MailRow.to_address, MailRow.account_id, MailRow.attempts)
    ).one_or_none()
    if row is None:
        return None
    return Waiting(
        id=MailId(row.id),
        kind=LetterKind(row.kind),
        to_address=row.to_address,
        account_id=None if row.account_id is None else AccountId(row.account_id),
        attempts=row.attempts,
    )


def sent(session: Session, mail_id: MailId) -> None:
    """The letter is on its way, or need not go any more: forget it."""
    session.execute(delete(MailRow).where(MailRow.id == mail_id))


def failed(session: Session, mail_id: MailId, why: str, *, for_good: bool) -> bool:
    """The letter could not be sent; True: it is given up, because it is three days old or will never go."""
    too_old = MailRow.created_at < func.now() - GIVE_UP_AFTER
    found = session.execute(
        update(MailRow)
        .where(MailRow.id == mail_id)
        .values(last_error=why, given_up_at=case((or_(too_old, literal(for_good)), func.now())))
        .returning(MailRow.given_up_at)
    ).scalar_one_or_none()
    return found is not None


def standing(session: Session) -> Standing:
    """How the letters stand, for those who look after the place."""
    waits = MailRow.given_up_at.is_(None)
    too_old = MailRow.given_up_at >= MailRow.created_at + GIVE_UP_AFTER
    row = session.execute(
        select(
            func.count().filter(waits),
            func.extract("epoch", func.now() - func.min(MailRow.created_at).filter(waits)),
            func.count().filter(~waits),
            func.count().filter(too_old, MailRow.given_up_at > func.now() - LATELY),
        )
    ).one()
    return Standing(
        waiting=row[0], oldest_s=None if row[1] is None else float(row[1]), given_up=row[2], lost_lately=row[3]
    )


def sweep(session: Session) -> None:
    """Forget letters that were given up long ago."""
    session.execute(delete(MailRow).where(MailRow.given_up_at < func.now() - KEPT))
