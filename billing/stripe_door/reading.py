"""From the library's objects to our records: the only lines that know where Stripe keeps what."""

from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import stripe

from billing.stripe_records import (
    ChargeRecord,
    DisputeRecord,
    EventRecord,
    LineRecord,
    PriceItem,
    SessionRecord,
    SubscriptionRecord,
)

ITEM: Final = "melodeon_item"
"""Metadata of a price: our name for it. A lookup key wanders to the next price when an amount changes; this stays."""


class Identified(Protocol):
    """An expanded object."""

    id: str


def id_of(value: str | Identified | None) -> str | None:
    """The id of something that may have been expanded."""
    return value if value is None or isinstance(value, str) else value.id


def moment(seconds: int) -> datetime:
    """Stripe's time as ours, aware UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds(moment: datetime) -> int:
    """Our time as Stripe's."""
    return int(moment.timestamp())


def name_of(price: stripe.Price) -> str:
    """Our name for a price, also for one that was replaced and lost its lookup key to the new one."""
    if price.lookup_key:
        return price.lookup_key
    return str(price.metadata[ITEM]) if ITEM in price.metadata else ""


def is_price_of(price: stripe.Price, item: PriceItem) -> bool:
    """Whether the price is what the item costs now."""
    interval: Literal["month"] | None = "month" if item.monthly else None
    return (
        price.unit_amount == item.amount_minor
        and price.currency == item.currency
        and (price.recurring.interval if price.recurring else None) == interval
    )


def payment_of(charge: stripe.Charge) -> stripe.params.InvoicePaymentListParamsPayment:
    """The filter for the invoice that this charge paid."""
    return {"type": "payment_intent", "payment_intent": id_of(charge.payment_intent) or ""}


def event_record(event: stripe.Event) -> EventRecord:
    """An event of Stripe's list."""
    return EventRecord(
        id=event.id,
        type=event.type,
        object_id=str(event.data.object["id"]) if "id" in event.data.object else "",
        created=moment(event.created),
        livemode=event.livemode,
    )


def session_record(session: stripe.checkout.Session) -> SessionRecord:
    """A session retrieved with its line items."""
    items = session.line_items.data if session.line_items else []
    return SessionRecord(
        id=session.id,
        mode=session.mode,
        status=session.status or "open",
        payment_status=session.payment_status,
        customer=id_of(session.customer),
        account_id=session.client_reference_id or "",
        lines=tuple(
            LineRecord(
                lookup_key=name_of(item.price) if item.price else "",
                price_id=item.price.id if item.price else "",
                quantity=1 if item.quantity is None else item.quantity,
            )
            for item in items
        ),
        payment_intent=id_of(session.payment_intent),
        subscription=id_of(session.subscription),
        invoice=id_of(session.invoice),
        amount_minor=session.amount_total or 0,
        currency=session.currency or "",
        created=moment(session.created),
    )


def subscription_record(subscription: stripe.Subscription) -> SubscriptionRecord:
    """A subscription; ours have one item."""
    item = subscription.items.data[0]
    return SubscriptionRecord(
        id=subscription.id,
        customer=id_of(subscription.customer) or "",
        status=subscription.status,
        lookup_key=name_of(item.price),
        price_id=item.price.id,
        current_period_end=moment(item.current_period_end),
        cancel_at_period_end=subscription.cancel_at_period_end,
    )


def charge_record(charge: stripe.Charge, invoices_paid: dict[str, str]) -> ChargeRecord:
    """A charge.

    Args:
        invoices_paid: invoice by payment intent.
    """
    intent = id_of(charge.payment_intent)
    return ChargeRecord(
        id=charge.id,
        payment_intent=intent,
        customer=id_of(charge.customer),
        amount_minor=charge.amount,
        refunded_minor=charge.amount_refunded,
        currency=charge.currency,
        paid=charge.paid,
        disputed=charge.disputed,
        invoice=invoices_paid[intent] if intent in invoices_paid else None,  # noqa: SIM401 - no ".get(" in this package
        created=moment(charge.created),
    )


def dispute_record(dispute: stripe.Dispute) -> DisputeRecord:
    """A dispute."""
    return DisputeRecord(
        id=dispute.id,
        charge=id_of(dispute.charge) or "",
        payment_intent=id_of(dispute.payment_intent),
        status=dispute.status,
        amount_minor=dispute.amount,
        created=moment(dispute.created),
    )
