"""The webhook door under load: messages of Stripe's at a fixed rate, answered before anything is asked of Stripe.

    python bench/webhooks.py [--quick] [--json] [--csv FILE]

The doors run alone in a process of their own over a real Postgres that syncs to disk. 100 signed messages a second are
sent when they are due, whether or not earlier ones were answered, and a tenth of them twice; a time counts from when
the message was due. No Stripe is there at all, so an answer that had waited for it would never come. ``--quick`` sends
for 5 seconds instead of 60.
"""

import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness import doors, durable_postgres, migrated, row, run
from report import Row, percentile
from sqlalchemy import text

from billing.testing.webhooks import signature
from data.database import Database

RATE_PER_S: Final = 100
SENDERS: Final = 48
AGAIN_EVERY: Final = 10
SECRET: Final = "whsec_of_the_bench"
DOOR: Final = "/api/v1/webhooks/stripe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """For how long messages are sent."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message that was sent: how it was answered, and how long after it was due."""

    status: int
    late_ms: float


def measure(size: Size) -> Sequence[Row]:
    """Send, and look at what was kept."""
    with durable_postgres() as server, tempfile.TemporaryDirectory(prefix="melodeon-bench-") as folder:
        url = migrated(server, "webhooks")
        stripe = {
            "MELODEON_STRIPE__API_KEY": "sk_test_of_the_bench",
            "MELODEON_STRIPE__WEBHOOK_SECRETS": json.dumps([SECRET]),
            "MELODEON_STRIPE__BASE_URL": "http://127.0.0.1:9",
        }
        with doors(url, Path(folder), **stripe) as port:
            send(port, 0, 2.0)  # the first ones warm the door up
            sent = send(port, 1_000_000, size.seconds)
        return rows(sent, size, kept(url))


def send(port: int, first: int, seconds: float) -> list[Sent]:
    """Send messages at the rate of `RATE_PER_S`, numbered from ``first`` on."""
    own = threading.local()
    begun = time.perf_counter() + 0.2

    def one(place: int) -> Sent:
        due = begun + place / RATE_PER_S
        time.sleep(max(0.0, due - time.perf_counter()))
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        payload = message(first + place - (place % AGAIN_EVERY == 1))
        own.connection.request(
            "POST",
            DOOR,
            payload,
            {"Stripe-Signature": signature(payload, SECRET, datetime.now(UTC)), "Content-Type": "application/json"},
        )
        answer = own.connection.getresponse()
        answer.read()
        return Sent(status=answer.status, late_ms=(time.perf_counter() - due) * 1000)

    with ThreadPoolExecutor(SENDERS) as pool:
        return list(pool.map(one, range(int(seconds * RATE_PER_S))))


def message(number: int) -> bytes:
    """A message as large as Stripe's are."""
    event = {
        "id": f"evt_bench{number:012}",
        "object": "event",
        "type": "checkout.session.completed",
        "created": int(time.time()),
        "livemode": False,
        "data": {
            "object": {"id": f"cs_test_{number:056}", "object": "checkout.session", "metadata": {"x": "y" * 3000}}
        },
    }
    return json.dumps(event).encode()


def kept(url: str) -> int:
    """How many messages are in the inbox, without those that warmed up."""
    database = Database(url)
    with database.transaction() as session:
        number = session.execute(text("SELECT count(*) FROM notice WHERE id >= 'evt_bench000001000000'")).scalar_one()
    database.dispose()
    return int(number)


def rows(sent: list[Sent], size: Size, in_the_inbox: int) -> list[Row]:
    """The figures."""
    times_ms = [each.late_ms for each in sent]
    twice = sum(place % AGAIN_EVERY == 1 for place in range(len(sent)))
    return [
        row("messages a second", len(sent) / size.seconds, "1/s", None),
        row("answered, p50", percentile(times_ms, 0.5), "ms", None),
        row("answered, p99", percentile(times_ms, 0.99), "ms", 200),
        row("answered, longest", max(times_ms), "ms", None),
        row("not answered with 200", sum(each.status != http.HTTPStatus.OK for each in sent), "messages", 0),
        row("lost or kept twice", abs(len(sent) - twice - in_the_inbox), "messages", 0),
    ]


if __name__ == "__main__":
    sys.exit(run("webhooks", __doc__, measure, full=Size(seconds=60), quick=Size(seconds=5), smaller="send for 5 s"))
