"""Cold starts: how long a call waited when no replica was running, and what the person is told meanwhile."""

import statistics
from collections import deque
from typing import Final

KEPT: Final = 5
"""Measured waits per application that count; older ones are of another version or machine."""


class ColdStarts:
    """The waits of this gateway's life, by application. ``now`` is any clock in seconds that does not go back."""

    def __init__(self) -> None:
        self._waits_s: dict[str, deque[float]] = {}
        self._since: dict[str, float] = {}

    def begins(self, application: str, now: float) -> None:
        """A call waits for the first replica; the first such call counts."""
        self._since.setdefault(application, now)

    def ends(self, application: str, now: float) -> float | None:
        """A replica answered; tells how long the wait was, if there was one."""
        since = self._since.pop(application, None)
        if since is None:
            return None
        self._waits_s.setdefault(application, deque(maxlen=KEPT)).append(now - since)
        return now - since

    def forget(self, application: str) -> None:
        """Nobody waits any more: what was begun is no measurement."""
        self._since.pop(application, None)

    def usual_s(self, application: str) -> float | None:
        """The median of the last waits; None when there was none."""
        waits_s = self._waits_s.get(application)
        return statistics.median(waits_s) if waits_s else None

    def sentence(self, application: str) -> str:
        """What the person is told meanwhile."""
        return warming_up(self.usual_s(application))


def warming_up(usual_s: float | None) -> str:
    """That an engine is being started: with a number only if it was measured."""
    return "Warming up the engine" if usual_s is None else f"Warming up the engine, about {_rounded(usual_s)} s"


def _rounded(seconds: float) -> int:
    """To a second below 10 s, to five below a minute, else to ten: nobody believes “about 47 s”."""
    step = 1 if seconds < 10 else 5 if seconds < 60 else 10
    return max(1, round(seconds / step) * step)
