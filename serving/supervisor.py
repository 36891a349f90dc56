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


class Part(Protocol):
    """One part of the product, usually a process."""

    name: str

    def start(self) -> None:
        """Start it; may raise a `MelodeonError`."""

    def running(self) -> bool:
        """Whether it lives. Cheap: asked twice a second."""

    def ready(self) -> bool:
        """Whether it does its work. Never blocks for more than a few seconds."""

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
    """Starts phases of parts one after the other; the parts of one phase start side by side.

    Args:
        phases: every part of a phase is ready before the next phase starts.
        say: tells the person in front of the terminal one line.
        ready_timeout_s: longest wait for one phase.
    """

    def __init__(
        self, phases: Sequence[Sequence[Part]], *, say: Callable[[str], None], ready_timeout_s: float = 240.0
    ) -> None:
        self._phases = [list(phase) for phase in phases]
        self._say = say
        self._ready_timeout_s = ready_timeout_s
        self._watches: dict[str, _Watch] = {}

    def start(self, stopping: threading.Event) -> None:
        """Start everything and wait until it is ready.

        Raises:
            PartNotReady: a part did not come up. What was started keeps running; call `stop`.
            MelodeonError: a part said itself why it cannot.
        """
        for phase in self._phases:
            for part in phase:
                part.start()
                self._watches[part.name] = _Watch()
            for part in phase:
                self._await_ready(part, stopping)

    def _await_ready(self, part: Part, stopping: threading.Event) -> None:
        begun = time.monotonic()
        while not stopping.is_set() and not part.ready():
            waited_s = time.monotonic() - begun
            if waited_s > self._ready_timeout_s or not part.running():
                raise PartNotReady(part, waited_s=waited_s)
            stopping.wait(0.2)
        self._watches[part.name].ready = True
        log.info("part.ready", process=part.name, seconds=round(time.monotonic() - begun, 2))

    def watch(self, stopping: threading.Event) -> None:
        """Restart parts that die, with a growing pause, until ``stopping`` is set."""
        while not stopping.wait(LOOK_EVERY_S):
            for phase in self._phases:
                for part in phase:
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
        for phase in reversed(self._phases):
            for part in reversed(phase):
                try:
                    part.stop()
                except (MelodeonError, OSError) as error:
                    self._say(f"{part.name} could not be ended: {error}")
                    log.exception("part.stop_failed", process=part.name)
