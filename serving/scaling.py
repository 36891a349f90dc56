"""How many replicas an application should have: the policy of runnable accounts, as arithmetic.

An account works on one Job at a time, so what replicas can do at once is counted in *accounts that have something to
do*, not in songs: fifty thousand songs of one account still keep one replica busy. Ray Serve asks through
``serving.deployments.autoscaling``, the simulator asks directly; both get the answer of this very code.

The two terms are those of queueing practice: enough replicas to empty the line within ``drain_s`` (Little's law on
the work in sight), and enough that the usual arrivals keep each busy for ``utilisation`` of the time (the load
``λ·S`` of Erlang over ρ). Neither asks for more at once than there are accounts behind it: the songs of one account
that follow one another arrive as fast as one replica makes them, and a second one would only look on.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of one application, as it was ``age_s`` seconds ago.

    Attributes:
        running: accounts with a Job in process that still needs this application, ≥ 0.
        ready_accounts: further accounts with a Job that could start now, ≥ 0.
        seconds_per_song: how long the application is busy for one Job, > 0; None: nothing has been measured yet.
        arrivals_per_s: Jobs a second that became possible to run, ≥ 0; those that only wait behind another Job of
            their own account do not count.
        arriving_accounts: distinct accounts that these arrivals are of, ≥ 0.
        age_s: seconds since this was true, ≥ 0.
    """

    running: int
    ready_accounts: int
    seconds_per_song: float | None
    arrivals_per_s: float
    arriving_accounts: int
    age_s: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.running, self.ready_accounts, self.arrivals_per_s, self.arriving_accounts, self.age_s)
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("A demand is made of finite numbers that are not negative.")
        if self.seconds_per_song is not None and not (
            math.isfinite(self.seconds_per_song) and self.seconds_per_song > 0
        ):
            raise ValueError("The seconds per song must be finite and more than zero, or unknown.")

    @property
    def runnable(self) -> int:
        """Distinct accounts that have something to do."""
        return self.running + self.ready_accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRule:
    """What an engineer chooses.

    Attributes:
        drain_s: seconds within which the present line should have been worked off, > 0.
        utilisation: share of the time that a replica should be busy with the usual arrivals, 0-1.
        per_replica: Jobs that a replica works on side by side, ≥ 1.
        stale_s: demand older than this is not acted upon, > 0.
        assumed_s: seconds per song while nothing has been measured, > 0.
    """

    drain_s: float = 30.0
    utilisation: float = 0.8
    per_replica: int = 1
    stale_s: float = 30.0
    assumed_s: float = 30.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(s) and s > 0 for s in (self.drain_s, self.stale_s, self.assumed_s)):
            raise ValueError("drain_s, stale_s and assumed_s must be finite and more than zero.")
        if not 0 < self.utilisation <= 1:
            raise ValueError("utilisation must be more than 0 and at most 1.")
        if self.per_replica < 1:
            raise ValueError("per_replica must be at least 1.")


class Cause(StrEnum):
    """Why a Decision is as it is, in one word for metrics."""

    NO_DATA = "no_data"
    STALE = "stale"
    IDLE = "idle"
    DRAIN = "drain"
    ARRIVALS = "arrivals"
    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many replicas there should be; ``reason`` is a sentence for the engineer who wonders, without numbers that
    change all the time."""

    replicas: int
    cause: Cause
    reason: str


def decide(demand: Demand | None, current: int, rule: ScalingRule, *, least: int, most: int) -> Decision:
    """How many replicas an application should have.

    Enough for the larger of two terms, ``L·S/W`` (empty the line in W seconds; never more than one replica for each
    of the L runnable accounts) and ``λ·S/ρ`` (usual arrivals; never more than one for each account that they are of),
    each divided by what a replica does side by side.
    At least one as soon as anybody is runnable. While nobody is, replicas stay only for arrivals that keep a whole
    one busy, so that an application may go to zero.

    Args:
        demand: what is asked for; None when it was never read.
        current: the present target, kept when there are no fresh data (fail-static).
        rule: what the engineer chose.
        least, most: bounds, 0 ≤ least ≤ most.

    Raises:
        ValueError: bounds or target make no sense.
    """
    if not 0 <= least <= most or current < 0:
        raise ValueError(f"{least} to {most} replicas with {current} at present make no sense.")
    if demand is None:
        sentence = "The queue has not been read yet, so the present target is kept."
        return Decision(replicas=_clamp(current, least, most), cause=Cause.NO_DATA, reason=sentence)
    if demand.age_s > rule.stale_s:
        sentence = f"The queue was last read more than {rule.stale_s:g} s ago, so the present target is kept."
        return Decision(replicas=_clamp(current, least, most), cause=Cause.STALE, reason=sentence)
    return _bounded(_wanted(demand, rule), least, most)


def _wanted(demand: Demand, rule: ScalingRule) -> Decision:
    seconds = demand.seconds_per_song or rule.assumed_s
    lanes = min(demand.arrivals_per_s * seconds / rule.utilisation, demand.arriving_accounts)
    busy = lanes / rule.per_replica
    if not demand.runnable:
        if busy < 1:
            return Decision(replicas=0, cause=Cause.IDLE, reason="Nobody has anything to do and nothing runs.")
        sentence = "Nobody waits at this moment, but the usual arrivals keep these replicas busy."
        return Decision(replicas=math.floor(busy), cause=Cause.ARRIVALS, reason=sentence)
    line = demand.runnable * min(1.0, seconds / rule.drain_s) / rule.per_replica
    if math.ceil(busy) > math.ceil(line):
        sentence = f"The usual arrivals keep these replicas busy for {rule.utilisation:.0%} of the time."
        return Decision(replicas=math.ceil(busy), cause=Cause.ARRIVALS, reason=sentence)
    sentence = f"The accounts with something to do are served within {max(rule.drain_s, seconds):.0f} s."
    return Decision(replicas=math.ceil(line), cause=Cause.DRAIN, reason=sentence)


def _bounded(wanted: Decision, least: int, most: int) -> Decision:
    if wanted.replicas > most:
        sentence = f"{wanted.reason} That takes {wanted.replicas} replicas; at most {most} are allowed."
        return Decision(replicas=most, cause=Cause.MOST, reason=sentence)
    if wanted.replicas < least:
        sentence = f"{wanted.reason} At least {least} replicas are kept."
        return Decision(replicas=least, cause=Cause.LEAST, reason=sentence)
    return wanted


def _clamp(number: int, least: int, most: int) -> int:
    return max(least, min(number, most))
