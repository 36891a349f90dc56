"""The ledger against a model of plain Python: any sequence of requests, any reuse of keys, while time goes by."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from billing import ledger
from data.database import Database, Session
from data.embedded_postgres import EmbeddedPostgres
from data.ids import new_id
from data.testing import fresh_database
from studio.errors import MelodeonError
from studio.words.credit import BlockKind
from studio.words.ids import AccountId, JobId

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KINDS = (BlockKind.PLAN, BlockKind.PROMO, BlockKind.PAID)
SPACES = {"grant": "plain", "hold": "plain", "settle": "settle", "clawback": "clawback", "restore": "restore"}
HOURS, KEYS = 12, 9


class Request(NamedTuple):
    """One call of the ledger, comparable: what an idempotency key stands for."""

    kind: str
    account: str
    amount: int = 0
    job: str = ""
    block: BlockKind = BlockKind.PROMO
    expires: int | None = None
    about: int = 0


@dataclass(eq=False)
class Block:
    kind: BlockKind
    expires: int | None
    number: int
    remaining: int

    def order(self) -> tuple[int, float, int]:
        return KINDS.index(self.kind), float("inf") if self.expires is None else self.expires, self.number


Draws = list[tuple[Block, int]]


@dataclass
class Purse:
    held: int = 0
    owed: int = 0
    blocks: list[Block] = field(default_factory=list)

    @property
    def available(self) -> int:
        return sum(block.remaining for block in self.blocks)

    def add(self, kind: BlockKind, expires: int | None, amount: int) -> Block:
        self.blocks.append(Block(kind, expires, len(self.blocks), amount))
        return self.blocks[-1]

    def draw(self, amount: int, first: Block | None = None) -> Draws:
        draws: Draws = []
        for block in sorted(self.blocks, key=lambda block: (block is not first, block.order())):
            taken = min(block.remaining, amount)
            if taken:
                block.remaining -= taken
                amount -= taken
                draws.append((block, taken))
        assert amount == 0
        return draws

    def expire(self, hour: int) -> bool:
        due = [
            block for block in self.blocks if block.remaining and block.expires is not None and block.expires <= hour
        ]
        for block in due:
            block.remaining = 0
        return bool(due)

    def pay_debt(self) -> None:
        paid = min(self.owed, self.available)
        self.draw(paid)
        self.owed -= paid


@dataclass
class Model:
    """What the books must say. Answers are ``"done"`` or the code of the error."""

    hour: int = 0
    purses: dict[str, Purse] = field(default_factory=dict)
    holds: dict[str, Draws] = field(default_factory=dict)
    grants: dict[int, tuple[str, Block]] = field(default_factory=dict)
    clawbacks: dict[int, tuple[str, int, BlockKind]] = field(default_factory=dict)
    taken: tuple[int, int] = (0, 0)
    keys: dict[tuple[str, int], Request] = field(default_factory=dict)

    def ask(self, request: Request, key: int) -> str:
        space = SPACES[request.kind]
        if (space, key) in self.keys:
            return "done" if self.keys[space, key] == request else "key_reused"
        answer = getattr(self, f"_{request.kind}")(request, key, self.purses[request.account])
        if answer == "done":
            self.keys[space, key] = request
        return str(answer)

    def _grant(self, request: Request, key: int, purse: Purse) -> str:
        self.grants[key] = request.account, purse.add(request.block, request.expires, request.amount)
        purse.pay_debt()
        return "done"

    def _hold(self, request: Request, _: int, purse: Purse) -> str:
        if request.job in self.holds:
            return "hold_open"
        purse.expire(self.hour)
        if purse.owed:
            return "owes_credits"
        if purse.available < request.amount:
            return "no_credits"
        self.holds[request.job] = purse.draw(request.amount)
        purse.held += request.amount
        return "done"

    def _settle(self, request: Request, _: int, purse: Purse) -> str:
        if request.job not in self.holds:
            return "no_hold"
        if request.amount > sum(amount for _, amount in self.holds[request.job]):
            return "over_hold"
        captured = request.amount
        for block, amount in self.holds.pop(request.job):
            spent = min(captured, amount)
            captured -= spent
            purse.held -= amount
            block.remaining += amount - spent
        purse.pay_debt()
        return "done"

    def _clawback(self, request: Request, key: int, purse: Purse) -> str:
        account, block = self.grants.get(request.about, ("", None))
        if block is None or account != request.account:
            return "no_grant"
        purse.expire(self.hour)
        taken = min(request.amount, purse.available)
        purse.draw(taken, first=block)
        purse.owed += request.amount - taken
        self.taken = taken, request.amount - taken
        self.clawbacks[key] = account, request.amount, block.kind
        return "done"

    def _restore(self, request: Request, _: int, purse: Purse) -> str:
        account, amount, kind = self.clawbacks.get(request.about, ("", 0, BlockKind.PROMO))
        if account != request.account:
            return "no_clawback"
        del self.clawbacks[request.about]
        paid = min(amount, purse.owed)
        purse.owed -= paid
        if paid < amount:
            purse.add(kind, None, amount - paid)
        return "done"


class Books:
    """The ledger and the model, asked for the same things."""

    def __init__(self) -> None:
        self.model = Model()
        self.run = new_id("job")
        self.jobs: dict[str, str] = {}
        self.results: dict[tuple[str, int], object] = {}

    @property
    def now(self) -> datetime:
        return NOON + timedelta(hours=self.model.hour)

    def open(self, session: Session, *, jobs: int) -> None:
        """One more account, with so many Jobs."""
        account = new_id("account")
        session.execute(
            text("INSERT INTO account (id, name, role) VALUES (:id, :name, 'creator')"),
            {"id": account, "name": account[-32:]},
        )
        ledger.open_account(session, AccountId(account))
        self.model.purses[account] = Purse()
        for job in [new_id("job") for _ in range(jobs)]:
            session.execute(
                text(
                    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                    " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
                ),
                {"id": job, "account": account},
            )
            self.jobs[job] = account

    def forget_keys(self) -> None:
        """From now on other keys, of which none was used."""
        self.run = new_id("job")
        for known in (self.model.keys, self.model.grants, self.model.clawbacks, self.results):
            known.clear()

    def ask(self, session: Session, request: Request, key: int) -> None:
        fresh = (SPACES[request.kind], key) not in self.model.keys
        expected = self.model.ask(request, key)
        try:
            result, answer = self._book(session, request, f"{self.run} {key}"), "done"
        except MelodeonError as error:
            result, answer = None, error.code
        assert answer == expected, (request, key)
        if answer == "done":
            # a repeated request gives the first result
            assert self.results.setdefault((request.kind, key), result) == result, (request, key)
            if isinstance(result, ledger.Clawback) and fresh:
                assert (result.taken_credits, result.owed_credits) == self.model.taken

    def _book(self, session: Session, request: Request, key: str) -> object:
        account, now, about = AccountId(request.account), self.now, f"{self.run} {request.about}"
        if request.kind == "grant":
            expires_at = None if request.expires is None else NOON + timedelta(hours=request.expires)
            kinds = {"kind": request.block, "expires_at": expires_at}
            return ledger.grant(session, account, request.amount, key=key, note="", now=now, **kinds)
        if request.kind == "hold":
            return ledger.hold(session, account, JobId(request.job), request.amount, key=key, now=now)
        if request.kind == "clawback":
            return ledger.clawback(session, account, request.amount, key=key, grant_key=about, note="", now=now)
        if request.kind == "restore":
            return ledger.restore(session, account, key=key, clawback_key=about, now=now)
        return ledger.settle(session, JobId(request.job), captured=request.amount, key=key, now=now)

    def expire(self, session: Session) -> None:
        due = sum(purse.expire(self.model.hour) for purse in self.model.purses.values())
        assert ledger.expire(session, now=self.now, most=1000) >= due

    def agree(self, session: Session) -> None:
        """What each account has, block by block."""
        rows = session.execute(
            text(
                "SELECT account_id, available, held, owed, array(SELECT remaining FROM grant_block b"
                " WHERE b.account_id = a.account_id ORDER BY number) AS blocks"
                " FROM ledger_account a WHERE account_id = ANY(:accounts)"
            ),
            {"accounts": list(self.model.purses)},
        )
        found = {row.account_id: (row.available, row.held, row.owed, row.blocks) for row in rows}
        assert found == {
            account: (purse.available, purse.held, purse.owed, [block.remaining for block in purse.blocks])
            for account, purse in self.model.purses.items()
        }

    def replay(self, session: Session) -> None:
        """From empty, entry by entry, nobody is ever below nought and the end is what the books say (I3, I8, I12)."""
        for account, purse in self.model.purses.items():
            purses = {"available": 0, "held": 0, "owed": 0}
            entries = session.execute(
                text("SELECT version, purse, amount, balance_after FROM entry WHERE account_id = :id ORDER BY version"),
                {"id": account},
            )
            for count, entry in enumerate(entries, start=1):
                purses[entry.purse] += entry.amount
                assert entry.version == count
                assert purses[entry.purse] == entry.balance_after
                assert min(purses["available"], purses["held"], -purses["owed"]) >= 0
            assert purses == {"available": purse.available, "held": purse.held, "owed": -purse.owed}


def some(choose: Random, books: Books) -> tuple[Request, int]:
    """A request drawn at random: of each kind, with keys and amounts that meet often."""
    job = choose.choice(sorted(choose.choice((books.jobs, books.model.holds)) or books.jobs))
    account, key, about = books.jobs[job], choose.randint(0, KEYS), choose.randint(0, KEYS)
    kind = choose.choice(("grant", "grant", "hold", "hold", "hold", "settle", "settle", "clawback", "restore", "again"))
    if kind == "again" and books.model.keys:
        (_, key), request = choose.choice(sorted(books.model.keys.items()))
        return request, key
    if kind == "grant":
        expires = choose.choice((None, books.model.hour + choose.randint(0, HOURS)))
        return Request(kind, account, choose.randint(1, 6), block=choose.choice(KINDS), expires=expires), key
    if kind == "settle":
        return Request(kind, account, choose.randint(0, 6), job=job), key
    known = books.model.clawbacks if kind == "restore" else books.model.grants
    if known and choose.random() < 0.8:
        about = choose.choice(sorted(known))
        account = known[about][0]
    if kind == "clawback":
        return Request(kind, account, choose.randint(1, 9), about=about), key
    if kind == "restore":
        return Request(kind, account, about=about), key
    return Request("hold", books.jobs[job], choose.randint(1, 8), job=job), key


class Machine(RuleBasedStateMachine):
    """Requests drawn at random, booked and modelled side by side; time goes by between them."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.books = Books()

    @initialize()
    def first_accounts(self) -> None:
        with self.database.transaction() as session:
            self.books.open(session, jobs=3)
            self.books.open(session, jobs=2)

    @rule(choose=st.randoms(use_true_random=False))
    def ask(self, choose: Random) -> None:
        with self.database.transaction() as session:
            self.books.ask(session, *some(choose, self.books))

    @rule(hours=st.integers(1, HOURS))
    def wait(self, hours: int) -> None:
        self.books.model.hour += hours

    @rule()
    def expire(self) -> None:
        with self.database.transaction() as session:
            self.books.expire(session)

    @rule(amount=st.integers(1, 6))
    def roll_back(self, amount: int) -> None:
        """A transaction that ends badly leaves nothing, and its key is free."""
        with suppress(KeyboardInterrupt), self.database.transaction() as session:
            for account in self.books.model.purses:
                ledger.grant(session, AccountId(account), amount, key=f"back {account}", note="", now=self.books.now)
            raise KeyboardInterrupt

    @invariant()
    def the_books_agree(self) -> None:
        with self.database.transaction() as session:
            self.books.agree(session)

    def teardown(self) -> None:
        with self.database.transaction() as session:
            assert ledger.faults(session) == ()
            self.books.replay(session)


def test_any_sequence_of_requests_is_booked_as_the_model_says(database: Database) -> None:
    run_state_machine_as_test(
        lambda: Machine(database),
        settings=settings(max_examples=20, stateful_step_count=30, suppress_health_check=list(HealthCheck)),
    )


def walk(database: Database, seed: int, steps: int) -> None:
    """So many requests by the dice of ``seed``, ten a transaction; now and then an account and its Jobs come in."""
    choose, books = Random(seed), Books()
    done = 0
    while done < steps:
        with database.transaction() as session:
            if done % 500 == 0:
                books.open(session, jobs=6)
            if done % 50 == 0:
                books.forget_keys()
            for _ in range(10):
                books.ask(session, *some(choose, books))
            books.model.hour += choose.choice((0, 0, 1, HOURS))
            if choose.random() < 0.1:
                books.expire(session)
            books.agree(session)
        done += 10
    with database.transaction() as session:
        assert ledger.faults(session) == (), f"seed {seed}"
        books.replay(session)


@pytest.mark.parametrize(("seeds", "steps"), [(2, 300), pytest.param(200, 5_000, marks=pytest.mark.long)])
def test_a_great_many_requests_are_booked_as_the_model_says(postgres: EmbeddedPostgres, seeds: int, steps: int) -> None:
    """``LEDGER_SEEDS=7,8`` walks these seeds only; a failure names its seed."""
    chosen = os.environ.get("LEDGER_SEEDS")
    for seed in map(int, chosen.split(",")) if chosen else range(seeds):
        with fresh_database(postgres) as database:
            walk(database, seed, steps)
