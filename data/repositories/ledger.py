"""Thin calls of the ledger's SQL functions. Every rule stands in the database (``migrations/sql/ledger_*.sql``)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, TextClause, text

from data.database import Session
from data.ids import new_id
from data.roles import read_books_of
from studio.words.credit import Balance, BlockKind, Movement, MovementKind
from studio.words.ids import AccountId, HoldId, JobId, TransferId


class Outcome(StrEnum):
    """What became of a request to the ledger. Only ``done`` did what was asked for."""

    DONE = "done"
    REPEATED = "repeated"
    NO_CREDITS = "no credits"
    OWES_CREDITS = "owes credits"
    KEY_REUSED = "key reused"
    HOLD_OPEN = "hold open"
    NO_HOLD = "no hold"
    OVER_HOLD = "over hold"
    NO_GRANT = "no grant"
    NO_CLAWBACK = "no clawback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the ledger says.

    Attributes:
        transfer_id: of the first transfer made, now or when the key was first used; None after a refusal.
        hold_id: of the hold made, found open or ended by the call.
        available_credits, held_credits, owed_credits: of the account, after the call.
    """

    outcome: Outcome
    transfer_id: TransferId | None
    hold_id: HoldId | None
    available_credits: int
    held_credits: int
    owed_credits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the ledger says of a clawback: so many credits were there and went, so many became a debt."""

    outcome: Outcome
    taken_credits: int
    owed_credits: int


_GRANT = text(
    "SELECT * FROM ledger_grant(:transfer, :key, :account, :amount, :note, :now,"
    " :block, :debt, :kind, :expires_at, :cost_minor, :currency)"
)
_HOLD = text("SELECT * FROM ledger_hold(:hold, :transfer, :key, :account, :job, :amount, :now, :expired)")
_SETTLE = text("SELECT * FROM ledger_settle(:capture, :release, :debt, :key, :job, :captured, :now)")
_CLAWBACK = text(
    "SELECT * FROM ledger_clawback(:taken, :owed, :expired, :key, :account, :amount, :grant_key, :note, :now)"
)
_RESTORE = text("SELECT * FROM ledger_restore(:debt, :available, :block, :key, :account, :clawback_key, :now)")
_EXPIRE = text("SELECT ledger_expire(:now, VARIADIC :ids)")


def _ask(session: Session, call: TextClause, **values: Any) -> Answer:
    row = session.execute(call, values).one()
    return Answer(
        outcome=Outcome(row.outcome),
        transfer_id=row.transfer_id,
        hold_id=row.hold_id,
        available_credits=row.available,
        held_credits=row.held,
        owed_credits=row.owed,
    )


def open_account(session: Session, account_id: AccountId) -> None:
    """Give an account its empty purse; harmless when it has one."""
    session.execute(text("SELECT ledger_open(:account)"), {"account": account_id})


def grant(
    session: Session,
    account_id: AccountId,
    amount: int,
    *,
    key: str,
    note: str,
    now: datetime,
    kind: BlockKind,
    expires_at: datetime | None,
    cost_minor: int,
    currency: str,
) -> Answer:
    """A purse of the house → available, in a new block. ``done``, ``repeated`` or ``key reused``."""
    return _ask(
        session,
        _GRANT,
        transfer=new_id("transfer"),
        key=key,
        account=account_id,
        amount=amount,
        note=note,
        now=now,
        block=new_id("block"),
        debt=new_id("transfer"),
        kind=kind.value,
        expires_at=expires_at,
        cost_minor=cost_minor,
        currency=currency,
    )


def hold(session: Session, account_id: AccountId, job_id: JobId, amount: int, *, key: str, now: datetime) -> Answer:
    """available → held. ``done``, ``repeated``, ``key reused``, ``hold open``, ``no credits`` or ``owes credits``."""
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
        expired=new_id("transfer"),
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
        debt=new_id("transfer"),
        key=key,
        job=job_id,
        captured=captured,
        now=now,
    )


def clawback(
    session: Session, account_id: AccountId, amount: int, *, key: str, grant_key: str, note: str, now: datetime
) -> Taken:
    """available and owed → refund. ``done``, ``repeated``, ``key reused`` or ``no grant``."""
    values = {
        "taken": new_id("transfer"),
        "owed": new_id("transfer"),
        "expired": new_id("transfer"),
        "key": key,
        "account": account_id,
        "amount": amount,
        "grant_key": grant_key,
        "note": note,
        "now": now,
    }
    row = session.execute(_CLAWBACK, values).one()
    return Taken(outcome=Outcome(row.outcome), taken_credits=row.taken, owed_credits=row.owed)


def restore(session: Session, account_id: AccountId, *, key: str, clawback_key: str, now: datetime) -> Answer:
    """refund → owed and available. ``done``, ``repeated``, ``key reused`` or ``no clawback``."""
    return _ask(
        session,
        _RESTORE,
        debt=new_id("transfer"),
        available=new_id("transfer"),
        block=new_id("block"),
        key=key,
        account=account_id,
        clawback_key=clawback_key,
        now=now,
    )


def expire(session: Session, *, now: datetime, most: int) -> int:
    """available → expired, of at most ``most`` accounts; how many it was. Accounts that are busy are passed over."""
    ids = [new_id("transfer") for _ in range(most)]
    return int(session.execute(_EXPIRE, {"now": now, "ids": ids}).scalar_one())


def balance(session: Session, account_id: AccountId) -> Balance:
    """What the account has; noughts if it never had a purse."""
    row = session.execute(
        text("SELECT available, held, owed FROM ledger_balance(:account)"), {"account": account_id}
    ).one_or_none()
    available, held, owed = row if row else (0, 0, 0)
    return Balance(account_id=account_id, available_credits=available, held_credits=held, owed_credits=owed)


# One row a transfer: nearly every kind touches the purse "available", the others one other purse of the person.
_MOVEMENTS: Final = """
    SELECT transfer.id, kind, transfer.amount, job_id, note, event_at, version,
        CASE WHEN purse = 'available' THEN entry.amount ELSE 0 END AS change
    FROM entry JOIN transfer ON transfer.id = entry.transfer_id
    WHERE entry.account_id = :account
        AND (purse = 'available' OR kind = 'capture' OR (purse = 'owed' AND kind <> 'debt'))
"""
_LAST_MOVEMENTS = text(f"{_MOVEMENTS} AND version < :before ORDER BY version DESC LIMIT :limit")
_ALL_MOVEMENTS = text(f"{_MOVEMENTS} ORDER BY version")
_PAGE: Final = 500
_NEWEST: Final = 2**31 - 1


def movements(session: Session, account_id: AccountId, limit: int, before: int | None) -> tuple[Movement, ...]:
    """The account's last movements (before the one of that number), newest first, in the order they were booked."""
    values = {"account": account_id, "limit": limit, "before": _NEWEST if before is None else before}
    read_books_of(session, account_id)
    return tuple(_movement(row) for row in session.execute(_LAST_MOVEMENTS, values))


def all_movements(session: Session, account_id: AccountId) -> Iterator[Movement]:
    """Every movement of the account, oldest first, as they stand at the first one; read in pages."""
    read_books_of(session, account_id)
    rows = session.execute(_ALL_MOVEMENTS, {"account": account_id}, execution_options={"yield_per": _PAGE})
    return map(_movement, rows)


def _movement(row: Row[Any]) -> Movement:
    return Movement(
        id=row.id,
        kind=MovementKind(row.kind),
        amount_credits=row.amount,
        job_id=row.job_id,
        note=row.note,
        at=row.event_at,
        change_credits=row.change,
        number=row.version,
    )


def heads(session: Session) -> dict[AccountId, str]:
    """The hash at the end of each account's chain, in hexadecimal, of those who have one. For who may see all books."""
    query = text("SELECT account_id, head FROM ledger_account WHERE head <> '' ORDER BY account_id")
    return {AccountId(row.account_id): row.head for row in session.execute(query)}


def without_link(session: Session, heads: Mapping[AccountId, str]) -> tuple[AccountId, ...]:
    """Those of the accounts of whose chain this hash is no link."""
    query = text(
        "SELECT k.account_id FROM unnest(CAST(:accounts AS text[]), CAST(:heads AS text[])) AS k (account_id, head)"
        " WHERE NOT EXISTS (SELECT FROM transfer t WHERE t.account_id = k.account_id AND t.hash = k.head)"
        " ORDER BY k.account_id"
    )
    found = session.execute(query, {"accounts": list(heads), "heads": list(heads.values())})
    return tuple(AccountId(account_id) for (account_id,) in found)


def faults(session: Session) -> tuple[tuple[str, str], ...]:
    """Everything that is wrong with the books, as (rule, subject); empty when they are right. Reads every entry."""
    return tuple((row.rule, row.subject) for row in session.execute(text("SELECT * FROM ledger_faults()")))
