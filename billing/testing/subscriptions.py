"""Subscriptions over time: the first invoice, renewals, declined cards and their retries, changes of plan, the end."""

from datetime import UTC, datetime
from typing import Final

from billing.testing import billing_objects
from billing.testing.agenda import Agenda
from billing.testing.objects import plan_of
from billing.testing.payments import Payments
from billing.testing.refusal import Refusal
from billing.testing.shelves import Json, Shelves

DAY_S: Final = 86_400
RETRIES_AFTER_DAYS: Final = (3, 5, 7)
"""Days from one declined try of an invoice to the next; after the last the subscription ends."""

_ENDED: Final = ("canceled", "incomplete_expired")


def month_after(moment_s: int, anchor_s: int) -> int:
    """The same time a month later, on the anchor's day of the month or the month's last."""
    moment, anchor = datetime.fromtimestamp(moment_s, UTC), datetime.fromtimestamp(anchor_s, UTC)
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    for day in (anchor.day, 30, 29, 28):
        try:
            return int(moment.replace(year=year, month=month, day=min(day, anchor.day)).timestamp())
        except ValueError:
            continue
    raise AssertionError


class Subscriptions:
    """Subscriptions over the fake's shelves."""

    def __init__(self, shelves: Shelves, payments: Payments, agenda: Agenda) -> None:
        self._shelves = shelves
        self._payments = payments
        self._agenda = agenda

    def begin(self, *, customer_id: str, price: Json, trial_days: int, metadata: Json) -> tuple[Json, Json]:
        """A new subscription and its first invoice, not paid yet (of nothing, for a trial)."""
        now = self._shelves.now()
        trial_end = now + trial_days * DAY_S if trial_days else None
        end = trial_end or month_after(now, now)
        made = self._shelves.put(
            billing_objects.subscription(
                self._shelves,
                customer_id=customer_id,
                price=price,
                start=now,
                end=end,
                trial_end=trial_end,
                metadata=metadata,
            )
        )
        self._agenda.note(end, "renew", made["id"])
        amount = 0 if trial_days else price["unit_amount"]
        what = f"Trial period for {self._name(price)}" if trial_days else f"1 × {self._name(price)} (at a month)"
        line = billing_objects.invoice_line(
            self._shelves, of=made, price=price, amount=amount, what=what, span=(now, end), proration=False
        )
        invoice = self._invoice(made, [line], "subscription_create")
        self._shelves.emit("customer.subscription.created", made)
        return made, invoice

    def settle_invoice(self, invoice: Json, *, good: bool) -> None:
        """Tries to take an open invoice's money, from the card or from what the customer has to his credit."""
        if not invoice["amount_due"]:
            self._paid(invoice)
            return
        intent = self.intent_of(invoice)
        invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + 1)
        if good:
            self._payments.succeed(intent)
            self._paid(invoice)
        else:
            self._payments.fail(intent)
            self._declined(invoice)

    def intent_of(self, invoice: Json) -> Json:
        """The payment intent that is meant to pay an invoice."""
        if invoice["_tie"]:
            tie = self._shelves.get("invoice_payment", invoice["_tie"])
            return self._shelves.get("payment_intent", tie["payment"]["payment_intent"])
        intent = self._payments.open(
            amount=invoice["amount_due"], currency=invoice["currency"], customer_id=invoice["customer"], metadata={}
        )
        tie = self._shelves.put(billing_objects.invoice_payment(self._shelves, invoice, intent))
        invoice["_tie"] = tie["id"]
        return intent

    def renew(self, subscription_id: str) -> Json:
        """The period is over: the next one begins with an invoice, or the subscription ends as it was asked to.

        Raises:
            Refusal: it has ended already.
        """
        held = self._living(subscription_id)
        if held["cancel_at_period_end"]:
            return self.end(subscription_id)
        item = held["items"]["data"][0]
        start = item["current_period_end"]
        end = month_after(start, held["billing_cycle_anchor"])
        before = {"items": None, "status": held["status"]}
        item.update(current_period_start=start, current_period_end=end)
        self._agenda.note(end, "renew", held["id"])
        if held["status"] == "trialing":
            held["status"] = "active"
        price = item["price"]
        line = billing_objects.invoice_line(
            self._shelves,
            of=held,
            price=price,
            amount=price["unit_amount"],
            what=f"1 × {self._name(price)} (at a month)",
            span=(start, end),
            proration=False,
        )
        invoice = self._invoice(held, [line], "subscription_cycle")
        self._shelves.emit("customer.subscription.updated", held, before)
        self.settle_invoice(invoice, good=self._card_works(held))
        return held

    def switch(self, subscription_id: str, price_id: str) -> Json:
        """Another price from now on: what is left of the old period is given back, of the new one charged, at once.

        Raises:
            Refusal: it has ended, or has this price already.
        """
        held, new = self._living(subscription_id), self._shelves.get("price", price_id, param="price")
        item = held["items"]["data"][0]
        old, now, end = item["price"], self._shelves.now(), item["current_period_end"]
        if old["id"] == new["id"]:
            raise Refusal("The subscription has this price already.")
        share = (end - now) / max(1, end - item["current_period_start"])
        item.update(price=new, plan=plan_of(new))
        self._shelves.emit("customer.subscription.updated", held, {"items": {"data": [{"price": old}]}})
        if held["status"] == "trialing":
            return held
        parts = ((old, -1, "Unused time on"), (new, 1, "Remaining time on"))
        lines = [
            billing_objects.invoice_line(
                self._shelves,
                of=held,
                price=price,
                amount=sign * round(price["unit_amount"] * share),
                what=f"{words} {self._name(price)}",
                span=(now, end),
                proration=True,
            )
            for price, sign, words in parts
        ]
        self.settle_invoice(self._invoice(held, lines, "subscription_update"), good=self._card_works(held))
        return held

    def cancel_at_period_end(self, subscription_id: str, *, wanted: bool) -> Json:
        """Ends with the period, or goes on after all.

        Raises:
            Refusal: it has ended already.
        """
        held = self._living(subscription_id)
        if held["cancel_at_period_end"] != wanted:
            end = held["items"]["data"][0]["current_period_end"]
            held.update(cancel_at_period_end=wanted, cancel_at=end if wanted else None)
            held.update(canceled_at=self._shelves.now() if wanted else None)
            self._shelves.emit("customer.subscription.updated", held, {"cancel_at_period_end": not wanted})
        return held

    def end(self, subscription_id: str) -> Json:
        """Ends now; an invoice still open is given up.

        Raises:
            Refusal: it has ended already.
        """
        held, now = self._living(subscription_id), self._shelves.now()
        held.update(status="canceled", ended_at=now, canceled_at=held["canceled_at"] or now)
        for invoice in self.open_invoices():
            if self._of(invoice) == held["id"]:
                invoice.update(status="uncollectible", next_payment_attempt=None)
                invoice["status_transitions"]["marked_uncollectible_at"] = now
                self._shelves.emit("invoice.marked_uncollectible", invoice)
        self._shelves.emit("customer.subscription.deleted", held)
        return held

    def retry(self, invoice: Json) -> None:
        """Tries an open invoice again, with whatever card the customer has now."""
        held = self._shelves.get("subscription", self._of(invoice))
        self.settle_invoice(invoice, good=self._card_works(held))

    def living(self) -> list[Json]:
        """The subscriptions that have not ended."""
        return [held for held in self._shelves.all("subscription") if held["status"] not in _ENDED]

    def open_invoices(self) -> list[Json]:
        """The invoices that wait for money."""
        return [invoice for invoice in self._shelves.all("invoice") if invoice["status"] == "open"]

    def paid_later(self, invoice: Json) -> None:
        """An invoice whose bank transfer has come."""
        self._paid(invoice)

    def not_paid(self, invoice: Json) -> None:
        """An invoice whose bank transfer did not come."""
        invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + 1)
        self._declined(invoice)

    def _invoice(self, held: Json, lines: list[Json], reason: str) -> Json:
        item, customer = held["items"]["data"][0], self._shelves.get("customer", held["customer"])
        span = (item["current_period_start"], item["current_period_end"])
        made = self._shelves.put(
            billing_objects.invoice(self._shelves, of=held, customer=customer, lines=lines, reason=reason, span=span)
        )
        customer["balance"] = made["ending_balance"]
        held["latest_invoice"] = made["id"]
        self._shelves.emit("invoice.created", made)
        self._shelves.emit("invoice.finalized", made)
        return made

    def _paid(self, invoice: Json) -> None:
        invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None)
        invoice["status_transitions"]["paid_at"] = self._shelves.now()
        if invoice["_tie"]:
            tie = self._shelves.get("invoice_payment", invoice["_tie"])
            tie.update(status="paid", amount_paid=invoice["amount_due"])
            tie["status_transitions"]["paid_at"] = self._shelves.now()
            self._shelves.emit("invoice_payment.paid", tie)
        self._shelves.emit("invoice.paid", invoice)
        self._shelves.emit("invoice.payment_succeeded", invoice)
        held = self._shelves.get("subscription", self._of(invoice))
        if held["status"] == "past_due":
            held["status"] = "active"
            self._shelves.emit("customer.subscription.updated", held, {"status": "past_due"})

    def _declined(self, invoice: Json) -> None:
        tries = invoice["attempt_count"]
        again = tries <= len(RETRIES_AFTER_DAYS)
        next_try = self._shelves.now() + RETRIES_AFTER_DAYS[tries - 1] * DAY_S if again else None
        invoice["next_payment_attempt"] = next_try
        if next_try:
            self._agenda.note(next_try, "retry", invoice["id"])
        self._shelves.emit("invoice.payment_failed", invoice)
        held = self._shelves.get("subscription", self._of(invoice))
        if held["status"] == "active":
            held["status"] = "past_due"
            self._shelves.emit("customer.subscription.updated", held, {"status": "active"})
        if not again:
            self.end(held["id"])

    def _living(self, subscription_id: str) -> Json:
        held = self._shelves.get("subscription", subscription_id)
        if held["status"] in _ENDED:
            raise Refusal(f"No such subscription: '{subscription_id}'", status=404, reason="resource_missing")
        return held

    def _card_works(self, held: Json) -> bool:
        return bool(self._shelves.get("customer", held["customer"])["_card_works"])

    def _name(self, price: Json) -> str:
        return str(self._shelves.get("product", price["product"])["name"])

    @staticmethod
    def _of(invoice: Json) -> str:
        return str(invoice["parent"]["subscription_details"]["subscription"])
