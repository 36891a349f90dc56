"""Proving an address: what sign-up tells (nothing), whose an address is, links that are good once and for a day."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from data.database import Database
from data.repositories import accounts, verifications
from data.repositories.accounts import BadEmail, EmailTaken, NameTaken
from data.repositories.verifications import BadToken
from serving.account_proofs import ask_verification, change_email, pending_email, verify_email
from serving.accounts import SignInLocked, WrongPassword, sign_in, sign_up
from studio.words.account import Account
from studio.words.letter import TokenPurpose

PASSWORD = "correct horse battery"


def join(database: Database, name: str, email: str) -> Account:
    with database.transaction() as session:
        return sign_up(session, name=name, email=email, password=PASSWORD, signup_credits=5, now=datetime.now(UTC))


def sql(database: Database, statement: str) -> None:
    with database.transaction() as session:
        session.execute(text(statement))


@pytest.fixture
def ada(database, letters) -> Account:
    """Has proved ada@example.org."""
    join(database, "ada", "ada@example.org")
    return verify_email(database, letters.token())


def test_an_address_becomes_the_account_s_by_the_link(database, letters) -> None:
    made = join(database, "ada", " Ada@Example.org ")
    assert (made.email, made.email_verified, pending_email(database, made)) == ("", False, "Ada@Example.org")
    (letter,) = letters.sent()
    assert letter["To"] == "Ada@Example.org"
    assert letters.sent() == []
    proved = verify_email(database, letters.token_in(letter))
    assert (proved.id, proved.email, proved.email_verified) == (made.id, "Ada@Example.org", True)
    assert pending_email(database, proved) == ""
    assert sign_in(database, "ada@example.ORG", PASSWORD) == proved


def test_an_account_needs_no_address_and_gets_no_letter_then(database, letters) -> None:
    assert join(database, "ada", "").email == ""
    assert letters.sent() == []


def test_only_the_letter_tells_that_an_address_is_taken(ada, database, letters) -> None:
    free, taken = join(database, "bob", "bob@example.org"), join(database, "eve", "ADA@example.org")
    for field in ("email", "email_verified", "role", "plan", "avatar_key"):
        assert getattr(free, field) == getattr(taken, field)
    assert [pending_email(database, who) for who in (free, taken)] == ["bob@example.org", "ADA@example.org"]
    to_bob, to_ada = letters.sent()
    assert "token=" in to_bob.get_content()
    assert to_ada["To"] == "ADA@example.org"
    assert "token=" not in to_ada.get_content()
    assert "“ada”" in to_ada.get_content()
    assert "eve" not in to_ada.get_content()
    assert sign_in(database, "ada@example.org", PASSWORD).id == ada.id


def test_sign_up_does_the_same_work_for_free_and_taken_addresses(ada, database, letters) -> None:
    def rows_after(name: str, email: str) -> dict[str, int]:
        tables = ("account", "one_time_token", "mail", "ledger_account", "rate_limit")
        count = " , ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in tables)
        with database.transaction() as session:
            before = session.execute(text(f"SELECT {count}")).one()._asdict()
        join(database, name, email)
        with database.transaction() as session:
            after = session.execute(text(f"SELECT {count}")).one()._asdict()
        return {table: after[table] - before[table] for table in tables if table != "rate_limit"}

    assert rows_after("bob", "bob@example.org") == rows_after("eve", "ada@example.org")


def test_many_sign_ups_at_once_with_one_address_get_one_answer_and_one_keeps_it(database, letters) -> None:
    join(database, "first", "")
    start = threading.Barrier(6)

    def sign_up_together(number: int) -> Account:
        start.wait()
        return join(database, f"racer{number}", "same@example.org")

    with ThreadPoolExecutor(6) as pool:
        racers = list(pool.map(sign_up_together, range(6)))
    assert {(racer.email, pending_email(database, racer)) for racer in racers} == {("", "same@example.org")}
    tokens = [letters.token_in(letter) for letter in letters.sent()]
    assert len(tokens) == 5  # to one mailbox no more at once
    start = threading.Barrier(len(tokens))

    def follow(token: str) -> str:
        start.wait()
        try:
            return verify_email(database, token).name
        except EmailTaken:
            return ""

    with ThreadPoolExecutor(len(tokens)) as pool:
        names = [name for name in pool.map(follow, tokens) if name]
    assert len(names) == 1
    with database.transaction() as session:
        owner = accounts.by_email(session, "same@example.org")
    assert owner is not None
    assert owner.name == names[0]


def test_an_address_that_somebody_only_wrote_down_is_not_theirs(database, letters) -> None:
    with database.transaction() as session:  # as accounts were made before addresses were proved
        squatter = accounts.create(session, name="squatter", email="ada@example.org", password_hash=None)
    assert squatter.email == "ada@example.org"
    with pytest.raises(WrongPassword):
        sign_in(database, "ada@example.org", PASSWORD)
    join(database, "ada", "ada@example.org")
    assert verify_email(database, letters.token()).name == "ada"
    with database.transaction() as session:
        assert accounts.by_id(session, squatter.id).email == ""


def test_a_link_works_once_even_for_many_at_once(database, letters) -> None:
    join(database, "ada", "ada@example.org")
    token = letters.token()
    start = threading.Barrier(8)

    def follow(_: int) -> bool:
        start.wait()
        try:
            verify_email(database, token)
        except BadToken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(follow, range(8))) == 1


def test_a_link_is_good_for_a_day(database, letters) -> None:
    join(database, "ada", "ada@example.org")
    token = letters.token()
    with database.transaction() as session:
        life = session.execute(text("SELECT expires_at - now() FROM one_time_token")).scalar_one()
    assert 86_300 < life.total_seconds() <= 86_400
    sql(database, "UPDATE one_time_token SET expires_at = now()")
    with pytest.raises(BadToken):
        verify_email(database, token)


def test_only_the_newest_link_works(database, letters) -> None:
    made = join(database, "ada", "ada@example.org")
    old = letters.token()
    ask_verification(database, made)
    with pytest.raises(BadToken):  # from the moment on that a new one was asked for
        verify_email(database, old)
    assert verify_email(database, letters.token()).email == "ada@example.org"


@pytest.mark.parametrize("token", ["", "x", "\x00", "\ud800", "A" * 43, "' OR 1=1 --", "x" * 100_000])
def test_a_forged_token_proves_nothing(ada, database, token) -> None:
    with pytest.raises(BadToken):
        verify_email(database, token)


def test_a_token_is_kept_nowhere_but_in_its_letter(database, letters) -> None:
    join(database, "ada", "ada@example.org")
    sql(database, "SELECT 1")
    with database.transaction() as session:
        assert session.execute(text("SELECT token_hash FROM one_time_token")).scalar_one() is None
    token = letters.token()
    with database.transaction() as session:
        for table in ("one_time_token", "mail", "audit", "account"):
            assert token not in str(session.execute(text(f"SELECT t FROM {table} t")).all())
        assert len(session.execute(text("SELECT token_hash FROM one_time_token")).scalar_one()) == 32


def test_a_token_for_one_thing_does_not_do_another(ada, database, letters) -> None:
    change_email(database, ada, PASSWORD, "new@example.org")
    token = letters.token()
    with pytest.raises(BadToken), database.transaction() as session:
        verifications.use(session, TokenPurpose.RESET, token)
    assert verify_email(database, token).email == "new@example.org"


def test_moving_needs_the_password_and_the_link_and_tells_the_old_address(ada, database, letters) -> None:
    with pytest.raises(WrongPassword):
        change_email(database, ada, "wrong password", "new@example.org")
    with pytest.raises(BadEmail):
        change_email(database, ada, PASSWORD, "new@example.org\nBcc: eve@example.org")
    assert letters.sent() == []
    change_email(database, ada, PASSWORD, "new@example.org")
    with database.transaction() as session:
        assert accounts.by_id(session, ada.id).email == "ada@example.org"
    (letter,) = letters.sent()
    assert letter["To"] == "new@example.org"
    assert verify_email(database, letters.token_in(letter)).email == "new@example.org"
    (note,) = letters.sent()
    assert note["To"] == "ada@example.org"
    assert "token=" not in note.get_content()


def test_moving_to_another_one_s_address_changes_nothing_and_tells_only_its_owner(ada, database, letters) -> None:
    bob = join(database, "bob", "bob@example.org")
    bob = verify_email(database, letters.token())
    change_email(database, bob, PASSWORD, "ada@example.org")
    (letter,) = letters.sent()
    assert "token=" not in letter.get_content()
    with database.transaction() as session:
        assert accounts.by_id(session, bob.id).email == "bob@example.org"


def test_the_password_of_a_moving_account_cannot_be_guessed_there_either(ada, database, letters) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            change_email(database, ada, "wrong password", "eve@example.org")
    with pytest.raises(SignInLocked):
        change_email(database, ada, PASSWORD, "eve@example.org")


def test_one_mailbox_gets_no_flood_of_letters(database, letters) -> None:
    made = join(database, "ada", "ada@example.org")
    for _ in range(20):
        ask_verification(database, made)
    assert len(letters.sent()) <= 5


def test_a_refused_sign_up_leaves_no_letter_behind(ada, database, letters) -> None:
    with pytest.raises(NameTaken):
        join(database, "ADA", "somebody@example.org")
    assert letters.sent() == []
