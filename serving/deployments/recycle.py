"""Recycling: a replica that has worked enough, or grown too large, is replaced while it has nothing to do.

Model libraries leak host memory slowly (ACE-Step-1.5 issue 142 reports it for every song), so a replica is replaced by
plan before the machine runs out of memory by surprise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from studio.errors import MelodeonError

OVERDUE: Final = 1.25
"""A replica that always has work never is idle: beyond a limit by this factor it takes no new calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleRule:
    """When a replica is to be replaced; None: never for this reason.

    Attributes:
        after_songs: takes made, > 0.
        resident_gb: memory of the process on the machine (not on the card), 10^9 bytes, > 0.
    """

    after_songs: int | None = None
    resident_gb: float | None = None


class TimeToRecycle(MelodeonError):
    """The replica asks to be replaced."""

    code = "recycle"

    def __init__(self, why: str) -> None:
        super().__init__(f"This replica asks to be replaced: {why}.")


class Recycling:
    """How much of its life a replica has used.

    Args:
        rule: the limits.
        resident_gb: measures the process; asked by `measure` only, for it takes some milliseconds.
    """

    def __init__(self, rule: RecycleRule, resident_gb: Callable[[], float]) -> None:
        self._rule = rule
        self._resident_gb = resident_gb
        self._made = 0
        self._size_gb = 0.0

    def note_made(self, takes: int) -> None:
        """So many more takes were made."""
        self._made += takes

    def measure(self) -> None:
        """Look how large the process is now."""
        if self._rule.resident_gb is not None:
            self._size_gb = self._resident_gb()

    def check_idle(self) -> None:
        """To be asked while no call runs. Raises `TimeToRecycle` beyond a limit."""
        if why := self._reason(1.0):
            raise TimeToRecycle(why)

    @property
    def overdue(self) -> bool:
        """Whether no new call should be taken, so that it becomes idle at last."""
        return bool(self._reason(OVERDUE))

    def _reason(self, factor: float) -> str:
        after, most_gb = self._rule.after_songs, self._rule.resident_gb
        if after is not None and self._made >= after * factor:
            return f"it has made {self._made} takes, {after} are its share"
        if most_gb is not None and self._size_gb >= most_gb * factor:
            return f"it has grown to {self._size_gb:.1f} GB, {most_gb:g} GB are its share"
        return ""
