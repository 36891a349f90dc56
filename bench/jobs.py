"""The queue's own time: from asking to the worker's claim, from one song to the next, from a dead worker to the next.

    python bench/jobs.py [--quick] [--json] [--csv FILE]

A real Postgres that syncs to disk, a worker in its own process that ends every Job at once, and callers in this one.
"Asked → claimed" begins before the request's transaction and ends with the claim's statement; both clocks are this
machine's. ``--quick`` takes smaller queues and fewer callers and shortens the lease of the killed worker to 6 s.
"""

import asyncio
import json as json_text
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg
from harness import durable_postgres, row, run
from report import percentile
from sqlalchemy import text

from billing import ledger
from configs import logs
from configs.settings import LogSettings, WorkerSettings
from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres
from data.repositories import accounts, lanes
from data.repositories.briefs import brief_to_json
from data.repositories.job_songs import MadeTake
from data.repositories.jobs import Claimed
from serving import attempts, jobs, queue
from serving.worker import Worker
from studio.words.account import Account
from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief, Controls

BRIEF: Final = Brief(description="a song about the sea", controls=Controls(seed=1))
EVERY_S: Final = 0.05
ROUND: Final = 12 * 3 + 12
"""Starts of 12 pro and 12 free accounts while each free one has a turn."""
_URL: Final = "BENCH_DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    callers: int
    hog: int
    lanes: int
    finishes: int
    hand_overs: int
    rounds: int
    lease_s: float


FULL: Final = Size(callers=400, hog=50_000, lanes=10_000, finishes=300, hand_overs=400, rounds=40, lease_s=30.0)
QUICK: Final = Size(callers=60, hog=5_000, lanes=500, finishes=60, hand_overs=100, rounds=8, lease_s=6.0)


def fresh_database(server: EmbeddedPostgres, name: str) -> str:
    """A new, migrated database; answers its URL."""
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    migrate(server.url_of(name))
    return server.url_of(name)


class Bench:
    """One database and what a case does with it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, application_name="bench")
        self._made = 0

    def accounts(self, number: int) -> list[Account]:
        """New accounts with credits."""
        made = []
        for _ in range(number):
            self._made += 1
            name = f"person{self._made}"
            with self.database.transaction() as session:
                account = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
                ledger.open_with_signup_grant(session, account.id, amount=100, now=datetime.now(UTC))
            made.append(account)
        return made

    def fill(self, account: Account, number: int, *, start_cost: int) -> None:
        """Queue so many free Jobs without songs, by one insert."""
        with self.database.transaction() as session:
            lanes.open_and_lock(session, account.id, start_cost=start_cost)
            values = {"account_id": account.id, "number": number}
            values["brief"] = json_text.dumps(brief_to_json(BRIEF))
            session.execute(text(_FILL_JOBS), values)
            queue.wake(session, account.id)

    def fill_lanes(self, number: int, each: int) -> None:
        """Queue ``each`` free Jobs for each of so many accounts, all alarms set."""
        values = {"number": number, "each": each, "brief": json_text.dumps(brief_to_json(BRIEF))}
        with self.database.transaction() as session:
            for statement in (*_FILL_LANES, "ANALYZE"):
                session.execute(text(statement), values)

    def ask(self, account: Account) -> tuple[str, float, float]:
        """Ask for a song; answers the Job's id and when asking began and ended (Unix time)."""
        begun = time.time()
        with self.database.transaction() as session:
            key = secrets.token_hex(8)
            job = jobs.request(session, account, BRIEF, key=key, now=datetime.now(UTC), draw_seed=lambda: 1)
        return job.id, begun, time.time()

    def started(self, ids: Sequence[str]) -> dict[str, float]:
        """When each of these Jobs was claimed; waits until all are."""
        while True:
            with self.database.transaction() as session:
                statement = text(
                    "SELECT id, extract(epoch FROM started_at)::float8 FROM job"
                    " WHERE id = ANY(:ids) AND started_at IS NOT NULL"
                )
                found = {str(name): float(moment) for name, moment in session.execute(statement, {"ids": list(ids)})}
            if len(found) == len(ids):
                return found
            time.sleep(0.05)

    def number(self, sql: str, **values: object) -> float:
        """The one number that a query answers."""
        with self.database.transaction() as session:
            return float(session.execute(text(sql), values).scalar_one() or 0)

    def wait(self, condition: Callable[[], bool], *, most_s: float = 300.0) -> None:
        """Return when it is so."""
        until = time.monotonic() + most_s
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError("the queue did not get there")
            time.sleep(0.05)

    @contextmanager
    def worker(
        self, *, concurrency: int, work_s: float = 0.0, lease_s: float = 30.0
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process, ready."""
        command = [sys.executable, __file__, "--worker", f"{concurrency},{work_s},{lease_s}"]
        process = subprocess.Popen(command, env={**os.environ, _URL: self.url})
        try:
            self.wait(lambda: self.number("SELECT count(*) FROM procrastinate_workers") > 0)
            time.sleep(0.3)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            with self.database.transaction() as session:
                session.execute(text("DELETE FROM procrastinate_workers"))


_FILL_JOBS: Final = (
    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
    " SELECT 'job_' || md5(:account_id || n), :account_id, 'song', 'queued', CAST(:brief AS jsonb), 0, 'fill ' || n, ''"
    " FROM generate_series(1, :number) n"
)
_FILL_LANES: Final = (
    "INSERT INTO account (id, name, role) SELECT 'acc_' || md5(n::text), 'lane' || n, 'creator'"
    " FROM generate_series(1, :number) n",
    # a queue that has run for a while: these lanes had their turns, the clock stands where they do
    "INSERT INTO lane (account_id, start_cost, virtual_time, last_start)"
    " SELECT 'acc_' || md5(n::text), 3, 1000, 1000 FROM generate_series(1, :number) n",
    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
    " SELECT 'job_' || md5(n || ' ' || k), 'acc_' || md5(n::text), 'song', 'queued', CAST(:brief AS jsonb), 0,"
    " 'fill ' || k, '' FROM generate_series(1, :number) n, generate_series(1, :each) k",
    "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)"
    " SELECT 'lanes', 'run_lane', -1000, 'lane:' || account_id, 'lane:' || account_id,"
    " jsonb_build_object('account_id', account_id) FROM lane",
)


def asked_to_claimed(
    bench: Bench, name: str, callers: int, *, promise_ms: tuple[float | None, float]
) -> list[dict[str, object]]:
    """Fresh accounts ask 20 times a second while a worker runs."""
    people = bench.accounts(callers)
    with bench.worker(concurrency=10):
        asked = []
        for person in people:
            asked.append(bench.ask(person))
            time.sleep(EVERY_S)
        started = bench.started([job_id for job_id, _, _ in asked])
    waits_ms = [(started[job_id] - begun) * 1000 for job_id, begun, _ in asked]
    asks_ms = [(ended - begun) * 1000 for _, begun, ended in asked]
    p50_ms, p99_ms = percentile(waits_ms, 0.5), percentile(waits_ms, 0.99)
    return [
        row(f"asked → claimed, {name}, p50", p50_ms, "ms", promise_ms[0]),
        row(f"asked → claimed, {name}, p99", p99_ms, "ms", promise_ms[1]),
        row(f"of it the request's own transaction, {name}, p50", percentile(asks_ms, 0.5), "ms", None),
    ]


def idle(bench: Bench, size: Size) -> list[dict[str, object]]:
    """Nothing else in the queue."""
    return asked_to_claimed(bench, "idle queue", size.callers, promise_ms=(10.0, 40.0))


def behind_a_hog(bench: Bench, size: Size) -> list[dict[str, object]]:
    """One account has a huge queue."""
    bench.fill(bench.accounts(1)[0], size.hog, start_cost=3)
    name = f"{size.hog:,} of one account queued"
    return asked_to_claimed(bench, name, size.callers, promise_ms=(None, 60.0))


def among_lanes(bench: Bench, size: Size) -> list[dict[str, object]]:
    """Very many accounts wait."""
    bench.fill_lanes(size.lanes, 10)
    name = f"{size.lanes:,} accounts × 10 queued"
    return asked_to_claimed(bench, name, size.callers, promise_ms=(None, 60.0))


def finish_commit(bench: Bench, size: Size) -> list[dict[str, object]]:
    """The whole of ending a Job: two songs, twelve assets, tags, ledger."""
    times_ms = []
    for number, person in enumerate(bench.accounts(size.finishes)):
        bench.ask(person)
        with bench.database.transaction() as session:
            claimed = attempts.claim(session, person.id, lease_s=30.0)
        if claimed is None:
            raise RuntimeError("nothing to claim")
        takes = [_take(number, index) for index in (0, 1)]
        begin = time.perf_counter()
        with bench.database.transaction() as session:
            attempts.finish(session, claimed.job_id, claimed.attempt, takes, now=datetime.now(UTC))
        times_ms.append((time.perf_counter() - begin) * 1000)
    return [
        row("finish, two songs with 12 assets, p50", percentile(times_ms, 0.5), "ms", 20.0),
        row("finish, two songs with 12 assets, p99", percentile(times_ms, 0.99), "ms", None),
    ]


def _take(number: int, index: int, roles: Sequence[AssetRole] = tuple(AssetRole)) -> MadeTake:
    assets = {
        role: Asset(key=f"songs/{number}/{index}.{role}", sha256="ab" * 32, media_type="audio/wav", size_bytes=1)
        for role in roles
    }
    return MadeTake(index=index, assets=assets, title="x", prompt="x", lyrics="x", engine="none", engine_version="1",
                    seed=1, tags=("folk", "calm", "sea"))  # fmt: skip


def hand_over(bench: Bench, size: Size) -> list[dict[str, object]]:
    """From the end of one Job of an account to the start of its next, one lane alone."""
    bench.fill(bench.accounts(1)[0], size.hand_overs, start_cost=3)
    with bench.worker(concurrency=2):
        bench.wait(lambda: bench.number("SELECT count(*) FROM job WHERE state <> 'processed'") == 0)
    with bench.database.transaction() as session:
        statement = text(
            "SELECT extract(epoch FROM started_at - lag(finished_at) OVER (ORDER BY number))::float8 * 1000 FROM job"
        )
        gaps_ms = [float(gap) for gap in session.execute(statement).scalars() if gap is not None]
    return [
        row("hand-over between two songs of one account, p50", percentile(gaps_ms, 0.5), "ms", 10.0),
        row("hand-over between two songs of one account, p99", percentile(gaps_ms, 0.99), "ms", None),
    ]


def hog_starts(bench: Bench, size: Size) -> list[dict[str, object]]:
    """How often the hog starts between a newcomer's request and its start; one slot, songs of 20 ms."""
    hog, *people = bench.accounts(1 + min(40, size.callers))
    bench.fill(hog, size.hog, start_cost=3)
    counts = []
    with bench.worker(concurrency=1, work_s=0.02):
        for person in people:
            job_id, _, asked = bench.ask(person)
            started = bench.started([job_id])[job_id]
            counts.append(
                bench.number(
                    "SELECT count(*) FROM job WHERE account_id = :hog"
                    " AND started_at > to_timestamp(:asked) AND started_at < to_timestamp(:started)",
                    hog=hog.id,
                    asked=asked,
                    started=started,
                )
            )
    return [
        row("starts of a hog before a newcomer, most", max(counts), "starts", 1.0),
        row("starts of a hog before a newcomer, mean", sum(counts) / len(counts), "starts", None),
    ]


def pro_to_free(bench: Bench, size: Size) -> list[dict[str, object]]:
    """12 pro and 12 free accounts with more to do than time; four slots.

    In a round every pro account has three turns and every free one has one. Counted are whole rounds, after two for
    finding the step: all lanes begin with a turn at once, which is 1 : 1.
    """
    people = bench.accounts(24)
    first, last = 2 * ROUND, (2 + size.rounds) * ROUND
    for person in people[:12]:
        bench.fill(person, last, start_cost=1)
    for person in people[12:]:
        bench.fill(person, last, start_cost=3)
    with bench.worker(concurrency=4):
        bench.wait(lambda: bench.number("SELECT count(*) FROM job WHERE started_at IS NOT NULL") >= last)
    starts = (
        "SELECT count(*) FROM lane JOIN (SELECT account_id FROM job WHERE started_at IS NOT NULL"
        " ORDER BY started_at OFFSET :first LIMIT :number) counted USING (account_id) WHERE start_cost = :cost"
    )
    pro, free = (bench.number(starts, first=first, number=last - first, cost=cost) for cost in (1, 3))
    return [
        row("starts of 12 pro for one of 12 free accounts (meant: 3)", pro / free, "ratio", None),
        row("the same, away from 3 : 1", abs(pro / free / 3 - 1) * 100, "%", 5.0),
    ]


def killed_worker(bench: Bench, size: Size) -> list[dict[str, object]]:
    """``kill -9`` in the middle of a song, another worker running: until the song starts again."""
    person = bench.accounts(1)[0]
    with bench.worker(concurrency=1, work_s=120.0, lease_s=size.lease_s) as first:
        job_id, _, _ = bench.ask(person)
        bench.started([job_id])
        with bench.worker(concurrency=1, lease_s=size.lease_s):
            first.kill()
            killed = time.monotonic()
            attempt = "SELECT attempt FROM job WHERE id = :job_id"
            bench.wait(lambda: bench.number(attempt, job_id=job_id) == 2)
            again_s = time.monotonic() - killed
    return [row(f"killed worker → song starts again (lease {size.lease_s:g} s)", again_s, "s", 40.0)]


CASES: Final = (idle, behind_a_hog, among_lanes, finish_commit, hand_over, hog_starts, pro_to_free, killed_worker)


def be_a_worker(options: str) -> None:
    """The worker process of a case: ends every Job after ``work_s`` seconds."""
    logs.configure(LogSettings(level="WARNING", format="text"), part="worker")
    concurrency, work_s, lease_s = (float(part) for part in options.split(","))
    database = Database(os.environ[_URL], pool_size=20, application_name="bench worker")
    settings = WorkerSettings(concurrency=int(concurrency), lease_s=lease_s, heartbeat_s=lease_s / 6, sweep_s=2.0)

    def end(claimed: Claimed) -> None:
        takes = [_take(0, index, roles=()) for index in (0, 1)]
        with database.transaction() as session:
            attempts.finish(session, claimed.job_id, claimed.attempt, takes, now=datetime.now(UTC))

    async def work(claimed: Claimed) -> None:
        await asyncio.sleep(work_s)
        await asyncio.to_thread(end, claimed)

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        worker = Worker(database, settings, work=work, on_cancel=lambda _id: None, chores={}, beat=lambda: None)
        await worker.run(stop, grace_s=0.5)

    asyncio.run(run())


def measure(size: Size) -> list[dict[str, object]]:
    """Every case on a database of its own."""
    rows: list[dict[str, object]] = []
    with durable_postgres() as server:
        for case in CASES:
            bench = Bench(fresh_database(server, case.__name__))
            rows += case(bench, size)
            bench.database.dispose()
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        be_a_worker(sys.argv[2])
    else:
        sys.exit(
            run(
                "jobs",
                __doc__,
                measure,
                full=FULL,
                quick=QUICK,
                smaller="smaller queues, fewer callers, a lease of 6 s",
            )
        )
