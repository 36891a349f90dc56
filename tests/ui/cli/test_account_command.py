"""``melodeon account``: what an operator does is done, and stands in the audit log."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from configs.settings import settings
from data.access import NotFound
from data.database import Database
from data.repositories import accounts, api_keys, audit, second_factors, sessions
from data.repositories.accounts import LastAdmin
from data.sealed import SealedBox
from serving.accounts import sign_in, sign_up
from studio.words.account import Account, Role
from studio.words.api_key import Scope
from ui.cli.account import account as command
from ui.cli.credits import credits_

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def installation(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands' settings name the test's database."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def ada(database) -> Account:
    """An administrator, the first account."""
    with database.transaction() as session:
        return sign_up(session, name="ada", email="", password=PASSWORD, signup_credits=0, now=datetime.now(UTC))


def run(*words: str, group=command) -> Result:
    return CliRunner().invoke(group, words)


def noted(database, subject: Account) -> list[tuple[str, str, str]]:
    with database.transaction() as session:
        return [(note.actor, note.action, note.detail) for note in audit.latest(session, subject=subject.id)]


def test_a_role_is_given_and_the_last_admin_stays(ada, make_account, database) -> None:
    bob = make_account("bob")
    assert run("role", "BOB", "moderator").output == "bob is moderator now.\n"
    with database.transaction() as session:
        assert accounts.by_id(session, bob.id).role is Role.MODERATOR
    assert noted(database, bob) == [("operator", "role_set", "creator to moderator")]
    assert isinstance(run("role", "ada", "creator").exception, LastAdmin)
    assert run("role", "ada", "emperor").exit_code == 2
    assert noted(database, ada) == []


def test_a_lost_second_factor_is_taken_away(ada, database) -> None:
    with database.transaction() as session:
        second_factors.begin(session, ada.id, "A" * 32, SealedBox("x"))
        second_factors.confirm(session, ada.id, ["abcd"])
    assert run("second-factor-off", "ada").exit_code == 0
    assert sign_in(database, "ada", PASSWORD).id == ada.id
    assert noted(database, ada) == [("operator", "second_factor_off", "")]


def test_everything_that_was_stolen_ends(ada, database) -> None:
    with database.transaction() as session:
        token = sessions.redeem_ticket(session, sessions.begin(session, ada.id, days=1).ticket, user_agent="")
        _, secret = api_keys.make(session, ada.id, "script", {Scope.READ})
    (line,) = run("keys", "ada", "--json").output.splitlines()
    assert json.loads(line)["label"] == "script"
    assert secret not in line
    assert run("sign-out", "ada").exit_code == 0
    with database.transaction() as session:
        assert sessions.account_of(session, token) is None
        assert api_keys.of_secret(session, secret) is None
    assert run("keys", "ada").output == ""
    assert noted(database, ada)[0] == ("operator", "signed_out_everywhere", "")


def test_a_new_password_and_granted_credits_are_written_down_and_can_be_read(ada, database) -> None:
    assert run("reset-password", "ada", "--password", "another horse entirely").exit_code == 0
    assert sign_in(database, "ada", "another horse entirely").id == ada.id
    assert run("grant", "ada", "5", group=credits_).exit_code == 0
    granted, reset = run("audit", "ada", "--limit", "2").output.splitlines()
    assert f"operator  credits_granted  {ada.id}  5 as trf_" in granted
    assert f"operator  password_set  {ada.id}" in reset
    assert len(run("audit", "--limit", "1").output.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [("role", "nobody", "admin"), ("keys", "nobody"), ("audit", "nobody"), ("sign-out", "no")]
)
def test_an_unknown_name_is_told(words) -> None:
    assert isinstance(run(*words).exception, NotFound)
