"""Subscriptions: their state, the plan that follows from it, and the credits of every invoice line that was paid."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing import plans
from billing.fulfilment import UnknownBuyer, UnknownPrice, give
from billing.plans import Plan
from billing.stripe_door import StripeDoor
from billing.stripe_records import InvoiceLineRecord, InvoiceRecord, SubscriptionRecord
from data.database import Database, Session
from data.repositories import purchases, subscriptions
from studio.errors import MelodeonError
from studio.words.credit import BlockKind
from studio.words.ids import AccountId
from studio.words.purchase import Purchase, PurchaseState
from studio.words.subscription import Subscription

LATE: Final = timedelta(days=7)
"""Credits of a month that was paid late last at least so long."""


class Overtaken(MelodeonError):
    """Somebody else has booked newer facts while Stripe was asked; ask again."""

    code = "overtaken"

    def __init__(self, subject: str) -> None:
        super().__init__(f"What Stripe told of {subject} was overtaken by something newer; it is asked again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSeen:
    """A subscription as Stripe tells it.

    Attributes:
        here: as it stood here before Stripe was asked; None when it was not known.
    """

    record: SubscriptionRecord
    here: Subscription | None


def read(database: Database, door: StripeDoor, subscription_id: str) -> SubscriptionSeen:
    """Ask Stripe how a subscription stands."""
    with database.transaction() as session:
        here = subscriptions.by_id(session, subscription_id)
    return SubscriptionSeen(record=door.subscription(subscription_id), here=here)


def book(session: Session, seen: SubscriptionSeen, *, now: datetime) -> None:
    """Book how a subscription stands; its account's plan follows.

    Raises:
        Overtaken: a newer state was booked meanwhile; nothing was written.
        UnknownPrice: it is in force at a price that is none of ours.
        UnknownBuyer: its customer is no account here.
    """
    record, what = seen.record, f"The subscription {seen.record.id}"
    # a closed account is no customer any more, but what it had ends under its name
    account_id = seen.here.account_id if seen.here else subscriptions.account_of(session, record.customer)
    if account_id is None:
        raise UnknownBuyer(what, record.customer)
    item = plans.by_lookup_key(record.lookup_key)
    subscription = Subscription(
        id=record.id,
        account_id=account_id,
        plan=item.name if isinstance(item, Plan) else "",
        status=record.status,
        current_period_end=record.current_period_end,
        cancel_at_period_end=record.cancel_at_period_end,
        revision=seen.here.revision if seen.here else 0,
    )
    if subscription.entitles and not subscription.plan:
        raise UnknownPrice(what, record.price_id)
    if not subscriptions.put(session, subscription, now=now):
        raise Overtaken(record.id)


def book_invoice(session: Session, invoice: InvoiceRecord, *, now: datetime) -> int:
    """Grant the credits of every paid line of a subscription's invoice, each once; answers how many credits.

    A line that is a whole paid month of a plan brings the plan's monthly credits, which last until the month ends.
    Parts of a month (prorations) move money, not credits, and a month that costs nothing (a trial) brings none.

    Raises:
        UnknownPrice, UnknownBuyer: it was paid and cannot be given; nothing was written.
    """
    if invoice.status != "paid" or invoice.subscription is None:
        return 0
    account_id = subscriptions.account_of(session, invoice.customer or "")
    lines = [line for line in invoice.lines if line.amount_minor > 0]
    if account_id is None and lines:
        raise UnknownBuyer(f"The invoice {invoice.id}", invoice.customer or "")
    return sum(_book_line(session, account_id, invoice, line, now=now) for line in lines if account_id is not None)


def line_purchase_id(invoice: InvoiceRecord, line: InvoiceLineRecord) -> str:
    """What the purchase of a paid invoice line is called."""
    return f"{invoice.id}:{line.id}"


def _book_line(
    session: Session, account_id: AccountId, invoice: InvoiceRecord, line: InvoiceLineRecord, *, now: datetime
) -> int:
    plan = plans.by_lookup_key(line.lookup_key)
    if not isinstance(plan, Plan):
        raise UnknownPrice(f"A line of the invoice {invoice.id}", line.price_id)
    purchase = Purchase(
        id=line_purchase_id(invoice, line),
        account_id=account_id,
        item=line.lookup_key,
        credits=0 if line.proration else plan.monthly_credits * line.quantity,
        amount_minor=line.amount_minor,
        currency=invoice.currency,
        state=PurchaseState.PAID,
        payment_intent=invoice.payment_intent or "",
        invoice=invoice.id,
        created_at=invoice.created,
        paid_at=now,
    )
    if not purchases.add(session, purchase):
        return 0
    expires_at = max(line.period_end, now + LATE)
    note = f"{plan.label}: credits of the month"
    give(session, purchase, note=note, kind=BlockKind.PLAN, expires_at=expires_at, now=now)
    return purchase.credits
