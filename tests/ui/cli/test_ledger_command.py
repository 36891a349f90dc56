"""``melodeon ledger verify`` as a person and as a program read it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from configs.settings import settings
from data.database import Database
from studio.words.account import Account
from ui.cli.ledger import ledger_


@pytest.fixture
def installation(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands' settings name the test's database."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    settings.cache_clear()
    yield
    settings.cache_clear()


def verify(*words: str) -> Result:
    return CliRunner().invoke(ledger_, ["verify", *words])


@pytest.mark.usefixtures("installation", "account")
def test_right_books_are_said_to_be_right() -> None:
    answer = verify()
    assert answer.exit_code == 0
    assert answer.output == "The books are right: 1 account, 1 transfer, 2 entries.\n"
    told = json.loads(verify("--json").output)
    assert told["ok"]
    assert (told["faults"], told["available_credits"], told["transfers"]) == ([], 100, 1)


@pytest.mark.usefixtures("installation")
def test_one_changed_figure_is_found_and_told(database: Database, account: Account) -> None:
    with database.transaction() as session:
        session.execute(text("ALTER TABLE transfer DISABLE TRIGGER ALL"))
        session.execute(text("UPDATE transfer SET note = 'Welcome to Melodeom'"))
        session.execute(text("ALTER TABLE transfer ENABLE TRIGGER ALL"))
    answer = verify()
    assert answer.exit_code == 1
    assert answer.output.startswith("FAULT  not true that ")
    assert "The books are wrong in 1 place:" in answer.output
    told = json.loads(verify("--json").output)
    assert not told["ok"]
    assert any(account.id in fault["subject"] or "trf_" in fault["subject"] for fault in told["faults"])


@pytest.mark.usefixtures("installation")
def test_heads_that_were_kept_prove_the_books_of_another_day(tmp_path: Path, account: Account) -> None:
    kept = CliRunner().invoke(ledger_, ["heads"])
    assert kept.exit_code == 0
    (tmp_path / "heads.json").write_text(kept.output)
    assert verify("--heads", str(tmp_path / "heads.json")).exit_code == 0
    (tmp_path / "other.json").write_text(json.dumps({account.id: "0" * 64}))
    answer = verify("--heads", str(tmp_path / "other.json"))
    assert answer.exit_code == 1
    assert f"FAULT  not true that a head that was kept is in its account's chain: {account.id}" in answer.output


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("content", ["", "[1]", "not JSON", "\x00"])
def test_a_file_that_holds_no_heads_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "heads.json").write_text(content)
    answer = verify("--heads", str(tmp_path / "heads.json"))
    assert answer.exit_code == 2
    assert "is not what `melodeon ledger heads` prints" in answer.output
