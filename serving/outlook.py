"""When a Job will be done: how long its like took, and what goes before it."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from studio.words.brief import BriefKind
from studio.words.ids import JobId
from studio.words.job import Job, JobState

_GAP_S: Final = 5.0
"""Songs whose lengths differ by less say nothing about what a longer song costs."""

Outlook = tuple[int, float | None]
"""How many starts go before a Job, and in how many seconds it will probably be done (None: nobody knows yet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long Jobs take: a fixed part and one that grows with the length of the song.

    Attributes:
        fixed_s: seconds whatever the length, ≥ 0.
        per_second: seconds of work for a second of song, ≥ 0.
        typical_length_s: length of a song for which none was asked.
    """

    fixed_s: float
    per_second: float
    typical_length_s: float

    def seconds(self, length_s: float | None) -> float:
        """Seconds that a Job for songs of this length will take."""
        return self.fixed_s + self.per_second * (self.typical_length_s if length_s is None else length_s)


def pace_of(times: Sequence[tuple[float, float]]) -> Pace | None:
    """The pace behind pairs of seconds taken and seconds of song (> 0); None without any.

    The line through the pairs is Theil and Sen's (Sen, "Estimates of the regression coefficient based on Kendall's
    tau", 1968): the median of all slopes, which a few Jobs that stood still do not bend. While all songs were about
    as long, the time is taken to grow with the length.
    """
    if not times:
        return None
    pairs = itertools.combinations(times, 2)
    slopes = [(took_a - took_b) / (a - b) for (took_a, a), (took_b, b) in pairs if abs(a - b) >= _GAP_S]
    slope = max(0.0, median(slopes)) if slopes else median(took_s / length_s for took_s, length_s in times)
    fixed_s = max(0.0, median(took_s - slope * length_s for took_s, length_s in times))
    typical_length_s = median(length_s for _, length_s in times)
    return Pace(fixed_s=fixed_s if slopes else 0.0, per_second=slope, typical_length_s=typical_length_s)


def outlooks_of(
    line: Sequence[Job], paces: Mapping[BriefKind, Pace | None], *, ahead: int, side_by_side: int
) -> dict[JobId, Outlook]:
    """The outlook of each Job of one account's line.

    Args:
        line: the account's queued and processing Jobs in their order.
        paces: of their kinds.
        ahead: lanes of others that wait before this one; each takes a turn before each of this line's starts.
        side_by_side: how many Jobs are worked on at once everywhere, ≥ 1.
    """
    found: dict[JobId, Outlook] = {}
    before_s, starts = 0.0, 0
    for place, job in enumerate(sorted(line, key=lambda job: job.state is not JobState.PROCESSING)):
        pace = paces[job.brief.kind]
        own_s = 0.0 if pace is None else pace.seconds(job.brief.controls.duration_s)
        if job.state is JobState.PROCESSING:
            before_s += own_s * (1.0 - job.progress)
            found[job.id] = (0, None if pace is None else before_s)
            continue
        starts += 1
        turns_s = 0.0 if pace is None else math.ceil(ahead * starts / side_by_side) * pace.seconds(None)
        before_s += own_s
        found[job.id] = (place + ahead * starts, None if pace is None else before_s + turns_s)
    return found
