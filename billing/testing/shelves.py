"""Where the fake keeps its objects: plain JSON in the order they were made, one shelf a kind, one lock for all.

Fields whose names begin with ``_`` are the fake's own notes and never leave it.
"""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from billing.testing.clock import Clock
from billing.testing.refusal import Refusal, missing

Json = dict[str, Any]
Watcher = Callable[[Json], None]

API_VERSION = "2026-10-28.endive"
"""The only version of Stripe's API that the fake speaks."""

_KIND_OF_PREFIX = {
    "cus": "customer",
    "prod": "product",
    "price": "price",
    "cs": "checkout.session",
    "pi": "payment_intent",
    "ch": "charge",
    "re": "refund",
    "du": "dispute",
    "in": "invoice",
    "inpay": "invoice_payment",
    "sub": "subscription",
    "si": "subscription_item",
    "il": "line_item",
    "li": "item",
    "bps": "billing_portal.session",
    "evt": "event",
}
_PREFIX_OF_KIND = {kind: prefix for prefix, kind in _KIND_OF_PREFIX.items()}


class Shelves:
    """All objects of one fake account.

    Args:
        run: a part of every id, another for every run, so that a product that outlives the fake's memory never
            meets an id twice.
    """

    def __init__(self, clock: Clock, run: str) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.on_event: Watcher = lambda _: None
        self._run = run
        self._count = 0
        self._shelves: dict[str, dict[str, Json]] = {}
        self._order: dict[str, list[str]] = {}

    def now(self) -> int:
        """Stripe's form of time: seconds since 1970."""
        return int(self.clock.now().timestamp())

    def new_id(self, kind: str) -> str:
        """A fresh id with the prefix of its kind."""
        with self.lock:
            self._count += 1
            return f"{_PREFIX_OF_KIND[kind]}_fake{self._run}{self._count:08d}"

    def put(self, thing: Json) -> Json:
        """Keeps an object; one of the same id is replaced in its place."""
        with self.lock:
            shelf = self._shelves.setdefault(thing["object"], {})
            if thing["id"] not in shelf:
                self._order.setdefault(thing["object"], []).append(thing["id"])
            shelf[thing["id"]] = thing
            return thing

    def get(self, kind: str, object_id: str, *, param: str = "id") -> Json:
        """The object itself, not a copy.

        Raises:
            Refusal: there is none; ``param`` names where the id came from.
        """
        found = self._shelves.get(kind, {}).get(object_id)
        if found is None:
            raise missing(kind.rpartition(".")[2], object_id, param)
        return found

    def find(self, object_id: str) -> Json | None:
        """The object of any kind that bears this id."""
        kind = _KIND_OF_PREFIX.get(object_id.partition("_")[0], "product")
        return self._shelves.get(kind, {}).get(object_id)

    def all(self, kind: str) -> list[Json]:
        """Every object of a kind, oldest first."""
        with self.lock:
            shelf = self._shelves.get(kind, {})
            return [shelf[object_id] for object_id in self._order.get(kind, [])]

    def emit(self, kind: str, thing: Json, previous: Json | None = None) -> Json:
        """Records an event about an object as it stands now, and tells whoever sends webhooks."""
        data: Json = {"object": copy.deepcopy(public(thing)), "previous_attributes": previous}
        event = self.put(
            {
                "id": self.new_id("event"),
                "object": "event",
                "account": None,
                "api_version": API_VERSION,
                "context": None,
                "created": self.now(),
                "data": data if previous else {"object": data["object"]},
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": None, "idempotency_key": None},
                "type": kind,
                "_delivered": False,
            }
        )
        self.on_event(event)
        return event

    def page(self, kind: str, *, keep: Callable[[Json], bool], since: int, query: Json) -> tuple[list[Json], bool]:
        """One page of a list, newest first, and whether there is more in its direction.

        Args:
            since: nothing made before this moment is looked at.
            query: Stripe's ``limit`` (1 to 100, default 10), ``starting_after``, ``ending_before``.
        """
        limit = _limit(query.get("limit"))
        with self.lock:
            order = self._order.get(kind, [])
            towards_newer = "ending_before" in query
            cursor = query.get("ending_before") or query.get("starting_after")
            found: list[Json] = []
            for object_id in self._walk(order, cursor, towards_newer=towards_newer):
                thing = self._shelves[kind][object_id]
                if thing.get("created", since) < since:
                    if towards_newer:
                        continue
                    break
                if keep(thing):
                    found.append(thing)
                    if len(found) > limit:
                        break
        shown = found[:limit]
        return (shown[::-1] if towards_newer else shown), len(found) > limit

    @staticmethod
    def _walk(order: list[str], cursor: str | None, *, towards_newer: bool) -> Iterator[str]:
        if cursor is None:
            yield from reversed(order)
            return
        try:
            place = order.index(cursor)
        except ValueError:
            raise missing("object", cursor, "ending_before" if towards_newer else "starting_after") from None
        yield from order[place + 1 :] if towards_newer else reversed(order[:place])

    def save(self, path: Path) -> None:
        """Writes everything to a file, whole or not at all."""
        aside = path.with_suffix(".new")
        with self.lock:
            aside.write_text(
                json.dumps({"count": self._count, "shelves": self._shelves, "order": self._order}), "utf-8"
            )
            aside.replace(path)

    def load(self, path: Path) -> None:
        """Reads what ``save`` wrote."""
        kept = json.loads(path.read_text("utf-8"))
        with self.lock:
            self._count, self._shelves, self._order = kept["count"], kept["shelves"], kept["order"]


def public(thing: Json) -> Json:
    """An object without the fake's own notes."""
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _limit(value: Any) -> int:
    limit = 10 if value is None else value
    if not isinstance(limit, int) or not 1 <= limit <= 100:
        raise Refusal("This value must be between 1 and 100.", reason="parameter_invalid_integer", param="limit")
    return limit
