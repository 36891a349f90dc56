"""What happens to money: payments tried, refunds, disputes; each with the events that Stripe sends of it."""

from billing.testing import objects
from billing.testing.refusal import Refusal
from billing.testing.shelves import Json, Shelves


class Payments:
    """Payments over the fake's shelves."""

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves

    def open(self, *, amount: int, currency: str, customer_id: str | None, metadata: Json) -> Json:
        """A payment intent for an amount."""
        intent = objects.payment_intent(
            self._shelves, amount=amount, currency=currency, customer_id=customer_id, metadata=metadata
        )
        self._shelves.put(intent)
        self._shelves.emit("payment_intent.created", intent)
        return intent

    def succeed(self, intent: Json, *, method: str = "card") -> Json:
        """The money came; a pending charge becomes the one that succeeded."""
        pending = self._latest(intent)
        if pending is not None and pending["status"] == "pending":
            pending.update(status="succeeded", paid=True)
            charge = pending
        else:
            charge = self._shelves.put(objects.charge(self._shelves, intent, status="succeeded", method=method))
        intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
        intent.update(last_payment_error=None, processing=None)
        self._shelves.emit("charge.succeeded", charge)
        self._shelves.emit("payment_intent.succeeded", intent)
        return charge

    def begin(self, intent: Json) -> Json:
        """A bank transfer was ordered: it takes days until it is known whether the money comes."""
        charge = self._shelves.put(objects.charge(self._shelves, intent, status="pending", method="sepa_debit"))
        intent.update(status="processing", latest_charge=charge["id"])
        self._shelves.emit("charge.pending", charge)
        self._shelves.emit("payment_intent.processing", intent)
        return charge

    def fail(self, intent: Json, *, method: str = "card") -> Json:
        """The card was declined, or the bank sent no money."""
        pending = self._latest(intent)
        if pending is not None and pending["status"] == "pending":
            pending.update(status="failed", paid=False, captured=False, amount_captured=0)
            pending.update(failure_code="payment_failed", failure_message="The bank sent no money.")
            charge = pending
        else:
            charge = self._shelves.put(objects.charge(self._shelves, intent, status="failed", method=method))
        error = {"type": "card_error", "code": "card_declined", "message": "The payment was declined."}
        intent.update(status="requires_payment_method", latest_charge=charge["id"], last_payment_error=error)
        self._shelves.emit("charge.failed", charge)
        self._shelves.emit("payment_intent.payment_failed", intent)
        return charge

    def refund(
        self, charge_id: str, amount: int | None = None, *, reason: str | None = None, metadata: Json | None = None
    ) -> Json:
        """Gives a charge back, or a part of it.

        Raises:
            Refusal: it was not paid, or less is left than ``amount``.
        """
        charge = self._shelves.get("charge", charge_id, param="charge")
        left = charge["amount"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if not charge["paid"] or left == 0:
            raise Refusal(f"Charge {charge_id} has already been refunded.", reason="charge_already_refunded")
        if not 0 < amount <= left:
            raise Refusal(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
        made = self._shelves.put(
            objects.refund(self._shelves, charge, amount=amount, reason=reason, metadata=metadata or {})
        )
        before = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self._shelves.emit("refund.created", made)
        self._shelves.emit("charge.refunded", charge, before)
        return made

    def dispute(self, charge_id: str, *, reason: str = "fraudulent") -> Json:
        """The payer's bank calls a charge back: the money is gone until the dispute is won.

        Raises:
            Refusal: the charge was not paid, or is disputed already.
        """
        charge = self._shelves.get("charge", charge_id, param="charge")
        if not charge["paid"] or charge["disputed"]:
            raise Refusal(f"Charge {charge_id} cannot be disputed.")
        made = self._shelves.put(objects.dispute(self._shelves, charge, reason=reason))
        charge["disputed"] = True
        self._shelves.emit("charge.dispute.created", made)
        self._shelves.emit("charge.dispute.funds_withdrawn", made)
        return made

    def close_dispute(self, dispute_id: str, *, won: bool) -> Json:
        """The payer's bank decides.

        Raises:
            Refusal: it has decided already.
        """
        dispute = self._shelves.get("dispute", dispute_id)
        if dispute["status"] in ("won", "lost"):
            raise Refusal("This dispute is already closed.")
        before = {"status": dispute["status"]}
        dispute["status"] = "won" if won else "lost"
        self._shelves.emit("charge.dispute.updated", dispute, before)
        self._shelves.emit("charge.dispute.closed", dispute)
        if won:
            self._shelves.emit("charge.dispute.funds_reinstated", dispute)
        return dispute

    def _latest(self, intent: Json) -> Json | None:
        return self._shelves.find(intent["latest_charge"]) if intent["latest_charge"] else None
