"""Accounts: names, uniqueness, the first admin, failed sign-ins."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.database import Database
from data.repositories import accounts, sessions
from data.repositories.accounts import BadEmail, BadName, EmailTaken, NameTaken, checked_email, checked_name
from studio.words.account import Account, Role


def _create(database: Database, name: str, email: str = "") -> Account:
    with database.transaction() as session:
        return accounts.create(session, name=name, email=email, password_hash="hash")


def test_the_first_is_the_admin_and_the_rest_are_creators(database: Database) -> None:
    with database.transaction() as session:
        accounts.local_account(session)
    assert [_create(database, name).role for name in ("ada", "bob", "cleo")] == [
        Role.ADMIN,
        Role.CREATOR,
        Role.CREATOR,
    ]


def test_of_many_signing_up_at_once_exactly_one_is_the_admin(database: Database) -> None:
    start = threading.Barrier(8)

    def sign_up(number: int) -> Role:
        start.wait()
        return _create(database, f"racer{number}").role

    with ThreadPoolExecutor(8) as pool:
        roles = list(pool.map(sign_up, range(8)))
    assert sorted(roles) == sorted([Role.ADMIN] + [Role.CREATOR] * 7)


def test_of_many_taking_one_name_at_once_one_gets_it(database: Database) -> None:
    _create(database, "first")
    start = threading.Barrier(6)

    def sign_up(name: str) -> str:
        start.wait()
        try:
            _create(database, name)
        except NameTaken:
            return "taken"
        return "made"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(sign_up, ["Zoë", "zoë", "ZOË", "zOë", "Zoe\u0308", "ZOë"]))
    assert sorted(outcomes) == ["made", *["taken"] * 5]


def test_what_is_created_is_found_whatever_the_case(database: Database) -> None:
    made = _create(database, "Ada.Lovelace", "Ada@Example.org")
    with database.transaction() as session:
        assert accounts.by_id(session, made.id) == made
        assert accounts.by_name(session, "ADA.lovelace") == made
        assert accounts.by_name(session, "ada") is None
    assert (made.name, made.email, made.plan) == ("Ada.Lovelace", "Ada@Example.org", "free")


def test_taken_names_and_addresses_leave_the_transaction_usable(database: Database) -> None:
    _create(database, "ada", "ada@example.org")
    with database.transaction() as session:
        with pytest.raises(NameTaken, match="ADA"):
            accounts.create(session, name="ADA", password_hash=None)
        with pytest.raises(EmailTaken):
            accounts.create(session, name="eve", email="ADA@example.ORG", password_hash=None)
        accounts.create(session, name="eve", password_hash=None)
    with database.transaction() as session:
        assert accounts.by_name(session, "eve") is not None


def test_several_accounts_may_have_no_address(database: Database) -> None:
    assert {_create(database, name).email for name in ("ada", "bob")} == {""}


def test_the_command_lines_account_is_one_and_nobody_can_take_its_name(database: Database) -> None:
    with pytest.raises(NameTaken):
        _create(database, "Local")
    start = threading.Barrier(4)

    def ask(_: int) -> Account:
        start.wait()
        with database.transaction() as session:
            return accounts.local_account(session)

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(ask, range(4)))
    assert len(found) == 1
    with database.transaction() as session:
        known = accounts.credentials(session, "local")
    assert known is not None
    assert known.password_hash is None


def test_names_of_any_script_are_welcome(database: Database) -> None:
    for name in ("ab", "x" * 32, "Ada_L.v-1", "Бьорк", "सूर्य", "初音ミク", "žluťoučký", "42"):
        assert _create(database, name).name == name


HIDING = [
    "", "a", "x" * 33, "a b", " ada", "ada ", "-ada", "ada.", "_a", "a\x00b", "ada\n", "a/b", "<b>", "a'b--",
    "\u0301ab", "😀😀", "a\u202eb", "a\u200bb", "\ud800ab", "x" * 1_000_000,
]  # fmt: skip


def test_names_that_hide_something_are_refused_before_postgres_sees_them(database: Database) -> None:
    with database.transaction() as session:
        for name in HIDING:
            with pytest.raises(BadName):
                accounts.create(session, name=name, password_hash=None)
            assert accounts.by_name(session, name) is None
            assert accounts.credentials(session, name) is None


@given(st.text(max_size=40))
def test_a_checked_name_is_checked_for_good(name: str) -> None:
    try:
        checked = checked_name(name)
    except BadName:
        return
    assert checked_name(checked) == checked
    assert 2 <= len(checked) <= 32
    assert not any(letter.isspace() or not letter.isprintable() for letter in checked)


@pytest.mark.parametrize("email", ["", "a@b.co", " ada@example.org ", "josé@exämple.org", "a+b.c@d-e.f.org"])
def test_plausible_addresses_pass(email: str) -> None:
    assert checked_email(email) == email.strip()


@pytest.mark.parametrize(
    "email",
    [
        "ada", "ada@", "@b.co", "ada@localhost", "a b@c.de", "a@b..de", "a@.de", "a\x00@b.de", "a@b.de\nBcc: x@y.z",
        "a@b@c.de", "eve,ada@b.de", "<ada@b.de>", "\"a b\"@c.de", ".a@b.de", "a..b@c.de",
        "\ud800@b.de", "x" * 65 + "@b.de", "a@" + "b" * 260 + ".de",
    ],
)  # fmt: skip
def test_other_texts_are_no_addresses(email: str) -> None:
    with pytest.raises(BadEmail):
        checked_email(email)


def test_ids_that_are_none_find_nobody(database: Database) -> None:
    with database.transaction() as session:
        for hostile in (
            "",
            "acc_",
            "acc_' OR 1=1 --",
            "\x00",
            "acc_" + "0" * 33,
            "song_" + "0" * 32,
            "acc_" + "0" * 32,
        ):
            assert accounts.by_id(session, hostile) is None


def test_a_new_password_ends_every_session_and_ticket(database: Database) -> None:
    ada = _create(database, "ada")
    with database.transaction() as session:
        token = sessions.redeem_ticket(session, sessions.begin(session, ada.id, days=1).ticket, user_agent="")
        ticket = sessions.begin(session, ada.id, days=1).ticket
    assert token is not None
    with database.transaction() as session:
        accounts.set_password(session, ada.id, "another hash")
    with database.transaction() as session:
        assert sessions.account_of(session, token) is None
        assert sessions.redeem_ticket(session, ticket, user_agent="") is None
        known = accounts.credentials(session, "ada")
    assert known is not None
    assert known.password_hash == "another hash"
