"""Model engines on a real Ray: batches, cold starts, adapters, figures, and applications that cannot start.

Beside them stands an application that follows the queue.
"""

import asyncio
import itertools
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import text

from configs.secrets import load_or_create
from configs.settings import ModelsSettings, ServeSettings, Settings, load
from data.database import Database
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.testing import fresh_database
from serving import jobs, models
from serving.applications import ApplicationFailed, failure_of
from serving.catalogue import known
from serving.client import ModelRejected, Unavailable
from serving.contract import CallContext, Event, MakeRequest, ProgressEvent, TakeResult
from serving.stack import RAY_PORTS, EnginesPart, ray_folder
from studio.words.account import Account
from studio.words.asset import AssetRole
from studio.words.brief import Brief, BriefKind, Controls
from tests.conftest import Products
from tests.serving.deployments.conftest import Engines
from ui.testing import until

pytestmark = pytest.mark.stack

READY_S = 300.0
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


SLEEPER = """
import asyncio
from pathlib import Path
from ray import serve

@serve.deployment(name="Sleeper")
class Sleeper:
    async def __call__(self, request):
        go = request.query_params["go"]
        Path(go + ".begun").touch()
        while not Path(go).exists():
            await asyncio.sleep(0.1)
        return "slept"

def build(args):
    return Sleeper.bind()
"""


def sleeper() -> dict[str, Any]:
    """An application of no engine, whose replicas follow the queue."""
    policy = {
        "policy_function": "serving.deployments.autoscaling:RunnableAccountsPolicy",
        "policy_kwargs": {"stages": ["music"], "poll_s": 1},
    }
    scaling = {"min_replicas": 0, "max_replicas": 3, "upscale_delay_s": 0, "downscale_delay_s": 1}
    scaling |= {"downscale_to_zero_delay_s": 1, "policy": policy}
    deployment = {"name": "Sleeper", "graceful_shutdown_timeout_s": 300, "ray_actor_options": {"num_cpus": 0.1}}
    deployment |= {"autoscaling_config": scaling, "max_ongoing_requests": 2}
    application = {"name": "sleeper", "import_path": "melodeon_sleeper:build", "route_prefix": "/sleep", "args": {}}
    return {**application, "deployments": [deployment]}


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
        sleeper(),
        application("recycled", "covers", {"engine": "builtin-cover", "recycle": {"after_songs": 1}},
                    max_ongoing_requests=4, health_check_period_s=1),
        application("forbidden", "covers", {"engine": "sdxl-turbo"}),
        application("absent", "words", {"engine": "tiny-qwen", "device": "cpu"}),
        application("unplaced", "songs", {"engine": "builtin-song"},
                    ray_actor_options={"num_cpus": 0.1, "num_gpus": 1}),
    ],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class QueuedEngines(Engines):
    """With a queue that no worker takes from."""

    database: Database


def chosen(var: Path, weights: Path, database: Database) -> Settings:
    """Settings of a Ray in this folder, with tiny models; one of those that are asked for is not there."""
    for name in ("tiny-sdxl", "tiny-ace-step-turbo"):
        spec = known().spec_of(name)
        shutil.copytree(models.folder_of(weights, spec), models.folder_of(var / "models", spec))
    (var / "code").mkdir()
    (var / "code" / "melodeon_sleeper.py").write_text(SLEEPER)
    (var / "serve.yaml").write_text(yaml.safe_dump(SERVE_FILE))
    ports = {name: free_port() for name in RAY_PORTS}
    serve = ServeSettings(config=var / "serve.yaml", worker_ports_from=31_000, **ports)
    return load(var=var, serve=serve, models=ModelsSettings(folder=var / "models"), database={"url": database.conninfo})


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, postgres: EmbeddedPostgres, products: Products
) -> Iterator[QueuedEngines]:
    """Ray with tiny models: some applications run, one is forbidden, one finds no card."""
    products.end()
    var = tmp_path_factory.mktemp("models-on-ray")
    with fresh_database(postgres) as database, pytest.MonkeyPatch.context() as environment:
        settings = chosen(var, tiny_weights, database)
        environment.setenv("MELODEON_SERVE__CONFIG", str(settings.serve.config))
        environment.setenv("MELODEON_MODELS__FOLDER", str(settings.models_folder))
        environment.setenv("MELODEON_DATABASE__URL", database.conninfo)
        environment.setenv("PYTHONPATH", str(var / "code"))
        # what cannot start is tried once, not three times
        environment.setenv("RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT", "1")
        secrets = load_or_create(var)
        part = EnginesPart(settings, secrets, settle_s=1.0)
        part.start()
        try:
            running = QueuedEngines(settings=settings, secrets=secrets, database=database)
            until(part.ready, "the gateway and an engine are ready", within_s=READY_S)
            for name in ("words", "covers", "songs", "recycled"):
                until(lambda name=name: running.ready(name), f"{name} are ready", within_s=READY_S)
            until(lambda: part.ready() and told_of(part, "forbidden", "absent"), "what failed is told")
            yield running
        finally:
            part.stop()
            shutil.rmtree(ray_folder(var), ignore_errors=True)


def told_of(part: EnginesPart, *names: str) -> bool:
    """Whether the part has a remark about each of these applications."""
    remarks = " ".join(part.remarks())
    return all(f"“{name}”" in remarks for name in names)


@pytest.fixture
def database(engines: QueuedEngines) -> Database:
    """The one whose queue is followed."""
    return engines.database


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

    until(shared, "two covers share a batch")


def test_a_cold_application_says_that_it_warms_up_and_then_how_long(engines: Engines):
    told: list[Event] = []
    until(lambda: (words := engines.standing("words")) and words.replicas == 0, "nothing runs yet")
    takes = asyncio.run(engines.client().make(request(kind=BriefKind.LYRICS), told.append))
    assert isinstance(takes[0], TakeResult)
    assert isinstance(told[0], ProgressEvent)
    assert told[0].message == "Warming up the engine"
    words = until(lambda: (seen := engines.standing("words")) and seen.load_s and seen, "its figures are known")
    assert words.cold_start_s > 0


def test_load_and_warm_up_are_told_and_exported(engines: Engines):
    def seen() -> bool:
        covers = engines.standing("covers")
        return covers is not None and (covers.load_s or 0) > 0 and (covers.warm_up_s or 0) > 0

    until(seen, "the gateway knows how long it took")

    def exported() -> bool:
        text = engines.metrics()
        wanted = (
            'ray_melodeon_engine_load_seconds{', "ray_melodeon_engine_warm_up_seconds{", 'engine="tiny-sdxl"',
            "ray_melodeon_engine_make_seconds_bucket{", "ray_melodeon_engine_wait_seconds_count{",
            "ray_melodeon_takes_total{",
        )  # fmt: skip
        return all(word in text for word in wanted)

    until(exported, "Prometheus could read it")


def test_an_application_that_finds_no_card_says_so_and_the_others_serve(engines: Engines):
    assert not engines.ready("unplaced")
    with pytest.raises(Unavailable):
        asyncio.run(engines.client().make(request(engine="builtin-song"), lambda _: None))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("forbidden", "SDXL turbo may not be used commercially"), ("absent", "melodeon models fetch tiny-qwen")],
)
def test_what_cannot_start_says_why_and_what_to_do(engines: Engines, name, sentence):
    until(lambda: engines.details(name)["status"] == "DEPLOY_FAILED", "it has failed")
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
        before = until(lambda old=before: replaced(engines.replica_pids("recycled"), old), "another one runs")


def replaced(now: set[int], before: set[int]) -> set[int]:
    """Those that run now, if none of them is an old one."""
    return set() if now & before else now


def test_a_job_brings_replicas_up_and_its_end_takes_them_down_without_cutting_a_call(
    engines: QueuedEngines, account: Account, tmp_path: Path
) -> None:
    go, begun = tmp_path / "go", tmp_path / "go.begun"

    def states() -> list[str]:
        return [replica["state"] for replica in engines.replicas("sleeper")]

    def called() -> httpx.Response:
        return httpx.get(f"{engines.url}/sleep", params={"go": str(go)}, timeout=300)

    until(lambda: engines.details("sleeper")["status"] == "RUNNING", "the application is there")
    assert states() == []
    brief, now = Brief(description="a song about the sea"), datetime.now(UTC)
    with engines.database.transaction() as session:
        job = jobs.request(session, account, brief, key="of the sea", now=now, draw_seed=lambda: 7)
    until(lambda: states() == ["RUNNING"], "the job brings a replica up")

    with ThreadPoolExecutor(1) as pool:
        call: Future[httpx.Response] = pool.submit(called)
        try:
            until(begun.exists, "the call has arrived")
            with engines.database.transaction() as session:
                session.execute(text("UPDATE job SET state = 'cancelled' WHERE id = :id"), {"id": job.id})
            until(lambda: "STOPPING" in states(), "its replica is told to leave")
            assert not call.done()
        finally:
            go.touch()  # or nobody would end the call that the pool waits for
        assert call.result().text == "slept"
    until(lambda: states() == [], "no replica is left")

    said = "\n".join(engines.logged("serve/controller_*.log"))
    assert "Scaling of sleeper: 1 replicas wanted (drain)" in said
    assert "Scaling of sleeper: 0 replicas wanted (idle)" in said
    names = ("desired_replicas", "reason", "runnable_accounts", "data_age_seconds", "arrivals_per_second")
    wanted = [f"ray_melodeon_scaling_{name}{{" for name in names]
    until(lambda: all(name in engines.metrics() for name in wanted), "its figures are exported", every_s=0.5)
