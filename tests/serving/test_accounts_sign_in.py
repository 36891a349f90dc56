"""Signing up and in: what comes into being together, and how guessing is stopped."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from billing import ledger
from data.database import Database
from data.passwords import WeakPassword
from data.repositories import accounts
from serving.accounts import SignInLocked, WrongPassword, local_account, sign_in, sign_up
from serving.api.services import Services
from studio.words.account import Account, Role

PASSWORD = "correct horse battery"


@pytest.fixture
def ada(database: Database) -> Account:
    with database.transaction() as session:
        return sign_up(session, name="Ada", email="", password=PASSWORD, signup_credits=7, now=Services.now())


def test_an_account_begins_with_its_credits(ada, database) -> None:
    with database.transaction() as session:
        assert ledger.balance(session, ada.id).available_credits == 7
    assert ada.role is Role.ADMIN
    assert sign_in(database, "ADA", PASSWORD) == ada


def test_a_refused_account_leaves_nothing_behind(database) -> None:
    with pytest.raises(WeakPassword), database.transaction() as session:
        sign_up(session, name="Eve", email="", password="password", signup_credits=7, now=Services.now())
    with database.transaction() as session:
        assert accounts.by_name(session, "Eve") is None


def test_the_command_line_s_account_is_made_once_and_has_no_password(database) -> None:
    for _ in range(2):
        with database.transaction() as session:
            local = local_account(session, signup_credits=7, now=Services.now())
    with database.transaction() as session:
        assert ledger.balance(session, local.id).available_credits == 7
    with pytest.raises(WrongPassword):
        sign_in(database, "local", "")


def test_a_lock_holds_for_the_right_password_too_and_opens_by_itself(ada, database) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            sign_in(database, "Ada", "wrong password")
    with pytest.raises(SignInLocked):
        sign_in(database, "Ada", PASSWORD)
    with database.transaction() as session:
        session.execute(text("UPDATE rate_limit SET free_at = free_at - interval '3 minutes'"))
    assert sign_in(database, "Ada", PASSWORD).id == ada.id
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM rate_limit")).scalar_one() == 0


def test_guessing_in_parallel_is_counted_like_guessing_in_a_row(ada, database) -> None:
    def guess(_: int) -> type[Exception]:
        try:
            sign_in(database, "Ada", "wrong password")
        except (WrongPassword, SignInLocked) as error:
            return type(error)
        raise AssertionError("a wrong password opened the account")

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(guess, range(48)))
    assert results.count(WrongPassword) == 5
