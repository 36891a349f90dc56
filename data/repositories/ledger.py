"""Thin calls of the ledger's SQL functions. Every rule stands in the database (``migrations/sql/ledger_0001.sql``)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import TextClause, text

from data.database import Session
from data.ids import new_id
from studio.words.credit import Balance, Movement, MovementKind
from studio.words.ids import AccountId, HoldId, JobId, TransferId


class Outcome(StrEnum):
    """What became of a request to the ledger. Only ``done`` wrote anything."""

    DONE = "done"
    REPEATED = "repeated"
    NO_CREDITS = "no credits"
    KEY_REUSED = "key reused"
    HOLD_OPEN = "hold open"
    NO_HOLD = "no hold"
    OVER_HOLD = "over hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the ledger says.

    Attributes:
        transfer_id: of the first transfer made, now or when the key was first used; None after a refusal.
        hold_id: of the hold made, found open or ended by the call.
        available_credits, held_credits: of the account, after the call.
    """

    outcome: Outcome
    transfer_id: TransferId | None
    hold_id: HoldId | None
    available_credits: int
    held_credits: int


_GRANT = text("SELECT * FROM ledger_grant(:transfer, :key, :account, :amount, :note, :now)")
_HOLD = text("SELECT * FROM ledger_hold(:hold, :transfer, :key, :account, :job, :amount, :now)")
_SETTLE = text("SELECT * FROM ledger_settle(:capture, :release, :key, :job, :captured, :now)")


def _ask(session: Session, call: TextClause, **values: Any) -> Answer:
    row = session.execute(call, values).one()
    return Answer(
        outcome=Outcome(row.outcome),
        transfer_id=row.transfer_id,
        hold_id=row.hold_id,
        available_credits=row.available,
        held_credits=row.held,
    )


def open_account(session: Session, account_id: AccountId) -> None:
    """Give an account its empty purse; harmless when it has one."""
    session.execute(text("SELECT ledger_open(:account)"), {"account": account_id})


def grant(session: Session, account_id: AccountId, amount: int, *, key: str, note: str, now: datetime) -> Answer:
    """promotion → available. ``done``, ``repeated`` or ``key reused``."""
    return _ask(
        session,
        _GRANT,
        transfer=new_id("transfer"),
        key=key,
        account=account_id,
        amount=amount,
        note=note,
        now=now,
    )


def hold(session: Session, account_id: AccountId, job_id: JobId, amount: int, *, key: str, now: datetime) -> Answer:
    """available → held. ``done``, ``repeated``, ``key reused``, ``hold open`` or ``no credits``."""
    return _ask(
        session,
        _HOLD,
        hold=new_id("hold"),
        transfer=new_id("transfer"),
        key=key,
        account=account_id,
        job=job_id,
        amount=amount,
        now=now,
    )


def settle(session: Session, job_id: JobId, *, captured: int, key: str, now: datetime) -> Answer:
    """held → revenue (``captured``) and available (the rest).

    ``done``, ``repeated``, ``key reused``, ``no hold`` or ``over hold``.
    """
    return _ask(
        session,
        _SETTLE,
        capture=new_id("transfer"),
        release=new_id("transfer"),
        key=key,
        job=job_id,
        captured=captured,
        now=now,
    )


def balance(session: Session, account_id: AccountId) -> Balance:
    """What the account has; nought and nought if it never had a purse."""
    row = session.execute(
        text("SELECT available, held FROM ledger_account WHERE account_id = :account"), {"account": account_id}
    ).one_or_none()
    available, held = row if row else (0, 0)
    return Balance(account_id=account_id, available_credits=available, held_credits=held)


# One row a transfer: a capture touches only the purse "held", every other kind "available" too.
_MOVEMENTS = text("""
    SELECT transfer.id, kind, transfer.amount, job_id, note, event_at
    FROM entry JOIN transfer ON transfer.id = entry.transfer_id
    WHERE entry.account_id = :account AND (purse = 'available' OR kind = 'capture')
    ORDER BY version DESC LIMIT :limit
""")


def movements(session: Session, account_id: AccountId, limit: int) -> tuple[Movement, ...]:
    """The account's last movements, newest first, in the order they were booked."""
    rows = session.execute(_MOVEMENTS, {"account": account_id, "limit": limit})
    return tuple(
        Movement(
            id=row.id,
            kind=MovementKind(row.kind),
            amount_credits=row.amount,
            job_id=row.job_id,
            note=row.note,
            at=row.event_at,
        )
        for row in rows
    )


def faults(session: Session) -> tuple[tuple[str, str], ...]:
    """Everything that is wrong with the books, as (rule, subject); empty when they are right. Reads every entry."""
    return tuple((row.rule, row.subject) for row in session.execute(text("SELECT * FROM ledger_faults()")))
