"""The fake Stripe itself: its time, its webhooks, its faults, its pages; asked with Stripe's library and over HTTP."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from billing.stripe_door import BadNotice, StripeDoor
from billing.stripe_records import CheckoutMode, PriceItem
from billing.testing import FakeStripe, Trouble, VirtualClock, keys_in
from billing.testing.forms import decode
from billing.testing.subscriptions import month_after
from billing.testing.webhooks import PAUSES_S

ITEMS = [
    PriceItem(lookup_key="pack_10", label="10 <credits>", amount_minor=500, currency="usd", monthly=False),
    PriceItem(lookup_key="plan_pro_monthly", label="Pro", amount_minor=1000, currency="eur", monthly=True),
    PriceItem(lookup_key="plan_max_monthly", label="Max", amount_minor=3000, currency="eur", monthly=True),
]
START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Endpoint:
    """A product's webhook: checks each message and notes it; may be told to fail."""

    def __init__(self, door: StripeDoor, clock: VirtualClock) -> None:
        self.door, self.clock, self.status = door, clock, 200
        self.heard: list[tuple[str, str]] = []
        self.forged = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.take(body, self.headers["Stripe-Signature"])
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/stripe"

    def take(self, body: bytes, header: str) -> None:
        try:
            event = self.door.verify(body, header, self.clock.now())
        except BadNotice:
            self.forged += 1
            return
        if self.status == 200:
            self.heard.append((event.id, event.type))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def fake(clock: VirtualClock) -> Iterator[FakeStripe]:
    with FakeStripe(clock, seed=7) as running:
        yield running


@pytest.fixture
def door(fake: FakeStripe) -> Iterator[StripeDoor]:
    opened = StripeDoor(fake.api_key, (fake.webhook_secret,), fake.url)
    opened.sync_prices(ITEMS)
    yield opened
    opened.close()


@pytest.fixture
def customer(door: StripeDoor) -> str:
    return door.create_customer("acc_1", "Ada", "ada@example.org")


@pytest.fixture
def endpoint(fake: FakeStripe, door: StripeDoor, clock: VirtualClock) -> Iterator[Endpoint]:
    made = Endpoint(door, clock)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    fake.deliver_to(made.url)
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


def begin(door: StripeDoor, customer: str, lookup_key: str = "pack_10", key: str = "1", trial_days: int = 0) -> str:
    return door.checkout(
        lookup_key=lookup_key,
        mode=CheckoutMode.PAYMENT if lookup_key.startswith("pack") else CheckoutMode.SUBSCRIPTION,
        customer=customer,
        account_id="acc_1",
        success_url="http://127.0.0.1:9/ok?session={CHECKOUT_SESSION_ID}",
        cancel_url="http://127.0.0.1:9/no",
        key=key,
        trial_days=trial_days,
    ).id


def subscribe(fake: FakeStripe, door: StripeDoor, customer: str, lookup_key: str = "plan_pro_monthly") -> str:
    return str(fake.pay(begin(door, customer, lookup_key, key="subscribe"))["subscription"])


def client_of(fake: FakeStripe) -> stripe.StripeClient:
    return stripe.StripeClient(fake.api_key, base_addresses={"api": fake.url}, max_network_retries=0)


def kinds(fake: FakeStripe) -> list[str]:
    return [event["type"] for event in fake.all("event")]


# calls


def test_idempotency_keys_are_stripes(fake: FakeStripe, clock: VirtualClock) -> None:
    client = client_of(fake)

    def make(name: str, key: str) -> stripe.Customer:
        return client.v1.customers.create({"name": name}, {"idempotency_key": key})

    first = make("Ada", "k")
    again = make("Ada", "k")
    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError) as mismatch:
        make("Grace", "k")
    assert mismatch.value.http_status == 400
    clock.advance(hours=24)
    assert make("Grace", "k").id != first.id
    fake.faults.next(500)
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            make("Joan", "saved")
    assert len(fake.all("customer")) == 2


def test_keys_used_at_once_make_one_object(fake: FakeStripe) -> None:
    client = client_of(fake)
    made: list[str] = []

    def make() -> None:
        made.append(client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"}).id)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_call_refused_for_its_parameters_is_not_kept(fake: FakeStripe) -> None:
    client = client_of(fake)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"charge": "ch_none"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.InvalidRequestError) as again:
        client.v1.refunds.create({"charge": "ch_other"}, {"idempotency_key": "k"})
    assert "ch_other" in str(again.value)


def test_errors_have_stripes_shape(fake: FakeStripe) -> None:
    client = client_of(fake)
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("sk_fake_no", base_addresses={"api": fake.url}).v1.customers.list()
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.customers.retrieve("cus_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.raw_request("post", "/v1/customers", nmae="Ada")
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "nmae")
    with pytest.raises(stripe.InvalidRequestError) as needed:
        client.raw_request("post", "/v1/prices", currency="usd")
    assert needed.value.param == "product"
    with pytest.raises(stripe.InvalidRequestError):
        client.raw_request("get", "/v1/unknown_things")
    with pytest.raises(stripe.InvalidRequestError, match="version"):
        client.raw_request("get", "/v1/customers", stripe_version="2019-12-03")
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.list({"limit": 101})
    fake.faults.next(429)
    with pytest.raises(stripe.RateLimitError):
        client.v1.customers.list()


def test_lists_page_either_way(fake: FakeStripe) -> None:
    client = client_of(fake)
    made = [client.v1.customers.create({"name": str(number)}).id for number in range(7)]
    first = client.v1.customers.list({"limit": 3})
    assert ([each.id for each in first.data], first.has_more) == (made[:3:-1], True)
    second = client.v1.customers.list({"limit": 3, "starting_after": first.data[-1].id})
    assert [each.id for each in second.data] == made[3:0:-1]
    newer = client.v1.customers.list({"limit": 2, "ending_before": made[3]})
    assert ([each.id for each in newer.data], newer.has_more) == ([made[5], made[4]], True)
    in_time = client.v1.customers.list({"limit": 2, "ending_before": made[0]}).auto_paging_iter()
    assert [each.id for each in in_time] == made[1:]


def test_expansion(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    client = client_of(fake)
    session = fake.pay(begin(door, customer))
    intent = client.v1.payment_intents.retrieve(session["payment_intent"], {"expand": ["latest_charge.customer"]})
    assert isinstance(intent.latest_charge, stripe.Charge)
    assert isinstance(intent.latest_charge.customer, stripe.Customer)
    plain = client.v1.checkout.sessions.retrieve(session["id"])
    assert "line_items" not in plain
    for path in ("nonsense", "customer.email", "a.b.c.d.e"):
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.checkout.sessions.retrieve(session["id"], {"expand": [path]})


NAMES = st.sampled_from(["a", "b_c", "items", "price"])
TEXTS = st.text("αxy &=[]%+", max_size=8) | st.integers(-(10**12), 10**12)
FLAT = st.dictionaries(NAMES, TEXTS | st.booleans(), min_size=1, max_size=3)
TREES = st.recursive(
    TEXTS | st.booleans() | st.lists(TEXTS | FLAT, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_nested_parameters_are_read_as_the_library_writes_them(tree: dict[str, Any]) -> None:
    assert decode(urlencode(list(_api_encode(tree)))) == tree


def test_metadata_stays_text() -> None:
    assert decode("metadata[a]=12&metadata[b]=true&name=7") == {"metadata": {"a": "12", "b": "true"}, "name": "7"}


# time


def test_a_month_after_keeps_the_day_where_it_can() -> None:
    moment = int(START.timestamp())
    days = []
    for _ in range(13):
        moment = month_after(moment, int(START.timestamp()))
        days.append(datetime.fromtimestamp(moment, UTC).strftime("%m-%d"))
    assert days[:4] == ["02-28", "03-31", "04-30", "05-31"]
    assert days[11:] == ["01-31", "02-28"]


def test_a_checkout_expires_after_a_day(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    session, paid = begin(door, customer), begin(door, customer, key="2")
    fake.pay(paid)
    fake.clock.advance(hours=25)
    assert door.checkout_session(session).status == "expired"
    assert door.checkout_session(paid).status == "complete"
    assert kinds(fake).count("checkout.session.expired") == 1


def test_two_years_of_a_subscription(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    held = subscribe(fake, door, customer)
    fake.clock.advance(days=729)
    paid = [invoice for invoice in fake.all("invoice") if invoice["status"] == "paid"]
    assert len(paid) == 24
    spans = [(line["period"]["start"], line["period"]["end"]) for each in paid for line in each["lines"]["data"]]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert [each["created"] for each in paid] == [span[0] for span in spans]
    assert door.subscription(held).status == "active"


def test_a_cancelled_subscription_ends_with_its_period(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    held = subscribe(fake, door, customer)
    fake.cancel(held)
    assert door.subscription(held).cancel_at_period_end
    fake.resume(held)
    fake.clock.advance(days=40)
    fake.cancel(held)
    fake.clock.advance(days=40)
    assert door.subscription(held).status == "canceled"
    assert len(fake.all("invoice")) == 2
    assert kinds(fake)[-1] == "customer.subscription.deleted"


def test_a_declined_card_is_tried_again_and_a_good_one_heals(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    held = subscribe(fake, door, customer)
    fake.set_card(customer, works=False)
    fake.clock.advance(days=29)
    assert door.subscription(held).status == "past_due"
    fake.clock.advance(days=4)
    assert kinds(fake).count("invoice.payment_failed") == 2
    fake.set_card(customer, works=True)
    assert door.subscription(held).status == "active"
    assert [invoice["amount_paid"] for invoice in fake.all("invoice")] == [1000, 1000]
    assert len({charge["payment_intent"] for charge in fake.all("charge")}) == 2


def test_a_card_declined_to_the_end_ends_the_subscription(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    held = subscribe(fake, door, customer)
    fake.set_card(customer, works=False)
    fake.clock.advance(days=28 + 3 + 5 + 7 + 1)
    assert door.subscription(held).status == "canceled"
    assert [invoice["status"] for invoice in fake.all("invoice")] == ["paid", "uncollectible"]
    assert kinds(fake).count("invoice.payment_failed") == 4


def test_a_bank_transfer_for_a_subscription_that_does_not_come(
    fake: FakeStripe, door: StripeDoor, customer: str
) -> None:
    session = fake.pay_later(begin(door, customer, "plan_pro_monthly"))
    assert door.invoice(session["invoice"]).status == "open"
    fake.fail(session["id"])
    assert door.subscription(session["subscription"]).status == "past_due"
    assert door.checkout_session(session["id"]).payment_status == "unpaid"


def test_money_goes_back_once(fake: FakeStripe, door: StripeDoor, customer: str) -> None:
    client = client_of(fake)
    intent = fake.pay(begin(door, customer))["payment_intent"]
    client.v1.refunds.create({"payment_intent": intent, "amount": 200})
    charge = fake.all("charge")[0]["id"]
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"charge": charge, "amount": 301})
    client.v1.refunds.create({"charge": charge})
    with pytest.raises(stripe.InvalidRequestError) as gone:
        client.v1.refunds.create({"charge": charge})
    assert gone.value.code == "charge_already_refunded"
    assert fake.all("charge")[0]["refunded"]
    shown = client.v1.charges.retrieve(charge, {"expand": ["refunds"]}).refunds
    assert shown is not None
    assert [refund.amount for refund in shown.data] == [300, 200]


# webhooks


def test_webhooks_arrive_signed_once_each_in_order(
    fake: FakeStripe, door: StripeDoor, customer: str, endpoint: Endpoint
) -> None:
    before = len(fake.all("event"))
    fake.pay(begin(door, customer))
    assert endpoint.heard == []
    sent = fake.deliver()
    assert endpoint.heard == [(event["id"], event["type"]) for event in fake.all("event")[before:]]
    assert (sent, endpoint.forged) == (len(endpoint.heard), 0)
    assert fake.deliver() == 0


def test_trouble_loses_nothing_in_the_end(
    fake: FakeStripe, door: StripeDoor, customer: str, endpoint: Endpoint
) -> None:
    fake.webhooks.trouble = Trouble(duplicates=0.3, reorder=0.3, loss=0.3, delay_s=120)
    before = len(fake.all("event"))
    for number in range(20):
        fake.pay(begin(door, customer, key=str(number)))
    fake.clock.advance(days=4)
    wanted = [event["id"] for event in fake.all("event")[before:]]
    heard = [event_id for event_id, _ in endpoint.heard]
    assert set(heard) >= set(wanted)
    assert max(Counter(heard).values()) > 1
    firsts = list(dict.fromkeys(heard))
    assert firsts != sorted(firsts)
    assert endpoint.forged == 0
    assert all(event["_delivered"] for event in fake.all("event")[before:])


def test_everything_twice_is_twice(fake: FakeStripe, door: StripeDoor, endpoint: Endpoint) -> None:
    fake.webhooks.trouble = Trouble(duplicates=1.0)
    door.create_customer("acc_1", "Ada", "ada@example.org")
    assert fake.deliver() == 2
    assert [kind for _, kind in endpoint.heard] == ["customer.created"] * 2


def test_the_same_seed_makes_the_same_trouble() -> None:
    counts = []
    for _ in range(2):
        with FakeStripe(VirtualClock(START), seed=3) as fake:
            fake.deliver_to("http://127.0.0.1:9/")
            fake.webhooks.trouble = Trouble(loss=0.5, delay_s=60)
            client_of(fake).v1.customers.create({"name": "Ada"})
            fake.clock.advance(days=4)
            counts.append(fake.webhooks.sent)
    assert counts[0] == counts[1]


def test_a_dead_endpoint_is_tried_for_three_days(
    fake: FakeStripe, door: StripeDoor, customer: str, endpoint: Endpoint
) -> None:
    begun = fake.clock.now()
    endpoint.status = 500
    fake.pay(begin(door, customer))
    tried = fake.webhooks.sent
    fake.clock.advance(days=2.9)
    assert fake.webhooks.next_at() is not None
    fake.clock.advance(days=1)
    assert fake.webhooks.next_at() is None
    events = [event for event in fake.all("event") if event["type"] == "checkout.session.completed"]
    assert fake.webhooks.sent - tried >= len(PAUSES_S) * 4
    lost = {event.id for event in door.events(since=begun, undelivered_only=True)}
    assert events[0]["id"] in lost
    endpoint.status = 200
    fake.clock.advance(days=1)
    assert endpoint.heard == []


def test_an_endpoint_that_comes_back_hears_all(
    fake: FakeStripe, door: StripeDoor, customer: str, endpoint: Endpoint
) -> None:
    begun = fake.clock.now()
    endpoint.status = 503
    fake.pay(begin(door, customer))
    fake.clock.advance(days=1)
    endpoint.status = 200
    fake.clock.advance(days=2)
    assert "checkout.session.completed" in [kind for _, kind in endpoint.heard]
    lost = [event.type for event in door.events(since=begun, undelivered_only=True)]
    assert "checkout.session.completed" not in lost


# pages


@pytest.fixture
def browser(fake: FakeStripe) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake.url) as opened:
        yield opened


def test_the_checkout_page_sells(fake: FakeStripe, door: StripeDoor, customer: str, browser: httpx.Client) -> None:
    session = begin(door, customer)
    shown = browser.get(f"/c/pay/{session}").text
    assert "10 &lt;credits&gt;" in shown
    assert "<credits>" not in shown
    assert "Pay $5.00" in shown
    assert 'href="http://127.0.0.1:9/no"' in shown
    declined = browser.post(f"/c/pay/{session}/decline")
    assert declined.status_code == 303
    assert "declined" in browser.get(declined.headers["location"]).text
    assert door.checkout_session(session).status == "open"
    paid = browser.post(f"/c/pay/{session}/pay")
    assert paid.headers["location"] == f"http://127.0.0.1:9/ok?session={session}"
    assert door.checkout_session(session).payment_status == "paid"
    twice = browser.post(f"/c/pay/{session}/pay")
    assert twice.headers["location"] == paid.headers["location"]
    assert len([charge for charge in fake.all("charge") if charge["paid"]]) == 1
    assert "complete" in browser.get(f"/c/pay/{session}").text


def test_pay_later_and_the_desk(fake: FakeStripe, door: StripeDoor, customer: str, browser: httpx.Client) -> None:
    session = begin(door, customer)
    browser.post(f"/c/pay/{session}/later")
    assert door.checkout_session(session).payment_status == "unpaid"
    assert "Bank transfers under way" in browser.get("/").text
    browser.post(f"/desk/arrives/{session}")
    assert door.checkout_session(session).payment_status == "paid"
    charge = fake.all("charge")[0]["id"]
    browser.post(f"/desk/half/{charge}")
    browser.post(f"/desk/dispute/{charge}")
    assert "$2.50 given back" in browser.get("/").text
    browser.post(f"/desk/lost/{fake.all('dispute')[0]['id']}")
    assert fake.all("dispute")[0]["status"] == "lost"


def test_the_portal_changes_the_plan(fake: FakeStripe, door: StripeDoor, customer: str, browser: httpx.Client) -> None:
    held = subscribe(fake, door, customer)
    visit = door.portal(customer, "http://127.0.0.1:9/account").removeprefix(fake.url)
    shown = browser.get(visit).text
    assert "Renews on" in shown
    assert 'href="http://127.0.0.1:9/account"' in shown
    browser.post(f"{visit}/cancel/{held}")
    assert "Ends on" in browser.get(visit).text
    browser.post(f"{visit}/resume/{held}")
    dearer = next(price["id"] for price in fake.all("price") if price["lookup_key"] == "plan_max_monthly")
    assert f"switch-{dearer}" in browser.get(visit).text
    browser.post(f"{visit}/switch-{dearer}/{held}")
    assert door.subscription(held).lookup_key == "plan_max_monthly"
    browser.post(f"{visit}/spoil/{customer}")
    browser.post(f"/desk/month/{held}")
    assert "The last payment failed" in browser.get(visit).text
    browser.post(f"{visit}/mend/{customer}")
    assert door.subscription(held).status == "active"


def test_a_portal_is_for_its_customer_only(
    fake: FakeStripe, door: StripeDoor, customer: str, browser: httpx.Client
) -> None:
    held = subscribe(fake, door, customer)
    other = door.portal(door.create_customer("acc_2", "Bob", "bob@example.org"), "").removeprefix(fake.url)
    assert browser.post(f"{other}/cancel/{held}").status_code == 404
    assert not door.subscription(held).cancel_at_period_end
    for path in ("/c/pay/cs_none", "/p/session/bps_none", "/nothing"):
        assert browser.get(path).status_code == 404
    assert browser.post(f"/desk/explode/{held}").status_code == 404


def test_a_checkout_for_a_trial_asks_for_nothing_today(
    fake: FakeStripe, door: StripeDoor, customer: str, browser: httpx.Client
) -> None:
    shown = browser.get(f"/c/pay/{begin(door, customer, 'plan_pro_monthly', trial_days=14)}").text
    assert "14 days" in shown
    assert "Pay €0.00" in shown
    assert "€10.00 a month" in shown


# the program


def test_the_program_keeps_its_state_and_ends_when_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = keys_in(tmp_path / "keys.json")
    assert keys_in(tmp_path / "keys.json") == keys
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    place = ["--port", str(port), "--webhook", "http://127.0.0.1:9/", "--key-file", str(tmp_path / "keys.json")]
    command = [sys.executable, "-m", "billing.testing", *place, "--state", str(tmp_path / "state.json")]
    made = []
    for _ in range(2):
        child = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONWARNINGS": "error"})
        try:
            door = StripeDoor(keys.api_key, (keys.webhook_secret,), _served(f"http://127.0.0.1:{port}"))
            door.sync_prices(ITEMS)
            made.append(door.create_customer(f"acc_{len(made)}", "Ada", "ada@example.org"))
            assert door.portal(made[0], "http://127.0.0.1:9/")
            door.close()
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
    assert len(set(made)) == 2
    state = json.loads((tmp_path / "state.json").read_text())
    assert len(state["shelves"]["price"]) == len(ITEMS)


def _served(url: str) -> str:
    """Waits until the program answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(url).status_code == 200:
                return url
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(url)


def test_time_is_told_in_whole_seconds_and_never_backwards(clock: VirtualClock) -> None:
    fresh = VirtualClock(START + timedelta(microseconds=7))
    assert fresh.now() == START
    fresh.set(START - timedelta(days=1))
    assert fresh.now() == START
