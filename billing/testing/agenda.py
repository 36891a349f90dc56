"""What is to happen when: renewals, retries, transfers that arrive, checkouts that expire."""

import heapq
import itertools
from typing import NamedTuple


class Entry(NamedTuple):
    """Something to do with an object at a moment (seconds since 1970)."""

    at: int
    number: int
    what: str
    object_id: str


class Agenda:
    """Entries by their moment. Nothing is ever struck off: whoever acts on an entry looks whether it still holds."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._numbers = itertools.count()

    def note(self, at: int, what: str, object_id: str) -> None:
        """Adds an entry."""
        heapq.heappush(self._entries, Entry(at, next(self._numbers), what, object_id))

    def next_at(self) -> int | None:
        """The moment of the first entry."""
        return self._entries[0].at if self._entries else None

    def take(self, until: int) -> Entry | None:
        """The first entry not later than ``until``, taken off."""
        return heapq.heappop(self._entries) if self._entries and self._entries[0].at <= until else None
