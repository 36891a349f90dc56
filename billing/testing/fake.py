"""The fake Stripe as tests and the program use it."""

import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from billing.testing.agenda import Agenda, Entry
from billing.testing.api import Api
from billing.testing.checkouts import Checkouts
from billing.testing.clock import Clock, VirtualClock
from billing.testing.faults import Faults
from billing.testing.idempotency import IdempotencyKeys
from billing.testing.keys import fresh_keys
from billing.testing.pages import Pages
from billing.testing.payments import Payments
from billing.testing.server import Desk, Server
from billing.testing.shelves import Json, Shelves
from billing.testing.subscriptions import Subscriptions
from billing.testing.webhooks import Webhooks

_PUMP_S: Final = 0.2


class FakeStripe:
    """A Stripe of our own: real HTTP behind the unmodified library, in memory, with its own time.

    In a test: ``with FakeStripe() as fake`` and ``StripeDoor(fake.api_key, (fake.webhook_secret,),
    fake.url)``. Webhooks wait until ``deliver()`` is called or the clock advances; with a clock that runs by itself
    (the program) ``run_by_itself`` sends them.

    Args:
        clock: a ``VirtualClock`` that stands at the present if not given.
        api_key: what callers must show; made up if not given.
        webhook_secret: what webhooks are signed with; made up if not given.
        port: 0 for any free one.
        seed: of duplicates, losses and the other trouble of webhooks.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        api_key: str | None = None,
        webhook_secret: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
    ) -> None:
        self.clock = clock = VirtualClock(datetime.now(UTC)) if clock is None else clock
        made = fresh_keys()
        self.api_key = api_key or made.api_key
        self.webhook_secret = webhook_secret or made.webhook_secret
        self.faults = Faults()
        self._agenda = Agenda()
        self._shelves = Shelves(clock, secrets.token_hex(4))
        self.webhooks = Webhooks(self._shelves, self.webhook_secret, seed=seed, signed_at=clock.now)
        self._payments = Payments(self._shelves)
        self._subscriptions = Subscriptions(self._shelves, self._payments, self._agenda)
        self._checkouts = Checkouts(self._shelves, self._payments, self._subscriptions, self._agenda)
        self._pages = Pages(self._shelves, self._payments, self._subscriptions, self._checkouts)
        api = Api(self._shelves, self._payments, self._subscriptions, self._checkouts, lambda: self.url)
        self._desk = Desk(api, self._pages, IdempotencyKeys(clock), self.faults, self.api_key)
        self._server = Server(self._desk, host, port)
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._stack = ExitStack()
        if isinstance(clock, VirtualClock):
            clock.on_advance(self._live_until)

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-stripe")
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._server.end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def deliver_to(self, url: str | None) -> None:
        """Sends the events from now on to this address; None: to nobody."""
        self.webhooks.url = url

    def deliver(self) -> int:
        """Sends the webhooks that are due now, and returns how many requests were made."""
        return self.webhooks.deliver()

    def run_by_itself(self, state: Path | None = None) -> None:
        """Sends webhooks and lets things fall due as time passes; for a clock that runs by itself.

        Args:
            state: a file that keeps everything over a restart but the idempotency keys.
        """
        if state is not None:
            if state.exists():
                self._shelves.load(state)
                self._remember()
            self._desk.after_change = lambda: self._shelves.save(state)
        stop = threading.Event()

        def pump() -> None:
            while not stop.wait(_PUMP_S):
                sent = self.webhooks.sent
                self._live_until(self.clock.now())
                if self.webhooks.sent > sent:
                    self._desk.after_change()

        thread = threading.Thread(target=pump, name="fake-stripe-time")
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(stop.set)

    # what people and banks do

    def pay(self, session_id: str) -> Json:
        """The person pays a checkout by card."""
        return self._do(lambda: self._checkouts.pay(session_id))

    def pay_later(self, session_id: str) -> Json:
        """The person pays a checkout by bank transfer, which arrives after five days (or ``settle``, or ``fail``)."""
        return self._do(lambda: self._checkouts.pay_later(session_id))

    def settle(self, session_id: str) -> Json:
        """The bank transfer of a checkout arrives now."""
        return self._do(lambda: self._checkouts.settle(session_id, good=True))

    def fail(self, session_id: str) -> Json:
        """The payment fails: an open checkout's card is declined, a bank transfer under way does not come."""
        session = self._shelves.get("checkout.session", session_id)
        if session["status"] == "open":
            return self._do(lambda: self._checkouts.decline(session_id))
        return self._do(lambda: self._checkouts.settle(session_id, good=False))

    def expire(self, session_id: str) -> Json:
        """An open checkout is given up."""
        return self._do(lambda: self._checkouts.expire(session_id))

    def renew(self, subscription_id: str) -> Json:
        """A month later for one subscription, without moving the clock."""
        return self._do(lambda: self._subscriptions.renew(subscription_id))

    def switch(self, subscription_id: str, price_id: str) -> Json:
        """An upgrade or a downgrade, invoiced at once by share of the period."""
        return self._do(lambda: self._subscriptions.switch(subscription_id, price_id))

    def cancel(self, subscription_id: str, *, at_period_end: bool = True) -> Json:
        """The person cancels in the portal; or, at once, the operator."""
        if at_period_end:
            return self._do(lambda: self._subscriptions.cancel_at_period_end(subscription_id, wanted=True))
        return self._do(lambda: self._subscriptions.end(subscription_id))

    def resume(self, subscription_id: str) -> Json:
        """The person takes a cancellation back."""
        return self._do(lambda: self._subscriptions.cancel_at_period_end(subscription_id, wanted=False))

    def set_card(self, customer_id: str, *, works: bool) -> None:
        """The customer's card is declined from now on, or a good one is put in (open invoices are paid at once)."""
        with self._shelves.lock:
            self._pages.set_card(customer_id, works=works)

    def refund(self, charge_id: str, amount: int | None = None) -> Json:
        """Gives a charge back, or a part of it (minor units)."""
        return self._do(lambda: self._payments.refund(charge_id, amount))

    def dispute(self, charge_id: str) -> Json:
        """The payer's bank calls a charge back."""
        return self._do(lambda: self._payments.dispute(charge_id))

    def close_dispute(self, dispute_id: str, *, won: bool) -> Json:
        """The dispute is decided."""
        return self._do(lambda: self._payments.close_dispute(dispute_id, won=won))

    def all(self, kind: str) -> list[Json]:
        """Every object of a kind (``checkout.session``, ``charge``, ``event`` …), oldest first."""
        return self._shelves.all(kind)

    def charge_of(self, payment_intent: str) -> Json:
        """The latest charge of a payment intent."""
        return [charge for charge in self.all("charge") if charge["payment_intent"] == payment_intent][-1]

    def _do(self, deed: Callable[[], Json]) -> Json:
        with self._shelves.lock:
            return deed()

    # time

    def _live_until(self, target: datetime) -> None:
        """Lets everything due up to ``target`` happen in its order, each thing at its own moment."""
        while True:
            self.webhooks.deliver()
            due = [at for at in (self._agenda.next_at(), self.webhooks.next_at()) if at is not None]
            if not due or min(due) > target.timestamp():
                return
            if isinstance(self.clock, VirtualClock):
                self.clock.set(datetime.fromtimestamp(-(-min(due) // 1), UTC))
            with self._shelves.lock:
                entry = self._agenda.take(self._shelves.now())
                if entry is not None:
                    self._happen(entry)

    def _happen(self, entry: Entry) -> None:
        """Acts on an entry of the agenda, if it still holds."""
        thing = self._shelves.find(entry.object_id)
        if thing is None:
            return
        match entry.what:
            case "renew" if thing["ended_at"] is None and thing["items"]["data"][0]["current_period_end"] == entry.at:
                self._subscriptions.renew(thing["id"])
            case "retry" if thing["status"] == "open" and thing["next_payment_attempt"] == entry.at:
                self._subscriptions.retry(thing)
            case "expire" if thing["status"] == "open":
                self._checkouts.expire(thing["id"])
            case "settle" if thing["_settles_at"] == entry.at:
                self._checkouts.settle(thing["id"], good=True)

    def _remember(self) -> None:
        """Writes the agenda anew from the objects of a saved state, and sends again what did not arrive."""
        for event in self._shelves.all("event"):
            if event["pending_webhooks"]:
                self.webhooks.announce(event)
        for held in self._subscriptions.living():
            self._agenda.note(held["items"]["data"][0]["current_period_end"], "renew", held["id"])
        for invoice in self._subscriptions.open_invoices():
            if invoice["next_payment_attempt"]:
                self._agenda.note(invoice["next_payment_attempt"], "retry", invoice["id"])
        for session in self._shelves.all("checkout.session"):
            if session["_settles_at"]:
                self._agenda.note(session["_settles_at"], "settle", session["id"])
            elif session["status"] == "open":
                self._agenda.note(session["expires_at"], "expire", session["id"])
