"""Purchases and what was taken back of them. ``now`` is the caller's, aware UTC."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.tables import PurchaseRow, ReversalRow
from studio.words.ids import AccountId
from studio.words.purchase import Purchase, PurchaseState, Reversal, ReversalKind


def add(session: Session, purchase: Purchase) -> bool:
    """Keep a new purchase; False: it was here already, and nothing changed."""
    values = asdict(purchase) | {"state": purchase.state.value}
    added = insert(PurchaseRow).values(values).on_conflict_do_nothing().returning(PurchaseRow.id)
    return session.execute(added).one_or_none() is not None


def by_id(session: Session, purchase_id: str) -> Purchase | None:
    """The purchase with this id."""
    row = session.scalars(select(PurchaseRow).where(PurchaseRow.id == purchase_id)).one_or_none()
    return None if row is None else _purchase_of(row)


def lock(session: Session, ids: Sequence[str]) -> tuple[Purchase, ...]:
    """Lock these purchases, in the order of their ids."""
    chosen = select(PurchaseRow).where(PurchaseRow.id.in_(list(ids))).order_by(PurchaseRow.id)
    # rows read before the lock was had are read again
    rows = session.scalars(chosen.with_for_update().execution_options(populate_existing=True))
    return tuple(_purchase_of(row) for row in rows)


def of_charge(session: Session, *, payment_intent: str, invoice: str) -> tuple[Purchase, ...]:
    """What a charge paid for: found by its payment intent or by its invoice; an empty id finds nothing."""
    same = [
        column == value
        for column, value in ((PurchaseRow.payment_intent, payment_intent), (PurchaseRow.invoice, invoice))
        if value
    ]
    if not same:
        return ()
    return tuple(
        _purchase_of(row) for row in session.scalars(select(PurchaseRow).where(or_(*same)).order_by(PurchaseRow.id))
    )


def of_account(session: Session, account_id: AccountId, *, most: int = 1000) -> tuple[Purchase, ...]:
    """What an account bought, newest first."""
    chosen = select(PurchaseRow).where(PurchaseRow.account_id == account_id)
    rows = session.scalars(chosen.order_by(PurchaseRow.created_at.desc(), PurchaseRow.id).limit(most))
    return tuple(_purchase_of(row) for row in rows)


def open_before(session: Session, moment: datetime) -> tuple[Purchase, ...]:
    """Those begun before ``moment`` of which nothing was heard since."""
    chosen = select(PurchaseRow).where(PurchaseRow.state == PurchaseState.OPEN.value, PurchaseRow.created_at < moment)
    return tuple(_purchase_of(row) for row in session.scalars(chosen.order_by(PurchaseRow.created_at)))


def paid_since(session: Session, moment: datetime) -> tuple[Purchase, ...]:
    """Those begun since ``moment`` that were paid, whatever became of them."""
    paid = [state.value for state in PurchaseState if state.was_paid]
    chosen = select(PurchaseRow).where(PurchaseRow.state.in_(paid), PurchaseRow.created_at >= moment)
    return tuple(_purchase_of(row) for row in session.scalars(chosen.order_by(PurchaseRow.created_at)))


def change(session: Session, purchase_id: str, *, now: datetime, **values: Any) -> None:
    """Change a locked purchase; its revision goes up."""
    if isinstance(state := values.get("state"), PurchaseState):
        values["state"] = state.value
    changed = update(PurchaseRow).where(PurchaseRow.id == purchase_id)
    session.execute(changed.values(**values, revision=PurchaseRow.revision + 1, updated_at=now))


_LOST_GRANTS = text("""
    SELECT transfer.idempotency_key FROM transfer
    WHERE kind = 'grant' AND (idempotency_key LIKE 'checkout:%' OR idempotency_key LIKE 'invoice:%')
        AND NOT EXISTS (
            SELECT FROM purchase WHERE purchase.paid_at IS NOT NULL AND purchase.credits = transfer.amount
                AND purchase.account_id = transfer.account_id
                AND purchase.id = substr(transfer.idempotency_key, position(':' IN transfer.idempotency_key) + 1))
    ORDER BY 1 LIMIT 1000
""")
_UNGRANTED = text("""
    SELECT purchase.id FROM purchase
    WHERE purchase.paid_at IS NOT NULL AND purchase.credits > 0
        AND NOT EXISTS (
            SELECT FROM transfer WHERE transfer.idempotency_key =
                CASE WHEN purchase.id LIKE '%:%' THEN 'invoice:' ELSE 'checkout:' END || purchase.id)
    ORDER BY 1 LIMIT 1000
""")


def grants_without_purchase(session: Session) -> tuple[str, ...]:
    """Keys of credits in the ledger that were given as bought, and were not: there should be none."""
    return tuple(session.execute(_LOST_GRANTS).scalars())


def without_grant(session: Session) -> tuple[str, ...]:
    """Ids of paid purchases whose credits are not in the ledger: there should be none."""
    return tuple(session.execute(_UNGRANTED).scalars())


def add_reversal(session: Session, reversal: Reversal, *, now: datetime) -> None:
    """Note that credits were taken back."""
    values = asdict(reversal) | {"kind": reversal.kind.value, "created_at": now}
    session.execute(insert(ReversalRow).values(values))


def reversals(session: Session, purchase_ids: Sequence[str]) -> tuple[Reversal, ...]:
    """What was taken back of these purchases, oldest first, also what was given back again."""
    chosen = select(ReversalRow).where(ReversalRow.purchase_id.in_(list(purchase_ids)))
    rows = session.scalars(chosen.order_by(ReversalRow.created_at, ReversalRow.id))
    return tuple(
        Reversal(
            id=row.id,
            purchase_id=row.purchase_id,
            kind=ReversalKind(row.kind),
            subject=row.subject,
            credits=row.credits,
            restored_at=row.restored_at,
        )
        for row in rows
    )


def mark_restored(session: Session, reversal_id: str, *, now: datetime) -> None:
    """Note that the credits were given back after all."""
    session.execute(update(ReversalRow).where(ReversalRow.id == reversal_id).values(restored_at=now))


def _purchase_of(row: PurchaseRow) -> Purchase:
    return Purchase(
        id=row.id,
        account_id=AccountId(row.account_id),
        item=row.item,
        credits=row.credits,
        amount_minor=row.amount_minor,
        currency=row.currency,
        state=PurchaseState(row.state),
        payment_intent=row.payment_intent,
        invoice=row.invoice,
        created_at=row.created_at,
        paid_at=row.paid_at,
        revision=row.revision,
    )
