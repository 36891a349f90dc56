"""The router over Ray Serve. Ray's errors are turned into our own here and nowhere else."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import structlog
from ray import serve
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)

from serving.contract import ApplicationHealth, FailedEvent, MakeRequest, event_line
from serving.deployments.routing import NoReplicaFree, NotReady

log = structlog.get_logger(__name__)

STATUS_LIFE_S: Final = 1.0
STATUS_WAIT_S: Final = 3.0
_LOST: Final = "The replica that did the work died."


class ServeRouter:
    """Reaches applications of the Ray Serve instance that this replica belongs to."""

    def __init__(self, applications: Iterable[str]) -> None:
        self._applications = tuple(applications)
        self._handles: dict[str, Any] = {}
        self._calls: Counter[str] = Counter()
        self._seen: dict[str, ApplicationHealth] = {}
        self._seen_at = -STATUS_LIFE_S
        self._looking = asyncio.Lock()

    async def health(self) -> dict[str, ApplicationHealth]:
        """Ask Serve's controller, at most once a second."""
        async with self._looking:
            if time.monotonic() - self._seen_at >= STATUS_LIFE_S:
                self._seen = await self._look()
                self._seen_at = time.monotonic()
        return {name: seen.model_copy(update={"calls": self._calls[name]}) for name, seen in self._seen.items()}

    async def stream(self, application: str, request: MakeRequest) -> AsyncGenerator[bytes, None]:
        """Pass a replica's lines on. The call is cancelled explicitly: Serve does not notice a caller that left."""
        seen = (await self.health())[application]
        if not seen.ready:
            raise NotReady(application, seen.status)
        answer = self._handle(application).options(stream=True).make.remote(request.model_dump_json().encode())
        self._calls[application] += 1
        try:
            async for line in answer:
                yield line
        except BackPressureError as error:
            raise NoReplicaFree(application, retry_after_s=error.retry_after_s or 2.0) from error
        except DeploymentUnavailableError as error:
            raise NotReady(application, "failed to deploy") from error
        except (RayActorError, ReplicaUnavailableError, TaskCancelledError) as error:
            log.warning("replica.lost", application=application, job_id=request.call.job_id, error=type(error).__name__)
            yield event_line(FailedEvent(code="replica_lost", sentence=_LOST, retryable=True))
        finally:
            self._calls[application] -= 1
            answer.cancel()

    def _handle(self, application: str) -> Any:
        if application not in self._handles:
            self._handles[application] = serve.get_app_handle(application)
        return self._handles[application]

    async def _look(self) -> dict[str, ApplicationHealth]:
        try:
            async with asyncio.timeout(STATUS_WAIT_S):
                status = await asyncio.to_thread(serve.status)
        except (TimeoutError, RayError, RayServeException) as error:
            log.warning("controller.no_answer", error=type(error).__name__)
            return {name: ApplicationHealth(ready=False, status="NO_ANSWER") for name in self._applications}
        return {name: _health(status.applications.get(name)) for name in self._applications}


def _health(overview: Any) -> ApplicationHealth:
    """From Serve's overview of one application. One that may shrink to zero replicas is ready while it runs."""
    if overview is None:
        return ApplicationHealth(ready=False, status="NOT_DEPLOYED")
    status = str(overview.status.value)
    replicas = sum(deployment.replica_states.get("RUNNING", 0) for deployment in overview.deployments.values())
    return ApplicationHealth(ready=status == "RUNNING" or replicas > 0, status=status, replicas=replicas)
