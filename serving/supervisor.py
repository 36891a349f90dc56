"""The supervisor: starts the parts of the product in order, restarts what dies, ends what it started."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
LOOK_EVERY_S = 0.5
READY_LOOK_EVERY_S = 0.1


class Part(Protocol):
    """One part of the product, usually a process."""

    name: str

    def start(self) -> None:
        """Start it; may raise a `MelodeonError`."""

    def running(self) -> bool:
        """Whether it lives. Cheap: asked twice a second."""

    def ready(self) -> bool:
        """Whether it does its work. Never blocks for more than a few seconds."""

    def remarks(self) -> tuple[str, ...]:
        """What a person should know of it although it is ready, a sentence each."""

    def stop(self) -> None:
        """End it and everything it started; harmless when it does not run."""

    def last_words(self) -> str:
        """The end of its log."""


class PartNotReady(MelodeonError):
    """A part of the product did not come up."""

    code = "part_not_ready"

    def __init__(self, part: Part, *, waited_s: float) -> None:
        words = part.last_words().strip()
        said = f" Its last words: {words}" if words else ""
        super().__init__(
            f"{part.name} did not get ready within {waited_s:.0f} s; see var/log/{part.name}.log and run "
            f"`melodeon doctor`.{said}"
        )


@dataclass(slots=True)
class _Watch:
    """What the supervisor remembers of a part."""

    pause_s: float = FIRST_PAUSE_S
    restart_at: float | None = None
    started_at: float = field(default_factory=time.monotonic)
    ready: bool = False
    look_after: float = 0.0


class Supervisor:
    """Starts parts in their order and waits for all of them; ends them in the opposite order.

    A part whose `start` returns only when it is ready (the database) may be relied on by those after it; the others
    get ready side by side.

    Args:
        parts: in the order of starting.
        say: tells the person in front of the terminal one line.
        ready_timeout_s: longest wait for all to be ready.
    """

    def __init__(self, parts: Sequence[Part], *, say: Callable[[str], None], ready_timeout_s: float = 240.0) -> None:
        self._parts = list(parts)
        self._say = say
        self._ready_timeout_s = ready_timeout_s
        self._watches: dict[str, _Watch] = {}

    def start(self, stopping: threading.Event) -> None:
        """Start everything and wait until it is ready.

        Raises:
            PartNotReady: a part did not come up. What was started keeps running; call `stop`.
            MelodeonError: a part said itself why it cannot.
        """
        begun = time.monotonic()
        for part in self._parts:
            if stopping.is_set():
                return
            part.start()
            self._watches[part.name] = _Watch()
        waiting = list(self._parts)
        while waiting and not stopping.wait(READY_LOOK_EVERY_S):
            waited_s = time.monotonic() - begun
            waiting = [part for part in waiting if not self._is_ready(part, waited_s)]

    def _is_ready(self, part: Part, waited_s: float) -> bool:
        if part.ready():
            self._watches[part.name].ready = True
            for remark in part.remarks():
                self._say(remark)
                log.warning("part.remark", process=part.name, remark=remark)
            log.info("part.ready", process=part.name, seconds=round(waited_s, 2))
            return True
        if waited_s > self._ready_timeout_s or not part.running():
            raise PartNotReady(part, waited_s=waited_s)
        return False

    def watch(self, stopping: threading.Event) -> None:
        """Restart parts that die, with a growing pause, until ``stopping`` is set."""
        while not stopping.wait(LOOK_EVERY_S):
            for part in self._parts:
                try:
                    self._look_at(part, now=time.monotonic())
                except (MelodeonError, OSError) as error:
                    self._give_up_for_now(part, error)

    def _look_at(self, part: Part, *, now: float) -> None:
        watch = self._watches[part.name]
        if now < watch.look_after:
            return
        if part.running():
            self._look_at_living(part, watch, now=now)
        elif watch.restart_at is None:
            watch.restart_at, watch.ready = now + watch.pause_s, False
            self._say(f"{part.name} has stopped; starting it again in {watch.pause_s:.0f} s.")
            log.warning("part.died", process=part.name, restart_in_s=watch.pause_s)
        elif now >= watch.restart_at:
            watch.restart_at, watch.started_at = None, now
            watch.pause_s = min(LONGEST_PAUSE_S, watch.pause_s * 2)
            self._restart(part)

    def _look_at_living(self, part: Part, watch: _Watch, *, now: float) -> None:
        if not watch.ready and part.ready():
            watch.ready = True
            self._say(f"{part.name} is back.")
        if now - watch.started_at > STEADY_AFTER_S:
            watch.pause_s = FIRST_PAUSE_S

    def _restart(self, part: Part) -> None:
        part.stop()
        part.start()

    def _give_up_for_now(self, part: Part, error: Exception) -> None:
        """A part cannot be started or get ready: tell it, and look again after a pause."""
        watch = self._watches[part.name]
        self._say(f"{part.name} is in trouble: {error}")
        log.error("part.in_trouble", process=part.name, exc_info=error)
        watch.pause_s = min(LONGEST_PAUSE_S, watch.pause_s * 2)
        watch.look_after = time.monotonic() + watch.pause_s

    def stop(self) -> None:
        """End every part, the last started first."""
        for part in reversed(self._parts):
            try:
                part.stop()
            except (MelodeonError, OSError) as error:
                self._say(f"{part.name} could not be ended: {error}")
                log.exception("part.stop_failed", process=part.name)
