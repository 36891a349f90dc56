"""A new password by letter: one answer for everybody, links good once and for an hour, and every session ends."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from data.passwords import WeakPassword
from data.repositories import accounts, api_keys, audit, sessions
from data.repositories.accounts import BadEmail
from data.repositories.verifications import BadToken
from serving.account_proofs import ask_reset, change_email, reset_password, verify_email
from serving.accounts import WrongPassword, sign_in, sign_up
from serving.limits import TooManyRequests
from serving.post_round import sweep
from studio.words.account import Account
from studio.words.api_key import Scope

PASSWORD, NEW = "correct horse battery", "another horse entirely"


@pytest.fixture
def ada(database, letters) -> Account:
    """Has proved ada@example.org."""
    with database.transaction() as session:
        sign_up(
            session, name="ada", email="ada@example.org", password=PASSWORD, signup_credits=0, now=datetime.now(UTC)
        )
    return verify_email(database, letters.token())


def test_the_link_sets_a_password_and_ends_every_session_and_ticket(ada, database, letters) -> None:
    with database.transaction() as session:
        token = sessions.redeem_ticket(session, sessions.begin(session, ada.id, days=1).ticket, user_agent="")
        ticket = sessions.begin(session, ada.id, days=1).ticket
    ask_reset(database, " ADA@example.org")
    assert reset_password(database, letters.token(), NEW).id == ada.id
    with database.transaction() as session:
        assert sessions.account_of(session, token) is None
        assert sessions.redeem_ticket(session, ticket, user_agent="") is None
        assert audit.latest(session, subject=ada.id)[0].action == "password_set"
    assert sign_in(database, "ada", NEW).id == ada.id
    with pytest.raises(WrongPassword):
        sign_in(database, "ada", PASSWORD)
    (note,) = letters.sent()
    assert (note["To"], "token=" in note.get_content()) == ("ada@example.org", False)


def test_the_link_revokes_every_api_key(ada, database, letters) -> None:
    with database.transaction() as session:
        secrets = [api_keys.make(session, ada.id, f"key {number}", [Scope.READ])[1] for number in range(2)]
    ask_reset(database, "ada@example.org")
    token = letters.token()
    with database.transaction() as session:
        assert all(api_keys.of_secret(session, secret) for secret in secrets)
    reset_password(database, token, NEW)
    with database.transaction() as session:
        assert [api_keys.of_secret(session, secret) for secret in secrets] == [None, None]
        actions = [note.action for note in audit.latest(session, subject=ada.id, limit=3)]
    assert actions == ["password_set", "key_revoked", "key_revoked"]
    (note,) = letters.sent()
    assert "ends every API key" in " ".join(note.get_content().split())


def test_whoever_asks_learns_nothing_because_the_same_is_done(ada, database, letters) -> None:
    for email in ("ada@example.org", "nobody@example.org"):
        assert ask_reset(database, email) is None
    with database.transaction() as session:
        rows = session.execute(text("SELECT kind, account_id, attempts FROM mail ORDER BY created_at")).all()
        assert session.execute(text("SELECT count(*) FROM one_time_token")).scalar_one() == 0
    assert rows == [("reset_password", None, 0)] * 2
    assert [letter["To"] for letter in letters.sent()] == ["ada@example.org"]
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM mail")).scalar_one() == 0


def test_an_address_that_nobody_proved_gets_no_link(database, letters) -> None:
    with database.transaction() as session:
        accounts.create(session, name="bob", email="bob@example.org", password_hash=None)
    ask_reset(database, "bob@example.org")
    assert letters.sent() == []


def test_a_link_works_once_even_for_many_at_once(ada, database, letters) -> None:
    ask_reset(database, "ada@example.org")
    token = letters.token()
    start = threading.Barrier(6)

    def follow(number: int) -> str:
        start.wait()
        try:
            reset_password(database, token, f"{NEW} {number}")
        except BadToken:
            return ""
        return f"{NEW} {number}"

    with ThreadPoolExecutor(6) as pool:
        won = [password for password in pool.map(follow, range(6)) if password]
    assert len(won) == 1
    assert sign_in(database, "ada", won[0]).id == ada.id


def test_a_link_is_good_for_an_hour(ada, database, letters) -> None:
    ask_reset(database, "ada@example.org")
    token = letters.token()
    with database.transaction() as session:
        life = session.execute(text("SELECT expires_at - now() FROM one_time_token")).scalar_one()
        session.execute(text("UPDATE one_time_token SET expires_at = now()"))
    assert 3500 < life.total_seconds() <= 3600
    with pytest.raises(BadToken):
        reset_password(database, token, NEW)
    assert sign_in(database, "ada", PASSWORD).id == ada.id


def test_only_the_newest_link_works(ada, database, letters) -> None:
    ask_reset(database, "ada@example.org")
    old = letters.token()
    ask_reset(database, "ada@example.org")
    new = letters.token()
    with pytest.raises(BadToken):
        reset_password(database, old, NEW)
    reset_password(database, new, NEW)


def test_a_weak_password_does_not_use_the_link_up(ada, database, letters) -> None:
    ask_reset(database, "ada@example.org")
    token = letters.token()
    with pytest.raises(WeakPassword):
        reset_password(database, token, "password")
    with pytest.raises(WeakPassword):
        reset_password(database, token, "ada@example.org1")
    reset_password(database, token, NEW)


def test_a_link_dies_when_the_password_or_the_address_changed_meanwhile(ada, database, letters) -> None:
    ask_reset(database, "ada@example.org")
    old = letters.token()
    change_email(database, ada, PASSWORD, "new@example.org")
    verify_email(database, letters.token())
    with pytest.raises(BadToken):
        reset_password(database, old, NEW)
    letters.sent()
    ask_reset(database, "new@example.org")
    first = letters.token()
    reset_password(database, first, NEW)
    with pytest.raises(BadToken):
        reset_password(database, first, PASSWORD)


@pytest.mark.parametrize("token", ["", "x", "\x00", "A" * 43, "\ud800"])
def test_a_forged_token_costs_no_hash_and_changes_nothing(ada, database, token, monkeypatch) -> None:
    monkeypatch.setattr("serving.account_proofs.hash_password", lambda _: pytest.fail("a hash for nobody"))
    with pytest.raises(BadToken):
        reset_password(database, token, NEW)


def test_forging_tokens_and_asking_for_letters_is_slow(ada, database) -> None:
    def tries(what) -> int:
        for number in range(100):
            try:
                what()
            except BadToken:
                continue
            except TooManyRequests:
                return number
        return 100

    assert tries(lambda: reset_password(database, "forged", NEW, address="192.0.2.1")) == 30
    assert tries(lambda: verify_email(database, "forged", address="192.0.2.1")) == 0
    assert tries(lambda: ask_reset(database, "ada@example.org", address="192.0.2.1")) == 20


def test_what_is_no_address_is_told_at_once(database) -> None:
    with pytest.raises(BadEmail):
        ask_reset(database, "ada")


def test_links_that_are_no_longer_good_are_swept(ada, database, letters) -> None:
    ask_reset(database, "ada@example.org")
    change_email(database, ada, PASSWORD, "new@example.org")
    letters.sent()

    def purposes_left() -> set[str]:
        sweep(database)
        with database.transaction() as session:
            return set(session.execute(text("SELECT purpose FROM one_time_token")).scalars())

    assert purposes_left() == {"reset", "verify"}
    with database.transaction() as session:
        session.execute(text("UPDATE one_time_token SET expires_at = now() - interval '1 day'"))
    assert purposes_left() == {"verify"}
    with database.transaction() as session:
        session.execute(text("UPDATE one_time_token SET created_at = now() - interval '31 days'"))
    assert purposes_left() == set()
