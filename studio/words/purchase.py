"""Purchase: what somebody bought for money; Reversal: credits of it that were taken back."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from studio.words.ids import AccountId


class PurchaseState(StrEnum):
    """How a purchase stands. ``refunded``: all of the money went back. ``disputed``: open, or lost for good."""

    OPEN = "open"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    DISPUTED = "disputed"

    @property
    def was_paid(self) -> bool:
        """Whether the money came in once, whatever became of it later."""
        return self in (PurchaseState.PAID, PurchaseState.REFUNDED, PurchaseState.DISPUTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One thing bought: a pack or a plan through a checkout, or one line of a paid invoice of a subscription.

    Attributes:
        id: of the checkout session (``cs_…``), or of the invoice and its line (``in_…:il_…``).
        item: lookup key of the price: a pack or a plan.
        credits: what it gives, ≥ 0, as promised when it was begun; 0 for the checkout of a plan, whose credits come
            with its invoices.
        amount_minor: what it costs in the currency's smallest unit, ≥ 0.
        currency: ISO 4217 in small letters.
        payment_intent, invoice: Stripe's ids, empty until they are known.
        revision: goes up with every change.
    """

    id: str
    account_id: AccountId
    item: str
    credits: int
    amount_minor: int
    currency: str
    state: PurchaseState = PurchaseState.OPEN
    payment_intent: str = ""
    invoice: str = ""
    created_at: datetime
    paid_at: datetime | None = None
    revision: int = 0

    @property
    def grant_key(self) -> str:
        """The ledger's idempotency key of the credits it gives."""
        return grant_key(self.id)


def grant_key(purchase_id: str) -> str:
    """The ledger's idempotency key of the credits that a purchase gives."""
    return f"{'invoice' if ':' in purchase_id else 'checkout'}:{purchase_id}"


class ReversalKind(StrEnum):
    """Why credits were taken back."""

    REFUND = "refund"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """Credits taken back because money went back.

    Attributes:
        id: the ledger's idempotency key of taking them.
        subject: id of the charge that was refunded, or of the dispute.
        credits: how many, > 0.
        restored_at: when they were given back after all; None while they are taken.
    """

    id: str
    purchase_id: str
    kind: ReversalKind
    subject: str
    credits: int
    restored_at: datetime | None = None
