"""The scaling policy: asked as Serve asks it, over a real Postgres; then deployed on a real Ray."""

import gc
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import text

from configs.secrets import Secrets, load_or_create
from configs.settings import ServeSettings, Settings, load
from data.database import Database
from data.embedded_postgres import free_port
from serving import jobs
from serving.stack import EnginesPart, ray_folder
from studio.words.account import Account
from studio.words.brief import Brief
from studio.words.job import Job

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray.serve._private.common import DeploymentID
    from ray.serve.autoscaling_policy import _apply_autoscaling_config
    from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

    from serving.deployments.autoscaling import RunnableAccountsPolicy, UnknownScalingStage

POLICY = "serving.deployments.autoscaling:RunnableAccountsPolicy"


def until(true: Callable[[], bool], *, within_s: float, every_s: float = 0.1) -> bool:
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True


@pytest.fixture
def here(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that a process started now finds through its settings."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    return database


@pytest.fixture
def wish(here: Database) -> Callable[[Account], Job]:
    """Asks for a song as the doors do."""

    def ask_for(account: Account) -> Job:
        brief, now = Brief(description="a song about the sea"), datetime.now(UTC)
        with here.transaction() as session:
            return jobs.request(session, account, brief, key=f"key {account.id}", now=now, draw_seed=lambda: 7)

    return ask_for


def context(*, target: int = 0, running: int = 0, least: int = 0, most: int = 8) -> AutoscalingContext:
    name = DeploymentID(name="Songs", app_name="songs")
    numbers = {"current_num_replicas": running, "target_num_replicas": target, "total_num_requests": 0}
    bounds = {"capacity_adjusted_min_replicas": least, "capacity_adjusted_max_replicas": most}
    absent = dict.fromkeys(("aggregated_metrics", "raw_metrics", "last_scale_up_time", "last_scale_down_time"))
    config = AutoscalingConfig(min_replicas=least, max_replicas=most)
    return AutoscalingContext(
        deployment_id=name,
        deployment_name=name.name,
        app_name=name.app_name,
        running_replicas=[],
        total_queued_requests=0,
        policy_state={},
        current_time=time.time(),
        config=config,
        **numbers,
        **bounds,
        **absent,
    )


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("scaling-")]


@pytest.fixture
def policy() -> Iterator[Callable[..., Any]]:
    """The policy as Serve makes it: pickled by value, read back, wrapped with Serve's own factors and delays."""
    made: list[Any] = []

    def make(**words: Any) -> Any:
        stored = AutoscalingPolicy(policy_function=POLICY, policy_kwargs={"stages": ["music"], "poll_s": 0.05, **words})
        made.append(_apply_autoscaling_config(stored.get_policy()(**stored.policy_kwargs)))
        return made[-1]

    yield make
    made.clear()
    gc.collect()
    assert until(lambda: not readers(), within_s=5), "a reader outlived its policy"


def test_somebody_who_asks_for_a_song_wakes_the_replicas_from_zero(here, account, wish, policy) -> None:
    serve_asks = policy()
    assert serve_asks(context())[0] == 0
    wish(account)
    assert until(lambda: serve_asks(context())[0] == 1, within_s=5)


def test_many_who_ask_get_replicas_up_to_the_bound(here, make_account, wish, policy) -> None:
    for _ in range(5):
        wish(make_account())
    serve_asks = policy()
    assert until(lambda: serve_asks(context())[0] == 5, within_s=5)
    assert serve_asks(context(most=3))[0] == 3


def test_the_target_stays_while_the_queue_cannot_be_read(here, policy, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MELODEON_DATABASE__URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    serve_asks = policy()
    for _ in range(20):
        assert serve_asks(context(target=4, running=4))[0] == 4
        time.sleep(0.02)


def test_the_target_stays_when_what_was_read_has_become_old(here, policy) -> None:
    asked = RunnableAccountsPolicy(stages=["music"], poll_s=3600.0, stale_s=0.3)
    asked(context(target=3, running=3))
    assert until(lambda: asked(context(target=3, running=3))[0] == 0, within_s=5, every_s=0.01)
    assert until(lambda: asked(context(target=3, running=3))[0] == 3, within_s=5)


def test_settings_that_cannot_be_read_do_not_break_the_controller(here, policy, monkeypatch) -> None:
    monkeypatch.setenv("MELODEON_NONSENSE", "1")
    serve_asks = policy()
    for _ in range(10):
        assert serve_asks(context(target=2, running=2))[0] == 2
        time.sleep(0.02)


def test_serve_is_never_made_to_wait_for_the_database(here, account, wish, policy) -> None:
    serve_asks = policy()
    with here.transaction() as session:
        session.execute(text("LOCK TABLE job IN ACCESS EXCLUSIVE MODE"))
        begun = time.monotonic()
        for _ in range(50):
            serve_asks(context(target=1, running=1))
        # the reader is held up for as long as this block lasts; fifty answers without it take milliseconds
        assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("wrong", [{"stages": ["drums"]}, {"stages": []}, {"drain_s": 0}, {"poll_s": 0}, {"drain": 3}])
def test_a_wrong_word_in_the_serve_file_is_refused(wrong) -> None:
    with pytest.raises((UnknownScalingStage, ValueError, TypeError)):
        RunnableAccountsPolicy(**{"stages": ["music"], **wrong})


# Deployed -----------------------------------------------------------------------------------------------------------

SLEEPER = """
import asyncio
from ray import serve

@serve.deployment(name="Songs")
class Sleeper:
    async def __call__(self, request):
        await asyncio.sleep(float(request.query_params["seconds"]))
        return "slept"

def build(args):
    return Sleeper.bind()
"""


def serve_file(policy_words: dict[str, Any]) -> dict[str, Any]:
    scaling = {"min_replicas": 0, "max_replicas": 3, "upscale_delay_s": 0, "downscale_delay_s": 1}
    scaling |= {"downscale_to_zero_delay_s": 1, "policy": {"policy_function": POLICY, "policy_kwargs": policy_words}}
    deployment = {"name": "Songs", "graceful_shutdown_timeout_s": 60, "ray_actor_options": {"num_cpus": 0.1}}
    deployment |= {"autoscaling_config": scaling, "max_ongoing_requests": 2}
    application = {"name": "songs", "import_path": "melodeon_sleeper:build", "route_prefix": "/", "args": {}}
    return {"proxy_location": "HeadOnly", "applications": [{**application, "deployments": [deployment]}]}


class Deployed:
    """A real Ray whose one application follows the queue."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets

    def replicas(self) -> list[str]:
        """States of the replicas, asked of Ray's own door."""
        answer = httpx.get(
            f"http://127.0.0.1:{self._settings.serve.dashboard_port}/api/serve/applications/",
            headers={"Authorization": f"Bearer {self._secrets.ray_token}"},
        )
        deployment = answer.json()["applications"]["songs"]["deployments"]["Songs"]
        return [replica["state"] for replica in deployment["replicas"]]

    def call(self, seconds: float) -> httpx.Response:
        url = f"http://127.0.0.1:{self._settings.serve.http_port}/?seconds={seconds}"
        return httpx.get(url, timeout=90)

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self._settings.serve.metrics_port}/metrics").text

    def said(self) -> str:
        logs = ray_folder(self._settings.var).glob("session_2*/logs/serve/controller_*.log")
        return "\n".join(log.read_text(errors="replace") for log in logs)


@pytest.fixture
def deployed(here: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    module = tmp_path / "code" / "melodeon_sleeper.py"
    module.parent.mkdir()
    module.write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(module.parent))
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(serve_file({"stages": ["music"], "poll_s": 1})))
    names = ("http_port", "gcs_port", "dashboard_port", "agent_port", "metrics_port", "client_port")
    ports = ServeSettings(config=config, worker_ports_from=31_000, **{name: free_port() for name in names})
    settings = load(serve=ports)
    secrets = load_or_create(settings.var)
    part = EnginesPart(settings, secrets)
    part.start()
    try:
        assert until(part.ready, within_s=120, every_s=0.3), part.last_words()
        yield Deployed(settings, secrets)
    finally:
        part.stop()
        shutil.rmtree(ray_folder(settings.var), ignore_errors=True)


@pytest.mark.stack
def test_a_job_brings_replicas_up_and_its_end_takes_them_down_without_cutting_a_call(
    deployed: Deployed, here: Database, account, wish
) -> None:
    assert deployed.replicas() == []
    job = wish(account)
    assert until(lambda: deployed.replicas() == ["RUNNING"], within_s=60)

    with ThreadPoolExecutor(1) as pool:
        call: Future[httpx.Response] = pool.submit(deployed.call, 8.0)
        time.sleep(1.0)
        with here.transaction() as session:
            session.execute(text("UPDATE job SET state = 'cancelled' WHERE id = :id"), {"id": job.id})
        assert until(lambda: "STOPPING" in deployed.replicas(), within_s=20)
        assert not call.done()
        assert call.result().text == "slept"
    assert until(lambda: deployed.replicas() == [], within_s=20)

    assert "Scaling of songs: 1 replicas wanted (drain)" in deployed.said()
    assert "Scaling of songs: 0 replicas wanted (idle)" in deployed.said()
    names = ("desired_replicas", "reason", "runnable_accounts", "data_age_seconds", "arrivals_per_second")
    wanted = [f"ray_melodeon_scaling_{name}{{" for name in names]
    assert until(lambda: all(name in deployed.metrics() for name in wanted), within_s=30, every_s=1)
