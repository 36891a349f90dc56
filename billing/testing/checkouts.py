"""Checkout sessions: what the person at the page may do, and what comes of it later."""

from typing import Final

from billing.testing import objects
from billing.testing.agenda import Agenda
from billing.testing.payments import Payments
from billing.testing.refusal import Refusal
from billing.testing.shelves import Json, Shelves
from billing.testing.subscriptions import DAY_S, Subscriptions

TRANSFER_DAYS: Final = 5
"""Days from ordering a SEPA debit to knowing whether the money came."""


class Checkouts:
    """Checkout sessions over the fake's shelves."""

    def __init__(self, shelves: Shelves, payments: Payments, subscriptions: Subscriptions, agenda: Agenda) -> None:
        self._shelves = shelves
        self._payments = payments
        self._subscriptions = subscriptions
        self._agenda = agenda

    def open(self, params: Json, items: list[Json], *, base_url: str) -> Json:
        """A new session."""
        made = self._shelves.put(objects.checkout_session(self._shelves, params, items, base_url=base_url))
        self._agenda.note(made["expires_at"], "expire", made["id"])
        return made

    def pay(self, session_id: str) -> Json:
        """The person pays by card, and it works.

        Raises:
            Refusal: the session is not open any more.
        """
        session = self._begin(session_id)
        if session["mode"] == "subscription":
            invoice = self._shelves.get("invoice", session["invoice"])
            self._subscriptions.settle_invoice(invoice, good=True)
        else:
            self._payments.succeed(self._intent(session))
        session["payment_status"] = "paid" if session["amount_total"] else "no_payment_required"
        self._complete(session)
        return session

    def pay_later(self, session_id: str) -> Json:
        """The person orders a bank transfer: the session is complete, the money is not there for days.

        Raises:
            Refusal: the session is not open any more.
        """
        session = self._begin(session_id)
        if not session["amount_total"]:
            self._subscriptions.settle_invoice(self._shelves.get("invoice", session["invoice"]), good=True)
            session["payment_status"] = "no_payment_required"
        else:
            self._payments.begin(self._intent(session))
            session["_settles_at"] = self._shelves.now() + TRANSFER_DAYS * DAY_S
            self._agenda.note(session["_settles_at"], "settle", session["id"])
        self._complete(session)
        return session

    def decline(self, session_id: str) -> Json:
        """The person's card is declined; the session stays open for another try.

        Raises:
            Refusal: the session is not open any more.
        """
        session = self._open(session_id)
        intent = self._payments.open(
            amount=session["amount_total"], currency=session["currency"], customer_id=session["customer"], metadata={}
        )
        self._payments.fail(intent)
        return session

    def settle(self, session_id: str, *, good: bool) -> Json:
        """The bank transfer came, or will not come.

        Raises:
            Refusal: the session waits for no transfer.
        """
        session = self._shelves.get("checkout.session", session_id)
        if session["_settles_at"] is None:
            raise Refusal("This session waits for no bank transfer.")
        session["_settles_at"] = None
        intent = self._intent(session)
        move = self._payments.succeed if good else self._payments.fail
        move(intent, method="sepa_debit")
        if session["mode"] == "subscription":
            invoice = self._shelves.get("invoice", session["invoice"])
            after = self._subscriptions.paid_later if good else self._subscriptions.not_paid
            after(invoice)
        if good:
            session["payment_status"] = "paid"
        self._shelves.emit(f"checkout.session.async_payment_{'succeeded' if good else 'failed'}", session)
        return session

    def expire(self, session_id: str) -> Json:
        """The session cannot be paid any more.

        Raises:
            Refusal: it is not open.
        """
        session = self._open(session_id)
        session.update(status="expired", url=None)
        self._shelves.emit("checkout.session.expired", session)
        return session

    def _open(self, session_id: str) -> Json:
        session = self._shelves.get("checkout.session", session_id)
        if session["status"] != "open":
            raise Refusal(f"This Checkout Session has status {session['status']}; only open ones can be acted upon.")
        return session

    def _begin(self, session_id: str) -> Json:
        """Makes what the session sells: a subscription with its invoice, or a payment."""
        session = self._open(session_id)
        if session["customer"] is None:
            made = objects.customer(self._shelves, name=None, email="somebody@example.org", metadata={})
            session["customer"] = self._shelves.put(made)["id"]
            self._shelves.emit("customer.created", made)
        if session["mode"] == "subscription":
            subscription, invoice = self._subscriptions.begin(
                customer_id=session["customer"],
                price=session["_line_items"]["data"][0]["price"],
                trial_days=session["_trial_days"],
                metadata=session["_about"],
            )
            session.update(subscription=subscription["id"], invoice=invoice["id"])
            if session["_trial_days"]:
                session.update(amount_total=0, amount_subtotal=0)
        else:
            intent = self._payments.open(
                amount=session["amount_total"],
                currency=session["currency"],
                customer_id=session["customer"],
                metadata=session["_about"],
            )
            session["payment_intent"] = intent["id"]
        return session

    def _intent(self, session: Json) -> Json:
        if session["mode"] == "subscription":
            return self._subscriptions.intent_of(self._shelves.get("invoice", session["invoice"]))
        return self._shelves.get("payment_intent", session["payment_intent"])

    def _complete(self, session: Json) -> None:
        customer = self._shelves.get("customer", session["customer"])
        details = dict.fromkeys(("address", "business_name", "individual_name", "phone", "tax_exempt", "tax_ids"))
        session.update(status="complete", url=None)
        session["customer_details"] = {**details, "email": customer["email"], "name": customer["name"]}
        self._shelves.emit("checkout.session.completed", session)
