"""Turns: who may compute now. One engine has a card for itself; several in one process load and leave by turns."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import structlog

from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

LOOK_AHEAD: Final = 4
"""Calls in a row that may overtake others because their engine is loaded already: loading costs seconds."""

_NO_MEMORY: Final = ("out_of_memory", "not_enough_memory")


class Loadable(Protocol):
    """An engine with its host, as a turn sees it."""

    @property
    def name(self) -> str:
        """The engine's name."""

    def load(self) -> None:
        """Weights into memory. Loaded already, it does nothing."""

    def unload(self) -> None:
        """Give the memory back."""


class Turn(Protocol):
    """Lets one call compute at a time."""

    @property
    def busy(self) -> bool:
        """Whether somebody has the turn."""

    def taken_by(self, engine: Loadable) -> AbstractAsyncContextManager[None]:
        """Wait for the turn and keep it; within, this engine is loaded."""


class OwnTurn:
    """The turn of the only engine of a process, which is loaded from the start."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    @property
    def busy(self) -> bool:
        """See `Turn`."""
        return self._free.locked()

    @asynccontextmanager
    async def taken_by(self, engine: Loadable) -> AsyncIterator[None]:  # noqa: ARG002
        """First come, first served."""
        async with self._free:
            yield


class SharedTurn:
    """The turn of several engines on one card. Those that were not used for longest leave when another needs room.

    Calls are served in the order in which they came, except that up to `LOOK_AHEAD` in a row may overtake others
    because their engine is loaded.

    Args:
        fits: whether this engine can be loaded beside those that are.
    """

    def __init__(self, fits: Callable[[Loadable], bool]) -> None:
        self._fits = fits
        self._loaded: list[Loadable] = []
        self._waiting: deque[tuple[Loadable, asyncio.Future[None]]] = deque()
        self._busy = False
        self._overtaken = 0

    @property
    def busy(self) -> bool:
        """See `Turn`."""
        return self._busy

    @asynccontextmanager
    async def taken_by(self, engine: Loadable) -> AsyncIterator[None]:
        """Raises what loading raises."""
        await self._wait(engine)
        try:
            await asyncio.to_thread(self.make_ready, engine)
            yield
        except (MelodeonError, MemoryError) as error:
            if _no_room(error):
                # so that the next attempt has all the room there is
                await asyncio.to_thread(self._leave_alone, engine)
            raise
        finally:
            self._pass_on()

    def make_ready(self, engine: Loadable) -> None:
        """Make room for the engine and load it. Whoever calls this has the turn, or calls before anybody else."""
        if engine in self._loaded:
            self._loaded.remove(engine)
        else:
            while self._loaded and not self._fits(engine):
                self._leave(self._loaded[0])
            self._load(engine)
        self._loaded.append(engine)

    async def _wait(self, engine: Loadable) -> None:
        if not self._busy:
            self._busy = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((engine, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """The turn goes to the next who still waits."""
        while self._waiting:
            place = self._next_place()
            self._overtaken = self._overtaken + 1 if place else 0
            _, turn = self._waiting[place]
            del self._waiting[place]
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False

    def _next_place(self) -> int:
        if self._overtaken < LOOK_AHEAD:
            for place, (engine, _) in enumerate(self._waiting):
                if engine in self._loaded:
                    return place
        return 0

    def _load(self, engine: Loadable) -> None:
        try:
            engine.load()
        except (MelodeonError, MemoryError) as error:
            if not self._loaded or not _no_room(error):
                raise
            log.info("turn.room_was_too_small", engine=engine.name)
            self._leave_alone(engine)
            engine.load()

    def _leave_alone(self, engine: Loadable) -> None:
        """Every other engine leaves."""
        for other in [loaded for loaded in self._loaded if loaded is not engine]:
            self._leave(other)

    def _leave(self, engine: Loadable) -> None:
        log.info("turn.leaves", engine=engine.name)
        engine.unload()
        self._loaded.remove(engine)


def _no_room(error: MelodeonError | MemoryError) -> bool:
    return isinstance(error, MemoryError) or error.code in _NO_MEMORY
