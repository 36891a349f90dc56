"""What chaos needs: songs under way on the running product, and all books read after each test."""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from billing import ledger
from data.database import Database, DatabaseUnreachable
from data.repositories import accounts
from data.testing import coverless_songs
from serving import jobs
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.ids import JobId
from studio.words.job import Job, JobState, Stage
from ui.testing import Stack, all_well, faults_of, until


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
        """Wait until ``true`` of the job, which may be so for a short time only."""
        until(lambda: true(self.look(job_id)), f"{job_id}: {what}", every_s=0.01)
        return self.look(job_id)

    def end_of(self, job_id: JobId) -> Job:
        """Wait for the job's end."""
        until(lambda: self.look(job_id).state.ended, f"{job_id}: its end")
        return self.look(job_id)

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

    @contextmanager
    def unpaid(self) -> Iterator[None]:
        """Nothing of the account can be paid meanwhile: whoever would book it waits."""
        with self.database.transaction() as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            purse = text("SELECT 1 FROM ledger_account WHERE account_id = :id FOR NO KEY UPDATE")
            assert session.execute(purse, {"id": self.account.id}).scalar_one()
            yield

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


_numbers = itertools.count(1)


@pytest.fixture
def songs(stack: Stack) -> Songs:
    """Songs of a fresh account with 100 credits."""
    name = f"chaos{os.getpid()}n{next(_numbers)}"
    with stack.services.database.transaction() as session:
        account = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
        ledger.open_with_signup_grant(session, account.id, amount=100, now=datetime.now(UTC))
    return Songs(stack, account)


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
    with services.database.transaction() as session:
        assert coverless_songs(session) == []
