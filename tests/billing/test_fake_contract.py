"""Every object of the fake against the types in Stripe's own library, which are generated from its OpenAPI file.

A fake that answers in a shape of its own proves nothing. So each object that the fake's API gives out is compared with
the library's class of that kind: no field missing, none invented, each of the right type, every enumeration one of the
documented values, down to the last nested object.
"""

import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import stripe
from stripe import billing_portal, checkout

from billing.stripe_door import API_VERSION, StripeDoor
from billing.stripe_records import CheckoutMode, PriceItem
from billing.testing import FakeStripe

Json = dict[str, Any]

CLASSES: dict[str, type] = {
    "billing_portal.session": billing_portal.Session,
    "charge": stripe.Charge,
    "checkout.session": checkout.Session,
    "customer": stripe.Customer,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
    "item": stripe.LineItem,
    "line_item": stripe.InvoiceLineItem,
    "payment_intent": stripe.PaymentIntent,
    "plan": stripe.Plan,
    "price": stripe.Price,
    "product": stripe.Product,
    "refund": stripe.Refund,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
}

ON_DEMAND = {
    "charge": {"refunds"},
    "checkout.session": {"line_items"},
    "customer": {"sources", "subscriptions", "tax", "tax_ids", "cash_balance", "invoice_credit_balance"},
    "invoice": {"payments", "confirmation_secret"},
    "price": {"currency_options", "tiers"},
}
"""Fields that Stripe leaves out unless they are expanded."""

PATHS = (
    "products",
    "prices",
    "customers",
    "checkout/sessions?expand[]=data.line_items",
    "payment_intents",
    "charges?expand[]=data.refunds",
    "refunds",
    "disputes",
    "invoices?expand[]=data.payments",
    "invoice_payments",
    "subscriptions",
    "events",
)


def faults(value: Any, wanted: Any, where: str) -> list[str]:
    """How a JSON value does not fit a type of the library's."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any or isinstance(wanted, typing.TypeVar):
        return []
    if origin in (typing.Union, types.UnionType):
        return _faults_of_union(value, inner, where)
    if origin is typing.Literal:
        return [] if value in inner else [f"{where}: {value!r} is none of {inner}"]
    if isinstance(wanted, typing.ForwardRef | str):
        return [] if isinstance(value, dict) and "object" in value else [f"{where}: {value!r} is no object"]
    if origin is list:
        wrong = [] if isinstance(value, list) else [f"{where}: {value!r} is no list"]
        return wrong or [line for each in value for line in faults(each, inner[0], f"{where}[]")]
    kind = origin or wanted
    if kind is stripe.ListObject:
        shape = {"object", "data", "has_more", "url"}
        return [] if isinstance(value, dict) and set(value) == shape else [f"{where}: {value!r} is no list of Stripe's"]
    if isinstance(kind, type) and issubclass(kind, stripe.StripeObject):
        return faults_of_object(value, kind, where) if isinstance(value, dict) else [f"{where}: {value!r} is no object"]
    plain = str if kind is Decimal else kind
    return [] if type(value) is plain else [f"{where}: {value!r} is no {kind}"]


def _faults_of_union(value: Any, inner: tuple[Any, ...], where: str) -> list[str]:
    """Fits if one of them fits; an open enumeration (values or any text) is held to its values."""
    literal = any(typing.get_origin(each) is typing.Literal for each in inner)
    choices = [each for each in inner if not (literal and each is str)]
    tried = [faults(value, each, where) for each in choices]
    return [] if any(not lines for lines in tried) else min(tried, key=lambda lines: (lines[0].endswith("'>"), lines))


def faults_of_object(value: Json, wanted: type, where: str) -> list[str]:
    """Fields missing, invented, or of another type; objects inside are compared as their own kind."""
    if wanted.__name__ == "UntypedStripeObject":
        return []
    fields = {name: kind for name, kind in wanted.__annotations__.items() if name != "OBJECT_NAME"}
    kind_name = getattr(wanted, "OBJECT_NAME", None)
    left_out = {"deleted"} | ON_DEMAND.get(kind_name or "", set())
    found = [f"{where}.{name}: not in the library's {wanted.__name__}" for name in value if name not in fields]
    for name, kind in fields.items():
        if name in value:
            found += faults(value[name], kind, f"{where}.{name}")
        elif name not in left_out and (kind_name or type(None) not in typing.get_args(kind)):
            found.append(f"{where}.{name}: missing")
    return found


def every_object(value: Any) -> Iterator[Json]:
    """The objects in a JSON value that bear a kind, the outer ones first."""
    if isinstance(value, dict):
        if value.get("object") in list(CLASSES):
            yield value
        for each in value.values():
            yield from every_object(each)
    elif isinstance(value, list):
        for each in value:
            yield from every_object(each)


def lived_through(fake: FakeStripe) -> None:
    """Brings every kind of object in most of its states into being."""
    door = StripeDoor(fake.api_key, (), fake.url)
    door.sync_prices(
        [
            PriceItem(lookup_key="pack_10", label="10", amount_minor=500, currency="usd", monthly=False),
            PriceItem(lookup_key="plan_pro_monthly", label="Pro", amount_minor=900, currency="eur", monthly=True),
            PriceItem(lookup_key="plan_max_monthly", label="Max", amount_minor=2900, currency="eur", monthly=True),
        ]
    )
    customer = door.create_customer("acc_1", "Ada", "ada@example.org")

    def checkout_of(lookup_key: str, number: int, trial_days: int = 0) -> str:
        mode = CheckoutMode.PAYMENT if lookup_key.startswith("pack") else CheckoutMode.SUBSCRIPTION
        return door.checkout(
            lookup_key=lookup_key,
            mode=mode,
            customer=customer,
            account_id="acc_1",
            success_url="http://127.0.0.1/s",
            cancel_url="http://127.0.0.1/c",
            key=str(number),
            trial_days=trial_days,
        ).id

    paid, later, unpaid, declined, given_up = (checkout_of("pack_10", number) for number in range(5))
    fake.pay(paid)
    fake.pay_later(later)
    fake.pay_later(unpaid)
    fake.fail(unpaid)
    fake.fail(declined)
    fake.expire(given_up)
    first = fake.all("charge")[0]["id"]
    fake.refund(first, 100)
    fake.close_dispute(fake.dispute(first)["id"], won=False)
    subscribed = fake.pay(checkout_of("plan_pro_monthly", 6, trial_days=7))["subscription"]
    fake.clock.advance(days=20)
    dearer = next(price["id"] for price in fake.all("price") if price["lookup_key"] == "plan_max_monthly")
    cheaper = next(price["id"] for price in fake.all("price") if price["lookup_key"] == "plan_pro_monthly")
    fake.switch(subscribed, dearer)
    fake.switch(subscribed, cheaper)
    fake.cancel(subscribed)
    fake.resume(subscribed)
    fake.set_card(customer, works=False)
    fake.clock.advance(days=60)
    door.close()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeStripe]:
    with FakeStripe() as running:
        lived_through(running)
        yield running


def test_every_object_has_the_shape_of_stripes(fake: FakeStripe) -> None:
    client = stripe.StripeClient(fake.api_key, base_addresses={"api": fake.url})
    answers = [client.raw_request("get", f"/v1/{path}{'&' if '?' in path else '?'}limit=100").data for path in PATHS]
    visit = {"customer": fake.all("customer")[0]["id"]}
    answers.append(client.raw_request("post", "/v1/billing_portal/sessions", **visit).data)
    things = list(every_object(answers))
    assert {thing["object"] for thing in things} == set(CLASSES)
    found = {line for thing in things for line in faults_of_object(thing, CLASSES[thing["object"]], thing["object"])}
    assert sorted(found) == []


def test_the_event_kinds_are_stripes(fake: FakeStripe) -> None:
    kinds = {event["type"] for event in fake.all("event")}
    known = set(typing.get_args(stripe.Event.__annotations__["type"]))
    assert kinds <= known
    assert len(kinds) > 25


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"amount": "500"}, "charge.amount: '500' is no <class 'int'>"),
        ({"invented": 1}, "charge.invented: not in the library's Charge"),
        ({"status": "fine"}, "none of"),
        ({"captured": 1}, "charge.captured"),
        ({"billing_details": {"street": None}}, "charge.billing_details.street: not in the library's BillingDetails"),
        ({"metadata": None}, "charge.metadata"),
    ],
)
def test_the_comparison_sees_a_wrong_shape(fake: FakeStripe, change: Json, complaint: str) -> None:
    charge = {name: value for name, value in fake.all("charge")[0].items() if not name.startswith("_")}
    assert faults_of_object(charge, stripe.Charge, "charge") == []
    assert any(complaint in line for line in faults_of_object({**charge, **change}, stripe.Charge, "charge"))
    assert faults_of_object({"object": "charge"}, stripe.Charge, "charge")


def test_the_version_spoken_is_the_librarys() -> None:
    """A new library brings a new version of the API: then this, the records and the fake are looked through again."""
    assert stripe.api_version == API_VERSION
