"""What the queue asks of the models, and its numbers for the metrics: exact, and cheap with much in the tables."""

import itertools
import json

import pytest
from sqlalchemy import text

from data.database import Database
from data.repositories import queue_health
from data.repositories.queue_health import StageDemand, demand
from studio.words.job import JobState, Stage

MUSIC = (Stage.MUSIC,)
WORDS = (Stage.TEXT, Stage.TAGS)

_numbers = itertools.count(1)

_INSERT = text(
    "INSERT INTO job (id, account_id, kind, state, brief, results, price_credits, idempotency_key, request_hash,"
    " attempt, ready_at, created_at, lease_until, started_at, finished_at)"
    " VALUES (:id, :account, 'song', :state, '{}', CAST(:results AS jsonb), 0, :key, 'x', :attempt,"
    " now() + make_interval(secs => :ready_in_s), now() - make_interval(secs => :age_s),"
    " CASE WHEN :busy THEN now() + interval '30 s' END, now() - make_interval(secs => :took_s),"
    " CASE WHEN :over THEN now() END)"
)


@pytest.fixture
def put(database: Database):
    """Writes a Job as it stands at some moment of its life."""

    def write(account, state="queued", *, results=None, ready_in_s=-1.0, age_s=3600.0, attempt=0, took_s=0.0) -> None:
        name = f"job_{next(_numbers)}"
        values = {"id": name, "key": name, "account": account.id, "state": state, "attempt": attempt}
        over = JobState(state).ended
        values |= {"results": json.dumps(results or {}), "ready_in_s": ready_in_s, "age_s": age_s}
        with database.transaction() as session:
            session.execute(_INSERT, {**values, "took_s": took_s, "over": over, "busy": state == "processing"})

    return write


def asked(database: Database, stages=MUSIC) -> StageDemand:
    with database.transaction() as session:
        return demand(session, stages)


def spent(**seconds: list[float]) -> dict:
    """Results of stages whose takes took so long."""
    return {stage: {"takes": [{"seconds": one} for one in each]} for stage, each in seconds.items()}


def test_an_empty_queue_asks_for_nothing(database: Database) -> None:
    assert asked(database) == StageDemand(
        running=0, ready_accounts=0, seconds_per_song=None, arrivals_per_s=0.0, arriving_accounts=0
    )


def test_accounts_are_counted_not_songs(database: Database, make_account, put) -> None:
    hog, busy, later = make_account(), make_account(), make_account()
    for _ in range(40):
        put(hog)
    put(busy, "processing", attempt=1)
    put(busy)
    put(later, ready_in_s=60)
    found = asked(database)
    assert (found.running, found.ready_accounts) == (1, 1)


def test_a_stage_that_is_done_asks_for_nothing_more(database: Database, make_account, put) -> None:
    put(make_account(), "processing", results=spent(text=[1.0], music=[9.0]), attempt=1)
    put(make_account(), results=spent(text=[1.0], music=[9.0]), attempt=1)
    put(make_account())
    assert (asked(database).running, asked(database).ready_accounts) == (0, 1)
    words = asked(database, WORDS)
    assert (words.running, words.ready_accounts) == (1, 2)


def test_seconds_are_those_the_engines_spent_not_those_people_waited(database: Database, make_account, put) -> None:
    somebody = make_account()
    put(somebody, "processed", results=spent(text=[2.0], music=[4.0, 5.0], tags=[1.0]), attempt=1, took_s=500)
    put(somebody, "processed", results=spent(music=[5.0, 6.0], tags=[1.0]), attempt=1, took_s=500)
    put(somebody, "processed", results=spent(music=[900.0]), attempt=2, took_s=1000)  # from the middle, after a fault
    put(somebody, "failed", results=spent(music=[900.0]), attempt=1)
    assert asked(database).seconds_per_song == pytest.approx(10.0)
    assert asked(database, WORDS).seconds_per_song == pytest.approx(2.0)
    assert asked(database, (Stage.COVER,)).seconds_per_song is None


def test_arrivals_are_those_that_could_run(database: Database, make_account, put) -> None:
    hog = make_account()
    put(hog, "processed", results=spent(music=[10.0]), attempt=1, took_s=30, age_s=3600)
    for _ in range(100):
        put(hog, age_s=10)
    for _ in range(6):
        put(make_account(), age_s=100)
    put(make_account(), "no credits", age_s=100)
    put(make_account(), "cancelled", age_s=100)
    put(make_account(), age_s=400)
    # In 300 s the lane of the hog works off ten Jobs of 30 s; six others came.
    found = asked(database)
    assert found.arrivals_per_s == pytest.approx(16 / 300)
    assert found.arriving_accounts == 7


def test_arrivals_are_counted_over_a_shorter_time_when_very_many_come(
    database: Database, make_account, put, monkeypatch
) -> None:
    monkeypatch.setattr(queue_health, "_NEWEST", 20)
    people = [make_account() for _ in range(60)]  # beforehand: what it takes would lie between their Jobs
    for number, one in enumerate(people):
        put(one, age_s=60 - number)  # one a second
    assert asked(database).arrivals_per_s == pytest.approx(1.0, rel=0.1)


FILL = (
    "INSERT INTO account (id, name, email, plan, role)"
    " SELECT 'acc_' || n, 'n' || n, 'e' || n || '@a.org', 'free', 'creator' FROM generate_series(1, 2000) n",
    "INSERT INTO job (id, account_id, kind, state, brief, results, price_credits, idempotency_key, request_hash,"
    " attempt, created_at, started_at, finished_at)"
    " SELECT 'old_' || n, 'acc_' || 1 + n % 2000, 'song', 'processed', jsonb_build_object('x', repeat('y', 300)),"
    " '{\"music\": {\"takes\": [{\"seconds\": 5}]}}', 0, 'old' || n, 'x', 1, now() - interval '1 day',"
    " now() - interval '1 day', now() - interval '1 day' + n * interval '1 s' FROM generate_series(1, 30000) n",
    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
    " SELECT 'hog_' || n, 'acc_1', 'song', 'queued', '{}', 0, 'hog' || n, 'x' FROM generate_series(1, 20000) n",
    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
    " SELECT 'one_' || n, 'acc_' || n, 'song', 'queued', '{}', 0, 'one' || n, 'x' FROM generate_series(2, 200) n",
    "ANALYZE account",
    "ANALYZE job",
)


def nodes(plan: dict):
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def test_a_long_history_and_a_long_queue_cost_nothing(database: Database) -> None:
    with database.transaction() as session:
        for statement in FILL:
            session.execute(text(statement))
    assert asked(database).ready_accounts == 200
    values = {"stages": ["music"], "last": 50, "newest": 2_000, "window_s": 300.0}
    explained = text("EXPLAIN (ANALYZE, FORMAT JSON) " + str(queue_health._DEMAND))
    with database.transaction() as session:
        [answer] = session.execute(explained, values).scalar_one()
    of_jobs = [node for node in nodes(answer["Plan"]) if node.get("Relation Name") == "job"]
    assert of_jobs
    assert not [node for node in of_jobs if node["Node Type"] == "Seq Scan"]
    assert max(node["Actual Rows"] for node in of_jobs) <= 2_000


def test_the_figures_of_the_queue(database: Database, make_account, put) -> None:
    idle, busy = make_account(), make_account()
    for waited_s in (90, 30, 10):
        put(idle, ready_in_s=-waited_s)
    put(busy, "processing", attempt=1)
    put(busy, ready_in_s=-500)
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO procrastinate_workers (last_heartbeat)"
                " VALUES (now()), (now() - interval '5 s'), (now() - interval '1 day')"
            )
        )
    with database.transaction() as session:
        found = queue_health.figures(session)
    assert (found.queued, found.processing, found.lanes_ready, found.workers_alive) == (4, 1, 1, 2)
    assert found.credits_held == 0
    assert found.oldest_wait_s == pytest.approx(90, abs=5)


def test_ended_jobs_are_counted_from_where_everything_before_has_ended(database: Database, make_account, put) -> None:
    somebody, other = make_account(), make_account()
    put(somebody, "processed")
    with database.transaction() as session:
        begin = queue_health.oldest_open(session)
    put(somebody, "processed")
    put(somebody, "failed")
    put(somebody, "queued")
    put(other, "processed")
    with database.transaction() as session:
        found = queue_health.ended(session, begin)
        assert queue_health.oldest_open(session) == found.number
    assert found.jobs == {JobState.PROCESSED: 2, JobState.FAILED: 1}
    assert {state: number for state, number in found.settled.items() if number} == {
        JobState.PROCESSED: 1,
        JobState.FAILED: 1,
    }
