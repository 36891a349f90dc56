"""A posting whose reply was lost is sent again, by a client that cannot know: whatever happened, it has one effect."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event, Thread

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing import ledger
from data.database import Database, DatabaseUnreachable, Session
from data.ids import new_id
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.credit import BlockKind
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORKERS = 8
GIVEN = 40
Work = Callable[[Session], object]


class LostReply(Exception):
    """The commit was sent, and nobody stayed to hear what became of it."""


@dataclass(frozen=True)
class Wish:
    """One song's postings, each with a key of its own: a pack bought, two credits held, so many of them captured."""

    account: AccountId
    job: JobId
    captured: int
    bought: int
    refunded: bool


def lose_reply(session: Session) -> None:
    """Send COMMIT and hang up without waiting for the answer: it may arrive, or not."""
    raw = session.connection().connection.driver_connection
    assert raw is not None
    raw.pgconn.send_query(b"COMMIT")
    raw.pgconn.flush()
    raw.pgconn.finish()
    raise LostReply


def attempt(database: Database, work: Work, *, lose: bool) -> str:
    """One try: ``done``, a refusal's code, or ``unknown``: the connection broke before the answer came."""
    try:
        with database.transaction() as session:
            try:
                work(session)
            except MelodeonError as error:
                if not isinstance(error, DatabaseUnreachable):
                    return error.code
                raise
            if lose:
                lose_reply(session)
    except (LostReply, DatabaseUnreachable, DBAPIError, psycopg.Error):
        return "unknown"
    return "done"


def send(database: Database, work: Work, dice: Random) -> str:
    """Send one to five times, and until the last answer is known: what was done stays done."""
    answers: list[str] = []
    more = dice.randint(1, 5)
    while more > 0 or answers[-1] == "unknown":
        answers.append(attempt(database, work, lose=dice.random() < 0.3))
        more -= 1
    known = [answer for answer in answers if answer != "unknown"]
    assert "done" not in known or set(known[known.index("done") :]) == {"done"}
    return answers[-1]


def fulfil(database: Database, wish: Wish, dice: Random) -> tuple[int, int]:
    """All postings of a wish in their order; how many credits came and how many were spent for good."""
    came = spent = 0
    if wish.bought:
        expires_at = NOW + timedelta(days=1) if wish.bought % 2 else None
        pack = {"key": f"pack {wish.job}", "note": "", "now": NOW, "kind": BlockKind.PAID, "expires_at": expires_at}
        assert send(database, lambda session: ledger.grant(session, wish.account, wish.bought, **pack), dice) == "done"
        came += wish.bought
    held = send(
        database, lambda session: ledger.hold(session, wish.account, wish.job, 2, key=f"h {wish.job}", now=NOW), dice
    )
    if held == "done":
        settled = send(
            database,
            lambda session: ledger.settle(session, wish.job, captured=wish.captured, key=f"s {wish.job}", now=NOW),
            dice,
        )
        assert settled == "done"
        spent += wish.captured
    if wish.refunded and wish.bought:
        back = {"key": f"c {wish.job}", "grant_key": f"pack {wish.job}", "note": "", "now": NOW}
        taken = send(database, lambda session: ledger.clawback(session, wish.account, wish.bought, **back), dice)
        assert taken == "done"
        came -= wish.bought
    return came, spent


def kill_backends(database: Database, over: Event, dice: Random) -> None:
    """End somebody's connection every moment, in the middle of whatever it does."""
    query = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
    )
    while not over.wait(dice.uniform(0.02, 0.1)):
        with suppress(DatabaseUnreachable, DBAPIError), database.transaction() as session:
            session.execute(query)


def wishes(database: Database, accounts: list[AccountId], count: int, dice: Random) -> list[Wish]:
    made = [
        Wish(
            account=dice.choice(accounts),
            job=JobId(new_id("job")),
            captured=dice.randint(0, 2),
            bought=dice.choice((0, 0, 1, 2, 3)),
            refunded=dice.random() < 0.3,
        )
        for _ in range(count)
    ]
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
            ),
            [{"id": wish.job, "account": wish.account} for wish in made],
        )
    return made


@pytest.mark.parametrize("songs", [24, pytest.param(4_000, marks=pytest.mark.long)])
def test_lost_replies_killed_connections_and_repeats_change_nothing(
    database: Database, make_account: Callable[..., Account], songs: int
) -> None:
    seed = int(os.environ.get("LEDGER_SEED", "20261120"))
    dice = Random(seed)
    accounts = [make_account(credits=GIVEN).id for _ in range(4)]
    todo = wishes(database, accounts, songs, dice)

    def work(number: int) -> list[tuple[AccountId, int, int]]:
        own = Random(seed + number)
        return [(wish.account, *fulfil(database, wish, own)) for wish in todo[number::WORKERS]]

    over = Event()
    killer = Thread(target=kill_backends, args=(database, over, Random(seed - 1)))
    killer.start()
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            done = [each for share in pool.map(work, range(WORKERS)) for each in share]
    finally:
        over.set()
        killer.join()
        database.dispose()  # the last connection that was ended may not be dead yet
    with database.transaction() as session:
        assert ledger.verify(session) == (), f"seed {seed}"
        for account_id in accounts:
            balance = ledger.balance(session, account_id)
            expected = GIVEN + sum(came - spent for whose, came, spent in done if whose == account_id)
            assert balance.available_credits - balance.owed_credits == expected, f"seed {seed}"
            assert balance.held_credits == 0


@pytest.mark.parametrize("times", range(1, 6))
def test_each_posting_sent_many_times_at_once_has_one_effect(
    database: Database, make_account: Callable[..., Account], times: int
) -> None:
    account = make_account(credits=0).id
    with database.transaction() as session:
        ledger.grant(session, account, 10, key="pack", note="", now=NOW)
    (wish,) = wishes(database, [account], 1, Random(0))
    postings: list[tuple[Work, tuple[int, int, int]]] = [
        (lambda session: ledger.hold(session, account, wish.job, 4, key="h", now=NOW), (6, 4, 0)),
        (lambda session: ledger.settle(session, wish.job, captured=3, key="s", now=NOW), (7, 0, 0)),
        (lambda session: ledger.clawback(session, account, 9, key="c", grant_key="pack", note="", now=NOW), (0, 0, 2)),
        (lambda session: ledger.grant(session, account, 1, key="more", note="", now=NOW), (0, 0, 1)),
        (lambda session: ledger.restore(session, account, key="r", clawback_key="c", now=NOW), (8, 0, 0)),
    ]
    for work, end in postings:
        with ThreadPoolExecutor(times) as pool:
            answers = list(pool.map(lambda _, work=work: attempt(database, work, lose=False), range(times)))
        assert answers == ["done"] * times
        with database.transaction() as session:
            balance = ledger.balance(session, account)
            assert (balance.available_credits, balance.held_credits, balance.owed_credits) == end
            assert ledger.verify(session) == ()
