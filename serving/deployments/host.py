"""The host: everything around an engine that is the same for all of them. Knows nothing of Ray.

It fetches the sounds that a request names, lets one call compute at a time, runs the engine in a thread, tells
progress, stops when nobody listens any more or the deadline passes, and has each take finished and stored as soon as
it exists. While one call computes, the next one's sounds are fetched and the last one's takes are finished.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar, cast

import structlog
from structlog.contextvars import bound_contextvars

from configs.logs import stack_of
from data.object_store import StoreUnavailable
from serving.contract import DoneEvent, Event, FailedEvent, MakeRequest, TakeEvent, TakeFailedEvent
from serving.deployments.call import ENGINE_SHARE, Call
from serving.deployments.cold_starts import warming_up
from serving.deployments.finishing import Finisher
from serving.deployments.meter import Meter
from serving.deployments.turns import Turn
from serving.deployments.warm_up import warm_up_brief
from serving.engines.protocol import Engine
from studio.errors import MelodeonError
from studio.words.brief import Brief, UnfitBrief
from studio.words.take import Cancelled, OnProgress, Sources, Take

log = structlog.get_logger(__name__)

T = TypeVar("T")
Answer = Sequence[Take] | Exception
"""The takes of one request, or why there are none."""

AT_ONCE_S: Final = 0.02
"""A call that is done within this is answered in one piece: every further piece costs a way through the cluster."""

_TRY_AGAIN: Final = frozenset({"store_unavailable", "out_of_memory", "not_enough_memory", "dead_device"})
_NO_MEMORY: Final = frozenset({"out_of_memory", "not_enough_memory"})
_CRASHED: Final = "The engine failed unexpectedly. Please try again."
_OUT_OF_MEMORY: Final = "The engine ran out of memory. Please try again, perhaps with a shorter song."


class MakesMany(Protocol):
    """An engine that makes several requests in one batch: each is answered with its takes or with its own error."""

    def make_many(
        self, briefs: Sequence[Brief], on_progress: Sequence[OnProgress]
    ) -> list[tuple[Take, ...] | Exception]:
        """Never raises for one request what concerns that one only."""


class EngineStuck(MelodeonError):
    """The engine neither ends nor tells progress."""

    code = "engine_stuck"

    def __init__(self, engine: str, silent_s: float) -> None:
        super().__init__(f"{engine} has shown no sign of life for {silent_s:.0f} s.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request that is ready for the engine."""

    call: Call
    brief: Brief
    sources: Sources
    ready_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a host stands in.

    Attributes:
        finisher: turns raw takes into stored ones.
        fetch: the sounds that a Brief names.
        turn: who may compute now.
        meter: told of what happens.
        note_made: told how many takes were made.
        alive: raises when the device answers no more.
        stuck_after_s: silence of a working engine after which the replica counts as unhealthy.
    """

    finisher: Finisher
    fetch: Callable[[Brief], Sources]
    turn: Turn
    meter: Meter
    note_made: Callable[[int], None] = lambda _: None
    alive: Callable[[], None] = lambda: None
    stuck_after_s: float = 300.0


class EngineHost:
    """One engine at work.

    Attributes:
        together: takes an order and answers it, perhaps together with others; the host's own turn when None.
        load_s, warm_up_s: how long getting ready took; None before.
    """

    def __init__(self, engine: Engine, surroundings: Surroundings) -> None:
        self._engine = engine
        self._around = surroundings
        self._computing: tuple[Call, ...] = ()
        self._works: set[asyncio.Task[None]] = set()
        self._loaded = False
        self.together: Callable[[Order], Awaitable[Answer]] | None = None
        self.load_s: float | None = None
        self.warm_up_s: float | None = None

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._engine.spec.name

    @property
    def engine(self) -> Engine:
        """The engine itself."""
        return self._engine

    @property
    def makes_many(self) -> bool:
        """Whether the engine makes several requests in one batch."""
        return hasattr(self._engine, "make_many")

    @property
    def running(self) -> int:
        """Calls that still hold a thread or wait for their turn, those nobody listens to any more included."""
        return len(self._works)

    def load(self) -> None:
        """Make the engine ready; the first time, also warm. Loaded already, it does nothing."""
        if self._loaded:
            return
        begun = time.perf_counter()
        try:
            self._engine.load()
            self.load_s = time.perf_counter() - begun
            if self.warm_up_s is None:
                self.warm_up_s = self._warm_up()
        except Exception:
            # nobody knows of an engine that is half ready, so nobody would make it leave for another one
            self._engine.unload()
            raise
        self._loaded = True
        self._around.meter.loaded(self.name, load_s=self.load_s, warm_up_s=self.warm_up_s)
        log.info("engine.loaded", engine=self.name, load_s=round(self.load_s, 2), warm_up_s=round(self.warm_up_s, 2))

    def unload(self) -> None:
        """Give the engine's memory back."""
        self._loaded = False
        self._engine.unload()

    def _warm_up(self) -> float:
        brief = warm_up_brief(self._engine.spec)
        if brief is None:
            return 0.0
        begun = time.perf_counter()
        try:
            self._engine.make(brief, lambda _: None, Sources())
        except MelodeonError as error:
            if error.code in _TRY_AGAIN:
                raise
            # what came out is not fit for use, which says nothing about the next request
            log.warning("engine.warm_up_failed", engine=self.name, code=error.code)
        return time.perf_counter() - begun

    def check_health(self) -> None:
        """Raise `EngineStuck` when the working engine has shown no sign of life for long, or what `alive` raises."""
        silent_s = min((call.silent_s for call in self._computing), default=0.0)
        if silent_s > self._around.stuck_after_s:
            raise EngineStuck(self.name, silent_s)
        if self._loaded and not self._around.turn.busy:
            # a working engine shows itself that it lives; a small sum would wait behind it, and may find no memory left
            self._around.alive()

    async def make(self, request: MakeRequest) -> AsyncGenerator[list[Event], None]:
        """Answer one request with events as they come, those together that are there together.

        Closing the generator stops the engine at its next step.
        """
        call = Call(request)
        begin = call.latest
        work = asyncio.create_task(self._work(call))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        try:
            await asyncio.wait({work}, timeout=AT_ONCE_S)
            events: list[Event] = [begin, *call.ready()]
            yield events
            while not isinstance(events[-1], DoneEvent | FailedEvent):
                events = await call.next_events()
                yield events
        finally:
            call.stop()

    async def _work(self, call: Call) -> None:
        """Do the call. Never cancelled from outside: the turn ends when the engine's thread really has ended."""
        with bound_contextvars(engine=self.name, **call.labels):
            try:
                takes = await self._compute(call)
                for index in range(len(takes)):
                    # taken out one by one, so that a raw clip is freed as soon as it is stored
                    call.tell(await asyncio.to_thread(self._finish, takes.pop(0), index, call))
                call.tell(DoneEvent())
                log.info("make.done")
            except Cancelled:
                log.info("make.cancelled")
            except Exception as error:  # noqa: BLE001
                # whatever a model throws, the caller must get a last word
                call.tell(self._last_word(error))

    def _last_word(self, error: Exception) -> FailedEvent:
        no_memory = isinstance(error, MemoryError) or (isinstance(error, MelodeonError) and error.code in _NO_MEMORY)
        if no_memory:
            self._around.meter.out_of_memory(self.name)
        if isinstance(error, MelodeonError):
            log.warning("make.failed", code=error.code)
            retryable = error.code in _TRY_AGAIN or bool(getattr(error, "retryable", False))
            return FailedEvent(code=error.code, sentence=error.sentence, retryable=retryable)
        log.error("make.crashed", error=type(error).__name__, stack=stack_of(error))
        if no_memory:
            return FailedEvent(code="out_of_memory", sentence=_OUT_OF_MEMORY, retryable=True)
        return FailedEvent(code="engine_error", sentence=_CRASHED, retryable=True)

    async def _compute(self, call: Call) -> list[Take]:
        order = await self._prepared(call)
        answer = await (self.together or self._alone)(order)
        if isinstance(answer, Exception):
            raise answer
        self._around.note_made(len(answer))
        return list(answer)

    async def _prepared(self, call: Call) -> Order:
        """Everything that does not need the device."""
        brief = replace(call.request.brief, artist=call.request.artist)
        if brief.engine and brief.engine != self.name:
            raise UnfitBrief("engine", f"This replica runs {self.name}, not {brief.engine}.")
        self._engine.spec.fit(brief)
        sources = Sources()
        if brief.source or brief.reference:
            begun = time.perf_counter()
            sources = await asyncio.to_thread(self._around.fetch, brief)
            self._around.meter.spent(self.name, "sources", time.perf_counter() - begun)
        return Order(call=call, brief=brief, sources=sources, ready_at=time.perf_counter())

    async def _alone(self, order: Order) -> Answer:
        if not self._loaded:
            order.call.report(0.0, warming_up(self.load_s))
        async with self._around.turn.taken_by(self):
            order.call.check()
            self._begin([order])
            return await self._timed(
                [order], lambda: self._engine.make(order.brief, order.call.on_progress, order.sources)
            )

    async def make_together(self, orders: Sequence[Order]) -> list[Answer]:
        """Make several orders in one batch of the engine. An order that nobody waits for any more is left out."""
        many = cast(MakesMany, self._engine)
        async with self._around.turn.taken_by(self):
            self._begin(orders)
            briefs, tellers = [order.brief for order in orders], [order.call.on_progress for order in orders]
            return list(await self._timed(orders, lambda: many.make_many(briefs, tellers)))

    def _begin(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._around.meter.waited(self.name, time.perf_counter() - order.ready_at)
            log.info("make.begun", **order.call.labels)
            order.call.begin()

    async def _timed(self, orders: Sequence[Order], run: Callable[[], T]) -> T:
        begun = time.perf_counter()
        self._computing = tuple(order.call for order in orders)
        try:
            made = await asyncio.to_thread(run)
        finally:
            self._computing = ()
        for _ in orders:
            self._around.meter.made(self.name, time.perf_counter() - begun)
        return made

    def _finish(self, take: Take, index: int, call: Call) -> Event:
        def step(fraction: float, message: str) -> None:
            done = (index + fraction) / call.request.brief.takes
            call.report(ENGINE_SHARE + (1 - ENGINE_SHARE) * done, message)

        begun = time.perf_counter()
        try:
            event: Event = TakeEvent(
                index=index, take=self._around.finisher.finish(take, index, call.request, step=step)
            )
        except (Cancelled, StoreUnavailable):
            raise
        except MelodeonError as error:
            log.warning("take.failed", index=index, code=error.code)
            event = TakeFailedEvent(index=index, code=error.code, sentence=error.sentence)
        self._around.meter.spent(self.name, "finish", time.perf_counter() - begun)
        self._around.meter.took(self.name, "made" if isinstance(event, TakeEvent) else "failed")
        return event
