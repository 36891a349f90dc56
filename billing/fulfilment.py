"""Giving people what they paid for: the credits of a pack, once for each paid checkout, whoever asks and how often."""

from dataclasses import dataclass
from datetime import datetime

import structlog

from billing import ledger, plans
from billing.plans import Pack, Plan
from billing.stripe_door import StripeDoor
from billing.stripe_records import CheckoutMode, SessionRecord
from data.database import Database, Session
from data.repositories import purchases, subscriptions
from studio.errors import MelodeonError
from studio.words.credit import BlockKind
from studio.words.ids import AccountId
from studio.words.purchase import Purchase, PurchaseState

_log = structlog.get_logger(__name__)


class UnknownPrice(MelodeonError):
    """Money came in for something that is not in ``configs/plans.toml``: an alarm, never zero credits."""

    code = "unknown_price"

    def __init__(self, bought: str, price_id: str) -> None:
        super().__init__(
            f"{bought} was paid at the price {price_id or 'without a name'}, which is none of configs/plans.toml. "
            "Add it there and replay, or pay the money back."
        )
        self.price_id = price_id


class UnknownBuyer(MelodeonError):
    """Money came in from somebody who is no account here."""

    code = "unknown_buyer"

    def __init__(self, bought: str, customer: str) -> None:
        super().__init__(
            f"{bought} was paid by {customer or 'nobody'}, who is no account here. Find out who it was, or pay it back."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilment:
    """What became of a checkout.

    Attributes:
        state: how the purchase stands; credits are there when it is ``paid``.
        credits: what it gives; 0 for a plan, whose credits come with its invoices.
        granted: whether this very call gave them.
    """

    account_id: AccountId
    item: str
    state: PurchaseState
    credits: int
    granted: bool


def fulfil(database: Database, door: StripeDoor, session_id: str, *, now: datetime) -> Fulfilment:
    """Give what a checkout has paid for, if it has. Safe to call twice at once: by the webhook and the landing page.

    Only ``payment_status`` decides: a delayed method (SEPA, Klarna) is ``unpaid`` for days and gives nothing till then.

    Raises:
        UnknownPrice, UnknownBuyer: it was paid and cannot be given.
        StripeUnreachable, StripeRefused: it could not be read.
    """
    record = door.checkout_session(session_id)
    with database.transaction() as session:
        return book(session, record, now=now)


def book(session: Session, record: SessionRecord, *, now: datetime, failed: bool = False) -> Fulfilment:
    """Book how a checkout stands, in the caller's transaction.

    Args:
        record: as Stripe has just told it.
        failed: Stripe has said that the payment failed for good.

    Raises:
        UnknownPrice, UnknownBuyer: see `fulfil`.
    """
    purchase = _locked(session, record)
    if purchase.state.was_paid:
        return _told(purchase, granted=False)
    state = _state_of(record, failed=failed)
    if state is not PurchaseState.PAID:
        if state is not purchase.state and state is not PurchaseState.OPEN:
            purchases.change(session, purchase.id, state=state, now=now)
        return _told(purchase, state=state, granted=False)
    purchases.change(
        session,
        purchase.id,
        state=state,
        paid_at=now,
        payment_intent=record.payment_intent or "",
        invoice=record.invoice or "",
        now=now,
    )
    give(session, purchase, note=f"Bought: {label_of(purchase.item)}", kind=BlockKind.PAID, expires_at=None, now=now)
    return _told(purchase, state=state, granted=purchase.credits > 0)


def concerns_us(session: Session, record: SessionRecord) -> bool:
    """Whether a checkout was begun here, or money came by it: others that nobody paid are not our business."""
    return purchases.by_id(session, record.id) is not None or _state_of(record, failed=False) is PurchaseState.PAID


def close_forgotten(session: Session, session_id: str, *, now: datetime) -> None:
    """Close a checkout that is open here and that Stripe no longer knows."""
    for purchase in purchases.lock(session, [session_id]):
        if purchase.state is PurchaseState.OPEN:
            purchases.change(session, purchase.id, state=PurchaseState.EXPIRED, now=now)


def give(
    session: Session, purchase: Purchase, *, note: str, kind: BlockKind, expires_at: datetime | None, now: datetime
) -> None:
    """Grant the credits of a paid purchase under its own key; nothing for one that brings none."""
    if not purchase.credits:
        return
    ledger.grant(
        session,
        purchase.account_id,
        purchase.credits,
        key=purchase.grant_key,
        note=note,
        now=now,
        kind=kind,
        expires_at=expires_at,
        cost_minor=purchase.amount_minor,
        currency=purchase.currency,
    )
    told = {"account_id": purchase.account_id, "credits": purchase.credits}
    _log.info("purchase granted", purchase_id=purchase.id, item=purchase.item, **told)


def label_of(item: str) -> str:
    """What people call the item with this lookup key."""
    found = plans.by_lookup_key(item)
    return found.label if found else item


def _state_of(record: SessionRecord, *, failed: bool) -> PurchaseState:
    # a trial's checkout asks for no payment and is a subscription all the same; a pack is given for money alone
    free_trial = record.mode == CheckoutMode.SUBSCRIPTION and record.payment_status == "no_payment_required"
    if record.status == "complete" and (record.payment_status == "paid" or free_trial):
        return PurchaseState.PAID
    if failed:
        return PurchaseState.FAILED
    return PurchaseState.EXPIRED if record.status == "expired" else PurchaseState.OPEN


def _locked(session: Session, record: SessionRecord) -> Purchase:
    """The purchase of a checkout, locked; made when the checkout was begun and we did not live to note it."""
    found = purchases.lock(session, [record.id])
    if found:
        return found[0]
    account_id = AccountId(record.account_id)
    if not subscriptions.exists(session, account_id):
        raise UnknownBuyer(f"The checkout {record.id}", record.account_id)
    item, quantity = _item_of(record)
    purchases.add(
        session,
        Purchase(
            id=record.id,
            account_id=account_id,
            item=item.lookup_key,
            credits=item.credits * quantity if isinstance(item, Pack) else 0,
            amount_minor=record.amount_minor,
            currency=record.currency,
            created_at=record.created,
        ),
    )
    return purchases.lock(session, [record.id])[0]


def _item_of(record: SessionRecord) -> tuple[Pack | Plan, int]:
    line = record.lines[0] if len(record.lines) == 1 else None
    item = plans.by_lookup_key(line.lookup_key) if line else None
    if line is None or item is None:
        raise UnknownPrice(f"The checkout {record.id}", line.price_id if line else "")
    return item, line.quantity


def _told(purchase: Purchase, *, granted: bool, state: PurchaseState | None = None) -> Fulfilment:
    return Fulfilment(
        account_id=purchase.account_id,
        item=purchase.item,
        state=state or purchase.state,
        credits=purchase.credits,
        granted=granted,
    )
