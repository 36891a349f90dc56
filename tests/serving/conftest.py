"""What the tests of Jobs ask for: a gateway that speaks the wire contract over real HTTP and does what it is told."""

import asyncio
import hashlib
import itertools
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import text

from configs.settings import WorkerSettings
from data.database import Database
from data.repositories import lanes
from data.repositories.briefs import brief_to_json
from data.repositories.job_songs import MadeTake
from data.repositories.jobs import Claimed
from serving import attempts, jobs, queue
from serving.client import GatewayClient
from serving.orchestrate import Orchestrator
from serving.worker import Work, Worker
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.job import Job, JobState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "the key of tests"

Ask = Callable[..., Job]


class FakeGateway:
    """Answers every call with takes, unless ``plans[kind]`` holds something else to do next.

    A plan is "ok", "429", "503", "broken" (the stream ends in the middle), "failed" (retryable), "unfit" (not
    retryable), "takes fail", "first fails", "second fails", "odd fail", "hang" (until the caller goes away) or "wait"
    (until ``go`` is set). A song whose description holds the text ``poison`` is "broken" every time.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.poison = ""
        self.plans: dict[str, list[str]] = defaultdict(list)
        self.requests: list[dict[str, Any]] = []
        self.caller_gone = threading.Event()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                gateway._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def calls(self) -> Counter[str]:
        """How often each kind was asked for."""
        return Counter(request["brief"]["kind"] for request in self.requests)

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        request = json.loads(http.rfile.read(int(http.headers["Content-Length"])))
        kind = request["brief"]["kind"]
        plan = self.plans[kind].pop(0) if self.plans[kind] else "ok"
        self.requests.append(request)
        if kind == "song" and self.poison and self.poison in request["brief"]["description"]:
            plan = "broken"
        if plan in ("429", "503"):
            http.send_response(int(plan))
            http.send_header("Retry-After", "0.2")
            http.end_headers()
            return
        http.send_response(200)
        http.end_headers()
        try:
            for event in self._events(plan, request):
                http.wfile.write(json.dumps(event).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            self.caller_gone.set()

    def _events(self, plan: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"event": "progress", "fraction": 0.5, "message": f"making {request['brief']['kind']}"}
        if plan == "hang":
            while True:
                threading.Event().wait(0.05)
                yield {"event": "progress", "fraction": 0.6, "message": "still at it"}
        if plan == "wait":
            self.go.wait(60)
        if plan == "broken":
            return
        if plan in ("failed", "unfit"):
            yield {"event": "failed", "code": plan, "sentence": f"It {plan}.", "retryable": plan == "failed"}
            return
        for index in range(request["brief"]["takes"]):
            lost = {
                "takes fail": True,
                "first fails": index == 0,
                "second fails": index == 1,
                "odd fail": index % 2 == 1,
            }
            if lost.get(plan):
                yield {"event": "take_failed", "index": index, "code": "silent", "sentence": "The take was silent."}
            else:
                yield {"event": "take", "index": index, "take": take_json(request, index)}
        yield {"event": "done"}


def take_json(request: dict[str, Any], index: int) -> dict[str, Any]:
    """A take as the host would answer it."""
    brief, prefix = request["brief"], request["call"]["key_prefix"]
    take: dict[str, Any] = {
        "engine": brief["engine"],
        "engine_version": "1",
        "seed": brief["controls"]["seed"] + index,
        "settings": {"guidance_scale": 7.5 + 7.5 * index},
        "seconds": 0.1,
    }
    if brief["kind"] == "song":
        names = {"wav": "audio/wav", "stream": "audio/mpeg", "peaks": "application/json"}
        take |= {"kind": "sound", "duration_s": 60.0, "loudness_lufs": -14.0, "true_peak_dbtp": -1.0}
        take |= {"note": "One line did not fit."} if index == 1 else {}
        take |= {"tempo_bpm": 96.0, "key": "A minor", "lines": [{"start_s": 1.0, "end_s": 2.0, "text": "la"}]}
    elif brief["kind"] == "cover":
        names = {"cover": "image/png", "cover_512": "image/webp", "cover_128": "image/webp"}
        take |= {"kind": "picture"}
    else:
        names = {}
        words = {"prompt": "warm folk", "title": "Harbour", "lyrics": "[verse]\nla la", "tags": ["folk", "calm"]}
        take |= {"kind": "words", "words": words}
    take["assets"] = {
        role: {
            "key": f"{prefix}/{index}.{role.replace('_', '-')}",
            "sha256": hashlib.sha256(f"{prefix}{index}{role}".encode()).hexdigest(),
            "media_type": media_type,
            "size_bytes": 1000,
        }
        for role, media_type in names.items()
    }
    return take


@pytest.fixture
def job_gateway() -> Iterator[FakeGateway]:
    """A gateway of this test alone."""
    gateway = FakeGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def worker_settings() -> WorkerSettings:
    """Quick retries. A lease that ends is a matter of `miss_the_dead`, not of a busy machine."""
    return WorkerSettings(
        concurrency=1,
        lease_s=30.0,
        heartbeat_s=0.2,
        poll_s=0.1,
        sweep_s=0.3,
        retry_base_s=0.2,
        job_deadline_s=20.0,
        extra_patience_s=0.8,
    )


@pytest.fixture
def ask(database: Database) -> Ask:
    """Asks for a song: ``ask(account)``; ``key`` is new each time unless given."""
    numbers = itertools.count(1)

    def ask_for(account: Account, *, key: str | None = None, brief: Brief | None = None, **more: Any) -> Job:
        brief = brief or Brief(description="a song about the sea", controls=Controls(seed=7))
        with database.transaction() as session:
            key = key or f"key {next(numbers)}"
            return jobs.request(session, account, brief, key=key, now=NOW, draw_seed=lambda: 7, **more)

    return ask_for


@pytest.fixture
def claim(database: Database) -> Callable[..., Claimed | None]:
    """Claims the account's next Job as a worker would."""

    def claim_for(account: Account, *, lease_s: float = 30.0) -> Claimed | None:
        with database.transaction() as session:
            return attempts.claim(session, account.id, lease_s=lease_s)

    return claim_for


@pytest.fixture
def do_work(
    database: Database, job_gateway: FakeGateway, worker_settings: WorkerSettings
) -> Callable[..., list[float]]:
    """Makes one attempt at a claimed Job; answers the pauses after which its lane was to be woken.

    ``stop_when``: the worker is told to go, as by a shutdown, once this is true. ``changes``: other settings of it.
    """

    def work(claimed: Claimed, *, stop_when: Callable[[], bool] | None = None, **changes: Any) -> list[float]:
        pauses: list[float] = []
        client = GatewayClient(job_gateway.url, KEY, 30.0)
        settings = worker_settings.model_copy(update=changes)
        orchestrator = Orchestrator(
            database, client, settings, wake_later=lambda _claimed, pause_s: pauses.append(pause_s)
        )

        async def attempt() -> None:
            task = asyncio.create_task(orchestrator.work(claimed))
            while stop_when is not None and not task.done():
                await asyncio.sleep(0.02)
                if stop_when():
                    task.cancel()
                    break
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(attempt())
        return pauses

    return work


def miss_the_dead(database: Database) -> None:
    """Let the time pass after which workers that died in the middle of something are missed."""
    with database.transaction() as session:
        session.execute(text("UPDATE job SET lease_until = now() WHERE lease_until IS NOT NULL"))
        session.execute(
            text(
                "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 day'"
                " WHERE id IN (SELECT worker_id FROM procrastinate_jobs WHERE status = 'doing')"
            )
        )


class RunningWorker:
    """A worker in a thread of this process, doing ``work`` with what it claims."""

    def __init__(self, database: Database, settings: WorkerSettings, work: Work) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        worker = Worker(database, settings, work=work, on_cancel=lambda _id: None, chores={}, beat=lambda: None)
        self._thread = threading.Thread(target=self._run, args=(worker,))
        self._thread.start()

    def _run(self, worker: Worker) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(worker.run(self._stop, grace_s=5.0))

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def run_worker(database: Database, worker_settings: WorkerSettings) -> Iterator[Callable[..., RunningWorker]]:
    """Starts workers: ``run_worker(work, concurrency=4, sweep_s=3600)``; they are stopped after the test."""
    workers: list[RunningWorker] = []

    def start(work: Work, **settings: Any) -> RunningWorker:
        worker = RunningWorker(database, worker_settings.model_copy(update=settings), work)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def finish(database: Database) -> Callable[[Claimed], JobState]:
    """Ends a claimed Job as processed, with two takes that have no files."""

    def end(claimed: Claimed) -> JobState:
        words = {"title": "x", "prompt": "x", "lyrics": "", "engine": "none", "engine_version": "1", "seed": 1}
        takes = [MadeTake(index=index, assets={}, **words) for index in (0, 1)]
        with database.transaction() as session:
            return attempts.finish(session, claimed.job_id, claimed.attempt, takes, now=NOW)

    return end


@pytest.fixture
def fill_queue(database: Database) -> Callable[..., None]:
    """Puts many free Jobs without songs into an account's lane: ``fill_queue(account, 100, start_cost=3)``."""

    def fill(account: Account, number: int, *, start_cost: int = 3) -> None:
        with database.transaction() as session:
            lanes.open_and_lock(session, account.id, start_cost=start_cost)
            brief = json.dumps(brief_to_json(Brief(description="x", controls=Controls(seed=1))))
            session.execute(
                text(
                    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                    " SELECT 'job_' || md5(:account_id || n), :account_id, 'song', 'queued', CAST(:brief AS jsonb), 0,"
                    " 'fill ' || n, '' FROM generate_series(1, :number) n"
                ),
                {"account_id": account.id, "brief": brief, "number": number},
            )
            queue.wake(session, account.id)

    return fill
