"""The statement: page by page, and as CSV that a spreadsheet reads and does not run."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from billing import ledger
from data.database import Database
from data.ids import new_id
from studio.words.account import Account
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_movements(database: Database, account_id: AccountId, songs: int) -> None:
    with database.transaction() as session:
        for number in range(songs):
            job_id, now = JobId(new_id("job")), NOW + timedelta(minutes=number)
            session.execute(
                text(
                    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                    " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
                ),
                {"id": job_id, "account": account_id},
            )
            ledger.hold(session, account_id, job_id, 2, key=f"h{number}", now=now)
            ledger.settle(session, job_id, captured=number % 3, key=f"s{number}", now=now)


def test_pages_follow_one_another_without_gap_or_repeat(database: Database, account: Account) -> None:
    make_movements(database, account.id, 12)
    with database.transaction() as session:
        whole = ledger.statement(session, account.id, 1000)
        pages, before = [], None
        while page := ledger.statement(session, account.id, 7, before):
            pages += page
            before = page[-1].number
    assert tuple(pages) == whole
    assert len({line.id for line in whole}) == len(whole) == 1 + 12 + 4 + 8 + 4
    assert sum(line.change_credits for line in whole) == 100 - 12


def test_the_csv_has_every_movement_and_the_balance_after_it(database: Database, account: Account) -> None:
    make_movements(database, account.id, 12)
    with database.transaction() as session:
        lines = list(ledger.statement_csv(session, account.id))
        whole = ledger.statement(session, account.id, 1000)
        end = ledger.balance(session, account.id).available_credits
    assert all(line.endswith("\r\n") for line in lines)
    rows = list(csv.DictReader(io.StringIO("".join(lines), newline="")))
    assert [row["id"] for row in rows] == [line.id for line in reversed(whole)]
    available = 0
    for row in rows:
        available += int(row["change"])
        assert int(row["available"]) == available
        assert datetime.fromisoformat(row["at"]).tzinfo is not None
    assert available == end
    assert [row["job"] != "" for row in rows] == [False] + [True] * (len(rows) - 1)


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_note_is_never_a_formula(database: Database, account: Account, mark: str) -> None:
    note = f'{mark}HYPERLINK("http://example.org";"a, b")\nnext "line"'
    with database.transaction() as session:
        ledger.grant(session, account.id, 1, key="g", note=note, now=NOW)
        lines = "".join(ledger.statement_csv(session, account.id))
    *_, row = csv.DictReader(io.StringIO(lines, newline=""))
    assert row["note"] == f"'{note}"


def test_a_plain_note_stays_as_it_is(database: Database, account: Account) -> None:
    with database.transaction() as session:
        ledger.grant(session, account.id, 1, key="g", note="1 + 1 = 2, “né”", now=NOW)
        *_, line = ledger.statement_csv(session, account.id)
    assert "1 + 1 = 2, “né”" in line


def test_who_never_had_a_credit_has_an_empty_statement(database: Database) -> None:
    nobody = AccountId(new_id("account"))
    with database.transaction() as session:
        assert ledger.statement(session, nobody) == ()
        assert len(list(ledger.statement_csv(session, nobody))) == 1
        assert ledger.heads(session).get(nobody, "") == ""
