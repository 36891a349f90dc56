"""A worker whose clock is an hour off takes nobody's job away and loses none: leases are of the database's clock."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from data.database import Database
from data.repositories import ledger as books
from data.testing import broken_job_laws
from serving import jobs
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.ids import JobId
from tests.chaos.worker_child import QUICK, environment_of, workers
from tests.serving.conftest import FakeGateway

SETTINGS = {**QUICK, "lease_s": 10, "heartbeat_s": 1}


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    gateway = FakeGateway()
    yield gateway
    gateway.go.set()
    gateway.close()


@pytest.fixture
def ask(database: Database) -> Callable[[Account], JobId]:
    def one(account: Account) -> JobId:
        with database.transaction() as session:
            brief = Brief(description="folk about rain", controls=Controls(seed=7))
            return jobs.request(session, account, brief, key="1", now=datetime.now(UTC), draw_seed=lambda: 7).id

    return one


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("off_s", [3600.0, -3600.0], ids=["ahead", "behind"])
def test_a_worker_with_a_wrong_clock_leaves_the_others_their_jobs_and_makes_its_own(
    database: Database, make_account: Callable[..., Account], ask, gateway: FakeGateway, tmp_path: Path, off_s: float
) -> None:
    def stands(job_id: JobId) -> tuple[str, int]:
        with database.transaction() as session:
            row = session.execute(text("SELECT state, attempt FROM job WHERE id = :id"), {"id": job_id}).one()
        return row.state, row.attempt

    def environment(name: str) -> dict[str, str]:
        return environment_of(database.conninfo, gateway.url, tmp_path / name, **SETTINGS)

    def swept_after(moment_s: float) -> bool:
        beat = tmp_path / "wrong" / "run" / "worker.beat"
        return beat.exists() and beat.stat().st_mtime > moment_s

    gateway.plans["song"] = ["wait"]
    with workers(environment("right"), log=tmp_path / "right.log") as start:
        first = start()
        slow = ask(make_account(credits=2))
        wait_for(lambda: gateway.calls()["song"] == 1)
        with workers(environment("wrong"), log=tmp_path / "wrong.log", clock_off_s=off_s) as start_wrong:
            start_wrong()
            wait_for(lambda: swept_after(0.0))
            first_s = time.time()
            wait_for(lambda: swept_after(first_s))  # once more, with the slow job in its sight
            assert stands(slow) == ("processing", 1)
            gateway.go.set()
            wait_for(lambda: stands(slow)[0] == "processed")
            first.kill()  # from here on the wrong clock is the only one
            first.join()
            own = ask(make_account(credits=2))
            wait_for(lambda: stands(own)[0] == "processed")
    assert (stands(slow), stands(own)) == (("processed", 1), ("processed", 1))
    assert gateway.calls()["song"] == 2
    with database.transaction() as session:
        assert broken_job_laws(session) == {}
        assert books.faults(session) == ()
