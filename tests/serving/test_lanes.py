"""Lanes: no wake-up is ever lost, alarms are one a lane, a turn is given away when others wait."""

import asyncio
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from data.database import Database
from serving import attempts, jobs
from serving.attempts import RetryRule
from studio.words.brief import Brief, Controls
from studio.words.job import JobState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ACCOUNTS, CALLERS, ROUNDS = 4, 3, 8


def alarms(database: Database) -> Counter[str]:
    """How many alarms each lane has waiting."""
    with database.transaction() as session:
        statement = text("SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = 'lanes'")
        return Counter(session.execute(statement).scalars())


def states(database: Database) -> Counter[str]:
    with database.transaction() as session:
        return Counter(session.execute(text("SELECT state FROM job")).scalars())


def wait_until_nothing_waits(database: Database) -> None:
    until = time.monotonic() + 90
    while set(states(database)) - {"processed"}:
        assert time.monotonic() < until, f"a wake-up was lost: {states(database)}"
        time.sleep(0.01)


def test_many_requests_set_one_alarm(database, account, ask, fill_queue) -> None:
    for _ in range(5):
        ask(account)
    assert alarms(database) == {f"lane:{account.id}": 1}


def test_a_request_rolled_back_sets_no_alarm(database, account) -> None:
    def ask_in_vain() -> None:
        with database.transaction() as session:
            brief = Brief(description="x", controls=Controls(seed=1))
            jobs.request(session, account, brief, key="k", now=NOW, draw_seed=lambda: 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_in_vain()
    assert alarms(database) == {}
    assert states(database) == {}


@pytest.mark.parametrize("end", ["claim", "go_on"])
def test_an_alarm_in_hand_waits_for_a_request_under_way(database, account, ask, claim, finish, end: str) -> None:
    """The hole that loses wake-ups: the request sees the alarm, the alarm does not see the request."""
    ask(account)
    finish(claim(account))
    got = []

    def look_for_work() -> None:
        with database.transaction() as session:
            if end == "claim":
                got.append(attempts.claim(session, account.id, lease_s=30))
            else:
                got.append(attempts.go_on(session, account.id, lease_s=30, may_claim=True))

    with database.transaction() as session:
        brief = Brief(description="x", controls=Controls(seed=1))
        job = jobs.request(session, account, brief, key="k", now=NOW, draw_seed=lambda: 1)
        alarm = threading.Thread(target=look_for_work)
        alarm.start()
        alarm.join(timeout=0.3)
        assert alarm.is_alive()
    alarm.join(timeout=60)
    assert got[0].job_id == job.id


def test_no_wake_up_is_lost_while_lanes_run_dry(database, make_account, finish, run_worker) -> None:
    """A later request heals a lost wake-up, so a count at the end shows nothing: it is the waiting that counts.

    Here nobody comes later and there is no sweep: what a round's last requests leave behind would wait for ever.
    """

    async def work(claimed) -> None:
        await asyncio.to_thread(finish, claimed)

    run_worker(work, concurrency=4, sweep_s=3600.0)
    everyone = [make_account(credits=1000) for _ in range(ACCOUNTS)]
    dice = random.Random(5)

    def submit(account, key: str, held_open_s: float) -> None:
        with database.transaction() as session:
            brief = Brief(description="x", controls=Controls(seed=1))
            jobs.request(session, account, brief, key=key, now=NOW, draw_seed=lambda: 1)
            time.sleep(held_open_s)

    for number in range(ROUNDS):
        threads = [
            threading.Thread(target=submit, args=(one, f"{number} {caller}", dice.uniform(0, 0.02)))
            for one in everyone
            for caller in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until_nothing_waits(database)
    assert states(database) == {"processed": CALLERS * ACCOUNTS * ROUNDS}


def test_a_turn_is_given_away_when_another_lane_waits(database, make_account, claim, finish, fill_queue) -> None:
    ada, bob = make_account("ada"), make_account("bob")
    fill_queue(ada, 3)
    finish(claim(ada))
    with database.transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        claimed = attempts.go_on(session, ada.id, lease_s=30, may_claim=True)
    assert claimed is not None
    finish(claimed)
    fill_queue(bob, 1)
    with database.transaction() as session:
        assert attempts.go_on(session, ada.id, lease_s=30, may_claim=True) is None
    assert alarms(database) == {f"lane:{ada.id}": 1, f"lane:{bob.id}": 1}


def test_a_paused_job_lets_the_lane_sleep_and_its_end_wakes_it(database, account, ask, claim) -> None:
    ask(account)
    claimed = claim(account)
    with database.transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        rule = RetryRule(base_s=600.0)
        more = {"code": "x", "sentence": "x", "retryable": True, "rule": rule, "now": NOW}
        attempts.fail(session, claimed.job_id, claimed.attempt, **more)
    with database.transaction() as session:
        assert attempts.go_on(session, account.id, lease_s=30, may_claim=True) is None
    assert alarms(database) == {}
    with database.transaction() as session:
        session.execute(text("UPDATE job SET ready_at = now()"))
        attempts.wake_ready(session, account.id)
    assert alarms(database) == {f"lane:{account.id}": 1}


def test_a_worker_takes_up_a_paused_job(database, account, ask, run_worker, finish) -> None:
    """The sweep finds it when nobody else wakes the lane."""
    seen = []

    async def work(claimed) -> None:
        seen.append(claimed.attempt)
        if claimed.attempt == 1:
            with database.transaction() as session:
                more = {"pause_s": 0.3, "code": "busy", "sentence": "Busy.", "now": NOW}
                attempts.give_back(session, claimed.job_id, claimed.attempt, **more)
        else:
            finish(claimed)

    ask(account)
    run_worker(work)
    wait_until_nothing_waits(database)
    assert seen == [1, 2]
    assert states(database) == {JobState.PROCESSED: 1}
