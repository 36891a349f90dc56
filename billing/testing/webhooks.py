"""Sends events to the product's webhook as Stripe does: signed, at least once, in no order, for three days.

A delivery that is not answered with 2xx is tried again with growing pauses until three days after the event. On top
of that the options make the trouble of real life: duplicates, reordering, delay, and losses on the way there or back.
"""

import hashlib
import heapq
import hmac
import http.client
import itertools
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from billing.testing.shelves import Json, Shelves, public

PAUSES_S: Final = (60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 64_800, 79_200)
"""Pauses between the tries of one delivery; together a little under three days."""

_ANSWER_S: Final = 30.0


def signature(payload: bytes, secret: str, moment: datetime) -> str:
    """The ``Stripe-Signature`` header: HMAC-SHA256 of date and body (Stripe's documented scheme ``v1``)."""
    date = int(moment.timestamp())
    digest = hmac.new(secret.encode(), f"{date}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={date},v1={digest}"


@dataclass(slots=True, kw_only=True)
class Trouble:
    """Shares (0 to 1) of deliveries that go wrong.

    Attributes:
        duplicates: sent again after they arrived.
        reorder: sent after later ones.
        loss: lost, half of them on the way there, half of the answers on the way back; both are tried again.
        delay_s: up to so many seconds late.
    """

    duplicates: float = 0.0
    reorder: float = 0.0
    loss: float = 0.0
    delay_s: float = 0.0


class Delivery(NamedTuple):
    """One event to be sent at a moment (seconds since 1970); ``order`` decides among those of one moment.

    ``repeated``: it has arrived before, and is not sent a third time.
    """

    at: float
    order: float
    event_id: str
    tries: int
    repeated: bool


class Webhooks:
    """The sender.

    Args:
        secret: what deliveries are signed with.
        seed: of the trouble.
        signed_at: the date in the signature; by default the fake's own clock.
    """

    def __init__(self, shelves: Shelves, secret: str, *, seed: int, signed_at: Callable[[], datetime]) -> None:
        self.trouble = Trouble()
        self.url: str | None = None
        self.sent = 0
        self.signed_at = signed_at
        self._shelves = shelves
        self._secret = secret
        self._random = random.Random(seed)  # noqa: S311 - trouble that a test can repeat
        self._numbers = itertools.count()
        self._queue: list[Delivery] = []
        self._lock = threading.RLock()
        shelves.on_event = self.announce

    def announce(self, event: Json) -> None:
        """Queues a fresh event, if there is an endpoint to send it to."""
        if self.url is None:
            return
        event["pending_webhooks"] = 1
        late = self._random.uniform(0, self.trouble.delay_s)
        self._add(self._shelves.now() + late, event["id"], 0)

    def next_at(self) -> float | None:
        """When the next delivery is due."""
        with self._lock:
            return self._queue[0].at if self._queue else None

    def deliver(self) -> int:
        """Sends everything that is due now and returns how many requests were made."""
        made = 0
        while (due := self._take(self._shelves.now())) is not None:
            made += 1
            self._try(due)
        return made

    def _take(self, now: float) -> Delivery | None:
        with self._lock:
            return heapq.heappop(self._queue) if self._queue and self._queue[0].at <= now else None

    def _add(self, at: float, event_id: str, tries: int, *, repeated: bool = False) -> None:
        with self._lock:
            number = float(next(self._numbers))
            if self._random.random() < self.trouble.reorder:
                number += self._random.uniform(1, 200)
            heapq.heappush(self._queue, Delivery(at, number, event_id, tries, repeated))

    def _try(self, delivery: Delivery) -> None:
        event = self._shelves.get("event", delivery.event_id)
        lost = self._random.random() < self.trouble.loss
        arrived = False if lost and self._random.random() < 0.5 else self._send(event) and not lost
        if arrived:
            event.update(_delivered=True, pending_webhooks=0)
            if not delivery.repeated and self._random.random() < self.trouble.duplicates:
                self._add(self._shelves.now(), delivery.event_id, delivery.tries, repeated=True)
        elif delivery.tries < len(PAUSES_S):
            later = self._shelves.now() + PAUSES_S[delivery.tries]
            self._add(later, delivery.event_id, delivery.tries + 1, repeated=delivery.repeated)
        else:
            event["pending_webhooks"] = 0

    def _send(self, event: Json) -> bool:
        """Whether the endpoint took it (2xx)."""
        if self.url is None:
            return False
        self.sent += 1
        place = urlsplit(self.url)
        payload = json.dumps(public(event)).encode()
        connect = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = connect(place.hostname or "", place.port, timeout=_ANSWER_S)
        try:
            connection.request(
                "POST",
                place.path or "/",
                payload,
                {
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": signature(payload, self._secret, self.signed_at()),
                    "User-Agent": "Stripe/1.0 (a fake of it)",
                },
            )
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
