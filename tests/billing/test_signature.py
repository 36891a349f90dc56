"""What a stranger may post to the webhook: whatever it is, the answer is one error, and never another."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.stripe_door import BadNotice, StripeDoor
from billing.stripe_notices import MOST_BYTES
from billing.testing.webhooks import signature

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECRET = "whsec_fake_of_this_test"
OLD_SECRET = "whsec_fake_being_replaced"
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "checkout.session.completed",
    "created": int(NOW.timestamp()) - 5,
    "livemode": False,
    "api_version": "2026-10-28.endive",
    "data": {"object": {"id": "cs_1", "object": "checkout.session"}},
}


@pytest.fixture(scope="module")
def door() -> StripeDoor:
    """A door whose calls would go nowhere: checking a message calls nobody."""
    return StripeDoor("sk_fake_of_this_test", (SECRET, OLD_SECRET), "http://127.0.0.1:9")


def body(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in EVENT.items() if key != name}).encode()


def by_hand(payload: bytes, secret: str = SECRET, date: str | None = None) -> str:
    """A signature computed here from Stripe's documentation."""
    date = date or str(int(NOW.timestamp()))
    return hmac.new(secret.encode(), date.encode() + b"." + payload, hashlib.sha256).hexdigest()


def header(payload: bytes, *, secret: str = SECRET, moment: datetime = NOW) -> str:
    return signature(payload, secret, moment)


def signed(payload: bytes) -> tuple[bytes, str]:
    return payload, header(payload)


GOOD = body()
T = int(NOW.timestamp())

BAD: dict[str, Callable[[], tuple[bytes, str]]] = {
    # who signed, and whether at all
    "no header": lambda: (GOOD, ""),
    "header of spaces": lambda: (GOOD, "   "),
    "header without date": lambda: (GOOD, f"v1={by_hand(GOOD)}"),
    "header without signature": lambda: (GOOD, f"t={T}"),
    "empty signature": lambda: (GOOD, f"t={T},v1="),
    "only commas": lambda: (GOOD, ",,,,"),
    "huge header": lambda: (GOOD, header(GOOD) + ",v1=" + "0" * 100_000),
    "header outside ASCII": lambda: (GOOD, f"t={T},v1=é{by_hand(GOOD)}"),
    "signature outside ASCII": lambda: (GOOD, f"t={T},v1=✓"),
    "old scheme v0": lambda: (GOOD, f"t={T},v0={by_hand(GOOD)}"),
    "unknown scheme v2": lambda: (GOOD, f"t={T},v2={by_hand(GOOD)}"),
    "another secret": lambda: (GOOD, header(GOOD, secret="whsec_fake_of_somebody_else")),
    "the empty secret": lambda: (GOOD, header(GOOD, secret="")),
    "signature cut": lambda: (GOOD, header(GOOD)[:-1]),
    "signature of another body": lambda: (body(id="evt_2"), header(GOOD)),
    "body written anew": lambda: (json.dumps(EVENT, indent=1).encode(), header(GOOD)),
    "line break added": lambda: (GOOD + b"\n", header(GOOD)),
    "only the body signed": lambda: (GOOD, f"t={T},v1={hmac.new(SECRET.encode(), GOOD, 'sha256').hexdigest()}"),
    # when
    "301 s old": lambda: (GOOD, header(GOOD, moment=NOW - timedelta(seconds=301))),
    "301 s in the future": lambda: (GOOD, header(GOOD, moment=NOW + timedelta(seconds=301))),
    "a year in the future": lambda: (GOOD, header(GOOD, moment=NOW + timedelta(days=365))),
    "a year old": lambda: (GOOD, header(GOOD, moment=NOW - timedelta(days=365))),
    "two dates": lambda: (GOOD, f"t={T},t={T + 1},v1={by_hand(GOOD)}"),
    "date moved": lambda: (GOOD, f"t={T + 1},v1={by_hand(GOOD)}"),
    "negative date": lambda: (GOOD, f"t=-1,v1={by_hand(GOOD, date='-1')}"),
    "date in words": lambda: (GOOD, f"t=now,v1={by_hand(GOOD, date='now')}"),
    "date with underscores": lambda: (GOOD, f"t={T:_},v1={by_hand(GOOD)}"),
    "date in Arabic digits": lambda: (GOOD, f"t={'١' * 10},v1={by_hand(GOOD)}"),
    "date of a million digits": lambda: (GOOD, f"t={'9' * 4_000},v1={by_hand(GOOD)}"),
    "date empty": lambda: (GOOD, f"t=,v1={by_hand(GOOD, date='')}"),
    # what, although well signed
    "empty body": lambda: signed(b""),
    "bad UTF-8": lambda: signed(b'{"id": "\xff\xfe"}'),
    "bad UTF-8, not signed": lambda: (b"\x80\x81", "t=1,v1=0"),
    "UTF-16": lambda: signed(GOOD.decode().encode("utf-16")),
    "list": lambda: signed(b"[]"),
    "null": lambda: signed(b"null"),
    "number": lambda: signed(b"42"),
    "text": lambda: signed(b'"evt_1"'),
    "not JSON": lambda: signed(b"<html>"),
    "JSON cut": lambda: signed(GOOD[:-1]),
    "a form": lambda: signed(b"id=evt_1&type=invoice.paid"),
    "deep nesting": lambda: signed(b"[" * 200_000),
    "number of a million digits": lambda: signed(b'{"created": ' + b"9" * 900_000 + b"}"),
    "too large": lambda: signed(body(note="x" * MOST_BYTES)),
    "thin event": lambda: signed(body(object="v2.core.event")),
    "no kind": lambda: signed(without("object")),
    "a bare object": lambda: signed(json.dumps(EVENT["data"]["object"]).encode()),
    "wrapped by a cloud": lambda: signed(json.dumps({"detail": EVENT}).encode()),
    "no id": lambda: signed(without("id")),
    "id of another kind": lambda: signed(body(id="cs_1")),
    "id a number": lambda: signed(body(id=1)),
    "id with a line break": lambda: signed(body(id="evt_1\n")),
    "id too long": lambda: signed(body(id="evt_" + "x" * 5_000)),
    "id with a null byte": lambda: signed(body(id="evt_\x00")),
    "no type": lambda: signed(without("type")),
    "type a list": lambda: signed(body(type=["invoice.paid"])),
    "type too long": lambda: signed(body(type="invoice." + "x" * 300)),
    "type of odd letters": lambda: signed(body(type="invoice.paid'; --")),
    "no data": lambda: signed(without("data")),
    "data empty": lambda: signed(body(data={})),
    "data a list": lambda: signed(body(data=[])),
    "object a text": lambda: signed(body(data={"object": "cs_1"})),
    "object's id a number": lambda: signed(body(data={"object": {"id": 7}})),
    "object's id empty": lambda: signed(body(data={"object": {"id": ""}})),
    "object's id a path": lambda: signed(body(data={"object": {"id": "../v1/customers"}})),
    "no date": lambda: signed(without("created")),
    "date true": lambda: signed(body(created=True)),
    "date a fraction": lambda: signed(body(created=1.5)),
    "date not a number": lambda: signed(body(created=float("nan"))),
    "date of the year 300 million": lambda: signed(body(created=10**16)),
    "date before 1970": lambda: signed(body(created=-1)),
    "real money": lambda: signed(body(livemode=True)),
    "livemode a text": lambda: signed(body(livemode="false")),
    "livemode missing": lambda: signed(without("livemode")),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_refused_and_nothing_else_happens(door: StripeDoor, name: str) -> None:
    payload, head = BAD[name]()
    with pytest.raises(BadNotice) as refused:
        door.verify(payload, head, NOW)
    assert SECRET not in refused.value.sentence
    assert by_hand(payload) not in refused.value.sentence


def test_there_are_enough_bad_forms() -> None:
    assert len(BAD) >= 30


@settings(max_examples=150)
@given(st.binary(max_size=300), st.text(max_size=300))
def test_noise_is_refused(payload: bytes, head: str) -> None:
    noisy = StripeDoor("sk_fake_of_this_test", (SECRET,), "http://127.0.0.1:9")
    for each in (head, header(payload), f"t={T},v1={head}"):
        with pytest.raises(BadNotice):
            noisy.verify(payload, each, NOW)


@settings(max_examples=150)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_a_well_signed_event_with_odd_values_is_read_or_refused(value: object) -> None:
    odd = StripeDoor("sk_fake_of_this_test", (SECRET,), "http://127.0.0.1:9")
    for name in EVENT:
        payload = body(**{name: value})
        try:
            assert odd.verify(payload, header(payload), NOW).id.startswith("evt_")
        except BadNotice:
            continue


def test_a_good_message_is_read(door: StripeDoor) -> None:
    event = door.verify(GOOD, header(GOOD), NOW)
    assert (event.id, event.type, event.object_id) == ("evt_1", "checkout.session.completed", "cs_1")
    assert event.created == NOW - timedelta(seconds=5)
    assert not event.livemode


def test_stripes_own_signature_is_accepted(door: StripeDoor) -> None:
    """The independent check of our sender: the same header as the library's public helper makes."""
    made = stripe.WebhookSignature.generate_signature_header(GOOD.decode(), SECRET, T)
    assert made == header(GOOD)
    assert door.verify(GOOD, made, NOW).id == "evt_1"


@pytest.mark.parametrize("skew_s", [-300, -1, 0, 1, 300])
def test_a_date_within_five_minutes_either_way_is_accepted(door: StripeDoor, skew_s: int) -> None:
    assert door.verify(GOOD, header(GOOD, moment=NOW + timedelta(seconds=skew_s)), NOW).id == "evt_1"


def test_while_the_secret_is_replaced_both_are_accepted(door: StripeDoor) -> None:
    assert door.verify(GOOD, header(GOOD, secret=OLD_SECRET), NOW).id == "evt_1"
    both = f"t={T},v1={by_hand(GOOD, 'whsec_fake_unknown')},v1={by_hand(GOOD)},v0=abc"
    assert door.verify(GOOD, both, NOW).id == "evt_1"


def test_a_door_without_secrets_accepts_nothing() -> None:
    closed = StripeDoor("sk_fake_of_this_test", (), "http://127.0.0.1:9")
    blank = StripeDoor("sk_fake_of_this_test", ("", "  "), "http://127.0.0.1:9")
    for door in (closed, blank):
        for secret in ("", "  ", SECRET):
            with pytest.raises(BadNotice):
                door.verify(GOOD, header(GOOD, secret=secret), NOW)


def test_a_live_door_takes_only_real_money() -> None:
    live = StripeDoor("_".join(("sk", "live", "fake")), (SECRET,), "http://127.0.0.1:9")
    real = body(livemode=True)
    assert live.verify(real, header(real), NOW).livemode
    with pytest.raises(BadNotice):
        live.verify(GOOD, header(GOOD), NOW)


def test_another_version_of_the_api_is_read_too(door: StripeDoor) -> None:
    """Only the names are taken from a message; the object is read again in our own version."""
    for version in ("2025-03-31.basil", None):
        other = body(api_version=version)
        assert door.verify(other, header(other), NOW).object_id == "cs_1"


def test_an_event_about_something_without_id_is_read(door: StripeDoor) -> None:
    balance = body(type="balance.available", data={"object": {"object": "balance"}})
    assert door.verify(balance, header(balance), NOW).object_id == ""
