"""What is simulated: a load with its daily shape, a card, a policy; and the songs that such days ask for.

A *song* here is one request: words, two takes and a cover. How long a GPU works for one and what it costs by the hour
are assumptions (see `GPUS`) until they are measured on the machine in question; both can be given.
"""

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from studio.errors import MelodeonError

DAY_S: Final = 86_400.0
PEAK_TO_MEAN: Final = 3.0
SHAPE_KAPPA: Final = 1.7606
"""Concentration of the von Mises curve whose peak is three times its mean."""
PEAK_HOUR: Final = 20.0
SERVICE_SHAPE: Final = 16.0
"""Of the gamma distribution of a song's seconds: a standard deviation of a quarter of the mean. An assumption."""
LONGEST_SONG_S: Final = 120.0
"""Beyond it some songs would outlast the drain of 300 s, which the simulation does not cut off."""

MOST_SONGS: Final = 5_000_000
"""More than this takes minutes and gigabytes."""


class UnfitScenario(MelodeonError):
    """Something of a scenario cannot be simulated."""

    code = "unfit_scenario"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A card and what is assumed of it. ``source`` says where the assumptions come from."""

    name: str
    label: str
    seconds_per_song: float
    price_per_hour: float
    source: str


_PAPER: Final = "paper values, not measured here: {}; plus words and cover; the price is an assumption ({})"

GPUS: Final[Mapping[str, Gpu]] = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            name="a100",
            label="A100 80 GB",
            seconds_per_song=6.5,
            price_per_hour=1.50,
            source=_PAPER.format(
                "ACE-Step 1.5's authors say under 2 s a song on an A100", "offers of 2026: $0.80 to $3.00"
            ),
        ),
        Gpu(
            name="rtx3090",
            label="consumer card, 24 GB",
            seconds_per_song=23.0,
            price_per_hour=0.35,
            source=_PAPER.format("ACE-Step 1.5's authors say under 10 s a song on an RTX 3090", "rented by the hour"),
        ),
    )
}


class PolicyKind(StrEnum):
    """How the number of replicas follows the work: the product's own policy with none or one at least, a fixed number,
    or a replica for every job that could run."""

    TO_ZERO = "to-zero"
    ONE_WARM = "one-warm"
    FIXED = "fixed"
    PER_JOB = "per-job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy; ``replicas`` belongs to the fixed one."""

    kind: PolicyKind
    replicas: int = 0

    @property
    def least(self) -> int:
        """How many replicas stand from the beginning and always."""
        return {PolicyKind.ONE_WARM: 1, PolicyKind.FIXED: self.replicas}.get(self.kind, 0)

    def __str__(self) -> str:
        return f"{self.kind}:{self.replicas}" if self.kind is PolicyKind.FIXED else str(self.kind)


def policy_of(text: str) -> Policy:
    """The policy written ``to-zero``, ``one-warm``, ``per-job`` or ``fixed:N``.

    Raises:
        UnfitScenario: it is none of them.
    """
    kind, colon, number = text.partition(":")
    if kind == PolicyKind.FIXED and number.isdecimal() and int(number) >= 1:
        return Policy(kind=PolicyKind.FIXED, replicas=int(number))
    if not colon and kind in set(PolicyKind) - {PolicyKind.FIXED}:
        return Policy(kind=PolicyKind(kind))
    raise UnfitScenario(f"There is no policy “{text}”: choose to-zero, one-warm, per-job or fixed:N.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated.

    Attributes:
        songs_per_day: mean number of requests, > 0; the peak of the day is three times as high as its mean.
        songs_per_account: requests a day of one account; the accounts are equally eager.
        cold_start_s: from the decision for a replica to its first song; the card is paid for meanwhile.
        downscale_delay_s, to_zero_delay_s: how long fewer replicas must be enough before one leaves (the last one).
        most_gpus: upper bound of replicas.
    """

    songs_per_day: float
    gpu: Gpu
    policy: Policy = field(default_factory=lambda: Policy(kind=PolicyKind.TO_ZERO))
    days: float = 2.0
    seed: int = 1
    songs_per_account: float = 5.0
    cold_start_s: float = 90.0
    downscale_delay_s: float = 300.0
    to_zero_delay_s: float = 600.0
    most_gpus: int = 200

    def __post_init__(self) -> None:
        positive = {"songs per day": self.songs_per_day, "days": self.days, "songs per account": self.songs_per_account,
                    "most GPUs": self.most_gpus, "seconds per song": self.gpu.seconds_per_song}  # fmt: skip
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise UnfitScenario(f"The {name} must be more than 0, not {value:g}.")
        if not (0 <= self.cold_start_s < DAY_S and 0 <= self.gpu.price_per_hour < math.inf):
            raise UnfitScenario("The cold start and the price must not be negative, the cold start under a day.")
        if self.policy.least > self.most_gpus:
            raise UnfitScenario(f"The policy {self.policy} keeps more GPUs than the {self.most_gpus} allowed.")
        if self.songs_per_day * self.days > MOST_SONGS:
            raise UnfitScenario(f"That is more than {MOST_SONGS:,} songs; simulate fewer days.")
        if self.gpu.seconds_per_song > LONGEST_SONG_S:
            raise UnfitScenario(f"A song may keep the GPU busy for at most {LONGEST_SONG_S:g} s.")


def days_for(songs_per_day: float) -> float:
    """Days that hold enough songs for percentiles without being many: some 6,000 songs, 2 to 60 days."""
    return min(60.0, max(2.0, 6000 / songs_per_day)) if songs_per_day > 0 else 2.0


@dataclass(slots=True)
class Served:
    """One song: asked for, first in its lane (``ready_s``), begun and ended; seconds since the begin."""

    number: int
    account: int
    asked_s: float
    service_s: float
    ready_s: float = math.nan
    begun_s: float = math.nan
    ended_s: float = math.nan
    replica: int = -1

    @property
    def wait_s(self) -> float:
        """From asking until a GPU works on it."""
        return self.begun_s - self.asked_s


def rate_per_s(scenario: Scenario, moment_s: float) -> float:
    """Requests a second at this moment: a von Mises curve over the day with its peak in the evening."""
    angle = 2 * math.pi * (moment_s / DAY_S - PEAK_HOUR / 24)
    return scenario.songs_per_day / DAY_S * PEAK_TO_MEAN * math.exp(SHAPE_KAPPA * (math.cos(angle) - 1))


def arrivals(scenario: Scenario) -> Iterator[Served]:
    """The requests in order: a Poisson process whose rate follows the day, by thinning (Lewis and Shedler, 1979).

    Depends on the seed and the load alone, so that policies and cards are compared by the same requests.
    """
    chance = random.Random(scenario.seed)  # noqa: S311 - a simulation
    accounts = max(1, round(scenario.songs_per_day / scenario.songs_per_account))
    peak_per_s = PEAK_TO_MEAN * scenario.songs_per_day / DAY_S
    moment_s, number = 0.0, itertools.count()
    while (moment_s := moment_s + chance.expovariate(peak_per_s)) < scenario.days * DAY_S:
        if chance.random() * peak_per_s < rate_per_s(scenario, moment_s):
            service_s = scenario.gpu.seconds_per_song * chance.gammavariate(SERVICE_SHAPE, 1 / SERVICE_SHAPE)
            yield Served(next(number), chance.randrange(accounts), moment_s, service_s)
