"""One request under way: the bridge from the engine's thread to the listener's event loop."""

import asyncio
import threading
import time
from typing import Final

from serving.contract import Event, FailedEvent, MakeRequest, ProgressEvent
from studio.words.take import Cancelled, Progress

SIGN_OF_LIFE_S: Final = 5.0
TELL_EVERY_S: Final = 0.2
ENGINE_SHARE: Final = 0.8
"""Share of a call's progress that belongs to the engine; the rest is mastering, encoding and storing."""


class Call:
    """What the host knows about one request. Made in the listener's event loop."""

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
        self._text = ""
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

    def begin(self) -> None:
        """The engine starts now: its silence counts from here."""
        self._heard_at = time.monotonic()

    def on_progress(self, progress: Progress) -> None:
        """The engine's own report, from its thread."""
        self._text += progress.text
        self.report(progress.fraction * ENGINE_SHARE, progress.message)

    def report(self, fraction: float, message: str) -> None:
        """Pass progress on, not more often than a person can see; raises `Cancelled` when the work should stop."""
        self.check()
        self._heard_at = now = time.monotonic()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            fraction = round(min(1.0, max(self.latest.fraction, fraction)), 4)
            self.latest = ProgressEvent(fraction=fraction, message=message)
            self.flush()

    def flush(self) -> None:
        """Tell the latest progress, with the text that was written since the last one."""
        text, self._text = self._text, ""
        self.tell(self.latest.model_copy(update={"text": text}) if text else self.latest)

    def tell(self, event: Event) -> None:
        """Hand an event to the listener. From any thread."""
        if self._text and not isinstance(event, ProgressEvent):
            self.flush()
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def ready(self) -> list[Event]:
        """The events that are there already."""
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    async def next_events(self) -> list[Event]:
        """The next events, all that are there; the latest progress again when nothing happens for a while; the end at
        the deadline."""
        left_s = self._deadline - time.monotonic()
        if left_s > 0:
            try:
                async with asyncio.timeout(min(SIGN_OF_LIFE_S, left_s)):
                    return [await self._events.get(), *self.ready()]
            except TimeoutError:
                if self._deadline > time.monotonic():
                    return [self.latest]
        return [too_late(self.request)]


def too_late(request: MakeRequest) -> FailedEvent:
    """The last word of a call that was not done in its time."""
    sentence = f"The engine was not ready within {request.call.deadline_s:g} s."
    return FailedEvent(code="deadline", sentence=sentence, retryable=False)
