"""The router over Ray Serve. Ray's errors are turned into our own here and nowhere else."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
)

from serving.contract import (
    ApplicationHealth,
    FailedEvent,
    MakeRequest,
    ProgressEvent,
    event_line,
    is_last,
    read_event,
)
from serving.deployments.call import SIGN_OF_LIFE_S, too_late
from serving.deployments.cold_starts import ColdStarts
from serving.deployments.routing import RECYCLING, NoReplicaFree, NotReady
from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

T = TypeVar("T")

STATUS_LIFE_S: Final = 1.0
STATUS_WAIT_S: Final = 3.0
FIGURES_EVERY_S: Final = 30.0
REFUSED_WITHIN_S: Final = 0.2
"""A call that is turned away is so at once; only after this the person is told that an engine warms up."""
DOUBT_S: Final = 0.1
"""A replica says at once that it has taken a call; after this the controller is asked whether there still is one."""


_UNSEEN: Final = ApplicationHealth(ready=False, status="NOT_DEPLOYED")


class ReplicaLost(MelodeonError):
    """A replica died under its work."""

    code = "replica_lost"

    def __init__(self) -> None:
        super().__init__("The replica that did the work died.")


class ServeRouter:
    """Reaches applications of the Ray Serve instance that this replica belongs to.

    Args:
        applications: their names; asked again and again, so that a new one is seen.
    """

    def __init__(self, applications: Callable[[], Iterable[str]]) -> None:
        self._applications = applications
        self._handles: dict[str, Any] = {}
        self._calls: Counter[str] = Counter()
        self._seen: dict[str, ApplicationHealth] = {}
        self._seen_at = -STATUS_LIFE_S
        self._looking = asyncio.Lock()
        self._cold = ColdStarts()
        self._figures: dict[str, dict[str, float]] = {}
        self._asked_at: dict[str, float] = {}
        self._asking: set[asyncio.Task[Any]] = set()

    async def health(self) -> dict[str, ApplicationHealth]:
        """See `Router`."""
        seen = await self._fresh()
        return {name: self._with_figures(name, standing) for name, standing in seen.items()}

    async def stream(self, application: str, request: MakeRequest) -> AsyncGenerator[bytes, None]:
        """Pass a replica's lines on. The call is cancelled explicitly: Serve does not notice a caller that left."""
        seen = await self._known(application)
        answer = self._call(application, request)
        self._calls[application] += 1
        first = asyncio.create_task(_first_line(answer))
        # looked at even when nobody waits for it any more, or asyncio would complain
        first.add_done_callback(lambda task: task.cancelled() or task.exception())
        told = ended = False
        try:
            if seen.replicas:
                seen = await self._doubted(application, first, seen)
            if seen.replicas == 0:
                async for line in self._while_warming(application, first, request):
                    told = True
                    yield line
                if not first.done():
                    return
            async for lines in _to_the_last_word(self._taken(application, await first), answer):
                told, ended = True, is_last(lines)
                yield lines
        except (RayError, RayServeException, NoReplicaFree) as error:
            failure = _translated(error, application)
            if not told and not isinstance(failure, ReplicaLost):
                raise failure from error
            log.warning("call.failed", application=application, code=failure.code, error=type(error).__name__)
            yield event_line(FailedEvent(code=failure.code, sentence=failure.sentence, retryable=True))
        finally:
            self._calls[application] -= 1
            if not self._calls[application]:
                self._cold.forget(application)
            if not ended:
                first.cancel()
                with suppress(RayError, RayServeException):
                    # a call that no replica has taken raises here once more what it came to
                    answer.cancel()

    async def _known(self, application: str) -> ApplicationHealth:
        """How the application was when last seen; seen anew unless it had replicas that were called already.

        Asking the controller takes tens of milliseconds, which no call should wait for that is taken at once.

        Raises:
            NotReady: it takes no calls.
        """
        seen = self._seen.get(application)
        if seen is None or not (seen.ready and seen.replicas and application in self._handles):
            seen = (await self._fresh()).get(application, _UNSEEN)
        if not seen.ready:
            raise NotReady(application, seen.status)
        return seen

    async def _doubted(
        self, application: str, first: asyncio.Task[bytes], seen: ApplicationHealth
    ) -> ApplicationHealth:
        """Wait for the first line; while it does not come, look once a second whether there still are replicas.

        Returns:
            What was seen last: without replicas, there is no line either.

        Raises:
            NotReady: the application has gone.
        """
        wait_s = DOUBT_S
        while seen.replicas:
            await asyncio.wait({first}, timeout=wait_s)
            if first.done():
                break
            look = self._aside(self._fresh())
            await asyncio.wait({first, look}, return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                break
            seen = look.result().get(application, _UNSEEN)
            if not seen.ready:
                raise NotReady(application, seen.status)
            wait_s = STATUS_LIFE_S
        return seen

    async def _while_warming(
        self, application: str, first: asyncio.Task[bytes], request: MakeRequest
    ) -> AsyncGenerator[bytes, None]:
        """Signs of life until the first line of a replica is there; the end at the deadline."""
        begun = time.monotonic()
        self._cold.begins(application, begun)
        await asyncio.wait({first}, timeout=REFUSED_WITHIN_S)
        while not first.done():
            left_s = begun + request.call.deadline_s - time.monotonic()
            if left_s <= 0:
                yield event_line(too_late(request))
                return
            yield event_line(ProgressEvent(fraction=0.0, message=self._cold.sentence(application)))
            await asyncio.wait({first}, timeout=min(SIGN_OF_LIFE_S, left_s))

    def _taken(self, application: str, line: bytes) -> bytes:
        """A replica's first lines. Raises `NoReplicaFree` when it is one that is about to be replaced."""
        if b'"failed"' in line:
            event = read_event(line.splitlines()[0])
            if isinstance(event, FailedEvent) and event.code == RECYCLING:
                raise NoReplicaFree(application)
        waited_s = self._cold.ends(application, time.monotonic())
        if waited_s is not None:
            log.info("application.cold_start", application=application, seconds=round(waited_s, 1))
        return line

    def _call(self, application: str, request: MakeRequest) -> Any:
        """The answer of a replica, to be waited for. Raises `NotReady` when Serve does not even take the call."""
        try:
            handle = self._handle(application).options(stream=True)
            if request.brief.adapter:
                handle = handle.options(multiplexed_model_id=request.brief.adapter)
            return handle.make.remote(request.model_dump_json().encode())
        except (RayError, RayServeException) as error:
            raise NotReady(application, "NO_ANSWER") from error

    def _handle(self, application: str) -> Any:
        if application not in self._handles:
            self._handles[application] = serve.get_app_handle(application)
        return self._handles[application]

    async def _fresh(self) -> dict[str, ApplicationHealth]:
        """How each application is, not older than a second. The controller is asked by one caller for all."""
        async with self._looking:
            if time.monotonic() - self._seen_at >= STATUS_LIFE_S:
                self._seen = await self._look()
                self._seen_at = time.monotonic()
                self._ask_for_figures()
        return self._seen

    def _aside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that goes on whoever leaves."""
        task = asyncio.create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return task

    async def _look(self) -> dict[str, ApplicationHealth]:
        try:
            async with asyncio.timeout(STATUS_WAIT_S):
                status = await asyncio.to_thread(serve.status)
        except (TimeoutError, RayError, RayServeException) as error:
            log.warning("controller.no_answer", error=type(error).__name__)
            return {name: ApplicationHealth(ready=False, status="NO_ANSWER") for name in self._applications()}
        return {name: _health(status.applications.get(name)) for name in self._applications()}

    def _with_figures(self, name: str, seen: ApplicationHealth) -> ApplicationHealth:
        known = {"calls": self._calls[name], "cold_start_s": self._cold.usual_s(name), **self._figures.get(name, {})}
        return seen.model_copy(update=known)

    def _ask_for_figures(self) -> None:
        """Ask each application once how long getting ready took. Never one without replicas: that would wake it."""
        now = time.monotonic()
        for name, seen in self._seen.items():
            due = now - self._asked_at.get(name, -FIGURES_EVERY_S) >= FIGURES_EVERY_S
            if seen.replicas and name not in self._figures and due:
                self._asked_at[name] = now
                self._aside(self._ask(name))

    async def _ask(self, application: str) -> None:
        try:
            async with asyncio.timeout(STATUS_WAIT_S):
                self._figures[application] = await self._handle(application).figures.remote()
        except (TimeoutError, RayError, RayServeException) as error:
            log.info("figures.no_answer", application=application, error=type(error).__name__)


async def _first_line(answer: Any) -> bytes:
    """What comes first. A replica that ends without a word is as good as lost."""
    async for line in answer:
        return bytes(line)
    raise RayServeException("The replica ended without a word.")


async def _to_the_last_word(first: bytes, answer: Any) -> AsyncGenerator[bytes, None]:
    """These lines and those that follow. Only milliseconds after the last word does Serve say that it was the last."""
    yield first
    if not is_last(first):
        async for lines in answer:
            yield lines
            if is_last(lines):
                return


def _translated(error: Exception, application: str) -> NoReplicaFree | NotReady | ReplicaLost:
    if isinstance(error, NoReplicaFree):
        return error
    if isinstance(error, BackPressureError):
        return NoReplicaFree(application, retry_after_s=error.retry_after_s or 2.0)
    if isinstance(error, DeploymentUnavailableError):
        return NotReady(application, "failed to deploy")
    return ReplicaLost()


def _health(overview: Any) -> ApplicationHealth:
    """From Serve's overview of one application. One that may shrink to zero replicas is ready while it runs."""
    if overview is None:
        return _UNSEEN
    status = str(overview.status.value)
    replicas = sum(deployment.replica_states.get("RUNNING", 0) for deployment in overview.deployments.values())
    return ApplicationHealth(ready=status == "RUNNING" or replicas > 0, status=status, replicas=replicas)
