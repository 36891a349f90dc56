"""What the product knows of Stripe's objects: frozen records, made once at the edge by ``billing.stripe_door``.

Ids are Stripe's own text. Amounts are in the currency's minor unit (cents), currencies lower-case ISO 4217, times
aware UTC. A text that Stripe leaves out is ``""``, an object that it leaves out is None.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CheckoutMode(StrEnum):
    """What a checkout sells: something once, or a subscription."""

    PAYMENT = "payment"
    SUBSCRIPTION = "subscription"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceItem:
    """Something for sale as ``StripeDoor.sync_prices`` writes it to Stripe.

    Attributes:
        lookup_key: our name of it, for ever: ``pack_NAME`` or ``plan_NAME_monthly``.
        label: shown on Stripe's pages and invoices.
        monthly: paid every month; otherwise once.
    """

    lookup_key: str
    label: str
    amount_minor: int
    currency: str
    monthly: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One message of Stripe's: what happened to which object. Only a hint: the object is read again before acting.

    Attributes:
        object_id: the object it is about; ``""`` for the few kinds whose object has no id.
        livemode: whether real money is meant.
    """

    id: str
    type: str
    object_id: str
    created: datetime
    livemode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout just opened: send the person to ``url``."""

    id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRecord:
    """What a checkout sells. ``lookup_key`` is ``""`` for a price that is none of ours."""

    lookup_key: str
    price_id: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A checkout session.

    Attributes:
        status: ``open``, ``complete`` or ``expired``.
        payment_status: ``paid``, ``unpaid`` or ``no_payment_required``; a delayed method is ``complete`` and
            ``unpaid`` for days.
        account_id: our Account (``client_reference_id``), ``""`` if somebody else's program made the session.
    """

    id: str
    mode: str
    status: str
    payment_status: str
    customer: str | None
    account_id: str
    lines: tuple[LineRecord, ...]
    payment_intent: str | None
    subscription: str | None
    invoice: str | None
    amount_minor: int
    currency: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLineRecord:
    """One line of an invoice; ``amount_minor`` is negative where a change of plan gives money back."""

    id: str
    lookup_key: str
    price_id: str
    quantity: int
    amount_minor: int
    proration: bool
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """An invoice.

    Attributes:
        status: ``draft``, ``open``, ``paid``, ``uncollectible`` or ``void``.
        billing_reason: ``subscription_create``, ``subscription_cycle``, ``subscription_update``, ``manual`` …
        payment_intent: what paid it; None for an invoice of nothing (a trial) or one not tried yet.
    """

    id: str
    status: str
    customer: str | None
    subscription: str | None
    lines: tuple[InvoiceLineRecord, ...]
    amount_paid_minor: int
    currency: str
    billing_reason: str
    payment_intent: str | None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecord:
    """A subscription to one plan.

    Attributes:
        status: ``trialing``, ``active``, ``past_due``, ``canceled``, ``unpaid``, ``incomplete`` …
        lookup_key: of its price; ``""`` for a price that is none of ours.
        cancel_at_period_end: it ends by itself at ``current_period_end``.
    """

    id: str
    customer: str
    status: str
    lookup_key: str
    price_id: str
    current_period_end: datetime
    cancel_at_period_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRecord:
    """Money taken, and how much of it was given back.

    Attributes:
        refunded_minor: the sum of its refunds, 0 to ``amount_minor``.
        disputed: whether there is a dispute about it, whatever became of it.
        invoice: the invoice it paid; None for a checkout in mode ``payment``.
    """

    id: str
    payment_intent: str | None
    customer: str | None
    amount_minor: int
    refunded_minor: int
    currency: str
    paid: bool
    disputed: bool
    invoice: str | None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRecord:
    """A payment called back by the payer's bank; ``status`` ends as ``won`` or ``lost``."""

    id: str
    charge: str
    payment_intent: str | None
    status: str
    amount_minor: int
    created: datetime
