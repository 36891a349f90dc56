"""A worker is killed at every point of a song's life, and again and again among many songs.

Goal 13: killed at each of twenty points, the song is made and paid once, or given up and costs nothing, in at most five
minutes. Goal 14: of a thousand jobs, with a worker killed every five seconds, each ends and none is charged twice.

The worker is the product's own process. Between it and Postgres lies a wire that kills it when a certain thing is said:
*before* the server hears the commit, or *after* the server has done it and before the worker hears so. The gateway is a
small server that speaks the wire contract.
"""

import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from billing import ledger
from configs.settings import WorkerSettings
from data.database import Database
from data.repositories import ledger as books
from data.testing import broken_job_laws
from serving import jobs
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.ids import JobId
from studio.words.job import JobState
from tests.chaos.worker_child import QUICK, behind, environment_of, workers
from tests.serving.conftest import FakeGateway, miss_the_dead

PATIENCE_S = 240.0
COMMIT = b"COMMIT\0"
SAVED = rb"\x00%s....\{"  # the name of a stage and its result, as parameters of a statement (PROTOCOL, Bind)
POINTS: dict[str, bytes] = {
    "the job is claimed": rb"SET state = 'processing', attempt",
    "the words are saved": SAVED.replace(b"%s", b"\x04text"),
    "the words are shown": rb"UPDATE song SET title = CASE",
    "progress is told": rb"INSERT INTO job_progress",
    "the music is saved": SAVED.replace(b"%s", b"\x05music"),
    "the cover is saved": SAVED.replace(b"%s", b"\x05cover"),
    "the tags are saved": SAVED.replace(b"%s", b"\x04tags"),
    "the job is ended and paid": rb"settle:job_",
    "the next job is looked for": rb"lane:acc_|SELECT EXISTS \(SELECT 1 FROM job WHERE account_id",
    "the alarm is put out": rb"procrastinate_finish_job",
}
"""What is said in the transaction at whose commit the worker dies. The last one is a transaction by itself."""
EVERY = {f"every, {side}": [(point, side) for point in POINTS] for side in ("before", "after")}
SOME = [(point, side) for point in ("the job is claimed", "the job is ended and paid") for side in ("before", "after")]


class Wire:
    """Lies between workers and Postgres, and kills a worker when a certain thing is said."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed: tuple[re.Pattern[bytes], str] | None = None
        self.victim = 0
        self.fired = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def arm(self, point: str, side: str, victim: int) -> None:
        """The process ``victim`` dies at this point, once."""
        self.fired.clear()
        self.victim = victim
        self._armed = (re.compile(POINTS[point], re.DOTALL), side)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                worker, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._carry, args=(worker, server), daemon=True).start()

    def _carry(self, worker: socket.socket, server: socket.socket) -> None:
        """Hand on what both say, what the worker says first."""
        answered = threading.Event()
        hears = threading.Event()
        hears.set()
        threading.Thread(target=self._answer, args=(server, worker, answered, hears), daemon=True).start()
        said = b""
        with suppress(OSError), worker, server, hung_up(server):
            while chunk := worker.recv(1 << 16):
                said += chunk
                commits = COMMIT in chunk
                side = self._deadly(said) if commits or b"procrastinate_finish_job" in chunk else None
                if side == "before":
                    self._kill()
                    return
                if side == "after":
                    hears.clear()
                    answered.clear()
                    server.sendall(chunk)
                    answered.wait(PATIENCE_S)
                    self._kill()
                    return
                server.sendall(chunk)
                said = b"" if commits else said[-(1 << 16) :]

    def _answer(
        self, server: socket.socket, worker: socket.socket, answered: threading.Event, hears: threading.Event
    ) -> None:
        with suppress(OSError):
            while chunk := server.recv(1 << 16):
                if hears.is_set():
                    worker.sendall(chunk)
                else:
                    answered.set()
        worker.close()

    def _deadly(self, said: bytes) -> str | None:
        armed = self._armed
        if armed is None or not armed[0].search(said):
            return None
        self._armed = None
        return armed[1]

    def _kill(self) -> None:
        os.kill(self.victim, signal.SIGKILL)
        self.fired.set()


@contextmanager
def hung_up(line: socket.socket) -> Iterator[None]:
    """Afterwards the other end knows that the line is dead: to close it is not enough while another thread reads it."""
    try:
        yield
    finally:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


class Place:
    """A database with songs, the gateway that makes them, and the wire."""

    def __init__(self, database: Database, make_account: Callable[..., Account], wire: Wire) -> None:
        self.database = database
        self.wire = wire
        self.make_account = make_account

    def ask(self, account: Account, key: str) -> JobId:
        with self.database.transaction() as session:
            brief = Brief(description="folk about rain", controls=Controls(seed=7))
            return jobs.request(
                session, account, brief, key=key, now=datetime.now(UTC), draw_seed=lambda: 7, queued_max=10_000
            ).id

    def state(self, job_id: JobId) -> JobState:
        with self.database.transaction() as session:
            return JobState(session.execute(text("SELECT state FROM job WHERE id = :id"), {"id": job_id}).scalar_one())

    def told(self, job_id: JobId) -> str:
        """How the job stands, and why, for whoever reads of a failure."""
        with self.database.transaction() as session:
            query = text("SELECT state, attempt, failures, reason FROM job WHERE id = :id")
            return str(session.execute(query, {"id": job_id}).one())

    def credits(self, account: Account) -> tuple[int, int]:
        with self.database.transaction() as session:
            balance = ledger.balance(session, account.id)
        return balance.available_credits, balance.held_credits

    def states(self) -> Counter[str]:
        with self.database.transaction() as session:
            return Counter(dict(session.execute(text("SELECT state, count(*) FROM job GROUP BY state")).all()))

    def under_way(self) -> tuple[int, int]:
        """How many jobs wait and how many are in process."""
        states = self.states()
        return states["queued"], states["processing"]

    def is_right(self) -> None:
        """Every law of jobs and every rule of the books holds."""
        with self.database.transaction() as session:
            assert broken_job_laws(session) == {}
            assert books.faults(session) == ()


class SlowGateway(FakeGateway):
    """Takes ``song_s`` seconds for the music of a song."""

    song_s = 0.0

    def _events(self, plan: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if request["brief"]["kind"] == "song":
            time.sleep(self.song_s)
        return super()._events(plan, request)


def wait_for(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.02)


@pytest.fixture
def gateway() -> Iterator[SlowGateway]:
    gateway = SlowGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def place(database: Database, make_account: Callable[..., Account], postgres) -> Iterator[Place]:
    wire = Wire(postgres.port)
    yield Place(database, make_account, wire)
    wire.close()


@pytest.fixture
def environment(place: Place, gateway: SlowGateway, tmp_path: Path) -> dict[str, str]:
    return environment_of(behind(place.database, place.wire.port), gateway.url, tmp_path, **QUICK)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(SOME, id="some"),
        *(pytest.param(points, id=name, marks=pytest.mark.long) for name, points in EVERY.items()),
    ],
)
def test_a_worker_killed_at_any_point_leaves_a_song_that_is_made_and_paid_once(
    place: Place,
    gateway: SlowGateway,
    environment: dict[str, str],
    tmp_path: Path,
    points: list[tuple[str, str]],
) -> None:
    assert sum(map(len, EVERY.values())) >= 12
    gateway.song_s = 0.6  # so that there is progress to tell
    account = place.make_account(credits=2 * len(points))
    # on a busy machine a worker may miss two seconds by itself, and that is not the death this is about
    environment |= {"MELODEON_WORKER__MAX_ATTEMPTS": "10"}
    with workers(environment, log=tmp_path / "worker.log") as start:
        worker = start()
        for number, (point, side) in enumerate(points):
            place.wire.arm(point, side, worker.pid or 0)
            job_id = place.ask(account, f"{side} {point}")
            assert place.wire.fired.wait(PATIENCE_S), f"the worker never came to the point: {side} {point}"
            worker.join()
            worker = start()
            wait_for(lambda job_id=job_id: place.state(job_id).ended, f"the end of the song, {side} {point}")
            assert place.state(job_id) is JobState.PROCESSED, f"{side} {point}: {place.told(job_id)}"
            assert place.credits(account) == (2 * (len(points) - number - 1), 0)
            place.is_right()


def test_a_song_at_which_every_worker_dies_is_given_up_and_costs_nothing(
    place: Place, environment: dict[str, str], tmp_path: Path
) -> None:
    account = place.make_account(credits=2)
    # no attempt is to be lost because a busy machine let a lease end
    environment |= {"MELODEON_WORKER__LEASE_S": "60"}
    with workers(environment, log=tmp_path / "worker.log") as start:
        for number in range(WorkerSettings().max_attempts):
            worker = start()
            place.wire.arm("the job is ended and paid", "before", worker.pid or 0)
            # only now is there something to do
            if number == 0:
                job_id = place.ask(account, "poison")
            else:
                miss_the_dead(place.database)
            assert place.wire.fired.wait(PATIENCE_S)
            worker.join()
        miss_the_dead(place.database)
        start()
        wait_for(lambda: place.state(job_id).ended, "the song is given up")
    assert place.state(job_id) is JobState.FAILED
    assert place.credits(account) == (2, 0)
    place.is_right()


def test_with_the_settings_as_they_come_nothing_is_held_for_longer_than_five_minutes_by_deaths() -> None:
    usual = WorkerSettings()
    missed_after_s = usual.lease_s + 1.2 * usual.sweep_s  # the sweep comes every sweep_s ± a fifth
    assert usual.max_attempts * missed_after_s <= 300


@pytest.mark.parametrize(
    ("number", "every_s", "every_ended", "kills"),
    [(60, 0.0, 5, 3), pytest.param(1000, 5.0, 1, 4, marks=pytest.mark.long)],
)
def test_no_job_is_lost_and_none_charged_twice_while_workers_die(
    place: Place, gateway: SlowGateway, environment: dict[str, str], tmp_path: Path,
    number: int, every_s: float, every_ended: int, kills: int,
) -> None:  # fmt: skip
    gateway.song_s = 0.3
    people = [place.make_account(credits=2 * number) for _ in range(10)]
    asked = {place.ask(people[count % len(people)], f"song {count}") for count in range(number)}
    killed, ended_then, then = 0, 0, time.monotonic()
    with workers(environment, log=tmp_path / "worker.log") as start:
        alive = [start(), start()]
        until = time.monotonic() + PATIENCE_S + 5 * number
        while (under_way := place.under_way())[0] + under_way[1]:
            assert time.monotonic() < until, place.states()
            time.sleep(0.05)
            ended = number - sum(under_way)
            if under_way[1] and ended >= ended_then + every_ended and time.monotonic() >= then + every_s:
                victim = alive.pop(0)
                victim.kill()
                victim.join()
                alive.append(start())
                killed, ended_then, then = killed + 1, ended, time.monotonic()
    assert killed >= kills
    assert len(asked) == sum(place.states().values()) == number
    assert set(place.states()) <= {"processed", "failed"}
    place.is_right()
