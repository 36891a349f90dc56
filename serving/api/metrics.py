"""The door for Prometheus: the queue and what this process depends on, in the text format it reads.

Numbers only: no label names a person, a song or a key. Those of the models come from Ray's own ports
(``deploy/prometheus/prometheus.yml`` has both).
"""

import hmac
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from data.database import Database, DatabaseUnreachable
from data.object_store import ObjectStore, StoreUnavailable
from data.repositories import queue_health
from data.repositories.queue_health import Ended, QueueFigures
from serving.api.answers import bad
from serving.api.identity import TheServices
from serving.api.services import Services
from serving.refusals import note_refusal
from studio.words.job import JobState

router = APIRouter(tags=["health"])

LIFE_S: Final = 5.0
"""However often Prometheus asks, the database is looked at no more often than this."""

_ENDS: Final = tuple(state for state in JobState if state.ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One look around. ``queue`` is None when the database did not answer."""

    queue: QueueFigures | None
    store_up: bool
    connections_in_use: int


class Watch:
    """Looks around for Prometheus, at most every few seconds whoever asks. One for each application, for all threads.

    Ended Jobs are counted from the oldest one that was open when this process looked first: counters begin anew with
    their process, and Prometheus knows that. So no look ever reads the whole history.
    """

    def __init__(self, services: Services) -> None:
        self._database: Database = services.database
        self._store: ObjectStore = services.store
        self._pool_size = services.settings.database.pool_size
        self._lock = threading.Lock()
        self._text = b""
        self._looked_at = -LIFE_S
        self._count_from: int | None = None
        self._settled: Counter[JobState] = Counter()
        self._ended: Counter[JobState] = Counter()

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LIFE_S:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Collector(list(self._families(self._look()))))
                self._text = generate_latest(registry)
                self._looked_at = time.monotonic()
            return self._text

    def _look(self) -> _Seen:
        in_use = self._database.connections_in_use
        return _Seen(queue=self._look_at_queue(), store_up=self._store_answers(), connections_in_use=in_use)

    def _look_at_queue(self) -> QueueFigures | None:
        try:
            with self._database.transaction() as session:
                if self._count_from is None:
                    self._count_from = queue_health.oldest_open(session)
                self._count(queue_health.ended(session, self._count_from))
                return queue_health.figures(session)
        except DatabaseUnreachable:
            return None

    def _count(self, found: Ended) -> None:
        # A Job that is run again has not ended any more; a counter must not go down for that.
        self._ended |= self._settled + Counter(found.jobs)
        self._settled += Counter(found.settled)
        self._count_from = found.number

    def _store_answers(self) -> bool:
        try:
            self._store.ping()
        except StoreUnavailable:
            return False
        return True

    def _families(self, seen: _Seen) -> Iterator[Metric]:
        yield _gauge("melodeon_database_up", "1 when Postgres answers.", int(seen.queue is not None))
        yield _gauge("melodeon_object_store_up", "1 when the object store answers.", int(seen.store_up))
        yield _gauge(
            "melodeon_database_connections_in_use", "Connections in use by this process.", seen.connections_in_use
        )
        yield _gauge("melodeon_database_connections_kept", "Connections that this process keeps open.", self._pool_size)
        if seen.queue is not None:
            yield from self._of_queue(seen.queue)

    def _of_queue(self, queue: QueueFigures) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("melodeon_jobs", "Jobs that have not ended, by state.", labels=["state"])
        jobs.add_metric([JobState.QUEUED.value], queue.queued)
        jobs.add_metric([JobState.PROCESSING.value], queue.processing)
        yield jobs
        ended = CounterMetricFamily("melodeon_jobs_ended", "Jobs that ended, by outcome.", labels=["outcome"])
        for state in _ENDS:
            ended.add_metric([state.value], self._ended[state])
        yield ended
        yield _gauge("melodeon_lanes_ready", "Accounts at rest whose next Job could start now.", queue.lanes_ready)
        yield _gauge("melodeon_oldest_waiting_seconds", "How long the longest of them has waited.", queue.oldest_wait_s)
        yield _gauge("melodeon_workers_alive", "Workers that gave a sign of life lately.", queue.workers_alive)
        yield _gauge("melodeon_credits_held", "Credits set aside for Jobs that have not ended.", queue.credits_held)


class _Collector(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=value)


async def watch_of(request: Request) -> Watch:
    """The watch of the application that got this request (a FastAPI dependency)."""
    watch: Watch = request.app.state.watch
    return watch


@router.get("/metrics", response_class=Response)
def metrics(request: Request, services: TheServices, watch: Annotated[Watch, Depends(watch_of)]) -> Response:
    """The queue, the database and the object store in Prometheus' text format.

    For whoever sends ``Authorization: Bearer`` with the gateway's key (``var/secrets/gateway_key``).
    """
    sent = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(sent, f"Bearer {services.secrets.gateway_key}".encode()):
        note_refusal("wrong_key", place="GET /metrics")
        sentence = "Send the gateway's key as “Authorization: Bearer …”."
        return bad(401, "wrong_key", sentence, headers={"WWW-Authenticate": "Bearer"})
    return Response(watch.text(), media_type=CONTENT_TYPE_LATEST)
