"""The door to Stripe over HTTP, with Stripe's own library: what it asks for, what it makes of answers and faults."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from billing.stripe_door import StripeDoor, StripeRefused, StripeUnreachable
from billing.stripe_records import CheckoutMode, PriceItem
from billing.testing import FakeStripe
from studio.errors import MelodeonError

PACK = PriceItem(lookup_key="pack_10", label="10 credits", amount_minor=500, currency="usd", monthly=False)
PRO = PriceItem(lookup_key="plan_pro_monthly", label="Pro", amount_minor=1000, currency="eur", monthly=True)
MAX = PriceItem(lookup_key="plan_max_monthly", label="Max", amount_minor=3000, currency="eur", monthly=True)
DAY = timedelta(days=1)
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe() as running:
        yield running


@pytest.fixture
def door(fake: FakeStripe) -> Iterator[StripeDoor]:
    opened = StripeDoor(fake.api_key, (fake.webhook_secret,), fake.url)
    opened.sync_prices([PACK, PRO, MAX])
    yield opened
    opened.close()


@pytest.fixture
def customer(door: StripeDoor) -> str:
    return door.create_customer("acc_1", "Ada", "ada@example.org")


def begin(door: StripeDoor, customer: str, item: PriceItem = PACK, *, key: str = "1", trial_days: int = 0) -> str:
    return door.checkout(
        lookup_key=item.lookup_key,
        mode=CheckoutMode.SUBSCRIPTION if item.monthly else CheckoutMode.PAYMENT,
        customer=customer,
        account_id="acc_1",
        success_url="http://127.0.0.1/ok?session={CHECKOUT_SESSION_ID}",
        cancel_url="http://127.0.0.1/no",
        key=key,
        trial_days=trial_days,
    ).id


def subscribe(fake: FakeStripe, door: StripeDoor, customer: str, item: PriceItem = PRO) -> str:
    subscription = door.checkout_session(fake.pay(begin(door, customer, item, key="sub"))["id"]).subscription
    assert subscription is not None
    return subscription


def price_id(fake: FakeStripe, lookup_key: str) -> str:
    return next(price["id"] for price in fake.all("price") if price["lookup_key"] == lookup_key)


# prices


def test_prices_are_written_once(fake: FakeStripe, door: StripeDoor) -> None:
    assert door.sync_prices([PACK, PRO, MAX]) == 0
    assert [price["lookup_key"] for price in fake.all("price")] == [PACK.lookup_key, PRO.lookup_key, MAX.lookup_key]
    assert [product["name"] for product in fake.all("product")] == ["10 credits", "Pro", "Max"]


def test_a_changed_amount_is_a_new_price_and_old_subscribers_stay_known(
    fake: FakeStripe, door: StripeDoor, customer: str
) -> None:
    held = subscribe(fake, door, customer)
    dearer = PriceItem(lookup_key=PRO.lookup_key, label="Pro", amount_minor=1200, currency="eur", monthly=True)
    assert door.sync_prices([PACK, dearer]) == 1
    assert door.sync_prices([PACK, dearer]) == 0
    assert [price["unit_amount"] for price in fake.all("price") if price["active"]] == [500, 3000, 1200]
    assert len(fake.all("product")) == 3
    assert door.subscription(held).lookup_key == PRO.lookup_key
    fake.renew(held)
    newest = next(door.invoices(since=fake.clock.now() - DAY))
    assert [(line.lookup_key, line.amount_minor) for line in newest.lines] == [(PRO.lookup_key, 1000)]
    fresh = door.checkout_session(begin(door, customer, dearer, key="new"))
    assert fresh.amount_minor == 1200


def test_a_price_that_is_not_there_is_a_matter_for_the_operator(door: StripeDoor, customer: str) -> None:
    nothing = PriceItem(lookup_key="pack_11", label="", amount_minor=1, currency="usd", monthly=False)
    with pytest.raises(StripeRefused, match="pack_11"):
        begin(door, customer, nothing)


# customers and checkouts


def test_a_customer_is_made_once(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    assert door.create_customer("acc_1", "Ada", "ada@example.org") == customer
    assert door.create_customer("acc_2", "Ada", "ada@example.org") != customer
    assert [each["metadata"]["account_id"] for each in fake.all("customer")] == ["acc_1", "acc_2"]


def test_a_checkout_is_paid(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    session = begin(door, customer)
    before = door.checkout_session(session)
    assert (before.mode, before.status, before.payment_status) == ("payment", "open", "unpaid")
    assert before.payment_intent is None
    fake.pay(session)
    after = door.checkout_session(session)
    assert (after.status, after.payment_status) == ("complete", "paid")
    assert (after.customer, after.account_id) == (customer, "acc_1")
    assert (after.amount_minor, after.currency) == (500, "usd")
    assert [(line.lookup_key, line.quantity) for line in after.lines] == [("pack_10", 1)]
    assert after.created == fake.clock.now()
    assert after.payment_intent is not None
    charge = door.charge(fake.charge_of(after.payment_intent)["id"])
    assert (charge.amount_minor, charge.refunded_minor, charge.paid, charge.disputed) == (500, 0, True, False)
    assert charge.invoice is None
    assert door.charge(charge.id) == charge


def test_a_wish_asked_twice_is_one_checkout(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    assert begin(door, customer, key="k") == begin(door, customer, key="k")
    assert begin(door, customer, key="other") != begin(door, customer, key="k")
    with pytest.raises(StripeRefused, match="same parameters"):
        begin(door, customer, PRO, key="k")
    fake.clock.advance(hours=25)
    begin(door, customer, PRO, key="k")


def test_a_bank_transfer_is_no_payment_until_it_comes(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    good, bad = begin(door, customer, key="good"), begin(door, customer, key="bad")
    fake.pay_later(good)
    fake.pay_later(bad)
    waiting = door.checkout_session(good)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    assert waiting.payment_intent is not None
    charge = door.charge(fake.charge_of(waiting.payment_intent)["id"])
    assert not charge.paid
    fake.fail(bad)
    fake.clock.advance(days=6)
    assert door.checkout_session(good).payment_status == "paid"
    assert door.checkout_session(bad).payment_status == "unpaid"
    assert door.charge(charge.id).paid


def test_a_payment_never_tried_has_no_charge(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    session = begin(door, customer)
    fake.fail(session)
    assert door.checkout_session(session).status == "open"
    assert [charge.paid for charge in door.charges(since=fake.clock.now() - DAY)] == [False]


# subscriptions and invoices


def test_a_subscription_with_its_first_invoice(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    session = door.checkout_session(fake.pay(begin(door, customer, PRO))["id"])
    assert (session.mode, session.payment_status, session.payment_intent) == ("subscription", "paid", None)
    assert session.subscription is not None
    assert session.invoice is not None
    held = door.subscription(session.subscription)
    assert (held.status, held.lookup_key, held.customer) == ("active", PRO.lookup_key, customer)
    assert timedelta(days=28) <= held.current_period_end - fake.clock.now() <= timedelta(days=31)
    assert not held.cancel_at_period_end
    invoice = door.invoice(session.invoice)
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    assert (invoice.subscription, invoice.customer) == (held.id, customer)
    assert (invoice.amount_paid_minor, invoice.currency) == (1000, "eur")
    (line,) = invoice.lines
    assert (line.lookup_key, line.amount_minor, line.proration) == (PRO.lookup_key, 1000, False)
    assert (line.period_start, line.period_end) == (fake.clock.now(), held.current_period_end)
    assert invoice.payment_intent is not None
    charge = door.charge(fake.charge_of(invoice.payment_intent)["id"])
    assert charge.invoice == invoice.id


def test_a_trial_is_an_invoice_of_nothing(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    session = door.checkout_session(fake.pay(begin(door, customer, PRO, trial_days=7))["id"])
    assert (session.payment_status, session.amount_minor) == ("no_payment_required", 0)
    assert session.subscription is not None
    assert session.invoice is not None
    assert door.subscription(session.subscription).status == "trialing"
    invoice = door.invoice(session.invoice)
    assert (invoice.status, invoice.amount_paid_minor, invoice.payment_intent) == ("paid", 0, None)
    fake.clock.advance(days=8)
    assert door.subscription(session.subscription).status == "active"
    assert [each.amount_paid_minor for each in door.invoices(since=fake.clock.now() - 30 * DAY)] == [1000, 0]


def test_an_upgrade_is_invoiced_by_share_and_a_downgrade_is_credited(
    fake: FakeStripe, door: StripeDoor, customer: str
) -> None:
    held = subscribe(fake, door, customer)
    middle = (door.subscription(held).current_period_end - fake.clock.now()) / 2
    fake.clock.advance(seconds=middle.total_seconds())
    fake.switch(held, price_id(fake, MAX.lookup_key))
    upgrade = next(door.invoices(since=fake.clock.now()))
    assert [(line.lookup_key, line.amount_minor, line.proration) for line in upgrade.lines] == [
        (PRO.lookup_key, -500, True),
        (MAX.lookup_key, 1500, True),
    ]
    assert (upgrade.billing_reason, upgrade.amount_paid_minor) == ("subscription_update", 1000)
    assert door.subscription(held).lookup_key == MAX.lookup_key
    fake.switch(held, price_id(fake, PRO.lookup_key))
    downgrade = next(door.invoices(since=fake.clock.now()))
    assert (downgrade.status, downgrade.amount_paid_minor) == ("paid", 0)
    fake.clock.advance(days=20)
    renewal = next(door.invoices(since=fake.clock.now() - 20 * DAY))
    assert (renewal.billing_reason, renewal.amount_paid_minor) == ("subscription_cycle", 0)
    assert [line.amount_minor for line in renewal.lines] == [1000]


def test_a_charge_knows_an_invoice_much_older_than_itself(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    subscribe(fake, door, customer)
    fake.set_card(customer, works=False)
    fake.clock.advance(days=38)
    fake.set_card(customer, works=True)
    late = next(door.charges(since=fake.clock.now()))
    assert late.paid
    assert late.invoice == fake.all("invoice")[1]["id"]


# refunds and disputes


def test_refunds_and_disputes_show_on_the_charge(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    intent = door.checkout_session(fake.pay(begin(door, customer))["id"]).payment_intent
    assert intent is not None
    charge = door.charge(fake.charge_of(intent)["id"])
    fake.refund(charge.id, 200)
    assert door.charge(charge.id).refunded_minor == 200
    dispute = door.dispute(fake.dispute(charge.id)["id"])
    assert (dispute.charge, dispute.payment_intent) == (charge.id, intent)
    assert (dispute.status, dispute.amount_minor) == ("needs_response", 300)
    assert door.charge(charge.id).disputed
    fake.close_dispute(dispute.id, won=True)
    assert [each.status for each in door.disputes(since=fake.clock.now() - DAY)] == ["won"]


# lists


def test_lists_are_whole_over_many_pages(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    start = fake.clock.now()
    fake.clock.advance(seconds=1)
    with ThreadPoolExecutor(4) as pool:
        wanted = list(pool.map(lambda number: begin(door, customer, key=str(number)), range(105)))
    for session in wanted:
        fake.pay(session)
    assert {session.id for session in door.sessions(since=start)} == set(wanted)
    charges = list(door.charges(since=start))
    assert len({charge.payment_intent for charge in charges}) == 105
    events = [event for event in door.events(since=start, undelivered_only=True) if event.type.startswith("checkout")]
    assert [event.object_id for event in events] == wanted
    assert not list(door.sessions(since=fake.clock.now() + DAY))


def test_events_older_than_thirty_days_are_gone(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    start = fake.clock.now()
    fake.pay(begin(door, customer))
    assert list(door.events(since=start, undelivered_only=False))
    fake.clock.advance(days=31)
    kinds = {event.type for event in door.events(since=start, undelivered_only=False)}
    assert "checkout.session.completed" not in kinds


# the portal, and going away


def test_the_portal_has_an_address(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    assert door.portal(customer, "http://127.0.0.1/account").startswith(fake.url)
    with pytest.raises(StripeRefused, match="No such customer"):
        door.portal("cus_nobody", "http://127.0.0.1/account")


def test_a_customer_is_forgotten(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    held = subscribe(fake, door, customer)
    door.forget_customer(customer)
    door.forget_customer(customer)
    assert door.subscription(held).status == "canceled"
    assert "Ada" not in str(fake.all("customer"))
    assert len(fake.all("charge")) == 1


# faults


def test_a_lost_answer_has_one_effect(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    fake.faults.next("lost")
    begin(door, customer)
    assert len(fake.all("checkout.session")) == 1


def test_a_fault_that_stripe_remembers_does_not_stick(fake: FakeStripe, door: StripeDoor) -> None:
    """Stripe keeps a 500 under the key for a day; the library's retries only get it again."""
    fake.faults.next(500)
    made = door.create_customer("acc_9", "Grace", "grace@example.org")
    assert [customer["id"] for customer in fake.all("customer")] == [made]


def test_too_many_calls_and_long_faults_are_unreachable(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    fake.faults.next(429)
    with pytest.raises(StripeUnreachable):
        begin(door, customer)
    fake.faults.next(500, 500, 500)
    with pytest.raises(StripeUnreachable):
        door.checkout_session(begin(door, customer))


def test_a_slow_answer_is_waited_for(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    fake.faults.slow_s = 0.1
    fake.faults.next("slow")
    assert begin(door, customer)


def test_nobody_there_is_unreachable() -> None:
    with FakeStripe() as fake:
        door = StripeDoor(fake.api_key, (), fake.url)
    with pytest.raises(StripeUnreachable) as away:
        door.create_customer("acc_1", "Ada", "ada@example.org")
    assert away.value.code == "payments_unreachable"


def test_a_wrong_key_is_refused_and_not_told(fake: FakeStripe) -> None:
    wrong = StripeDoor("sk_fake_wrong_and_secret", (), fake.url)
    with pytest.raises(StripeRefused) as refused:
        wrong.create_customer("acc_1", "Ada", "ada@example.org")
    assert "wrong_and_secret" not in refused.value.sentence
    wrong.close()


CALLS: dict[str, Callable[[StripeDoor], object]] = {
    "customer": lambda door: door.create_customer("acc_1", "Ada", "ada@example.org"),
    "checkout": lambda door: begin(door, "cus_1"),
    "portal": lambda door: door.portal("cus_1", "http://127.0.0.1/"),
    "session": lambda door: door.checkout_session("cs_1"),
    "invoice": lambda door: door.invoice("in_1"),
    "subscription": lambda door: door.subscription("sub_1"),
    "charge": lambda door: door.charge("ch_1"),
    "dispute": lambda door: door.dispute("du_1"),
    "disputes of": lambda door: door.disputes_of("ch_1"),
    "events": lambda door: list(door.events(since=NOW, undelivered_only=True)),
    "sessions": lambda door: list(door.sessions(since=NOW)),
    "invoices": lambda door: list(door.invoices(since=NOW)),
    "charges": lambda door: list(door.charges(since=NOW)),
    "disputes": lambda door: list(door.disputes(since=NOW)),
    "prices": lambda door: door.sync_prices([PACK]),
}
ODD = [
    b"",
    b"<html>",
    b"[]",
    b"{}",
    b"null",
    b'{"object": "list", "data": [{}], "has_more": false, "url": "/v1/x"}',
    b'{"id": "x", "object": "invoice", "lines": null, "payments": 7, "items": []}',
    b'{"id": 1, "object": "charge", "created": "yesterday"}',
]


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that gives this answer to everything, with status 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("body", ODD)
def test_an_answer_of_another_shape_is_an_error_with_a_sentence(body: bytes) -> None:
    with answering(body) as url:
        door = StripeDoor("sk_fake_x", (), url)
        outcomes = {name: _outcome(lambda call=call: call(door)) for name, call in CALLS.items()}
        door.close()
    assert {name: why for name, why in outcomes.items() if why not in ("ok", "refused", "unreachable")} == {}
    assert "refused" in outcomes.values() or "unreachable" in outcomes.values()


def _outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except StripeRefused:
        return "refused"
    except StripeUnreachable:
        return "unreachable"
    except MelodeonError as error:
        return repr(error)
    return "ok"


def test_the_library_leaves_nothing_in_the_home_folder(
    fake: FakeStripe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    door = StripeDoor(fake.api_key, (), fake.url)
    door.create_customer("acc_1", "Ada", "ada@example.org")
    door.close()
    assert list(tmp_path.rglob("*")) == []


def test_one_door_serves_many_threads(fake: FakeStripe, door: StripeDoor) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda number: door.create_customer(f"acc_{number % 20}", "Ada", "a@example.org"), range(80))
        )
    assert len(set(made)) == 20
    assert len(fake.all("customer")) == 20
