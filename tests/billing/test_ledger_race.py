"""The ledger under fire: threads that spend, repeat and settle the same things at the same moment."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Barrier

import pytest
from sqlalchemy import text

from billing import ledger
from data.database import Database, Session
from data.ids import new_id
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.credit import BlockKind
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
THREADS, CONNECTIONS = 16, 64
KINDS = tuple(BlockKind)
MakeAccount = Callable[..., Account]


def add_jobs(session: Session, account_id: AccountId, count: int) -> list[JobId]:
    jobs = [JobId(new_id("job")) for _ in range(count)]
    session.execute(
        text(
            "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
            " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
        ),
        [{"id": job, "account": account_id} for job in jobs],
    )
    return jobs


def at_once(database: Database, works: Sequence[Callable[[Session], object]]) -> list[object]:
    """Each work in a transaction and a thread of its own, all starting together. A refusal is its code."""
    barrier = Barrier(len(works))

    def one(work: Callable[[Session], object]) -> object:
        with database.transaction() as session:
            session.execute(text("SELECT 1"))
            barrier.wait(timeout=30)
            try:
                return work(session)
            except MelodeonError as error:
                return error.code

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def spend(database: Database, account: Account, jobs: Sequence[JobId]) -> int:
    """Spend one credit on each job in a transaction of its own; how many could be paid."""
    paid = 0
    for job in jobs:
        with database.transaction() as session:
            try:
                ledger.hold(session, account.id, job, 1, key=f"hold {job}", now=NOW)
            except ledger.NoCredits:
                continue
            paid += 1
    return paid


@pytest.mark.parametrize("attempts", [256, pytest.param(10_000, marks=pytest.mark.long)])
def test_never_more_is_spent_than_there_is(database: Database, make_account: MakeAccount, attempts: int) -> None:
    """64 connections, one balance of many blocks, three times as many wishes as credits."""
    blocks, each = 10, attempts // 30
    credits_given = blocks * each
    account = make_account(credits=0)
    with database.transaction() as session:
        jobs = add_jobs(session, account.id, attempts)
        for block in range(blocks):
            ledger.grant(session, account.id, each, key=f"block {block}", note="", now=NOW, kind=KINDS[block % 3])
    many = Database(database.conninfo, pool_size=CONNECTIONS)
    try:
        shares = [jobs[thread::CONNECTIONS] for thread in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            paid = sum(pool.map(lambda share: spend(many, account, share), shares))
    finally:
        many.dispose()
    assert paid == credits_given
    with database.transaction() as session:
        balance = ledger.balance(session, account.id)
        assert (balance.available_credits, balance.held_credits) == (0, credits_given)
        assert ledger.faults(session) == ()


def test_a_request_sent_many_times_at_once_has_one_effect(database: Database, make_account: MakeAccount) -> None:
    account = make_account(credits=10)
    with database.transaction() as session:
        (job,) = add_jobs(session, account.id, 1)
    stages: list[Callable[[Session], object]] = [
        lambda session: ledger.grant(session, account.id, 5, key="g", note="", now=NOW),
        lambda session: ledger.hold(session, account.id, job, 4, key="h", now=NOW),
        lambda session: ledger.settle(session, job, captured=3, key="s", now=NOW),
    ]
    for stage in stages:
        assert len(set(at_once(database, [stage] * THREADS))) == 1
    with database.transaction() as session:
        balance = ledger.balance(session, account.id)
        assert (balance.available_credits, balance.held_credits) == (12, 0)
        assert [line.kind.value for line in ledger.statement(session, account.id)] == [
            "release",
            "capture",
            "hold",
            "grant",
            "grant",
        ]
        assert ledger.faults(session) == ()


def test_a_first_grant_sent_many_times_at_once_opens_one_purse(database: Database) -> None:
    newcomer = AccountId(new_id("account"))
    with database.transaction() as session:
        session.execute(text("INSERT INTO account (id, name, role) VALUES (:id, 'new', 'creator')"), {"id": newcomer})
    at_once(
        database,
        [lambda session: ledger.open_with_signup_grant(session, newcomer, amount=100, now=NOW)] * THREADS,
    )
    with database.transaction() as session:
        assert ledger.balance(session, newcomer).available_credits == 100
        assert ledger.faults(session) == ()


def test_a_job_is_settled_once_whoever_comes_first(database: Database, make_account: MakeAccount) -> None:
    account = make_account(credits=10)
    with database.transaction() as session:
        (job,) = add_jobs(session, account.id, 1)
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)

    def settle(number: int) -> Callable[[Session], object]:
        return lambda session: ledger.settle(session, job, captured=number % 3, key=f"s{number}", now=NOW)

    answers = Counter(at_once(database, [settle(number) for number in range(THREADS)]))
    assert answers == {None: 1, "no_hold": THREADS - 1}
    with database.transaction() as session:
        balance = ledger.balance(session, account.id)
        assert balance.held_credits == 0
        assert ledger.faults(session) == ()


def test_a_job_holds_once_whoever_comes_first(database: Database, make_account: MakeAccount) -> None:
    account = make_account(credits=100)
    with database.transaction() as session:
        (job,) = add_jobs(session, account.id, 1)

    def hold(number: int) -> Callable[[Session], object]:
        return lambda session: ledger.hold(session, account.id, job, 2, key=f"h{number}", now=NOW)

    answers = at_once(database, [hold(number) for number in range(THREADS)])
    assert Counter(answers)["hold_open"] == THREADS - 1
    with database.transaction() as session:
        assert ledger.balance(session, account.id).held_credits == 2
        assert ledger.faults(session) == ()


def test_one_key_used_for_many_accounts_at_once_serves_one(database: Database, make_account: MakeAccount) -> None:
    accounts = [make_account(credits=10) for _ in range(THREADS)]

    def grant(account: Account) -> Callable[[Session], object]:
        return lambda session: ledger.grant(session, account.id, 5, key="g", note="", now=NOW)

    answers = Counter(at_once(database, [grant(account) for account in accounts]))
    assert answers["key_reused"] == THREADS - 1
    with database.transaction() as session:
        totals = sum(ledger.balance(session, account.id).available_credits for account in accounts)
        assert totals == 10 * THREADS + 5
        assert ledger.faults(session) == ()


def test_grants_clawbacks_expiry_and_songs_at_once_add_up(database: Database, make_account: MakeAccount) -> None:
    """Everything that can happen to one account at one moment, in every order: nothing is lost, nobody below nought."""
    account, soon = make_account(credits=10), NOW + timedelta(days=1)
    with database.transaction() as session:
        held = add_jobs(session, account.id, 4)
        fresh = add_jobs(session, account.id, 4)
        for number in range(2):
            ledger.grant(session, account.id, 5, key=f"pack {number}", note="", now=NOW, kind=BlockKind.PAID)
        ledger.grant(session, account.id, 3, key="gift", note="", now=NOW, expires_at=soon)
        for job in held:
            ledger.hold(session, account.id, job, 2, key=f"h{job}", now=NOW)
        ledger.clawback(session, account.id, 5, key="c1", grant_key="pack 1", note="", now=NOW)
    back = {"key": "c0", "grant_key": "pack 0", "note": "", "now": NOW}
    works: list[Callable[[Session], object]] = [
        lambda session: ledger.grant(session, account.id, 7, key="more", note="", now=NOW),
        lambda session: ledger.clawback(session, account.id, 5, **back),
        lambda session: ledger.restore(session, account.id, key="r1", clawback_key="c1", now=NOW),
        lambda session: ledger.expire(session, now=NOW),
    ]
    works += [lambda session, j=job: ledger.settle(session, j, captured=1, key=f"s{j}", now=NOW) for job in held]
    works += [lambda session, j=job: ledger.hold(session, account.id, j, 2, key=f"h{j}", now=NOW) for job in fresh]
    answers = at_once(database, works)
    started = sum(
        isinstance(answer, str) and answer.startswith("hold_") and answer != "hold_open" for answer in answers
    )
    with database.transaction() as session:
        balance = ledger.balance(session, account.id)
        assert balance.held_credits == 2 * started
        assert balance.available_credits - balance.owed_credits == 10 + 10 + 3 + 7 - 5 - 4 - 2 * started
        assert ledger.faults(session) == ()


def test_songs_of_many_people_made_and_retried_at_random_add_up(database: Database, make_account: MakeAccount) -> None:
    """Each posting is sent one to three times, as after a lost reply, by threads that share accounts."""
    accounts = [make_account(credits=30) for _ in range(3)]
    with database.transaction() as session:
        jobs = [(account, job) for account in accounts for job in add_jobs(session, account.id, 24)]

    def make_songs(thread: int) -> int:
        random = Random(thread)
        spent = 0
        for account, job in jobs[thread::THREADS]:
            captured = random.randint(0, 2)
            for _ in range(random.randint(1, 3)):
                held = send(lambda session, a=account, j=job: ledger.hold(session, a.id, j, 2, key=f"h{j}", now=NOW))
            if held == "no_credits":
                continue
            for _ in range(random.randint(1, 3)):
                send(lambda session, j=job, n=captured: ledger.settle(session, j, captured=n, key=f"s{j}", now=NOW))
            spent += captured
        return spent

    def send(work: Callable[[Session], object]) -> object:
        with database.transaction() as session:
            try:
                return work(session)
            except ledger.NoCredits as error:
                return error.code

    with ThreadPoolExecutor(THREADS) as pool:
        spent = sum(pool.map(make_songs, range(THREADS)))
    with database.transaction() as session:
        balances = [ledger.balance(session, account.id) for account in accounts]
        assert ledger.faults(session) == ()
    assert sum(balance.available_credits for balance in balances) == 90 - spent
    assert all(balance.held_credits == 0 for balance in balances)
