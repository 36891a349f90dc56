"""Model engines on a real Ray: batches, cold starts, adapters, figures, and applications that cannot start."""

import asyncio
import itertools
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from configs.secrets import Secrets, load_or_create
from configs.settings import ModelsSettings, ServeSettings, Settings, load
from serving import models
from serving.applications import ApplicationFailed, failure_of
from serving.catalogue import known
from serving.client import GatewayClient, ModelRejected, Unavailable
from serving.contract import CallContext, Event, MakeRequest, ProgressEvent, TakeResult
from serving.stack import EnginesPart, ray_folder
from studio.words.asset import AssetRole
from studio.words.brief import Brief, BriefKind, Controls

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

READY_S = 300
_numbers = itertools.count(1)


def application(name: str, builder: str, args: dict[str, Any], **deployment: Any) -> dict[str, Any]:
    deployed = {"graceful_shutdown_timeout_s": 300, "ray_actor_options": {"num_cpus": 0.1}, **deployment}
    return {
        "name": name,
        "import_path": f"serving.deployments.builders:{builder}",
        "route_prefix": "/" if builder == "gateway" else None,
        "args": args,
        "deployments": [{"name": builder.capitalize(), **deployed}],
    }


SERVE_FILE = {
    "proxy_location": "HeadOnly",
    "http_options": {"host": "127.0.0.1", "port": 8610},
    "applications": [
        application("gateway", "gateway", {}, max_ongoing_requests=64),
        application("covers", "covers", {"engine": "tiny-sdxl", "device": "cpu", "options": {"batch": 4}},
                    max_ongoing_requests=8),
        application("songs", "songs", {"engine": "tiny-ace-step-turbo", "device": "cpu"}, max_ongoing_requests=2),
        application("words", "words", {"engine": "builtin-words"}, max_ongoing_requests=4,
                    autoscaling_config={"min_replicas": 0, "max_replicas": 1, "upscale_delay_s": 0}),
        application("recycled", "covers", {"engine": "builtin-cover", "recycle": {"after_songs": 1}},
                    max_ongoing_requests=4, health_check_period_s=1),
        application("forbidden", "covers", {"engine": "sdxl-turbo"}),
        application("absent", "words", {"engine": "tiny-qwen", "device": "cpu"}),
        application("unplaced", "songs", {"engine": "builtin-song"},
                    ray_actor_options={"num_cpus": 0.1, "num_gpus": 1}),
    ],
}  # fmt: skip


class Engines:
    """Ray at work, and how to reach it."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self.serve, self.secrets = settings.serve, secrets

    def client(self) -> GatewayClient:
        return GatewayClient(f"http://127.0.0.1:{self.serve.http_port}", self.secrets.gateway_key, 120)

    def details(self, application: str) -> dict[str, Any]:
        """What Ray's own door says about it."""
        answer = httpx.get(
            f"http://127.0.0.1:{self.serve.dashboard_port}/api/serve/applications/",
            headers={"Authorization": f"Bearer {self.secrets.ray_token}"},
        )
        details: dict[str, Any] = answer.json()["applications"][application]
        return details

    def replica_pids(self, application: str) -> set[int]:
        """Of those that run."""
        replicas = [
            one for deployment in self.details(application)["deployments"].values() for one in deployment["replicas"]
        ]
        return {replica["pid"] for replica in replicas if replica["state"] == "RUNNING"}

    def metrics(self) -> str:
        """What Prometheus would read."""
        return httpx.get(f"http://127.0.0.2:{self.serve.metrics_port}/metrics", timeout=10).text

    def ready(self, name: str) -> bool:
        try:
            return self.client().health().applications[name].ready
        except Unavailable:
            return False


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
        time.sleep(0.3)
    return True


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Ray with tiny models: some applications run, one is forbidden, one finds no card."""
    var = tmp_path_factory.mktemp("models-on-ray")
    for name in ("tiny-sdxl", "tiny-ace-step-turbo"):
        models.fetch(known().spec_of(name), var / "models", offline=True, say=lambda _: None)
    (var / "serve.yaml").write_text(yaml.safe_dump(SERVE_FILE))
    http, gcs, dashboard, agent, metrics, client = free_ports(6)
    ports = ServeSettings(
        config=var / "serve.yaml",
        http_port=http,
        gcs_port=gcs,
        dashboard_port=dashboard,
        agent_port=agent,
        metrics_port=metrics,
        client_port=client,
        worker_ports_from=30_000 + os.getpid() % 100 * 100,
    )
    settings = load(var=var, serve=ports, models=ModelsSettings(folder=var / "models"))
    secrets = load_or_create(var)
    part = EnginesPart(settings, secrets, settle_s=30.0)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MELODEON_SERVE__CONFIG", str(ports.config))
        environment.setenv("MELODEON_MODELS__FOLDER", str(settings.models_folder))
        environment.setenv("OMP_NUM_THREADS", "1")
        part.start()
    try:
        running = Engines(settings, secrets)
        assert until(part.ready, within_s=READY_S)
        remarks = " ".join(part.remarks())
        assert all(f"“{name}”" in remarks for name in ("forbidden", "absent"))
        for name in ("words", "covers", "songs", "recycled"):
            assert until(lambda name=name: running.ready(name), within_s=READY_S), name
        yield running
    finally:
        part.stop()
        shutil.rmtree(ray_folder(var), ignore_errors=True)


def request(**brief: Any) -> MakeRequest:
    job_id = f"job_{next(_numbers)}"
    call = CallContext(job_id=job_id, attempt=1, deadline_s=100, key_prefix=f"songs/acc_1/{job_id}/1", trace_id="t1")
    words = {"description": "warm folk", "title": "Home", "takes": 1, "controls": Controls(seed=5), **brief}
    return MakeRequest(call=call, artist="ada", brief=Brief(**words))


def test_covers_of_several_people_are_painted_together_and_one_that_leaves_spoils_nothing(engines: Engines):
    async def crowd() -> list[Any]:
        calls = [
            asyncio.create_task(
                engines.client().make(request(kind=BriefKind.COVER, title=f"Song {number}"), lambda _: None)
            )
            for number in range(6)
        ]
        await asyncio.sleep(0.2)
        calls[1].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    made = asyncio.run(crowd())
    assert isinstance(made[1], asyncio.CancelledError | list)
    for answer in (made[0], *made[2:]):
        [take] = answer
        assert isinstance(take, TakeResult)
        assert set(take.assets) == {AssetRole.COVER, AssetRole.COVER_512, AssetRole.COVER_128}

    def shared() -> bool:
        sizes = re.findall(r"^ray_serve_actual_batch_size_(sum|count)\{.*} (\S+)$", engines.metrics(), re.MULTILINE)
        total = {word: sum(float(value) for name, value in sizes if name == word) for word in ("sum", "count")}
        return total["sum"] > total["count"] > 0

    assert until(shared, within_s=60), "no two covers shared a batch"


def test_a_cold_application_says_that_it_warms_up_and_then_how_long(engines: Engines):
    told: list[Event] = []
    assert engines.client().health().applications["words"].replicas == 0
    takes = asyncio.run(engines.client().make(request(kind=BriefKind.LYRICS), told.append))
    assert isinstance(takes[0], TakeResult)
    assert isinstance(told[0], ProgressEvent)
    assert told[0].message == "Warming up the engine"
    assert until(lambda: engines.client().health().applications["words"].load_s is not None, within_s=60)
    assert engines.client().health().applications["words"].cold_start_s > 0


def test_load_and_warm_up_are_told_and_exported(engines: Engines):
    def seen() -> bool:
        covers = engines.client().health().applications["covers"]
        return covers.load_s is not None and covers.load_s > 0 and (covers.warm_up_s or 0) > 0

    assert until(seen, within_s=60)

    def exported() -> bool:
        text = engines.metrics()
        wanted = (
            'ray_melodeon_engine_load_seconds{', "ray_melodeon_engine_warm_up_seconds{", 'engine="tiny-sdxl"',
            "ray_melodeon_engine_make_seconds_bucket{", "ray_melodeon_engine_wait_seconds_count{",
            "ray_melodeon_takes_total{",
        )  # fmt: skip
        return all(word in text for word in wanted)

    assert until(exported, within_s=60)


def test_an_application_that_finds_no_card_says_so_and_the_others_serve(engines: Engines):
    assert not engines.ready("unplaced")
    with pytest.raises(Unavailable):
        asyncio.run(engines.client().make(request(engine="builtin-song"), lambda _: None))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("forbidden", "SDXL turbo may not be used commercially"), ("absent", "melodeon models fetch tiny-qwen")],
)
def test_what_cannot_start_says_why_and_what_to_do(engines: Engines, name, sentence):
    assert until(lambda: engines.details(name)["status"] == "DEPLOY_FAILED", within_s=120)
    assert sentence in str(ApplicationFailed(name, failure_of(engines.details(name))))


def test_an_adapter_is_asked_of_the_engine_and_an_unknown_one_refused_by_name(engines: Engines):
    short = Controls(seed=5, duration_s=10.0)
    with pytest.raises(ModelRejected, match="nobody") as caught:
        asyncio.run(engines.client().make(request(prompt="folk", adapter="nobody", controls=short), lambda _: None))
    assert caught.value.code == "unknown_adapter"
    [take] = asyncio.run(engines.client().make(request(prompt="folk", controls=short), lambda _: None))
    assert take.engine == "tiny-ace-step-turbo"


def test_a_replica_that_has_done_its_share_is_replaced_and_no_call_is_lost(engines: Engines):
    before = engines.replica_pids("recycled")
    for _ in range(2):
        cover = request(kind=BriefKind.COVER, engine="builtin-cover")
        [take] = asyncio.run(engines.client().make(cover, lambda _: None))
        assert isinstance(take, TakeResult)
        assert until(lambda old=before: bool(now := engines.replica_pids("recycled")) and not now & old, within_s=90)
        before = engines.replica_pids("recycled")
