"""The deployments on a real Ray: whole calls over HTTP with the built-in engines, and what happens when parts die."""

import asyncio
import hashlib
import itertools
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from configs.secrets import Secrets, load_or_create
from configs.settings import ServeSettings, Settings, load
from data.audio_files import read, read_labels
from data.object_store import FolderStore
from serving.client import Busy, DeadlineExceeded, GatewayClient, ReplicaLost, Unavailable
from serving.contract import CallContext, Event, MakeRequest, ProgressEvent, TakeResult
from serving.stack import EnginesPart, ray_folder
from studio.sound.loudness import integrated_lufs
from studio.words.asset import AssetRole
from studio.words.brief import Brief, BriefKind, Controls

pytestmark = pytest.mark.stack

READY_S = 180
"""Longest wait for Ray and all applications; the first run of a machine compiles the sample loops."""

_numbers = itertools.count(1)


@dataclass
class Engines:
    """Ray at work, and how to reach it."""

    settings: Settings
    secrets: Secrets
    store: FolderStore

    def client(self) -> GatewayClient:
        return GatewayClient(self.url, self.secrets.gateway_key, 120)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.serve.http_port}"

    def ray(self, method: str = "GET", config: dict[str, Any] | None = None) -> httpx.Response:
        """Ray's own door."""
        return httpx.request(
            method,
            f"http://127.0.0.1:{self.settings.serve.dashboard_port}/api/serve/applications/",
            json=config,
            headers={"Authorization": f"Bearer {self.secrets.ray_token}"},
            timeout=30,
        )

    def replica_pids(self, application: str) -> list[int]:
        deployments: dict[str, Any] = self.ray().json()["applications"][application]["deployments"]
        return [replica["pid"] for deployment in deployments.values() for replica in deployment["replicas"]]

    def said(self, word: str, job_id: str) -> bool:
        """Whether a replica has logged this event of this job."""
        logs = ray_folder(self.settings.var).glob("session_2*/logs/worker-*.err")
        lines = itertools.chain.from_iterable(log.read_text(errors="replace").splitlines() for log in logs)
        return any(f'"{word}"' in line and f'"{job_id}"' in line for line in lines)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def until(true: Callable[[], bool], *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Engines]:
    """Ray with the laptop profile, in its own folder, process group and ports; every application runs."""
    var = tmp_path_factory.mktemp("engines")
    compiled = request.config.cache.mkdir("numba")
    (var / "cache").mkdir()
    (var / "cache" / "numba").symlink_to(compiled)
    http, gcs, dashboard, agent, metrics, client = free_ports(6)
    ports = ServeSettings(
        http_port=http,
        gcs_port=gcs,
        dashboard_port=dashboard,
        agent_port=agent,
        metrics_port=metrics,
        client_port=client,
        worker_ports_from=20_000 + os.getpid() % 100 * 100,
    )
    settings, secrets = load(var=var, serve=ports), load_or_create(var)
    part = EnginesPart(settings, secrets)
    part.start()
    try:
        assert until(part.ready, within_s=READY_S), part.last_words()
        yield Engines(settings, secrets, FolderStore(var / "objects", secrets.link_key))
    finally:
        part.stop()
        shutil.rmtree(ray_folder(var), ignore_errors=True)


def song(*, duration_s: float = 10.0, takes: int = 2, deadline_s: float = 100.0, **words: Any) -> MakeRequest:
    job_id = f"job_{next(_numbers)}"
    call = CallContext(job_id=job_id, attempt=1, deadline_s=deadline_s, key_prefix=f"songs/acc_1/{job_id}/1")
    controls = Controls(seed=5, duration_s=duration_s)
    return MakeRequest(
        call=call, artist="ada", brief=Brief(prompt="warm folk", title="Home", takes=takes, controls=controls, **words)
    )


def made(engines: Engines, request: MakeRequest) -> list[TakeResult]:
    """The takes, coming back later as the worker does while a replica is replaced."""
    for _ in range(60):
        try:
            takes = asyncio.run(engines.client().make(request, lambda _: None))
        except (Busy, Unavailable):
            time.sleep(1)
        else:
            assert all(isinstance(take, TakeResult) for take in takes)
            return takes
    raise AssertionError("the engines stayed busy")


def test_a_song_is_made_over_http_and_its_files_are_what_is_said_of_them(engines: Engines, tmp_path: Path):
    told: list[Event] = []
    request = song(duration_s=15, lyrics="[verse]\nWalking home beneath the moon\nHumming half a simple tune")
    takes = asyncio.run(engines.client().make(request, told.append))

    assert isinstance(told[0], ProgressEvent)
    assert {event.event for event in told} == {"progress", "take", "done"}
    assert [take.seed for take in takes] == [5, 6]
    for index, take in enumerate(takes):
        for role, asset in take.assets.items():
            content = b"".join(engines.store.get(asset.key))
            assert asset.key.startswith(f"{request.call.key_prefix}/{index}.")
            assert hashlib.sha256(content).hexdigest() == asset.sha256
            (tmp_path / f"{index}-{role.value}").write_bytes(content)
        finished = read(tmp_path / f"{index}-wav")
        assert finished.duration_s == take.duration_s == 15.0
        assert integrated_lufs(finished) == pytest.approx(-14, abs=0.5)
        assert read_labels(tmp_path / f"{index}-stream").comment.startswith("AI-generated by Built-in composer")
        assert take.lines[0].text == "Walking home beneath the moon"
    assert takes[0].assets[AssetRole.WAV].sha256 != takes[1].assets[AssetRole.WAV].sha256


def test_words_and_covers_come_from_their_own_applications(engines: Engines):
    [texts] = made(engines, song(kind=BriefKind.LYRICS, takes=1))
    assert texts.words is not None
    assert texts.words.lyrics
    assert texts.words.title == "Home"
    request = song(kind=BriefKind.COVER, takes=1)
    plain = request.model_copy(update={"brief": replace(request.brief, controls=Controls(seed=5))})
    [cover] = made(engines, plain)
    assert set(cover.assets) == {AssetRole.COVER, AssetRole.COVER_512, AssetRole.COVER_128}


def test_strangers_and_strange_bodies_are_refused(engines: Engines):
    good = song().model_dump(mode="json")
    key = {"X-Melodeon-Key": engines.secrets.gateway_key}
    assert httpx.post(f"{engines.url}/v1/make", json=good).status_code == 401
    assert httpx.post(f"{engines.url}/v1/make", json=good, headers={"X-Melodeon-Key": "guess"}).status_code == 401
    assert httpx.post(f"{engines.url}/v1/make", json={**good, "more": 1}, headers=key).status_code == 422
    assert engines.client().health().ready


def test_leaving_a_call_stops_the_engine_in_its_replica(engines: Engines):
    request = song(duration_s=240, takes=1)

    async def leave() -> None:
        working = asyncio.Event()
        call = asyncio.create_task(
            engines.client().make(request, lambda event: working.set() if event.fraction > 0 else None)
        )
        await working.wait()
        call.cancel()
        await asyncio.wait([call])

    asyncio.run(leave())
    assert until(lambda: engines.said("make.cancelled", request.call.job_id), within_s=20)
    assert until(lambda: engines.client().health().applications["songs"].calls == 0, within_s=20)


def test_a_deadline_stops_the_engine_too(engines: Engines):
    request = song(duration_s=240, takes=1, deadline_s=1.5)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(engines.client().make(request, lambda _: None))
    assert until(lambda: engines.said("make.cancelled", request.call.job_id), within_s=20)


def test_a_killed_replica_is_told_as_lost_and_replaced(engines: Engines):
    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, ProgressEvent) and event.fraction > 0 and not killed:
            killed.extend(engines.replica_pids("songs"))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(ReplicaLost):
        asyncio.run(engines.client().make(song(duration_s=240, takes=1), kill))
    assert len(made(engines, song(takes=1))) == 1
    assert set(engines.replica_pids("songs")).isdisjoint(killed)


def test_calls_that_end_well_are_not_taken_for_listeners_that_left(engines: Engines):
    """Serve's door cancels a request whose client leaves before the response has ended, and says so in its log."""

    def left() -> int:
        logs = ray_folder(engines.settings.var).glob("session_2*/logs/serve/proxy_*.log")
        return sum(log.read_text(errors="replace").count("disconnected, cancelling") for log in logs)

    before = left()
    for _ in range(20):
        made(engines, song(kind=BriefKind.TAGS, takes=1))
    assert left() - before < 10


def test_a_call_for_an_application_that_has_gone_is_sent_away(engines: Engines):
    """The gateway has called it before and still knows it as ready. Stands last: the engine for covers is gone then."""
    cover = song(kind=BriefKind.COVER, takes=1)
    cover = cover.model_copy(update={"brief": replace(cover.brief, controls=Controls(seed=5))})
    made(engines, cover)
    config = yaml.safe_load(engines.settings.serve.config.read_text())
    config["http_options"]["port"] = engines.settings.serve.http_port
    config["applications"] = [one for one in config["applications"] if one["name"] != "covers"]
    assert engines.ray("PUT", config).is_success
    assert until(lambda: "covers" not in engines.ray().json()["applications"], within_s=60)
    with pytest.raises(Unavailable, match="covers is not ready"):
        asyncio.run(engines.client().make(cover, lambda _: None))
