"""Hosts at work without Ray: an engine that does what the test says, a folder store, a clock that stands still.

And the doors of a Ray that runs, for the tests that have one.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from configs.secrets import Secrets
from configs.settings import Settings
from data.marks import Marker
from data.object_store import FolderStore
from data.signing import own_signer
from serving.catalogue import known
from serving.client import GatewayClient, Unavailable
from serving.contract import ApplicationHealth, CallContext, Event, HealthAnswer, MakeRequest, event_line
from serving.deployments.finishing import Finisher
from serving.deployments.host import EngineHost, Surroundings
from serving.deployments.routing import NotReady
from serving.deployments.sources import fetch_sources
from serving.deployments.turns import OwnTurn
from serving.engines.protocol import NO_SOURCES
from serving.stack import ray_folder
from studio.sound.clip import Clip
from studio.words.brief import Brief, Controls
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Picture, Progress, Sound, Sources, Take, Words

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STEPS = 5

Result = Sound | Words | Picture


def noise(duration_s: float = 10.0) -> Sound:
    """Sound that passes every gate."""
    frames = round(duration_s * 48_000)
    samples = np.random.default_rng(1).standard_normal((2, frames)) * 0.1
    return Sound(clip=Clip(samples=samples.astype(np.float32)), tempo_bpm=100.0, key="A minor")


@dataclass
class StepEngine:
    """An engine of a few steps. ``before_step`` runs in its thread before each; it may wait or raise."""

    results: tuple[Result, ...] = ()
    name: str = "builtin-song"
    before_step: Callable[[int], None] = lambda step: None
    steps: int = STEPS
    loads: int = 0
    unloads: int = 0
    heard: list[Sources] = field(default_factory=list)
    steps_done: int = 0
    at_work: int = 0
    at_work_most: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def spec(self) -> EngineSpec:
        return known().spec_of(self.name)

    def load(self) -> None:
        self.loads += 1

    def unload(self) -> None:
        self.unloads += 1

    def make(self, brief: Brief, on_progress: OnProgress, sources: Sources = NO_SOURCES) -> tuple[Take, ...]:
        self.heard.append(sources)
        self.at_work += 1
        self.at_work_most = max(self.at_work_most, self.at_work)
        try:
            for step in range(self.steps):
                self.before_step(step)
                on_progress(Progress(fraction=step / self.steps, message="Working"))
                self.steps_done += 1
        finally:
            self.at_work -= 1
            self.ended.set()
        settings = {"duration_s": 10.0, "note": "A remark."}
        return tuple(
            Take(result=result, engine=self.name, engine_version="1", seed=brief.take_seed(index), settings=settings)
            for index, result in enumerate(self.results)
        )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def marker() -> Marker:
    return Marker(own_signer("k" * 43), version="0.1.0")


@pytest.fixture
def host_of(store: FolderStore, scratch: Path, marker: Marker, tally: "Tally") -> Callable[..., EngineHost]:
    """Makes a loaded host of this engine over the test's store."""

    def make(engine: StepEngine, **options: object) -> EngineHost:
        finisher = Finisher(store, spec=engine.spec, marker=marker, trained=False, scratch=scratch, clock=lambda: NOW)
        around = {"turn": OwnTurn(), "meter": tally, "finisher": finisher, **options}
        host = EngineHost(engine, Surroundings(fetch=partial(fetch_sources, store=store, scratch=scratch), **around))
        if isinstance(around["turn"], OwnTurn):
            host.load()
        return host

    return make


class Tally:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def loaded(self, engine: str, *, load_s: float, warm_up_s: float) -> None:
        self.told.append(("loaded", engine))

    def waited(self, engine: str, seconds: float) -> None:
        self.told.append(("waited", engine))

    def made(self, engine: str, seconds: float) -> None:
        self.told.append(("made", engine))

    def spent(self, engine: str, stage: str, seconds: float) -> None:
        self.told.append(("spent", engine, stage))

    def took(self, engine: str, outcome: str) -> None:
        self.told.append(("took", engine, outcome))

    def out_of_memory(self, engine: str) -> None:
        self.told.append(("out_of_memory", engine))

    def recycled(self, engine: str) -> None:
        self.told.append(("recycled", engine))


@pytest.fixture
def tally() -> Tally:
    return Tally()


def request_for(
    *, takes: int = 1, deadline_s: float = 30.0, controls: Controls | None = None, **brief: object
) -> MakeRequest:
    """One ordinary request."""
    call = CallContext(job_id="job_1", attempt=1, deadline_s=deadline_s, key_prefix="songs/acc_1/job_1/1", trace_id="t")
    words = {"description": "warm folk", "title": "Walking Home", **brief}
    return MakeRequest(
        call=call, artist="ada", brief=Brief(takes=takes, controls=controls or Controls(seed=7), **words)
    )


@pytest.fixture
def ask() -> Callable[..., MakeRequest]:
    return request_for


async def _listen(host: EngineHost, request: MakeRequest) -> list[Event]:
    async with aclosing(host.make(request)) as answer:
        return [event async for events in answer for event in events]


@pytest.fixture
def answers() -> Callable[[EngineHost, MakeRequest], list[Event]]:
    """Every event of one call."""
    return lambda host, request: asyncio.run(_listen(host, request))


@pytest.fixture
def sound() -> Callable[[float], Sound]:
    return noise


@pytest.fixture
def step_engine() -> type[StepEngine]:
    return StepEngine


class LocalRouter:
    """Applications that are hosts in this process."""

    def __init__(self, hosts: dict[str, EngineHost], *, starting: tuple[str, ...] = ()) -> None:
        self.hosts = hosts
        self.starting = starting

    async def health(self) -> dict[str, ApplicationHealth]:
        up = {name: ApplicationHealth(ready=True, status="RUNNING", replicas=1) for name in self.hosts}
        return up | {name: ApplicationHealth(ready=False, status="DEPLOYING") for name in self.starting}

    async def stream(self, application: str, request: MakeRequest) -> AsyncGenerator[bytes, None]:
        if application not in self.hosts:
            raise NotReady(application, "DEPLOYING")
        async with aclosing(self.hosts[application].make(request)) as answer:
            async for events in answer:
                yield b"".join(map(event_line, events))


@pytest.fixture
def local_router() -> type[LocalRouter]:
    return LocalRouter


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Ray at work, and its doors."""

    settings: Settings
    secrets: Secrets

    @property
    def url(self) -> str:
        """Where Serve's proxy answers; the gateway stands at its root."""
        return f"http://127.0.0.1:{self.settings.serve.http_port}"

    def client(self) -> GatewayClient:
        """A new one."""
        return GatewayClient(self.url, self.secrets.gateway_key, 120)

    def ray(self, method: str = "GET", config: dict[str, Any] | None = None) -> httpx.Response:
        """Ray's own door for the applications; PUT applies a Serve file."""
        return httpx.request(
            method,
            f"http://127.0.0.1:{self.settings.serve.dashboard_port}/api/serve/applications/",
            json=config,
            headers={"Authorization": f"Bearer {self.secrets.ray_token}"},
            timeout=30,
        )

    def details(self, application: str) -> dict[str, Any]:
        """What Ray's own door says about it."""
        details: dict[str, Any] = self.ray().json()["applications"][application]
        return details

    def replicas(self, application: str) -> list[dict[str, Any]]:
        """Of all its deployments, those that start and stop included."""
        deployments = self.details(application)["deployments"].values()
        return [replica for deployment in deployments for replica in deployment["replicas"]]

    def replica_pids(self, application: str) -> set[int]:
        """Of those that run."""
        return {replica["pid"] for replica in self.replicas(application) if replica["state"] == "RUNNING"}

    def health(self) -> HealthAnswer | None:
        """What the gateway says; None while it is too busy to say anything."""
        try:
            return self.client().health()
        except Unavailable:
            return None

    def standing(self, application: str) -> ApplicationHealth | None:
        """What the gateway says of this application, if anything."""
        seen = self.health()
        return seen.applications[application] if seen else None

    def ready(self, application: str) -> bool:
        """Whether the gateway says so."""
        seen = self.standing(application)
        return seen is not None and seen.ready

    def metrics(self) -> str:
        """What Prometheus would read."""
        return httpx.get(f"http://127.0.0.1:{self.settings.serve.metrics_port}/metrics", timeout=60).text

    def logged(self, pattern: str) -> Iterator[str]:
        """The lines of Ray's logs whose name fits, of every start of this Ray."""
        logs = ray_folder(self.settings.var).glob(f"session_2*/logs/{pattern}")
        return itertools.chain.from_iterable(log.read_text(errors="replace").splitlines() for log in logs)

    def said(self, word: str, job_id: str) -> bool:
        """Whether a replica has logged this event of this job."""
        return any(f'"{word}"' in line and f'"{job_id}"' in line for line in self.logged("worker-*.err"))
