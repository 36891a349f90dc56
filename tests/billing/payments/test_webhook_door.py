"""The door for Stripe's messages: what is not Stripe's is 400 and leaves no trace, what is is kept before the 200."""

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from billing.testing.webhooks import signature
from serving.api.app import make_app
from serving.api.limits import BODY_MAX_BYTES


def event(**changes: Any) -> dict[str, Any]:
    """A message as Stripe sends it."""
    made = {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "type": "invoice.paid",
        "created": 1_795_000_000,
        "livemode": False,
        "data": {"object": {"id": "in_1", "object": "invoice", "customer": "cus_1", "customer_email": "a@example.org"}},
    }
    return made | changes


def body(**changes: Any) -> bytes:
    return json.dumps(event(**changes)).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in event().items() if key != name}).encode()


BAD_BODIES = {
    "empty": b"",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "a text": b'"evt_1"',
    "no JSON": b"{not json",
    "cut off": body()[:-20],
    "deeply nested": b"[" * 20_000 + b"]" * 20_000,
    "not UTF-8": b"\xff\xfe{}",
    "UTF-16": body().decode().encode("utf-16"),
    "half a surrogate in the id": json.dumps(event(id="evt_\ud800")).encode(),
    "an empty object": b"{}",
    "thin": json.dumps(
        {"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.no", "related_object": {"id": "m_1"}}
    ).encode(),
    "no object kind": without("object"),
    "no id": without("id"),
    "no type": without("type"),
    "no data": without("data"),
    "no date": without("created"),
    "no livemode": without("livemode"),
    "id a number": body(id=1),
    "id of something else": body(id="ch_1"),
    "id too long": body(id="evt_" + "1" * 300),
    "id with SQL": body(id="evt_1'; DROP TABLE notice; --"),
    "type a list": body(type=["invoice.paid"]),
    "type with a NUL": body(type="invoice\u0000.paid"),
    "live in a test": body(livemode=True),
    "data a text": body(data="in_1"),
    "data without an object": body(data={}),
    "object a list": body(data={"object": []}),
    "object's id an object": body(data={"object": {"id": {"$ne": 1}}}),
    "date a text": body(created="yesterday"),
    "date negative": body(created=-1),
    "date far off": body(created=10**30),
    "date NaN": body().replace(b"1795000000", b"NaN"),
}
"""Signed rightly, and still nothing that we can read."""


@pytest.fixture
def send(shop, endpoint) -> Iterator[Callable[..., httpx.Response]]:
    """Posts to the door; signed rightly unless a header is given."""
    with httpx.Client(timeout=60.0) as client:

        def post(payload: bytes, header: str | None = None, **more: Any) -> httpx.Response:
            header = signature(payload, shop.stripe.webhook_secret, shop.clock.now()) if header is None else header
            return client.post(endpoint, content=payload, headers={"Stripe-Signature": header, **more})

        yield post


def test_no_bad_form_is_kept_and_none_breaks_the_door(shop, send) -> None:
    assert len(BAD_BODIES) >= 30
    answers = {name: send(payload) for name, payload in BAD_BODIES.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(BAD_BODIES, 400)
    for answer in answers.values():
        told = answer.json()
        assert (told["ok"], told["error"]) == (False, "bad_notice")
        assert told["message"].startswith("This is not a message of Stripe's to this installation: ")
    assert shop.notices() == {}


def bad_headers(good: str, payload: bytes, shop: Any) -> dict[str, str]:
    """Headers that do not sign ``payload``."""
    now, secret = shop.clock.now(), shop.stripe.webhook_secret
    date, _, digest = good.partition(",")
    return {
        "empty": "",
        "words": "let me in",
        "no date": digest,
        "no signature": date,
        "two dates": f"{date},{date},{digest}",
        "date no number": f"t=now,{digest}",
        "date huge": f"t={'9' * 400},{digest}",
        "date moved": f"t={int(now.timestamp()) + 1},{digest}",
        "another secret": signature(payload, "whsec_of_somebody_else", now),
        "another body": signature(payload + b" ", secret, now),
        "too old": signature(payload, secret, now - timedelta(seconds=301)),
        "a year in the future": signature(payload, secret, now + timedelta(days=365)),
        "five minutes ahead": signature(payload, secret, now + timedelta(seconds=301)),
        "an old scheme": good.replace("v1=", "v0="),
        "cut off": good[:-4],
        "very long": good + ",v1=" + "0" * 5000,
    }


def test_no_bad_signature_is_believed(shop, send) -> None:
    payload = body()
    good = signature(payload, shop.stripe.webhook_secret, shop.clock.now())
    forms = bad_headers(good, payload, shop)
    assert {name: send(payload, header).status_code for name, header in forms.items()} == dict.fromkeys(forms, 400)
    assert shop.notices() == {}
    assert send(payload, good).status_code == 200


def test_a_header_outside_ascii_and_none_at_all_are_bad_too(shop, endpoint) -> None:
    place = urlsplit(endpoint)
    for headers in ({}, {b"Stripe-Signature": b"t=1,v1=\xe4\xff"}):
        connection = http.client.HTTPConnection(place.hostname, place.port)
        connection.request("POST", place.path, body(), headers)
        assert connection.getresponse().status == 400
        connection.close()
    assert shop.notices() == {}


def test_a_body_of_more_than_a_megabyte_is_too_large(shop, send) -> None:
    large = body(note="x" * BODY_MAX_BYTES)
    assert send(large).status_code == 413
    assert shop.notices() == {}


def test_a_good_message_is_kept_once_with_its_ids_and_nothing_personal(shop, send) -> None:
    for _ in range(3):
        assert send(body()).status_code == 200
    assert shop.value("SELECT count(*) FROM notice") == 1
    assert shop.value("SELECT payload FROM notice") == {"customer": "cus_1"}
    assert "example.org" not in shop.value("SELECT notice::text FROM notice")
    assert shop.value("SELECT state || ' ' || object_id FROM notice") == "received in_1"


def test_only_ids_are_kept_of_what_a_message_names(shop, send) -> None:
    named = {"id": "ch_1", "customer": "cus_1", "charge": "Ada, 1 Sea Lane", "invoice": "ada@example.org", "amount": 7}
    assert send(body(type="charge.refunded", data={"object": named})).status_code == 200
    assert shop.value("SELECT payload FROM notice") == {"customer": "cus_1"}


def test_the_signature_is_of_the_very_bytes_that_came(shop, send) -> None:
    odd = json.dumps(event(), indent=3, sort_keys=True, ensure_ascii=False).encode() + b"\r\n"
    assert send(odd).status_code == 200
    assert send(odd, signature(body(), shop.stripe.webhook_secret, shop.clock.now())).status_code == 400


def test_neither_a_session_nor_a_header_of_ours_is_asked_for(send) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://stripe.com"}
    assert send(body(), **foreign).json() == {"ok": True, "data": {"new": True}}


def test_two_signatures_are_right_while_the_secret_is_changed(shop, send) -> None:
    payload = body()
    good = signature(payload, shop.stripe.webhook_secret, shop.clock.now())
    other = signature(payload, "whsec_the_next_one", shop.clock.now()).partition(",")[2]
    assert send(payload, f"{good},{other}").status_code == 200


def test_the_same_message_many_times_at_once_is_kept_once(shop, send) -> None:
    payload = body()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: send(payload).json()["data"]["new"], range(32)))
    assert sum(answers) == 1


def test_kinds_that_call_for_nothing_are_kept_and_handled(shop, send) -> None:
    for number, data in enumerate(({"object": {}}, {"object": {"id": None, "charge": {"id": "ch_1"}}})):
        assert send(body(id=f"evt_{number}", type="balance.available", data=data)).status_code == 200
    shop.work_off()
    assert shop.notices() == {"handled": 2}


def test_without_a_key_the_door_says_that_payments_are_off(services) -> None:
    doors = make_app(replace(services, payments=None))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(doors), base_url="http://test") as client:
            return await client.post("/webhooks/stripe", content=body())

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]) == (503, "payments_off")
