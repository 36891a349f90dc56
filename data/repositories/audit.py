"""The audit log: who did what to which account. Written once, never changed, not even by the owner of the tables."""

from typing import Final

from sqlalchemy import insert, select

from data.database import Session
from data.tables import AuditRow
from studio.words.audit import AuditNote

OPERATOR: Final = "operator"
"""Stands for whoever sits at the command line."""


def note(session: Session, actor: str, action: str, subject: str, detail: str = "") -> None:
    """Write one line, in the caller's transaction: it stands exactly when what it tells has happened.

    Args:
        session: in whose transaction.
        actor: id of the account that acts, or `OPERATOR`.
        action: a stable word such as ``role_set``.
        subject: id of what it is done to.
        detail: what else is worth knowing; never a secret, a name or an address.
    """
    session.execute(insert(AuditRow).values(actor=actor, action=action, subject=subject, detail=detail))


def latest(
    session: Session, *, subject: str = "", before: int | None = None, limit: int = 100
) -> tuple[AuditNote, ...]:
    """The last lines, newest first: all, or those about ``subject``; ``before`` is the number of the last one seen."""
    query = select(AuditRow).order_by(AuditRow.number.desc()).limit(limit)
    if subject:
        query = query.where(AuditRow.subject == subject)
    if before is not None:
        query = query.where(AuditRow.number < before)
    return tuple(
        AuditNote(
            number=row.number, at=row.at, actor=row.actor, action=row.action, subject=row.subject, detail=row.detail
        )
        for row in session.execute(query).scalars()
    )
