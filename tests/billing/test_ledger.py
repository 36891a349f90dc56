"""The ledger one call at a time: what it books, what it refuses, and that nothing booked can change."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DatabaseError

from billing import ledger
from data.database import Database, Session
from data.ids import new_id
from studio.words.account import Account
from studio.words.credit import MovementKind
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def add_job(session: Session, account_id: AccountId, job_id: JobId) -> None:
    """The least that the books need to know of a Job: its row."""
    session.execute(
        text(
            "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
            " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
        ),
        {"id": job_id, "account": account_id},
    )


@pytest.fixture
def job(database: Database, account: Account) -> JobId:
    job_id = JobId(new_id("job"))
    with database.transaction() as session:
        add_job(session, account.id, job_id)
    return job_id


def purse(session: Session, account: Account) -> tuple[int, int]:
    balance = ledger.balance(session, account.id)
    return balance.available_credits, balance.held_credits


def test_the_life_of_a_song(database: Database, account: Account, job: JobId) -> None:
    with database.transaction() as session:
        assert purse(session, account) == (100, 0)
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        assert purse(session, account) == (98, 2)
        ledger.settle(session, job, captured=1, key="s", now=NOW)
        assert purse(session, account) == (99, 0)
        lines = ledger.statement(session, account.id)
        assert ledger.faults(session) == ()
    kinds = [(line.kind, line.amount_credits, line.job_id) for line in lines]
    assert kinds[:3] == [
        (MovementKind.RELEASE, 1, job),
        (MovementKind.CAPTURE, 1, job),
        (MovementKind.HOLD, 2, job),
    ]
    assert (kinds[3][0], lines[3].note[:7], lines[3].job_id) == (MovementKind.GRANT, "Welcome", None)
    assert lines[0].at == NOW
    assert len(lines) == 4


@pytest.mark.parametrize(("captured", "end"), [(0, (100, 0)), (1, (99, 0)), (2, (98, 0))])
def test_settling_captures_some_and_releases_the_rest(
    database: Database, account: Account, job: JobId, captured: int, end: tuple[int, int]
) -> None:
    with database.transaction() as session:
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        ledger.settle(session, job, captured=captured, key="s", now=NOW)
        assert purse(session, account) == end
        assert ledger.faults(session) == ()


def test_too_few_credits_leaves_the_transaction_whole(database: Database, make_account: Callable[..., Account]) -> None:
    poor, job_id = make_account(credits=1), JobId(new_id("job"))
    with database.transaction() as session:
        with pytest.raises(ledger.NoCredits, match="costs 2 credits and you have 1 credit") as caught:
            ledger.hold(session, poor.id, job_id, 2, key="h", now=NOW)
        # What the door does next: it records the Job in the same transaction.
        add_job(session, poor.id, job_id)
    assert (caught.value.needed, caught.value.available) == (2, 1)
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM job")).scalar_one() == 1
        assert session.execute(text("SELECT count(*) FROM hold")).scalar_one() == 0
        # The key was not spent: with more credits the same request goes through.
        ledger.grant(session, poor.id, 1, key="more", note="", now=NOW)
        ledger.hold(session, poor.id, job_id, 2, key="h", now=NOW)
        assert purse(session, poor) == (0, 2)


def test_an_account_without_a_purse_has_nothing(database: Database, make_account: Callable[..., Account]) -> None:
    nobody = AccountId(new_id("account"))
    with database.transaction() as session:
        balance = ledger.balance(session, nobody)
        assert (balance.available_credits, balance.held_credits) == (0, 0)
        with pytest.raises(ledger.NoCredits):
            ledger.hold(session, nobody, JobId(new_id("job")), 1, key="h", now=NOW)
        assert ledger.statement(session, nobody) == ()


def test_a_hold_may_come_before_its_job_in_the_transaction(database: Database, account: Account) -> None:
    job_id = JobId(new_id("job"))
    with database.transaction() as session:
        ledger.hold(session, account.id, job_id, 2, key="h", now=NOW)
        add_job(session, account.id, job_id)
    with pytest.raises(DatabaseError, match="fk_"), database.transaction() as session:
        ledger.hold(session, account.id, JobId(new_id("job")), 2, key="h2", now=NOW)


def test_the_same_request_again_is_harmless(database: Database, account: Account, job: JobId) -> None:
    with database.transaction() as session:
        grants = {ledger.grant(session, account.id, 5, key="g", note="gift", now=NOW) for _ in range(3)}
        holds = {ledger.hold(session, account.id, job, 2, key="h", now=NOW) for _ in range(3)}
        for _ in range(3):
            ledger.settle(session, job, captured=1, key="s", now=NOW)
        assert (len(grants), len(holds)) == (1, 1)
        # Long after the Job ended, its hold's key still answers with the first result and holds nothing.
        assert {ledger.hold(session, account.id, job, 2, key="h", now=NOW)} == holds
        assert purse(session, account) == (104, 0)
        assert ledger.faults(session) == ()


def test_a_key_with_another_request_is_refused(
    database: Database, account: Account, make_account: Callable[..., Account], job: JobId
) -> None:
    other = make_account()
    with database.transaction() as session:
        ledger.grant(session, account.id, 5, key="g", note="gift", now=NOW)
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        ledger.settle(session, job, captured=1, key="s", now=NOW)
        before = purse(session, account), purse(session, other)
        reuses: list[Callable[[], object]] = [
            lambda: ledger.grant(session, account.id, 6, key="g", note="gift", now=NOW),
            lambda: ledger.grant(session, account.id, 5, key="g", note="other", now=NOW),
            lambda: ledger.grant(session, other.id, 5, key="g", note="gift", now=NOW),
            lambda: ledger.hold(session, account.id, job, 5, key="g", now=NOW),
            lambda: ledger.hold(session, account.id, job, 3, key="h", now=NOW),
            lambda: ledger.hold(session, other.id, job, 2, key="h", now=NOW),
            lambda: ledger.settle(session, job, captured=2, key="s", now=NOW),
        ]
        for reuse in reuses:
            with pytest.raises(ledger.KeyReused):
                reuse()
        assert (purse(session, account), purse(session, other)) == before
        assert ledger.faults(session) == ()


def test_a_job_has_one_open_hold_and_may_hold_again_after_its_end(
    database: Database, account: Account, job: JobId
) -> None:
    with database.transaction() as session:
        ledger.hold(session, account.id, job, 2, key="h1", now=NOW)
        with pytest.raises(ledger.HoldOpen):
            ledger.hold(session, account.id, job, 2, key="h2", now=NOW)
        ledger.settle(session, job, captured=1, key="s1", now=NOW)
        with pytest.raises(ledger.NoHold):
            ledger.settle(session, job, captured=1, key="s2", now=NOW)
        ledger.hold(session, account.id, job, 1, key="h2", now=NOW)
        # A late repeat of the first settlement does not touch the second hold.
        ledger.settle(session, job, captured=1, key="s1", now=NOW)
        assert purse(session, account) == (98, 1)
        ledger.settle(session, job, captured=1, key="s2", now=NOW)
        assert purse(session, account) == (98, 0)
        assert ledger.faults(session) == ()


def test_settling_what_was_never_held_is_refused(database: Database, account: Account, job: JobId) -> None:
    with database.transaction() as session:
        with pytest.raises(ledger.NoHold):
            ledger.settle(session, job, captured=0, key="s", now=NOW)
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        with pytest.raises(ledger.OverHold):
            ledger.settle(session, job, captured=3, key="s", now=NOW)
        assert purse(session, account) == (98, 2)


@pytest.mark.parametrize("amount", [0, -1])
def test_amounts_are_above_nought(database: Database, account: Account, job: JobId, amount: int) -> None:
    with database.transaction() as session:
        with pytest.raises(ValueError, match="above 0"):
            ledger.grant(session, account.id, amount, key="g", note="", now=NOW)
        with pytest.raises(ValueError, match="above 0"):
            ledger.hold(session, account.id, job, amount, key="h", now=NOW)
    calls = (
        "ledger_grant('t', 'k', :account, :amount, '', now(), 'b', 'd', 'promo', NULL, 0, '')",
        "ledger_hold('h', 't', 'k', :account, 'j', :amount, now(), 'e')",
        "ledger_settle('t', 'u', 'd', 'k', 'j', -1, now())",
        "ledger_clawback('t', 'o', 'e', 'k', :account, :amount, 'g', '', now())",
    )
    for call in calls:
        with pytest.raises(DatabaseError, match="nought"), database.transaction() as session:
            session.execute(text(f"SELECT {call}"), {"account": account.id, "amount": amount})


def test_a_failed_settlement_with_negative_credits_is_refused(database: Database, job: JobId) -> None:
    with database.transaction() as session, pytest.raises(ValueError, match="at least 0"):
        ledger.settle(session, job, captured=-1, key="s", now=NOW)


@pytest.mark.parametrize("key", ["", "k" * 181])
def test_a_key_has_a_sensible_length(database: Database, account: Account, key: str) -> None:
    with database.transaction() as session, pytest.raises(ValueError, match="idempotency key"):
        ledger.grant(session, account.id, 1, key=key, note="", now=NOW)


def test_the_longest_key_can_be_settled(database: Database, account: Account, job: JobId) -> None:
    with database.transaction() as session:
        ledger.hold(session, account.id, job, 2, key="k" * ledger.KEY_MAX, now=NOW)
        ledger.settle(session, job, captured=1, key="k" * ledger.KEY_MAX, now=NOW)
        assert purse(session, account) == (99, 0)


def test_the_welcome_comes_once(database: Database, make_account: Callable[..., Account]) -> None:
    fresh = make_account(credits=0)
    with database.transaction() as session:
        for _ in range(2):
            ledger.open_with_signup_grant(session, fresh.id, amount=100, now=NOW)
        assert purse(session, fresh) == (100, 0)


def test_a_welcome_of_nothing_opens_an_empty_purse(database: Database, make_account: Callable[..., Account]) -> None:
    fresh = make_account(credits=0)
    with database.transaction() as session:
        ledger.open_with_signup_grant(session, fresh.id, amount=0, now=NOW)
        assert purse(session, fresh) == (0, 0)


def test_rolling_back_takes_everything_back(database: Database, account: Account, job: JobId) -> None:
    class Stop(Exception):
        pass

    with suppress(Stop), database.transaction() as session:
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        raise Stop
    with database.transaction() as session:
        assert purse(session, account) == (100, 0)
        assert ledger.faults(session) == ()
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)


CHANGES = [
    "UPDATE transfer SET amount = amount + 1",
    "UPDATE transfer SET note = note",
    "DELETE FROM transfer",
    "TRUNCATE transfer CASCADE",
    "UPDATE entry SET amount = amount + 1",
    "DELETE FROM entry",
    "TRUNCATE entry",
    "DELETE FROM hold",
    "TRUNCATE hold",
    "UPDATE hold SET amount = amount + 1",
    "UPDATE hold SET state = 'open', ended_at = NULL",
    "UPDATE hold SET captured = 0",
    "DELETE FROM ledger_account",
    "TRUNCATE ledger_account",
    "TRUNCATE account CASCADE",
    "SET LOCAL session_replication_role = replica; DELETE FROM entry",
    "SET LOCAL session_replication_role = replica; UPDATE transfer SET amount = 1",
]


def test_what_was_booked_cannot_be_changed_even_by_the_owner(database: Database, account: Account, job: JobId) -> None:
    with database.transaction() as session:
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        ledger.settle(session, job, captured=1, key="s", now=NOW)
    answers = {}
    for change in CHANGES:
        try:
            with database.transaction() as session:
                for statement in change.split(";"):
                    session.execute(text(statement))
            answers[change] = "done"
        except DatabaseError as error:
            answers[change] = str(error.orig)
    assert [change for change, answer in answers.items() if "append-only" not in answer] == []
    with database.transaction() as session:
        assert purse(session, account) == (99, 0)
        assert ledger.faults(session) == ()


# The person with the keys to the database can disable the triggers; then the audit must find what was done.
TAMPERS = [
    ("transfer", "UPDATE transfer SET amount = amount + 1 WHERE kind = 'grant'"),
    ("transfer", "UPDATE transfer SET credit = 'held' WHERE kind = 'grant'"),
    ("transfer", "UPDATE transfer SET debit = 'revenue' WHERE kind = 'grant'"),
    ("transfer", "UPDATE transfer SET job_id = NULL WHERE kind = 'capture'"),
    ("transfer", "UPDATE transfer SET kind = 'release' WHERE kind = 'capture'"),
    ("entry", "UPDATE entry SET amount = amount + 1 WHERE purse = 'revenue'"),
    ("entry", "UPDATE entry SET amount = amount + 1 WHERE purse = 'available' AND version = 1"),
    ("entry", "UPDATE entry SET balance_after = balance_after + 1 WHERE version = 2"),
    ("entry", "UPDATE entry SET version = 99 WHERE version = 1"),
    ("entry", "UPDATE entry SET purse = 'promotion' WHERE purse = 'revenue'"),
    ("entry", "DELETE FROM entry WHERE purse = 'promotion'"),
    ("entry", "DELETE FROM entry"),
    ("hold", "UPDATE hold SET captured = 0"),
    ("hold", "UPDATE hold SET amount = 3"),
    ("hold", "UPDATE hold SET state = 'open', ended_at = NULL"),
    ("hold", "DELETE FROM hold"),
    ("ledger_account", "UPDATE ledger_account SET available = available + 1"),
    ("ledger_account", "UPDATE ledger_account SET held = held + 1"),
    ("ledger_account", "UPDATE ledger_account SET version = version + 1"),
    ("ledger_account", "DELETE FROM ledger_account"),
]


def test_the_audit_finds_what_was_tampered_with(database: Database, account: Account, job: JobId) -> None:
    with database.transaction() as session:
        ledger.hold(session, account.id, job, 2, key="h", now=NOW)
        ledger.settle(session, job, captured=1, key="s", now=NOW)
    with database.transaction() as session:
        assert ledger.faults(session) == ()
        for table, change in TAMPERS:
            savepoint = session.begin_nested()
            session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
            result = session.execute(text(change))
            assert isinstance(result, CursorResult)
            assert result.rowcount > 0, change
            found = ledger.faults(session)
            assert found, change
            assert all(fault.startswith("Broken rule “") for fault in found)
            savepoint.rollback()
        assert ledger.faults(session) == ()
