"""The ledger against a model of a few lines of Python: any sequence of requests, any reuse of keys."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from billing import ledger
from data.database import Database, Session
from data.ids import new_id
from studio.errors import MelodeonError
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEYS = st.integers(0, 9)
AMOUNTS = st.integers(1, 6)


class Request(NamedTuple):
    """One call of the ledger, comparable: what an idempotency key stands for."""

    kind: str
    subject: str
    amount: int
    other: str = ""


@dataclass
class Model:
    """What the books must say. Answers are ``"done"`` or the code of the error."""

    available: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    open_holds: dict[str, int] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    keys: dict[tuple[str, int], Request] = field(default_factory=dict)

    def ask(self, request: Request, key: int) -> str:
        space = "settle" if request.kind == "settle" else "plain"
        if (space, key) in self.keys:
            return "done" if self.keys[space, key] == request else "key_reused"
        answer = getattr(self, f"_{request.kind}")(request)
        if answer == "done":
            self.keys[space, key] = request
        return str(answer)

    def _grant(self, request: Request) -> str:
        self.available[request.subject] += request.amount
        return "done"

    def _hold(self, request: Request) -> str:
        account, job = request.subject, request.other
        if job in self.open_holds:
            return "hold_open"
        if self.available[account] < request.amount:
            return "no_credits"
        self.available[account] -= request.amount
        self.held[account] += request.amount
        self.open_holds[job] = request.amount
        return "done"

    def _settle(self, request: Request) -> str:
        job, captured = request.subject, request.amount
        if job not in self.open_holds:
            return "no_hold"
        if captured > self.open_holds[job]:
            return "over_hold"
        amount = self.open_holds.pop(job)
        self.held[self.owner[job]] -= amount
        self.available[self.owner[job]] += amount - captured
        return "done"


class Books(RuleBasedStateMachine):
    """Requests drawn at random, booked and modelled side by side."""

    accounts = Bundle("accounts")
    jobs = Bundle("jobs")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.model = Model()
        self.run = new_id("job")
        self.results: dict[tuple[str, int], Any] = {}

    @initialize(target=accounts)
    def first_account(self) -> str:
        return self.new_account()

    @rule(target=accounts)
    def new_account(self) -> str:
        account_id = new_id("account")
        with self.database.transaction() as session:
            session.execute(
                text("INSERT INTO account (id, name, role) VALUES (:id, :name, 'creator')"),
                {"id": account_id, "name": account_id[-32:]},
            )
        self.model.available[account_id] = self.model.held[account_id] = 0
        return account_id

    @rule(target=jobs, account=accounts)
    def new_job(self, account: str) -> str:
        job_id = new_id("job")
        with self.database.transaction() as session:
            session.execute(
                text(
                    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                    " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
                ),
                {"id": job_id, "account": account},
            )
        self.model.owner[job_id] = account
        return job_id

    @rule(account=accounts, amount=AMOUNTS, key=KEYS)
    def grant(self, account: str, amount: int, key: int) -> None:
        self.check(Request("grant", account, amount), key)

    @rule(job=jobs, amount=AMOUNTS, key=KEYS)
    def hold(self, job: str, amount: int, key: int) -> None:
        self.check(Request("hold", self.model.owner[job], amount, job), key)

    @rule(job=jobs, captured=st.integers(0, 6), key=KEYS)
    def settle(self, job: str, captured: int, key: int) -> None:
        self.check(Request("settle", job, captured), key)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A retry of something that was done before."""
        if self.model.keys:
            (_, key), request = data.draw(st.sampled_from(sorted(self.model.keys.items())))
            self.check(request, key)

    @rule(account=accounts, amount=AMOUNTS)
    def roll_back(self, account: str, amount: int) -> None:
        """A transaction that ends badly leaves nothing, and its key is free."""
        with self.database.transaction() as session:
            savepoint = session.begin_nested()
            ledger.grant(session, AccountId(account), amount, key=f"{self.run} back", note="", now=NOW)
            savepoint.rollback()

    def check(self, request: Request, key: int) -> None:
        expected = self.model.ask(request, key)
        with self.database.transaction() as session:
            try:
                result, answer = self.book(session, request, f"{self.run} {key}"), "done"
            except MelodeonError as error:
                result, answer = None, error.code
        assert answer == expected, request
        if answer == "done":
            # A repeated request gives the first result.
            assert self.results.setdefault((request.kind, key), result) == result

    def book(self, session: Session, request: Request, key: str) -> object:
        if request.kind == "grant":
            return ledger.grant(session, AccountId(request.subject), request.amount, key=key, note="", now=NOW)
        if request.kind == "hold":
            return ledger.hold(
                session, AccountId(request.subject), JobId(request.other), request.amount, key=key, now=NOW
            )
        ledger.settle(session, JobId(request.subject), captured=request.amount, key=key, now=NOW)
        return None

    @invariant()
    def balances_agree(self) -> None:
        with self.database.transaction() as session:
            for account, available in self.model.available.items():
                balance = ledger.balance(session, AccountId(account))
                assert (balance.available_credits, balance.held_credits) == (available, self.model.held[account])

    def teardown(self) -> None:
        with self.database.transaction() as session:
            assert ledger.faults(session) == ()
            self.replay(session)

    def replay(self, session: Session) -> None:
        """From empty, entry by entry, nobody is ever below nought and the end is what the books say (I3, I8, I12)."""
        for account, available in self.model.available.items():
            purses = {"available": 0, "held": 0}
            entries = session.execute(
                text("SELECT version, purse, amount, balance_after FROM entry WHERE account_id = :id ORDER BY version"),
                {"id": account},
            )
            for count, entry in enumerate(entries, start=1):
                purses[entry.purse] += entry.amount
                assert entry.version == count
                assert purses[entry.purse] == entry.balance_after >= 0
            assert purses == {"available": available, "held": self.model.held[account]}


def run_machine(database: Database, *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: Books(database),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_sequence_of_requests_is_booked_as_the_model_says(database: Database) -> None:
    run_machine(database, examples=25, steps=40)


@pytest.mark.long
def test_a_great_many_sequences_are_booked_as_the_model_says(database: Database) -> None:
    run_machine(database, examples=2_000, steps=100)
