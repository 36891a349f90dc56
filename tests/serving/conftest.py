"""What the tests of Jobs ask for: a gateway that speaks the wire contract over real HTTP and does what it is told."""

import asyncio
import hashlib
import itertools
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from configs.settings import WorkerSettings
from data.database import Database
from data.repositories.jobs import Claimed
from serving import attempts, jobs
from serving.client import GatewayClient
from serving.orchestrate import Orchestrator
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.job import Job

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "the key of tests"

Ask = Callable[..., Job]


class FakeGateway:
    """Answers every call with takes, unless ``plans[kind]`` holds something else to do next.

    A plan is "ok", "429", "503", "broken" (the stream ends in the middle), "failed" (retryable), "unfit" (not
    retryable), "second fails", "takes fail" or "hang" (until the caller goes away).
    """

    def __init__(self) -> None:
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
        if plan == "broken":
            return
        if plan in ("failed", "unfit"):
            yield {"event": "failed", "code": plan, "sentence": f"It {plan}.", "retryable": plan == "failed"}
            return
        for index in range(request["brief"]["takes"]):
            if plan == "takes fail" or (plan == "second fails" and index == 1):
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
    """Quick leases and retries."""
    return WorkerSettings(
        concurrency=1, lease_s=2.0, heartbeat_s=0.2, poll_s=0.1, sweep_s=0.3, retry_base_s=0.2, job_deadline_s=20.0
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
) -> Callable[[Claimed], list[float]]:
    """Makes one attempt at a claimed Job; answers the pauses after which its lane was to be woken."""

    def work(claimed: Claimed) -> list[float]:
        pauses: list[float] = []
        client = GatewayClient(job_gateway.url, KEY, 30.0)
        orchestrator = Orchestrator(
            database, client, worker_settings, wake_later=lambda _claimed, pause_s: pauses.append(pause_s)
        )
        asyncio.run(orchestrator.work(claimed))
        return pauses

    return work
