"""What the ledger promises, in a few seconds, each test in a database that others have written to.

They run on the ledger as it is, like all tests; `test_mutants` runs them on ledgers with a seeded bug, and every bug
must make one of them fail. So each may need nothing but ``database``.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, DBAPIError

from billing import ledger
from data.database import Database, Session
from data.ids import new_id
from studio.errors import MelodeonError
from studio.words.credit import BlockKind
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PATIENCE_S = 30.0


# ---- a person, and what they have ----------------------------------------------------------------------------------


class Person:
    """An account, and the calls as it makes them; every call is a transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.id = AccountId(new_id("account"))
        self._run("INSERT INTO account (id, name, role) VALUES (:id, :name, 'creator')", id=self.id, name=self.id[-32:])

    def _run(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        with self.database.transaction() as session:
            result = session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def job(self) -> JobId:
        job_id = JobId(new_id("job"))
        self._run(
            "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
            " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')",
            id=job_id,
            account=self.id,
        )
        return job_id

    def grant(self, amount: int, key: str = "", kind: BlockKind = BlockKind.PROMO, **more: object) -> str:
        with self.database.transaction() as session:
            key = key or new_id("transfer")
            return ledger.grant(session, self.id, amount, key=key, note="", now=NOW, kind=kind, **more)  # type: ignore[arg-type]

    def hold(self, amount: int, *, job: JobId | None = None, key: str = "", now: datetime = NOW) -> JobId:
        job = job or self.job()
        with self.database.transaction() as session:
            ledger.hold(session, self.id, job, amount, key=key or f"hold:{job}", now=now)
        return job

    def settle(self, job: JobId, captured: int, key: str = "", now: datetime = NOW) -> None:
        with self.database.transaction() as session:
            ledger.settle(session, job, captured=captured, key=key or f"settle:{job}", now=now)

    def clawback(self, amount: int, grant_key: str, key: str, now: datetime = NOW) -> tuple[int, int]:
        with self.database.transaction() as session:
            taken = ledger.clawback(session, self.id, amount, key=key, grant_key=grant_key, note="", now=now)
        return taken.taken_credits, taken.owed_credits

    def restore(self, clawback_key: str, key: str) -> None:
        with self.database.transaction() as session:
            ledger.restore(session, self.id, key=key, clawback_key=clawback_key, now=NOW)

    @property
    def has(self) -> tuple[int, int, int]:
        """Available, held, owed."""
        with self.database.transaction() as session:
            balance = ledger.balance(session, self.id)
        return balance.available_credits, balance.held_credits, balance.owed_credits

    @property
    def blocks(self) -> list[tuple[object, ...]]:
        """Kind and what remains of each block, in the order of booking."""
        return self._run("SELECT kind, remaining FROM grant_block WHERE account_id = :id ORDER BY number", id=self.id)

    def last_key(self, kind: str) -> str:
        """The idempotency key of the last transfer of that kind."""
        query = "SELECT idempotency_key FROM transfer WHERE account_id = :id AND kind = :kind ORDER BY id DESC LIMIT 1"
        return str(self._run(query, id=self.id, kind=kind)[0][0])

    @property
    def house(self) -> dict[str, int]:
        """What the purses of the house gave (< 0) to this person and got."""
        query = (
            "SELECT purse, sum(e.amount)::int FROM entry e JOIN transfer t ON t.id = e.transfer_id"
            " WHERE t.account_id = :id AND e.account_id IS NULL GROUP BY purse"
        )
        return {str(purse): int(str(total)) for purse, total in self._run(query, id=self.id)}

    @property
    def kinds(self) -> list[str]:
        """What was booked, oldest first, with amounts and what it did to the available credits."""
        with self.database.transaction() as session:
            lines = ledger.statement(session, self.id)
        return [f"{line.kind.value} {line.amount_credits} {line.change_credits:+}" for line in reversed(lines)]


def refused(call: Callable[[], object]) -> str:
    """The code of the refusal; empty when there is none."""
    try:
        call()
    except MelodeonError as error:
        return error.code
    return ""


def faults(database: Database) -> tuple[tuple[str, str], ...]:
    with database.transaction() as session:
        return ledger.verify(session)


# ---- one call at a time --------------------------------------------------------------------------------------------


def test_a_grant_counts_once_and_its_key_stands_for_one_request(database: Database) -> None:
    ada, bob = Person(database), Person(database)
    first = ada.grant(10, "g" + ada.id)
    assert ada.grant(10, "g" + ada.id) == first
    assert ada.has == (10, 0, 0)
    assert refused(lambda: ada.grant(11, "g" + ada.id)) == "key_reused"
    assert refused(lambda: ada.grant(10, "g" + ada.id, BlockKind.PAID)) == "key_reused"
    assert refused(lambda: ada.grant(10, "g" + ada.id, expires_at=NOW)) == "key_reused"
    assert refused(lambda: bob.grant(10, "g" + ada.id)) == "key_reused"
    assert (ada.has, bob.has, ada.kinds) == ((10, 0, 0), (0, 0, 0), ["grant 10 +10"])
    for amount in (0, -1, None):
        with pytest.raises(DBAPIError), database.transaction() as session:
            session.execute(text("SELECT ledger_refuse_amount(:amount)"), {"amount": amount})
    assert faults(database) == ()


def test_the_life_of_a_song(database: Database) -> None:
    ada = Person(database)
    ada.grant(10)
    job = ada.hold(4)
    assert ada.has == (6, 4, 0)
    assert refused(lambda: ada.hold(4, job=job)) == ""
    assert ada.has == (6, 4, 0)
    assert refused(lambda: ada.hold(3, job=job, key=f"hold:{job}")) == "key_reused"
    assert refused(lambda: ada.hold(4, job=job, key=f"again:{job}")) == "hold_open"
    assert refused(lambda: ada.settle(job, 5)) == "over_hold"
    ada.settle(job, 3)
    assert ada.has == (7, 0, 0)
    assert refused(lambda: ada.settle(job, 3)) == ""
    assert refused(lambda: ada.settle(job, 2)) == "key_reused"
    assert refused(lambda: ada.settle(job, 3, key=f"other:{job}")) == "no_hold"
    assert ada.has == (7, 0, 0)
    assert ada.kinds == ["grant 10 +10", "hold 4 -4", "capture 3 +0", "release 1 +1"]
    assert faults(database) == ()


def test_no_more_is_held_than_there_is(database: Database) -> None:
    ada, stranger = Person(database), Person(database)
    ada.grant(3)
    assert refused(lambda: ada.hold(4)) == "no_credits"
    assert ada.has == (3, 0, 0)
    jobs = [ada.hold(3)]
    assert refused(lambda: ada.hold(1)) == "no_credits"
    ada.settle(jobs[0], 0)
    assert refused(lambda: ada.settle(jobs[0], 0)) == ""
    jobs.append(ada.hold(3))
    ada.settle(jobs[1], 3)
    assert ada.has == (0, 0, 0)
    assert refused(lambda: stranger.hold(1)) == "no_credits"
    assert refused(lambda: ada.settle(JobId("job_nobody"), 0)) == "no_hold"
    assert faults(database) == ()


def test_what_expires_first_goes_first_and_comes_back_where_it_was(database: Database) -> None:
    ada = Person(database)
    ada.grant(2, kind=BlockKind.PAID, cost_minor=300, currency="EUR")
    ada.grant(2, expires_at=NOW + 20 * DAY)
    ada.grant(2, expires_at=NOW + 10 * DAY)
    ada.grant(2)
    ada.grant(2, kind=BlockKind.PLAN, expires_at=NOW + 30 * DAY)
    ada.grant(2)
    job = ada.hold(9)
    assert [left for _, left in ada.blocks] == [2, 0, 0, 0, 0, 1]
    ada.settle(job, 3)
    # drawn: plan, promo of 10 days, promo of 20 days, the two without end in the order of booking
    assert ada.blocks == [("paid", 2), ("promo", 2), ("promo", 1), ("promo", 2), ("plan", 0), ("promo", 2)]
    ada.settle(ada.hold(8), 8)
    assert [left for _, left in ada.blocks] == [1, 0, 0, 0, 0, 0]
    assert ada.house == {"promotion": -8, "sales": -2, "subscriptions": -2, "revenue": 11}
    assert faults(database) == ()


def test_what_has_expired_is_lost_at_that_moment(database: Database) -> None:
    ada = Person(database)
    ada.grant(5, expires_at=NOW + DAY)
    ada.grant(4)
    late = ada.hold(2, now=NOW + DAY - timedelta(seconds=1))
    assert refused(lambda: ada.hold(5, now=NOW + DAY)) == "no_credits"
    assert (ada.has, ada.kinds[-1]) == ((7, 2, 0), "hold 2 -2")  # a refusal undoes its transaction
    assert ada.hold(4, now=NOW + DAY)
    assert (ada.has, ada.kinds[-2:]) == ((0, 6, 0), ["expire 3 -3", "hold 4 -4"])
    ada.settle(late, 0, now=NOW + DAY)
    assert ada.has == (2, 4, 0)
    with database.transaction() as session:
        ledger.expire(session, now=NOW + DAY)
    assert ada.has == (0, 4, 0)
    assert faults(database) == ()


def test_the_sweep_of_what_expired_takes_as_many_as_it_may(database: Database) -> None:
    people = [Person(database) for _ in range(3)]
    for person in people:
        person.grant(2, expires_at=NOW - 100 * DAY)
        person.grant(1, expires_at=NOW - 98 * DAY)

    def sweep(now: datetime, most: int) -> int:
        with database.transaction() as session:
            return ledger.expire(session, now=now, most=most)

    assert sweep(NOW - 101 * DAY, 10) == 0
    assert [sweep(NOW - 100 * DAY, 2) for _ in range(3)] == [2, 1, 0]
    assert [person.has for person in people] == [(1, 0, 0)] * 3
    assert faults(database) == ()


def test_a_refund_takes_its_own_grant_first_and_the_rest_is_owed(database: Database) -> None:
    ada, bob = Person(database), Person(database)
    paid, free = "p" + ada.id, "f" + ada.id
    ada.grant(3, free)
    ada.grant(10, paid, BlockKind.PAID, cost_minor=1000, currency="EUR")
    assert ada.clawback(4, paid, "c1" + ada.id) == (4, 0)
    assert ada.blocks == [("promo", 3), ("paid", 6)]
    ada.settle(ada.hold(7), 7)
    assert ada.clawback(6, paid, "c2" + ada.id) == (2, 4)
    assert ada.has == (0, 0, 4)
    assert ada.clawback(6, paid, "c2" + ada.id) == (2, 4)
    assert refused(lambda: ada.clawback(5, paid, "c2" + ada.id)) == "key_reused"
    assert refused(lambda: ada.clawback(1, "unknown", "c3" + ada.id)) == "no_grant"
    assert refused(lambda: ada.clawback(1, ada.last_key("hold"), "c3" + ada.id)) == "no_grant"
    assert refused(lambda: bob.clawback(1, paid, "c4" + bob.id)) == "no_grant"
    assert (ada.has, bob.has) == ((0, 0, 4), (0, 0, 0))
    assert faults(database) == ()


def test_a_refund_does_not_take_what_has_expired(database: Database) -> None:
    ada = Person(database)
    paid = "p" + ada.id
    ada.grant(5, paid, BlockKind.PAID, expires_at=NOW + DAY)
    assert ada.clawback(5, paid, "c" + ada.id, now=NOW + DAY) == (0, 5)
    assert ada.house == {"sales": -5, "expired": 5, "refund": 5}
    assert faults(database) == ()


def test_who_owes_pays_first_and_holds_nothing_new(database: Database) -> None:
    ada = Person(database)
    paid = "p" + ada.id
    ada.grant(10, paid, BlockKind.PAID)
    under_way = ada.hold(6)
    ada.settle(ada.hold(4), 4)
    assert ada.clawback(10, paid, "c" + ada.id) == (0, 10)
    assert ada.clawback(10, paid, "c" + ada.id) == (0, 10)
    assert ada.has == (0, 6, 10)
    assert refused(lambda: ada.hold(1)) == "owes_credits"
    ada.settle(under_way, 2)
    assert ada.has == (0, 0, 6)
    ada.grant(5, "g" + ada.id)
    assert (ada.has, ada.kinds[-2:]) == ((0, 0, 1), ["grant 5 +5", "debt 5 -5"])
    assert refused(lambda: ada.hold(1)) == "owes_credits"
    ada.grant(4)
    assert ada.has == (3, 0, 0)
    ada.grant(5, "g" + ada.id)
    assert ada.has == (3, 0, 0)
    assert ada.hold(3)
    assert faults(database) == ()


def test_a_dispute_that_is_won_gives_everything_back_once(database: Database) -> None:
    ada, bob = Person(database), Person(database)
    paid, taken = "p" + ada.id, "c" + ada.id
    ada.grant(10, paid, BlockKind.PAID, cost_minor=1000, currency="EUR", expires_at=NOW + DAY)
    ada.settle(ada.hold(8), 8)
    assert ada.clawback(10, paid, taken) == (2, 8)
    assert refused(lambda: bob.restore(taken, "r0" + ada.id)) == "no_clawback"
    assert refused(lambda: ada.restore("unknown", "r0" + ada.id)) == "no_clawback"
    assert refused(lambda: ada.restore(paid, "r0" + ada.id)) == "no_clawback"
    ada.restore(taken, "r" + ada.id)
    ada.restore(taken, "r" + ada.id)
    assert ada.has == (2, 0, 0)
    assert refused(lambda: ada.restore(taken, "again" + ada.id)) == "no_clawback"
    assert ada.has == (2, 0, 0)
    with database.transaction() as session:
        last = session.execute(
            text(
                "SELECT kind, amount, remaining, expires_at, cost_minor, currency FROM grant_block"
                " WHERE account_id = :id ORDER BY number DESC LIMIT 1"
            ),
            {"id": ada.id},
        ).one()
    assert tuple(last) == ("paid", 2, 2, None, 200, "EUR")
    ada.grant(3, "q" + ada.id, BlockKind.PAID)
    assert ada.clawback(3, "q" + ada.id, "d" + ada.id) == (3, 0)
    ada.restore("d" + ada.id, "s" + ada.id)
    ada.restore("d" + ada.id, "s" + ada.id)
    assert ada.has == (5, 0, 0)
    assert ada.house == {"sales": -13, "revenue": 8, "refund": 0}
    assert faults(database) == ()


def test_the_chain_grows_with_every_movement(database: Database) -> None:
    ada = Person(database)
    heads = []
    for _ in range(3):
        ada.grant(1)
        with database.transaction() as session:
            heads.append(ledger.heads(session).get(ada.id, ""))
    assert len({*heads, ""}) == 4
    assert all(len(head) == 64 for head in heads)


# ---- at the same moment --------------------------------------------------------------------------------------------


def second_while_first_is_open(
    database: Database, first: Callable[[Session], object], second: Callable[[Session], object]
) -> str:
    """Do ``first``, begin ``second`` elsewhere, and commit the first when the second waits for it or is done.

    The answer is the second's refusal, as `refused` tells it.
    """
    pid: Future[int] = Future()

    def later() -> str:
        def work() -> None:
            with database.transaction() as session:
                pid.set_result(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
                second(session)

        return refused(work)

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            first(session)
            answer = pool.submit(later)
            _until_waiting(database, pid.result(PATIENCE_S), answer)
        return answer.result(PATIENCE_S)


def _until_waiting(database: Database, pid: int, answer: "Future[str]") -> None:
    until = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not answer.done() and time.monotonic() < until:
        with database.transaction() as session:
            waits = text("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = :pid")
            if session.execute(waits, {"pid": pid}).scalar_one_or_none():
                return
        pause.wait(0.002)


def test_two_spends_at_once_stand_in_line(database: Database) -> None:
    ada = Person(database)
    ada.grant(3)
    one, two = ada.job(), ada.job()
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.hold(session, ada.id, one, 2, key=f"hold:{one}", now=NOW),
            lambda session: ledger.hold(session, ada.id, two, 2, key=f"hold:{two}", now=NOW),
        )
        == "no_credits"
    )
    ada.grant(3)
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.settle(session, one, captured=1, key=f"settle:{one}", now=NOW),
            lambda session: ledger.hold(session, ada.id, two, 5, key=f"hold:{two}", now=NOW),
        )
        == ""
    )
    assert ada.has == (0, 5, 0)
    ada.grant(1)
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.hold(session, ada.id, one, 1, key=f"more:{one}", now=NOW),
            lambda session: ledger.settle(session, two, captured=1, key=f"settle:{two}", now=NOW),
        )
        == ""
    )
    assert ada.has == (4, 1, 0)
    assert faults(database) == ()


def test_one_request_sent_twice_at_once_has_one_effect(database: Database) -> None:
    ada, bob = Person(database), Person(database)
    ada.grant(3)
    bob.grant(3)
    job = ada.job()
    works: list[Callable[[Session], object]] = [
        lambda session: ledger.grant(session, ada.id, 2, key="g" + ada.id, note="", now=NOW),
        lambda session: ledger.hold(session, ada.id, job, 4, key=f"hold:{job}", now=NOW),
        lambda session: ledger.settle(session, job, captured=3, key=f"settle:{job}", now=NOW),
    ]
    assert [second_while_first_is_open(database, work, work) for work in works] == ["", "", ""]
    assert ada.has == (2, 0, 0)
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.grant(session, ada.id, 2, key="k" + ada.id, note="", now=NOW),
            lambda session: ledger.grant(session, bob.id, 2, key="k" + ada.id, note="", now=NOW),
        )
        == "key_reused"
    )
    assert bob.has == (3, 0, 0)
    assert faults(database) == ()


def test_one_hold_ends_once_under_two_keys_at_once(database: Database) -> None:
    ada = Person(database)
    ada.grant(4)
    job = ada.hold(4)
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.settle(session, job, captured=1, key=f"one:{job}", now=NOW),
            lambda session: ledger.settle(session, job, captured=2, key=f"two:{job}", now=NOW),
        )
        == "no_hold"
    )
    assert ada.has == (3, 0, 0)
    other = ada.job()
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.hold(session, ada.id, other, 1, key=f"one:{other}", now=NOW),
            lambda session: ledger.hold(session, ada.id, other, 1, key=f"two:{other}", now=NOW),
        )
        == "hold_open"
    )
    assert faults(database) == ()


def test_the_sweep_passes_over_who_is_busy(database: Database) -> None:
    ada = Person(database)
    ada.grant(2, expires_at=NOW - 500 * DAY)
    ada.grant(2)
    job, counted = ada.job(), []
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.hold(session, ada.id, job, 1, key=f"hold:{job}", now=NOW - 600 * DAY),
            lambda session: counted.append(ledger.expire(session, now=NOW - 400 * DAY)),
        )
        == ""
    )
    assert counted == [0]


def test_a_spend_waits_for_the_sweep_at_its_own_account(database: Database) -> None:
    ada = Person(database)
    ada.grant(2, expires_at=NOW - 500 * DAY)
    ada.grant(2)
    job = ada.job()
    assert (
        second_while_first_is_open(
            database,
            lambda session: ledger.expire(session, now=NOW - 400 * DAY),
            lambda session: ledger.hold(session, ada.id, job, 1, key=f"hold:{job}", now=NOW),
        )
        == ""
    )
    assert ada.has == (1, 1, 0)


def test_who_came_first_goes_first(database: Database) -> None:
    ada = Person(database)
    ada.grant(1)
    keys = [f"{number}{ada.id}" for number in range(8)]

    def wait_in_line(key: str, pid: "Future[int]") -> str:
        def work() -> None:
            with database.transaction() as session:
                pid.set_result(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
                ledger.grant(session, ada.id, 1, key=key, note="", now=NOW)

        return refused(work)

    with ThreadPoolExecutor(len(keys)) as pool:
        with database.transaction() as session:
            ledger.grant(session, ada.id, 1, key="first" + ada.id, note="", now=NOW)
            answers = []
            for key in keys:
                pid: Future[int] = Future()
                answers.append(pool.submit(wait_in_line, key, pid))
                _until_waiting(database, pid.result(PATIENCE_S), answers[-1])
        assert [answer.result(PATIENCE_S) for answer in answers] == [""] * len(keys)
    booked = "SELECT t.idempotency_key FROM transfer t JOIN entry e ON e.transfer_id = t.id AND e.purse = 'available'"
    lines = ada._run(
        booked + " WHERE t.account_id = :id AND t.idempotency_key = ANY (:keys) ORDER BY e.version",
        id=ada.id,
        keys=keys,
    )
    assert [key for (key,) in lines] == keys


# ---- nobody writes past the functions ------------------------------------------------------------------------------

FORBIDDEN = [
    "UPDATE ledger_account SET available = -1",
    "UPDATE ledger_account SET held = -1",
    "UPDATE ledger_account SET owed = -1",
    "DELETE FROM ledger_account",
    "TRUNCATE ledger_account CASCADE",
    "UPDATE transfer SET amount = amount + 1",
    "UPDATE transfer SET note = 'x'",
    "DELETE FROM transfer",
    "TRUNCATE transfer CASCADE",
    "UPDATE entry SET amount = amount + 1",
    "DELETE FROM entry",
    "TRUNCATE entry",
    "UPDATE hold SET amount = amount + 1",
    "UPDATE hold SET state = 'open', ended_at = NULL WHERE state = 'ended'",
    "UPDATE hold SET state = 'ended', captured = amount + 1, ended_at = now() WHERE state = 'open'",
    "DELETE FROM hold",
    "TRUNCATE hold",
    "UPDATE grant_block SET amount = amount + 1",
    "UPDATE grant_block SET expires_at = now()",
    "UPDATE grant_block SET remaining = -1",
    "UPDATE grant_block SET remaining = amount + 1",
    "DELETE FROM grant_block",
    "TRUNCATE grant_block CASCADE",
    "UPDATE block_entry SET amount = amount + 1",
    "DELETE FROM block_entry",
    "TRUNCATE block_entry",
    "INSERT INTO entry (transfer_id, account_id, purse, amount, version, balance_after)"
    " SELECT transfer_id, account_id, purse, amount, version, balance_after FROM entry WHERE version = 1",
    "INSERT INTO entry (transfer_id, account_id, purse, amount, version, balance_after)"
    " SELECT transfer_id, account_id, purse, amount, version + 1000, -1 FROM entry WHERE version = 1",
    "INSERT INTO entry (transfer_id, account_id, purse, amount)"
    " SELECT transfer_id, account_id, 'available', 1 FROM entry WHERE version = 1",
    "INSERT INTO transfer SELECT * FROM transfer",
    "INSERT INTO hold (id, account_id, job_id, transfer_id, amount) SELECT 'hold_2', account_id, job_id, 'trf_x', 1"
    " FROM hold WHERE state = 'open' LIMIT 1",
]


def _goes_through(database: Database, statement: str) -> bool:
    try:
        with database.transaction() as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))  # only ENABLE ALWAYS holds now
            session.execute(text(statement))
            session.rollback()
    except DatabaseError:
        return False
    return True


def test_the_tables_refuse_what_no_function_writes(database: Database) -> None:
    ada = Person(database)
    ada.grant(5, kind=BlockKind.PAID)
    ada.settle(ada.hold(2), 1)
    ada.hold(1)
    for statement in FORBIDDEN:
        assert not _goes_through(database, statement), statement
    assert faults(database) == ()


def test_what_callers_may_call_acts_as_the_owner_and_its_parts_do_not(database: Database) -> None:
    with database.transaction() as session:
        found = session.execute(
            text(
                "SELECT proname FROM pg_proc WHERE proname LIKE 'ledger\\_%' AND prosecdef"
                " AND 'search_path=public, pg_temp' = ANY (proconfig) ORDER BY proname"
            )
        ).scalars()
        names = {name.removeprefix("ledger_") for name in found}
    assert names == {
        "open",
        "grant",
        "hold",
        "settle",
        "clawback",
        "restore",
        "expire",
        "faults",
        "credits_held",
    }


# ---- the audit -----------------------------------------------------------------------------------------------------

DAMAGE = {
    "UPDATE entry SET amount = amount + 1, balance_after = balance_after + 1 WHERE version = 1": "sum to nought",
    "UPDATE transfer SET debit = 'sales', credit = 'held' WHERE kind = 'grant'": "has its purses",
    "UPDATE transfer SET amount = amount + 1 WHERE kind = 'grant'": "two entries",
    "UPDATE ledger_account SET available = available + 1": "balance is the sum",
    "UPDATE ledger_account SET owed = 1": "who owes",
    "UPDATE ledger_account SET version = version + 1": "versions count",
    "UPDATE entry SET balance_after = balance_after + 1 WHERE version = 1": "says the balance after",
    "UPDATE hold SET state = 'ended', ended_at = created_at WHERE state = 'open'": "held is the sum",
    "UPDATE hold SET amount = amount + 1 WHERE state = 'open'": "posted by its transfer",
    "UPDATE hold SET captured = captured + 1 WHERE state = 'ended' AND captured < amount": "agree with its holds",
    "UPDATE grant_block SET remaining = remaining - 1 WHERE kind = 'paid' AND remaining > 0": "remains in the blocks",
    "UPDATE block_entry SET amount = amount - 1 WHERE amount < 0": "what was drawn from it",
    "UPDATE transfer SET note = 'x' WHERE kind = 'grant'": "chain of hashes",
    "UPDATE transfer SET event_at = event_at + interval '1 microsecond'": "chain of hashes",
    "UPDATE transfer SET idempotency_key = idempotency_key || 'x'": "chain of hashes",
    "UPDATE grant_block SET cost_minor = cost_minor + 1": "chain of hashes",
    "UPDATE grant_block SET expires_at = now()": "chain of hashes",
    "UPDATE ledger_account SET head = repeat('0', 64)": "chain of hashes",
}


def test_the_audit_finds_each_kind_of_damage(database: Database) -> None:
    ada = Person(database)
    ada.grant(5, kind=BlockKind.PAID)
    ada.settle(ada.hold(3), 1)
    ada.hold(1)
    tables = ("ledger_account", "transfer", "entry", "hold", "grant_block", "block_entry")
    for statement, rule in DAMAGE.items():
        with database.transaction() as session:
            for table in tables:
                session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
            session.execute(text(statement))
            found = ledger.verify(session)
            session.rollback()
        assert any(rule in broken for broken, _ in found), statement
    assert faults(database) == ()
