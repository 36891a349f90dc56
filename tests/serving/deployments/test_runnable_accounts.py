"""The scaling policy, asked as Serve asks it, over a real Postgres. See test_model_replicas for one at work."""

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from data.database import Database
from data.embedded_postgres import free_port
from serving import jobs
from studio.words.account import Account
from studio.words.brief import Brief
from studio.words.job import Job
from ui.testing import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray.serve._private.common import DeploymentID
    from ray.serve.autoscaling_policy import _apply_autoscaling_config
    from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

    from serving.deployments.autoscaling import RunnableAccountsPolicy, UnknownScalingStage

POLICY = "serving.deployments.autoscaling:RunnableAccountsPolicy"


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
    until(lambda: not readers(), "no reader outlives its policy")


def test_somebody_who_asks_for_a_song_wakes_the_replicas_from_zero(here, account, wish, policy) -> None:
    serve_asks = policy()
    assert serve_asks(context())[0] == 0
    wish(account)
    until(lambda: serve_asks(context())[0] == 1, "one replica is wanted")


def test_many_who_ask_get_replicas_up_to_the_bound(here, make_account, wish, policy) -> None:
    for _ in range(5):
        wish(make_account())
    serve_asks = policy()
    until(lambda: serve_asks(context())[0] == 5, "five replicas are wanted")
    assert serve_asks(context(most=3))[0] == 3


def test_the_target_stays_while_the_queue_cannot_be_read(here, policy, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MELODEON_DATABASE__URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    serve_asks = policy()
    for _ in range(20):
        assert serve_asks(context(target=4, running=4))[0] == 4
        time.sleep(0.02)


def test_the_target_stays_when_what_was_read_has_become_old(here, policy) -> None:
    asked = RunnableAccountsPolicy(stages=["music"], poll_s=3600.0, stale_s=600.0)
    asked(context(target=3, running=3))
    until(lambda: asked(context(target=3, running=3))[0] == 0, "it was read", every_s=0.01)
    found, read_at = asked._board.read
    asked._board.read = found, read_at - 601  # ten minutes go by; within the hour it reads no more
    assert asked(context(target=3, running=3))[0] == 3


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
        # whoever waited for the table would wait for as long as a statement may take, half a minute
        assert time.monotonic() - begun < 20.0


@pytest.mark.parametrize("wrong", [{"stages": ["drums"]}, {"stages": []}, {"drain_s": 0}, {"poll_s": 0}, {"drain": 3}])
def test_a_wrong_word_in_the_serve_file_is_refused(wrong) -> None:
    with pytest.raises((UnknownScalingStage, ValueError, TypeError)):
        RunnableAccountsPolicy(**{"stages": ["music"], **wrong})
