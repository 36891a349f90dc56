"""Books of before blocks and chains go on: balances stay, open holds are given back, old keys are known."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine, text

from billing import ledger
from data.database import Database, _config, migrate
from data.embedded_postgres import EmbeddedPostgres
from data.ids import new_id
from studio.words.credit import MovementKind
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def old_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database at revision 0002."""
    server = postgres.url_of("postgres").replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE old_books")
    url = postgres.url_of("old_books")
    engine = create_engine(url)
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    engine.dispose()
    try:
        yield url
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE old_books WITH (FORCE)")


def fill(url: str) -> tuple[list[AccountId], JobId]:
    """With the functions of 0001: one with an open hold, one who spent all, one with an empty purse, one without."""
    people = [AccountId(new_id("account")) for _ in range(4)]
    jobs = [JobId(new_id("job")) for _ in range(3)]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for account in people:
            connection.execute(
                "INSERT INTO account (id, name, role) VALUES (%s, %s, 'creator')", (account, account[-32:])
            )
        for job, account in zip(jobs, (people[0], people[0], people[1]), strict=True):
            connection.execute(
                "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                " VALUES (%s, %s, 'song', 'queued', '{}', 2, %s, '')",
                (job, account, job),
            )
        grants = [(people[0], 100, "Welcome to Melodeon"), (people[1], 3, ""), (people[0], 7, "a gift")]
        for account, amount, note in grants:
            values = (new_id("transfer"), f"{note} {account}", account, amount, note, NOW)
            connection.execute("SELECT ledger_grant(%s, %s, %s, %s, %s, %s)", values)
        for job, account, amount in [(jobs[0], people[0], 2), (jobs[1], people[0], 5), (jobs[2], people[1], 3)]:
            values = (new_id("hold"), new_id("transfer"), f"h {job}", account, job, amount, NOW)
            connection.execute("SELECT ledger_hold(%s, %s, %s, %s, %s, %s, %s)", values)
        for job, captured in [(jobs[0], 1), (jobs[2], 3)]:
            values = (new_id("transfer"), new_id("transfer"), f"s {job}", job, captured, NOW)
            connection.execute("SELECT ledger_settle(%s, %s, %s, %s, %s, %s)", values)
        connection.execute("SELECT ledger_open(%s)", (people[2],))
    return people, jobs[1]


def test_old_books_get_blocks_and_a_chain_and_go_on(old_url: str) -> None:
    people, open_job = fill(old_url)
    migrate(old_url)
    database = Database(old_url)
    try:
        with database.transaction() as session:
            assert ledger.verify(session) == ()
            have = [ledger.balance(session, account) for account in people]
            assert [(each.available_credits, each.held_credits) for each in have] == [(101, 5), (0, 0), (0, 0), (0, 0)]
            blocks = session.execute(
                text("SELECT account_id, kind, remaining, expires_at FROM grant_block ORDER BY id")
            )
            assert {tuple(block) for block in blocks} == {
                (people[0], "promo", 101, None),
                (people[1], "promo", 0, None),
            }
            assert [bool(ledger.heads(session).get(account, "")) for account in people] == [True, True, False, False]
        with database.transaction() as session:
            # the hold of before gives back to the block, and an old key still answers
            ledger.settle(session, open_job, captured=2, key="s", now=NOW)
            key = f"Welcome to Melodeon {people[0]}"
            ledger.grant(session, people[0], 100, key=key, note="Welcome to Melodeon", now=NOW)
            assert ledger.balance(session, people[0]).available_credits == 104
            ledger.clawback(session, people[0], 104, key="c", grant_key=key, note="", now=NOW)
            (line, *_) = ledger.statement(session, people[0])
            assert (line.kind, line.change_credits) == (MovementKind.REFUND, -104)
            assert ledger.verify(session) == ()
    finally:
        database.dispose()
