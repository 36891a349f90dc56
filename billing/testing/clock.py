"""Time for the fake: it stands still until told, so that months pass in a test's moment."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """Aware UTC."""


class VirtualClock:
    """Stands still until advanced; whoever depends on it is told of every step.

    Args:
        start: aware UTC, cut to whole seconds: Stripe's times have no fractions.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC).replace(microsecond=0)
        self._lock = threading.Lock()
        self._listeners: list[Callable[[datetime], None]] = []

    def now(self) -> datetime:
        """The virtual moment, aware UTC."""
        with self._lock:
            return self._now

    def set(self, moment: datetime) -> None:
        """Moves to a later moment without telling anybody; the listeners step through what is due with it."""
        with self._lock:
            self._now = max(self._now, moment)

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        """Lets time pass; all that falls due meanwhile happens, each thing at its own moment."""
        target = self.now() + timedelta(days=days, hours=hours, seconds=seconds)
        for listener in self._listeners:
            listener(target)
        self.set(target)

    def on_advance(self, listener: Callable[[datetime], None]) -> None:
        """Has ``listener(target)`` called before the clock reaches each ``target``."""
        self._listeners.append(listener)


class WallClock:
    """The real time."""

    def now(self) -> datetime:
        """Now, aware UTC."""
        return datetime.now(UTC)
