"""The host: everything around an engine that is the same for all of them. Knows nothing of Ray.

It lets one call compute at a time, runs the engine in a thread, tells progress, stops when nobody listens any more or
the deadline passes, and has each take finished and stored as soon as it exists.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

import structlog

from configs.logs import stack_of
from data.object_store import StoreUnavailable
from serving.contract import (
    DoneEvent,
    Event,
    FailedEvent,
    MakeRequest,
    ProgressEvent,
    TakeEvent,
    TakeFailedEvent,
)
from serving.deployments.finishing import Finisher
from serving.engines.protocol import Engine
from studio.errors import MelodeonError
from studio.words.brief import UnfitBrief
from studio.words.take import Cancelled, Progress, Take

log = structlog.get_logger(__name__)

SIGN_OF_LIFE_S: Final = 5.0
TELL_EVERY_S: Final = 0.2
ENGINE_SHARE: Final = 0.8
"""Share of a call's progress that belongs to the engine; the rest is mastering, encoding and storing."""


class EngineStuck(MelodeonError):
    """The engine neither ends nor tells progress."""

    code = "engine_stuck"

    def __init__(self, engine: str, silent_s: float) -> None:
        super().__init__(f"{engine} has shown no sign of life for {silent_s:.0f} s.")


class EngineHost:
    """One engine at work.

    Args:
        engine: unloaded; `load` makes it ready.
        finisher: turns raw takes into stored ones.
        stuck_after_s: silence of a working engine after which the replica counts as unhealthy.
    """

    def __init__(self, engine: Engine, finisher: Finisher, *, stuck_after_s: float = 300.0) -> None:
        self._engine = engine
        self._finisher = finisher
        self._stuck_after_s = stuck_after_s
        self._turn = asyncio.Semaphore(1)
        self._computing: _Call | None = None
        self._works: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Make the engine ready. Called again, it does nothing."""
        self._engine.load()

    @property
    def running(self) -> int:
        """Calls that still hold a thread or wait for their turn, those nobody listens to any more included."""
        return len(self._works)

    def check_health(self) -> None:
        """Raise `EngineStuck` when the engine has the turn and has shown no sign of life for a long time."""
        if self._computing is not None and self._computing.silent_s > self._stuck_after_s:
            raise EngineStuck(self._engine.spec.name, self._computing.silent_s)

    async def make(self, request: MakeRequest) -> AsyncGenerator[Event, None]:
        """Answer one request, event by event. Closing the generator stops the engine at its next step."""
        call = _Call(request)
        work = asyncio.create_task(self._work(call))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        try:
            yield call.latest
            while True:
                event = await call.next_event()
                yield event
                if isinstance(event, DoneEvent | FailedEvent):
                    return
        finally:
            call.stop()

    async def _work(self, call: "_Call") -> None:
        """Do the call. Never cancelled from outside: the turn ends when the engine's thread really has ended."""
        try:
            takes = await self._compute(call)
            for index in range(len(takes)):
                # taken out one by one, so that a raw clip is freed as soon as it is stored
                call.tell(await asyncio.to_thread(self._finish, takes.pop(0), index, call))
            call.tell(DoneEvent())
        except Cancelled:
            log.info("make.cancelled", **call.labels)
        except MemoryError as error:
            log.error("make.out_of_memory", stack=stack_of(error), **call.labels)  # noqa: TRY400 - see stack_of
            call.tell(FailedEvent(code="out_of_memory", sentence=_OUT_OF_MEMORY, retryable=True))
        except MelodeonError as error:
            log.warning("make.failed", code=error.code, **call.labels)
            retryable = isinstance(error, StoreUnavailable)
            call.tell(FailedEvent(code=error.code, sentence=error.sentence, retryable=retryable))
        except Exception as error:  # noqa: BLE001
            # whatever a model throws, the caller must get a last word
            log.error("make.crashed", error=type(error).__name__, stack=stack_of(error), **call.labels)  # noqa: TRY400
            call.tell(FailedEvent(code="engine_error", sentence=_CRASHED, retryable=True))

    async def _compute(self, call: "_Call") -> list[Take]:
        brief = replace(call.request.brief, artist=call.request.artist)
        if brief.engine and brief.engine != self._engine.spec.name:
            raise UnfitBrief("engine", f"This replica runs {self._engine.spec.name}, not {brief.engine}.")
        self._engine.spec.fit(brief)
        async with self._turn:
            call.check()
            log.info("make.begun", **call.labels)
            self._computing = call
            try:
                return list(await asyncio.to_thread(self._engine.make, brief, call.on_progress))
            finally:
                self._computing = None

    def _finish(self, take: Take, index: int, call: "_Call") -> Event:
        def step(fraction: float, message: str) -> None:
            done = (index + fraction) / call.request.brief.takes
            call.report(ENGINE_SHARE + (1 - ENGINE_SHARE) * done, message)

        try:
            return TakeEvent(index=index, take=self._finisher.finish(take, index, call.request, step=step))
        except (Cancelled, StoreUnavailable):
            raise
        except MelodeonError as error:
            log.warning("take.failed", index=index, code=error.code, **call.labels)
            return TakeFailedEvent(index=index, code=error.code, sentence=error.sentence)


_CRASHED: Final = "The engine failed unexpectedly. Please try again."
_OUT_OF_MEMORY: Final = "The engine ran out of memory. Please try again, perhaps with a shorter song."


class _Call:
    """One request under way: the bridge from the engine's thread to the listener's event loop."""

    def __init__(self, request: MakeRequest) -> None:
        self.request = request
        self.latest = ProgressEvent(fraction=0.0, message="Waiting for the engine")
        self.labels = {
            "job_id": request.call.job_id,
            "attempt": request.call.attempt,
            "trace_id": request.call.trace_id,
        }
        self._deadline = time.monotonic() + request.call.deadline_s
        self._stopped = threading.Event()
        self._told_at = 0.0
        self._heard_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    @property
    def silent_s(self) -> float:
        """Seconds since the engine last told anything."""
        return time.monotonic() - self._heard_at

    def stop(self) -> None:
        """Nobody listens any more."""
        self._stopped.set()

    def check(self) -> None:
        """Raise `Cancelled` when nobody waits for the result. From any thread."""
        if self._stopped.is_set() or time.monotonic() >= self._deadline:
            raise Cancelled

    def on_progress(self, progress: Progress) -> None:
        """The engine's own report, from its thread."""
        self.report(progress.fraction * ENGINE_SHARE, progress.message)

    def report(self, fraction: float, message: str) -> None:
        """Pass progress on, not more often than a person can see; raises `Cancelled` when the work should stop."""
        self.check()
        self._heard_at = now = time.monotonic()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            fraction = round(min(1.0, max(self.latest.fraction, fraction)), 4)
            self.latest = ProgressEvent(fraction=fraction, message=message)
            self.tell(self.latest)

    def tell(self, event: Event) -> None:
        """Hand an event to the listener. From any thread."""
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next_event(self) -> Event:
        """The next event; the latest progress again when nothing happens for a while; the end at the deadline."""
        left_s = self._deadline - time.monotonic()
        if left_s > 0:
            try:
                async with asyncio.timeout(min(SIGN_OF_LIFE_S, left_s)):
                    return await self._events.get()
            except TimeoutError:
                if self._deadline > time.monotonic():
                    return self.latest
        deadline_s = self.request.call.deadline_s
        return FailedEvent(
            code="deadline", sentence=f"The engine was not ready within {deadline_s:g} s.", retryable=False
        )
