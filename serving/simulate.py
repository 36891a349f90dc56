"""What a load would need: waits, GPUs and money, by a discrete-event simulation of days in seconds.

The lanes take turns and let one song per account run, as the database's do; replicas start cold, drain and leave as
Serve's do. How many replicas there should be is decided by `serving.scaling.decide`, the very code of the cluster's
policy. Not simulated: the hand-over by the worker (milliseconds) and failures; a replica works on one song at a time.
"""

import heapq
import itertools
import math
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from serving.scaling import Demand, ScalingRule, decide
from serving.scenario import DAY_S, PolicyKind, Scenario, Served, arrivals

TICK_S: Final = 5.0
"""How often the simulated policy looks at the queue. The cluster's looks every second; here that would take far longer
and change the figures by little."""
RECENT_S: Final = 300.0
"""How far back the arrivals are counted that the policy is told."""
RECENT_SONGS: Final = 50
"""Over how many ended songs the seconds per song are averaged that the policy is told."""
START_COST: Final = 3
"""Virtual time that a start costs; every account is on the same plan."""


class State(Enum):
    """What a replica does."""

    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    DRAINING = auto()
    GONE = auto()


@dataclass(slots=True)
class Replica:
    """One GPU's time: paid for from ``asked_s`` to ``gone_s``, takes songs from ``ready_s`` to ``leaving_s``."""

    number: int
    asked_s: float
    ready_s: float
    leaving_s: float = math.inf
    gone_s: float = math.inf
    state: State = State.STARTING
    song: Served | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of a run. Waits last from asking until a GPU works on the song; money is in the price's currency.

    Attributes:
        busy_share: share of the paid time in which songs were made, 0-1.
        cold_starts: replicas that were started after the beginning.
    """

    songs: int
    days: float
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    gpus_average: float
    gpus_peak: int
    gpu_hours: float
    busy_share: float
    cold_starts: int
    cost_per_day: float
    cost_per_song: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that happened, for the figures and for whoever checks the laws. Seconds since the beginning."""

    scenario: Scenario
    songs: list[Served]
    replicas: list[Replica]
    gpus_peak: int
    ended_s: float

    @property
    def gpu_s(self) -> float:
        """Seconds that were paid for."""
        return sum(replica.gone_s - replica.asked_s for replica in self.replicas)

    def outcome(self) -> Outcome:
        """The figures."""
        waits_s = sorted(song.wait_s for song in self.songs)
        gpu_s, days = self.gpu_s, self.ended_s / DAY_S
        cost = gpu_s / 3600 * self.scenario.gpu.price_per_hour
        return Outcome(
            songs=len(self.songs),
            days=days,
            wait_p50_s=_percentile(waits_s, 0.50),
            wait_p95_s=_percentile(waits_s, 0.95),
            wait_p99_s=_percentile(waits_s, 0.99),
            gpus_average=gpu_s / self.ended_s,
            gpus_peak=self.gpus_peak,
            gpu_hours=gpu_s / 3600,
            busy_share=sum(song.service_s for song in self.songs) / gpu_s if gpu_s else 0.0,
            cold_starts=sum(replica.asked_s > 0 for replica in self.replicas),
            cost_per_day=cost / days,
            cost_per_song=cost / len(self.songs) if self.songs else 0.0,
        )


def simulate(scenario: Scenario) -> Run:
    """Let the days pass, and then serve what still waits. The same scenario always gives the same run."""
    return _Days(scenario).run()


def _percentile(ordered: list[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


class _Lanes:
    """The fair queue, by the rules of ``data.repositories.lanes``: one song per account at a time, the account with
    the least virtual time first, and nobody saves up turns."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Served]] = {}
        self._virtual: dict[int, int] = {}
        self._clock = 0
        self._ready: list[tuple[int, int, Served]] = []
        self._running: set[int] = set()
        self._arrived: deque[tuple[float, int]] = deque()
        self._arriving: Counter[int] = Counter()
        self._numbers = itertools.count()

    @property
    def running(self) -> int:
        """Accounts of which a song is being made."""
        return len(self._running)

    @property
    def ready(self) -> int:
        """Accounts that could start a song now."""
        return len(self._ready)

    def ask(self, song: Served, now_s: float) -> None:
        """A song joins the lane of its account."""
        lane = self._waiting.setdefault(song.account, deque())
        lane.append(song)
        if len(lane) == 1 and song.account not in self._running:
            self._arrived.append((now_s, song.account))
            self._arriving[song.account] += 1
            self._wake(song, now_s)

    def begin(self) -> Served:
        """The song whose turn it is leaves its lane."""
        virtual, _, song = heapq.heappop(self._ready)
        self._clock = max(self._clock, virtual)
        self._virtual[song.account] = virtual + START_COST
        self._waiting[song.account].popleft()
        self._running.add(song.account)
        return song

    def end(self, song: Served, now_s: float) -> None:
        """A song has ended, so the next one of its account may begin."""
        self._running.discard(song.account)
        if lane := self._waiting[song.account]:
            self._wake(lane[0], now_s)

    def arrivals(self, now_s: float) -> tuple[float, int]:
        """How many songs a second were asked for lately that could begin at once, and of how many accounts."""
        while self._arrived and self._arrived[0][0] < now_s - RECENT_S:
            _, account = self._arrived.popleft()
            self._arriving[account] -= 1
            if not self._arriving[account]:
                del self._arriving[account]
        return len(self._arrived) / RECENT_S, len(self._arriving)

    def _wake(self, song: Served, now_s: float) -> None:
        song.ready_s = now_s
        virtual = max(self._virtual.get(song.account, 0), self._clock - 1)
        self._virtual[song.account] = virtual
        heapq.heappush(self._ready, (virtual, next(self._numbers), song))


class _Patience:
    """Serve's own delays around any policy (``_apply_delay_logic`` of Ray 2.60): more at once, fewer only after
    having been enough for a while, and zero only from one."""

    def __init__(self, scenario: Scenario) -> None:
        self._downscale_s, self._to_zero_s = scenario.downscale_delay_s, scenario.to_zero_delay_s
        self._fewer_since_s: float | None = None

    def target(self, wanted: int, current: int, now_s: float) -> int:
        if wanted >= current:
            self._fewer_since_s = None
            return wanted
        if self._fewer_since_s is None:
            self._fewer_since_s = now_s
        if now_s - self._fewer_since_s < (self._to_zero_s if current == 1 else self._downscale_s):
            return current
        self._fewer_since_s = None
        return wanted if current == 1 else max(1, wanted)


class _Fleet:
    """The replicas. They are paid for from the decision until they are gone."""

    def __init__(self, cold_start_s: float) -> None:
        self.all: list[Replica] = []
        self.peak = 0
        self._cold_start_s = cold_start_s
        self._staying: list[Replica] = []
        self._idle: list[int] = []
        self._alive = 0

    @property
    def target(self) -> int:
        """How many are meant to stay."""
        return len(self._staying)

    def add(self, now_s: float, *, warm: bool = False) -> Replica:
        """Start one more."""
        replica = Replica(len(self.all), now_s, now_s if warm else now_s + self._cold_start_s)
        self.all.append(replica)
        self._staying.append(replica)
        self._alive += 1
        self.peak = max(self.peak, self._alive)
        return replica

    def take_away(self, now_s: float) -> None:
        """Choose one as Serve does, one that does not run yet or else the newest, and let it finish its song."""
        starting = (one for one in reversed(self._staying) if one.state is State.STARTING)
        replica = next(starting, self._staying[-1])
        self._staying.remove(replica)
        replica.leaving_s = now_s
        if replica.state is State.BUSY:
            replica.state = State.DRAINING
        else:
            self._leave(replica, now_s)

    def is_ready(self, replica: Replica) -> None:
        """It has started, unless it was taken away meanwhile."""
        if replica.state is State.STARTING:
            self._rest(replica)

    def idle(self) -> Replica | None:
        """The oldest one with nothing to do, or None."""
        while self._idle and self.all[self._idle[0]].state is not State.IDLE:
            heapq.heappop(self._idle)
        return self.all[heapq.heappop(self._idle)] if self._idle else None

    def begin(self, replica: Replica, song: Served) -> None:
        """It works on this song."""
        replica.state, replica.song = State.BUSY, song

    def end(self, replica: Replica, now_s: float) -> Served:
        """Its song is done; answers it."""
        song, replica.song = replica.song, None
        assert song is not None  # noqa: S101 - only a replica with a song ends one
        if replica.state is State.DRAINING:
            self._leave(replica, now_s)
        else:
            self._rest(replica)
        return song

    def close(self, now_s: float) -> None:
        """The simulation ends: nothing is paid for beyond it."""
        for replica in self.all:
            replica.gone_s = min(replica.gone_s, now_s)

    def _rest(self, replica: Replica) -> None:
        replica.state = State.IDLE
        heapq.heappush(self._idle, replica.number)

    def _leave(self, replica: Replica, now_s: float) -> None:
        replica.state, replica.gone_s = State.GONE, now_s
        self._alive -= 1


class _Event(IntEnum):
    """What happens, in the order of what happens at the same moment."""

    DONE = 0
    READY = 1
    ASKED = 2
    TICK = 3


class _Days:
    """The event loop."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._least = scenario.policy.least
        self._rule = ScalingRule(assumed_s=scenario.gpu.seconds_per_song)
        self._horizon_s = scenario.days * DAY_S
        self._now_s = 0.0
        self._lanes = _Lanes()
        self._fleet = _Fleet(scenario.cold_start_s)
        self._patience = _Patience(scenario)
        self._recent_s: deque[float] = deque(maxlen=RECENT_SONGS)
        self._served: list[Served] = []
        self._asked = arrivals(scenario)
        self._next_asked_s = 0.0
        self._heap: list[tuple[float, _Event, int, Served | Replica | None]] = []
        self._numbers = itertools.count()

    def run(self) -> Run:
        for _ in range(self._least):
            self._at(0.0, _Event.READY, self._fleet.add(0.0, warm=True))
        self._next_asked()
        self._at(0.0, _Event.TICK)
        while self._heap:
            self._now_s, event, _, subject = heapq.heappop(self._heap)
            if isinstance(subject, Served):
                self._lanes.ask(subject, self._now_s)
                self._next_asked()
            elif subject is None:
                self._tick()
            elif event is _Event.READY:
                self._fleet.is_ready(subject)
            else:
                self._done(subject)
            self._begin_songs()
        ended_s = max([self._horizon_s, *(song.ended_s for song in self._served)])
        self._fleet.close(ended_s)
        return Run(
            scenario=self._scenario,
            songs=self._served,
            replicas=self._fleet.all,
            gpus_peak=self._fleet.peak,
            ended_s=ended_s,
        )

    def _at(self, moment_s: float, event: _Event, subject: Served | Replica | None = None) -> None:
        heapq.heappush(self._heap, (moment_s, event, next(self._numbers), subject))

    def _next_asked(self) -> None:
        song = next(self._asked, None)
        self._next_asked_s = song.asked_s if song is not None else math.inf
        if song is not None:
            self._at(song.asked_s, _Event.ASKED, song)

    def _begin_songs(self) -> None:
        while self._lanes.ready and (replica := self._fleet.idle()) is not None:
            song = self._lanes.begin()
            song.replica, song.begun_s = replica.number, self._now_s
            self._fleet.begin(replica, song)
            self._at(self._now_s + song.service_s, _Event.DONE, replica)

    def _done(self, replica: Replica) -> None:
        song = self._fleet.end(replica, self._now_s)
        song.ended_s = self._now_s
        self._recent_s.append(song.service_s)
        self._served.append(song)
        self._lanes.end(song, self._now_s)

    def _tick(self) -> None:
        quiet = not self._lanes.ready and not self._lanes.running
        if quiet and self._now_s >= self._horizon_s:
            return
        current = self._fleet.target
        target = self._patience.target(self._wanted(current), current, self._now_s)
        for _ in range(target - current):
            replica = self._fleet.add(self._now_s)
            self._at(replica.ready_s, _Event.READY, replica)
        for _ in range(current - target):
            self._fleet.take_away(self._now_s)
        if not (quiet and target == current == self._least):
            self._at(self._now_s + TICK_S, _Event.TICK)
        elif self._next_asked_s < math.inf:
            # until somebody asks nothing can change: there is no need to look every few seconds of a quiet night
            self._at(math.ceil(self._next_asked_s / TICK_S) * TICK_S, _Event.TICK)

    def _wanted(self, current: int) -> int:
        kind, most = self._scenario.policy.kind, self._scenario.most_gpus
        if kind is PolicyKind.FIXED:
            return self._least
        if kind is PolicyKind.PER_JOB:
            return min(most, self._lanes.running + self._lanes.ready)
        seconds = sum(self._recent_s) / len(self._recent_s) if self._recent_s else None
        arrivals_per_s, arriving_accounts = self._lanes.arrivals(self._now_s)
        demand = Demand(
            running=self._lanes.running,
            ready_accounts=self._lanes.ready,
            seconds_per_song=seconds,
            arrivals_per_s=arrivals_per_s,
            arriving_accounts=arriving_accounts,
        )
        return decide(demand, current, self._rule, least=self._least, most=most).replicas
