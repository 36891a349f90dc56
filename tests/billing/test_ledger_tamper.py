"""What was booked stays: changes are refused, and what the owner of the database changes all the same is found."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError

from billing import ledger
from data.database import Database, Session
from data.ids import new_id
from studio.words.account import Account
from studio.words.credit import BlockKind
from studio.words.ids import JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TABLES = ("ledger_account", "transfer", "entry", "hold", "grant_block", "block_entry")


def fill(database: Database, account: Account) -> None:
    """A little of everything: songs paid, half paid and under way, credits expired, taken back, owed and restored."""
    with database.transaction() as session:
        jobs = [JobId(new_id("job")) for _ in range(4)]
        for job_id in jobs:
            session.execute(
                text(
                    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                    " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
                ),
                {"id": job_id, "account": account.id},
            )
    soon = NOW + timedelta(days=1)
    with database.transaction() as session:
        paid = {"kind": BlockKind.PAID, "cost_minor": 999, "currency": "eur"}
        ledger.grant(session, account.id, 10, key="pack", note="a pack", now=NOW, **paid)
        ledger.grant(session, account.id, 3, key="gift", note="a gift", now=NOW, expires_at=soon)
        for number, job_id in enumerate(jobs):
            ledger.hold(session, account.id, job_id, 2, key=f"h{number}", now=NOW)
        ledger.expire(session, now=soon)
    for number, job_id in enumerate(jobs[:3]):
        with database.transaction() as session:
            ledger.settle(session, job_id, captured=number, key=f"s{number}", now=soon)
    with database.transaction() as session:
        ledger.clawback(session, account.id, 200, key="c", grant_key="pack", note="disputed", now=soon)
        ledger.grant(session, account.id, 5, key="more", note="", now=soon)
        ledger.restore(session, account.id, key="r", clawback_key="c", now=soon)
        ledger.clawback(session, account.id, 500, key="c2", grant_key="more", note="", now=soon)
        assert ledger.balance(session, account.id).owed_credits > 0
        assert ledger.verify(session) == ()


@pytest.fixture
def filled(database: Database, account: Account) -> Iterator[Database]:
    fill(database, account)
    yield database
    with database.transaction() as session:
        assert ledger.verify(session) == ()


@pytest.mark.parametrize("table", TABLES)
def test_update_delete_and_truncate_are_refused(filled: Database, table: str) -> None:
    columns = {
        "ledger_account": None,  # its balances change with every posting; the audit counts them again
        "hold": "amount",
        "grant_block": "amount",
    }
    column = columns.get(table, "amount")
    changes = [f"DELETE FROM {table}", f"TRUNCATE {table}", f"TRUNCATE {table} CASCADE"]
    changes += [f"UPDATE {table} SET {column} = {column} + 1"] if column else []
    changes += [f"SET LOCAL session_replication_role = replica; {change}" for change in changes]
    for change in changes:
        with pytest.raises(DatabaseError, match=r"append-only|cannot truncate"):
            run(filled, change)


def run(database: Database, statements: str) -> None:
    with database.transaction() as session:
        for statement in statements.split(";"):
            session.execute(text(statement))


def other(value: Any) -> Any:
    """A value as like this one as can be: one byte, one bit or one unit away."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    if value is None:
        return None
    return value[:-1] + ("x" if value[-1:] != "x" else "y") if value else "x"


FREE = {("grant_block", "open")}
"""Columns that nobody writes: the database computes them."""


def columns_of(session: Session, table: str) -> list[str]:
    query = text("SELECT column_name FROM information_schema.columns WHERE table_name = :table ORDER BY 1")
    return [name for name in session.execute(query, {"table": table}).scalars() if (table, name) not in FREE]


@pytest.mark.parametrize("table", TABLES)
def test_one_byte_changed_anywhere_is_found(filled: Database, table: str) -> None:
    """By a superuser, with every trigger and check of the table out of the way; row by row, column by column."""
    with filled.transaction() as session:
        # references would refuse many a change, and hide whether the audit sees it
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for check in session.execute(
            text("SELECT conname FROM pg_constraint WHERE conrelid = CAST(:table AS regclass) AND contype = 'c'"),
            {"table": table},
        ).scalars():
            session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {check}"))
        assert ledger.verify(session) == ()
        missed, tried = [], 0
        rows = session.execute(text(f"SELECT ctid::text AS place, * FROM {table}")).mappings().all()
        for row in rows:
            for column in columns_of(session, table):
                if other(row[column]) == row[column]:
                    continue
                tried += 1
                savepoint = session.begin_nested()
                # two rows of one key cannot be: that is as good as found
                with suppress(IntegrityError):
                    session.execute(
                        text(f"UPDATE {table} SET {column} = :value WHERE ctid = CAST(:place AS tid)"),
                        {"value": other(row[column]), "place": row["place"]},
                    )
                    if not ledger.verify(session):
                        missed.append((column, row["place"]))
                savepoint.rollback()
        session.rollback()
    assert missed == []
    assert tried > len(rows)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_taken_away_is_found(filled: Database, table: str) -> None:
    with filled.transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        places = session.execute(text(f"SELECT ctid::text FROM {table}")).scalars().all()
        for place in places:
            savepoint = session.begin_nested()
            session.execute(text(f"DELETE FROM {table} WHERE ctid = CAST(:place AS tid)"), {"place": place})
            assert ledger.verify(session) != (), place
            savepoint.rollback()
        session.rollback()


def test_a_history_written_anew_has_another_head(filled: Database, account: Account) -> None:
    """Who owns the database can write a sound chain; a head kept elsewhere shows that it is not the old one."""
    with filled.transaction() as session:
        kept = ledger.heads(session).get(account.id, "")
        assert len(kept) == 64
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("ALTER TABLE transfer DISABLE TRIGGER USER"))
        session.execute(text("UPDATE transfer SET note = 'another gift' WHERE note = 'a gift'"))
        assert [fault for fault, _ in ledger.verify(session)] == ["the chain of hashes is unbroken"]
        session.execute(
            text("""
                DO $$ DECLARE link record; last_hash text := ''; BEGIN
                FOR link IN SELECT * FROM ledger_chain ORDER BY version LOOP
                    last_hash := ledger_hash(last_hash, link.transfer, link.entries, link.draws, link.detail);
                    UPDATE transfer SET hash = last_hash WHERE id = link.transfer_id;
                END LOOP;
                UPDATE ledger_account SET head = last_hash;
                END $$""")
        )
        assert ledger.verify(session) == ()
        assert ledger.heads(session).get(account.id, "") != kept
        told = ledger.verify(session, {account.id: kept})
        assert told == (("a head that was kept is in its account's chain", account.id),)
        session.rollback()


def test_a_head_that_was_kept_is_still_a_link_after_more_was_booked(filled: Database, account: Account) -> None:
    with filled.transaction() as session:
        kept = ledger.heads(session)
        ledger.grant(session, account.id, 1, key="after", note="", now=NOW)
        assert ledger.heads(session) != kept
        assert ledger.verify(session, kept) == ()


def test_the_head_grows_with_every_movement(database: Database, account: Account) -> None:
    heads = set()
    for number in range(3):
        with database.transaction() as session:
            ledger.grant(session, account.id, 1, key=f"g{number}", note="", now=NOW)
            heads.add(ledger.heads(session).get(account.id, ""))
    assert len(heads) == 3
