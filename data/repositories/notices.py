"""Notices: stored once, claimed for a while, handled once or given up. ``now`` is the caller's, aware UTC."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.tables import NoticeRow
from studio.words.notice import Notice, NoticeState

CHANNEL: Final = "notice"
"""Where a new Notice is announced; a hint only."""

_ERROR_MAX: Final = 500
_WAITS: Final = NoticeRow.state == NoticeState.RECEIVED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many Notices wait, how many were given up, and for how long the oldest one waits; None: none does."""

    waiting: int
    dead: int
    oldest_s: float | None


def receive(session: Session, notice: Notice, *, now: datetime) -> bool:
    """Keep a Notice and announce it; False: it was here already, and nothing changed."""
    values = {
        "id": notice.id,
        "type": notice.type,
        "object_id": notice.object_id,
        "created_at": notice.created_at,
        "payload": dict(notice.payload),
        "received_at": now,
        "next_at": now,
    }
    new = session.execute(
        insert(NoticeRow).values(values).on_conflict_do_nothing().returning(NoticeRow.id)
    ).one_or_none()
    if new is None:
        return False
    announce(session)
    return True


def announce(session: Session) -> None:
    """Tell whoever listens, when the transaction commits."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


def claim(session: Session, *, now: datetime, until: datetime, most: int) -> tuple[Notice, ...]:
    """Take the Notices that are due, oldest first; nobody else gets them before ``until``. Counts an attempt."""
    due = (
        select(NoticeRow.id)
        .where(_WAITS, NoticeRow.next_at <= now)
        .order_by(NoticeRow.next_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = session.scalars(
        update(NoticeRow)
        .where(NoticeRow.id.in_(due.scalar_subquery()))
        .values(next_at=until, attempts=NoticeRow.attempts + 1)
        .returning(NoticeRow)
    )
    return tuple(sorted((_notice_of(row) for row in rows), key=lambda notice: (notice.created_at, notice.id)))


def lock(session: Session, notice_id: str) -> bool:
    """Lock a Notice that waits; False: somebody else has handled it, or given it up."""
    locked = select(NoticeRow.id).where(NoticeRow.id == notice_id, _WAITS).with_for_update()
    return session.execute(locked).one_or_none() is not None


def mark_handled(session: Session, notice_id: str, *, now: datetime) -> None:
    """It is done."""
    _set(session, notice_id, state=NoticeState.HANDLED.value, handled_at=now, last_error="")


def postpone(session: Session, notice_id: str, error: str, *, until: datetime, counted: bool) -> None:
    """It did not work and is to be tried again at ``until``; whether the attempt counts."""
    attempts = NoticeRow.attempts if counted else func.greatest(NoticeRow.attempts - 1, 0)
    _set(session, notice_id, next_at=until, last_error=error[:_ERROR_MAX], attempts=attempts)


def bury(session: Session, notice_id: str, error: str) -> None:
    """Give it up until somebody has it replayed."""
    _set(session, notice_id, state=NoticeState.DEAD.value, last_error=error[:_ERROR_MAX])


def dead(session: Session, *, most: int) -> tuple[Notice, ...]:
    """Those given up, oldest first."""
    condition = NoticeRow.state == NoticeState.DEAD.value
    rows = session.scalars(select(NoticeRow).where(condition).order_by(NoticeRow.received_at).limit(most))
    return tuple(_notice_of(row) for row in rows)


def replay(session: Session, notice_id: str | None, *, now: datetime) -> int:
    """Have one that was given up, or all of them (None), tried again at once, and answer how many there were."""
    condition = NoticeRow.state == NoticeState.DEAD.value
    if notice_id is not None:
        condition = and_(condition, NoticeRow.id == notice_id)
    woken = session.execute(
        update(NoticeRow)
        .where(condition)
        .values(state=NoticeState.RECEIVED.value, attempts=0, next_at=now)
        .returning(NoticeRow.id)
    ).all()
    if woken:
        announce(session)
    return len(woken)


def known(session: Session, ids: Iterable[str]) -> set[str]:
    """Which of these are here."""
    return set(session.execute(select(NoticeRow.id).where(NoticeRow.id.in_(list(ids)))).scalars())


def backlog(session: Session) -> Backlog:
    """What is left to do."""
    age_s = func.extract("epoch", func.now() - func.min(NoticeRow.received_at).filter(_WAITS))
    given_up = NoticeRow.state == NoticeState.DEAD.value
    waiting, dead, oldest_s = session.execute(
        select(func.count().filter(_WAITS), func.count().filter(given_up), age_s).select_from(NoticeRow)
    ).one()
    return Backlog(waiting=waiting, dead=dead, oldest_s=None if oldest_s is None else float(oldest_s))


def forget_handled(session: Session, *, before: datetime) -> int:
    """Delete what was handled before then, and answer how many there were."""
    condition = and_(NoticeRow.state == NoticeState.HANDLED.value, NoticeRow.handled_at < before)
    return len(session.execute(delete(NoticeRow).where(condition).returning(NoticeRow.id)).all())


def _set(session: Session, notice_id: str, **values: Any) -> None:
    session.execute(update(NoticeRow).where(NoticeRow.id == notice_id).values(**values))


def _notice_of(row: NoticeRow) -> Notice:
    return Notice(
        id=row.id,
        type=row.type,
        object_id=row.object_id,
        created_at=row.created_at,
        payload=row.payload,
        state=NoticeState(row.state),
        attempts=row.attempts,
        last_error=row.last_error,
    )
