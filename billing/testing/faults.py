"""Faults to order: the next calls of the API are answered badly, or not at all."""

import threading
from collections import deque
from typing import Final, Literal

Fault = Literal[429, 500, "lost", "slow"]

KINDS: Final[tuple[Fault, ...]] = (429, 500, "lost", "slow")


class Faults:
    """What goes wrong next.

    ``429`` and ``500`` do nothing and say so (a 500 is remembered under the call's idempotency key, as Stripe
    does), ``lost`` does the work and closes the connection without an answer, ``slow`` answers after ``slow_s``.
    """

    def __init__(self) -> None:
        self.slow_s = 1.0
        self._lock = threading.Lock()
        self._queue: deque[Fault] = deque()

    def next(self, *faults: Fault) -> None:
        """Orders one fault for each of the next calls, in this order."""
        with self._lock:
            self._queue.extend(faults)

    def take(self) -> Fault | None:
        """The fault of the call that is being answered now."""
        with self._lock:
            return self._queue.popleft() if self._queue else None
