"""The books as a whole, for whoever looks them over."""

from dataclasses import dataclass

from sqlalchemy import text

from data.database import Session

_COUNTS = text(
    "SELECT (SELECT count(*) FROM ledger_account) AS accounts, (SELECT count(*) FROM transfer) AS transfers,"
    " (SELECT count(*) FROM entry) AS entries, (SELECT coalesce(sum(available), 0) FROM ledger_account) AS available,"
    " (SELECT coalesce(sum(held), 0) FROM ledger_account) AS held,"
    " (SELECT coalesce(sum(owed), 0) FROM ledger_account) AS owed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """How much is booked, and what everybody has together."""

    accounts: int
    transfers: int
    entries: int
    available_credits: int
    held_credits: int
    owed_credits: int


def hold_still(session: Session) -> None:
    """Let every question of this transaction be about one and the same moment, however long each takes.

    Must be the first thing in the transaction, which may then only read.
    """
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    session.execute(text("SET LOCAL statement_timeout = 0"))


def count(session: Session) -> Books:
    """Count the books."""
    row = session.execute(_COUNTS).one()
    return Books(
        accounts=row.accounts,
        transfers=row.transfers,
        entries=row.entries,
        available_credits=int(row.available),
        held_credits=int(row.held),
        owed_credits=int(row.owed),
    )
