"""What chaos needs: songs under way on the running product, and the oracle that reads all books afterwards."""

import hashlib
import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from billing import ledger
from data.database import Database, DatabaseUnreachable
from data.object_store import ObjectStore
from data.repositories import accounts
from serving import health, jobs
from serving.stack import answers
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.ids import JobId
from studio.words.job import Job, JobState, Stage
from ui.testing import Stack

PATIENCE_S = 120.0
"""Longest wait for anything; a Ray that begins anew on a busy machine takes most of it."""

JOB_LAWS = {
    "an ended job holds nothing": """
        SELECT job.id FROM job JOIN hold ON hold.job_id = job.id AND hold.state = 'open'
        WHERE job.state NOT IN ('queued', 'processing')""",
    "a job under way holds its whole price": """
        SELECT job.id FROM job LEFT JOIN hold ON hold.job_id = job.id AND hold.state = 'open'
        WHERE job.state IN ('queued', 'processing') AND coalesce(hold.amount, 0) <> job.price_credits""",
    "a processed job is paid once for each processed song, any other not at all": """
        SELECT job.id FROM job
        WHERE job.state NOT IN ('queued', 'processing') AND job.kind = 'song'
            AND (SELECT coalesce(sum(amount), 0) FROM transfer WHERE job_id = job.id AND kind = 'capture')
                <> (SELECT count(*) FROM song WHERE job_id = job.id AND status = 'processed')""",
    "a song stands as its job does": """
        SELECT song.id FROM song JOIN job ON job.id = song.job_id
        WHERE song.status <> job.state AND NOT (job.state = 'processed' AND song.status = 'failed')""",
    "a processed song has sound, stream, peaks and a cover in three sizes": """
        SELECT song.id FROM song WHERE status = 'processed'
            AND (SELECT count(*) FROM song_asset WHERE song_id = song.id) <> 6""",
    "a song that is not processed has no objects": """
        SELECT song.id FROM song JOIN song_asset ON song_asset.song_id = song.id WHERE status <> 'processed'""",
    "nobody has two jobs in process": """
        SELECT account_id FROM job WHERE state = 'processing' GROUP BY account_id HAVING count(*) > 1""",
}


def faults_of(database: Database, store: ObjectStore) -> list[str]:
    """Everything that is wrong in the ledger, the jobs and the store; empty when all is well."""
    with database.transaction() as session:
        found = list(ledger.faults(session))
        for law, query in JOB_LAWS.items():
            found += [f"Not true that {law}: {row[0]}" for row in session.execute(text(query))]
        kept = session.execute(text("SELECT key, sha256, size_bytes FROM asset WHERE released_at IS NULL")).all()
    for key, sha256, size_bytes in kept:
        content = b"".join(store.get(key))
        if (hashlib.sha256(content).hexdigest(), len(content)) != (sha256, size_bytes):
            found.append(f"{key} is not what was stored.")
    return found


class Songs:
    """Songs asked for by one account of the running product."""

    def __init__(self, stack: Stack, account: Account) -> None:
        self._stack = stack
        self.account = account

    @property
    def database(self) -> Database:
        """The running product's."""
        return self._stack.services.database

    def ask(self, *, duration_s: float = 10.0, **words: Any) -> JobId:
        """Ask for two takes of a song of which title, style and lyrics are still to be written."""
        brief = Brief(description="warm folk about rain", controls=Controls(duration_s=duration_s, seed=7), **words)
        with self.database.transaction() as session:
            job = jobs.request(
                session,
                self.account,
                brief,
                key=secrets.token_urlsafe(12),
                now=datetime.now(UTC),
                draw_seed=lambda: 7,
            )
        return job.id

    def look(self, job_id: JobId) -> Job:
        """How the job stands; a database that is away is asked again."""
        return until(lambda: self._look(job_id), "the database answers")

    def wait(self, job_id: JobId, what: str, true: Callable[[Job], object]) -> Job:
        """Wait until ``true`` of the job."""
        until(lambda: true(self.look(job_id)), f"{job_id}: {what}", every_s=0.01)
        return self.look(job_id)

    def end_of(self, job_id: JobId) -> Job:
        """Wait for the job's end."""
        return self.wait(job_id, "its end", lambda job: job.state.ended)

    def finished_stages(self, job_id: JobId) -> set[str]:
        """The stages whose result is saved with the job."""
        with self.database.transaction() as session:
            return set(session.execute(text("SELECT results FROM job WHERE id = :id"), {"id": job_id}).scalar_one())

    def keys(self, job_id: JobId) -> list[str]:
        """The keys of the objects of the job's songs."""
        query = """SELECT asset.key FROM asset JOIN song_asset ON asset_id = asset.id JOIN song ON song.id = song_id
            WHERE job_id = :id AND role = 'wav'"""
        with self.database.transaction() as session:
            return list(session.execute(text(query), {"id": job_id}).scalars())

    def credits(self) -> tuple[int, int]:
        """Available and held."""
        with self.database.transaction() as session:
            balance = ledger.balance(session, self.account.id)
        return balance.available_credits, balance.held_credits

    def _look(self, job_id: JobId) -> Job | None:
        try:
            with self.database.transaction() as session:
                return jobs.get(session, self.account, job_id)
        except DatabaseUnreachable:
            return None


def in_music(job: Job) -> bool:
    """Whether the music of this job is well under way, or the job has ended."""
    return job.state.ended or (job.state is JobState.PROCESSING and job.stage is Stage.MUSIC and job.progress > 0.2)


def until(answer: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S, every_s: float = 0.1) -> Any:
    """Ask until the answer is true, and give it."""
    ends = time.monotonic() + within_s
    while True:
        found = answer()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"it did not happen within {within_s:g} s: {what}")
        time.sleep(every_s)


class Rays:
    """The processes of the running product's Ray."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def replica(self, application: str) -> int:
        """The process of one replica, asked of Ray's own door."""
        deployments = self._serve()["applications"][application]["deployments"].values()
        return next(replica["pid"] for deployment in deployments for replica in deployment["replicas"])

    def named(self, words: str) -> int:
        """The process of this installation's Ray whose command line holds these words."""
        leader = self._stack.pid_of("engines")
        for process in self._stack.processes():
            if words in " ".join(process.cmdline()) and os.getsid(process.pid) == leader:
                return process.pid
        raise AssertionError(f"no process of Ray is called {words}")

    def _serve(self) -> dict[str, Any]:
        port = self._stack.services.settings.serve.dashboard_port
        token = self._stack.services.secrets.ray_token
        answer = httpx.get(
            f"http://127.0.0.1:{port}/api/serve/applications/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
        )
        serve: dict[str, Any] = answer.json()
        return serve


_numbers = itertools.count(1)


@pytest.fixture
def songs(stack: Stack) -> Songs:
    """Songs of a fresh account with 100 credits."""
    name = f"chaos{os.getpid()}n{next(_numbers)}"
    with stack.services.database.transaction() as session:
        account = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
        ledger.open_with_signup_grant(session, account.id, amount=100, now=datetime.now(UTC))
    return Songs(stack, account)


@pytest.fixture
def rays(stack: Stack) -> Rays:
    """The running product's Ray."""
    return Rays(stack)


@pytest.fixture(autouse=True)
def well_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test on the running product every part works again and the books are right."""
    yield
    if "stack" not in request.fixturenames:
        return
    stack: Stack = request.getfixturevalue("stack")
    services = stack.services
    until(lambda: all_well(stack), "every part works again")
    assert faults_of(services.database, services.store) == []


def all_well(stack: Stack) -> bool:
    """Whether the doctor is content and the pages' process answers."""
    services = stack.services
    checks = health.quick_checks(services.settings, services.database, services.store, services.gateway)
    return all(check.ok for check in checks) and answers(f"{stack.web_url}/api/v1/health")
