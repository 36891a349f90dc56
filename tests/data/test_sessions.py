"""Sessions: tickets become sessions once, sessions end when they should, tokens are never kept."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from data.database import Database
from data.repositories import accounts, sessions
from data.repositories.sessions import SESSIONS_MAX
from studio.words.account import Account


@pytest.fixture
def ada(database: Database) -> Account:
    with database.transaction() as session:
        return accounts.create(session, name="ada", password_hash="hash")


def _sign_in(database: Database, account: Account, user_agent: str = "Browser", days: int = 14) -> str:
    with database.transaction() as session:
        ticket = sessions.begin(session, account.id, days=days).ticket
    with database.transaction() as session:
        token = sessions.redeem_ticket(session, ticket, user_agent=user_agent)
    assert token is not None
    return token


def _whose(database: Database, token: str) -> Account | None:
    with database.transaction() as session:
        return sessions.account_of(session, token)


def _sql(database: Database, statement: str) -> None:
    with database.transaction() as session:
        session.execute(text(statement))


def test_a_ticket_becomes_a_session_of_its_account(database: Database, ada: Account) -> None:
    assert _whose(database, _sign_in(database, ada)) == ada


def test_a_ticket_is_good_once_even_for_many_at_once(database: Database, ada: Account) -> None:
    with database.transaction() as session:
        ticket = sessions.begin(session, ada.id, days=1).ticket
    start = threading.Barrier(8)

    def redeem(_: int) -> str | None:
        with database.transaction() as session:
            start.wait()
            return sessions.redeem_ticket(session, ticket, user_agent="")

    with ThreadPoolExecutor(8) as pool:
        tokens = [token for token in pool.map(redeem, range(8)) if token]
    assert len(tokens) == 1
    assert _whose(database, tokens[0]) == ada


def test_an_old_ticket_is_worth_nothing(database: Database, ada: Account) -> None:
    with database.transaction() as session:
        ticket = sessions.begin(session, ada.id, days=1).ticket
        life = session.execute(text("SELECT expires_at - now() FROM ticket")).scalar_one()
    assert life == sessions.TICKET_LIFE
    _sql(database, "UPDATE ticket SET expires_at = now()")
    with database.transaction() as session:
        assert sessions.redeem_ticket(session, ticket, user_agent="") is None


def test_strangers_tokens_open_nothing(database: Database, ada: Account) -> None:
    _sign_in(database, ada)
    with database.transaction() as session:
        for token in ("", "nonsense", "\x00", "\ud800", "x" * 100_000, "' OR 1=1 --"):
            assert sessions.account_of(session, token) is None
            assert sessions.redeem_ticket(session, token, user_agent="") is None
            sessions.revoke(session, token)
        assert len(sessions.list_of(session, ada.id)) == 1


def test_only_the_hash_is_kept(database: Database, ada: Account) -> None:
    token = _sign_in(database, ada)
    with database.transaction() as session:
        kept = session.execute(text("SELECT token_hash FROM session")).scalar_one()
        everything = str(session.execute(text("SELECT s FROM session s")).all())
    assert kept == hashlib.sha256(token.encode()).digest()
    assert token not in everything
    assert len(token) >= 43


def test_a_session_ends_by_its_date(database: Database, ada: Account) -> None:
    token = _sign_in(database, ada, days=3)
    with database.transaction() as session:
        assert session.execute(text("SELECT expires_at - created_at FROM session")).scalar_one().days == 3
    _sql(database, "UPDATE session SET expires_at = now()")
    assert _whose(database, token) is None
    with database.transaction() as session:
        assert sessions.list_of(session, ada.id) == ()


def test_signing_out_ends_this_session_only(database: Database, ada: Account) -> None:
    here, there = _sign_in(database, ada), _sign_in(database, ada)
    with database.transaction() as session:
        sessions.revoke(session, here)
    assert _whose(database, here) is None
    assert _whose(database, there) == ada


def test_signing_out_everywhere_ends_all_and_voids_tickets(database: Database, ada: Account) -> None:
    tokens = [_sign_in(database, ada) for _ in range(3)]
    with database.transaction() as session:
        ticket = sessions.begin(session, ada.id, days=1).ticket
        sessions.revoke_all(session, ada.id)
        assert sessions.redeem_ticket(session, ticket, user_agent="") is None
    assert [_whose(database, token) for token in tokens] == [None] * 3


def test_a_session_of_an_older_token_version_is_dead_even_if_its_row_is_left(database: Database, ada: Account) -> None:
    token = _sign_in(database, ada)
    _sql(database, "UPDATE account SET token_version = token_version + 1")
    assert _whose(database, token) is None


def test_a_deleted_account_has_no_sessions_and_gets_none(database: Database, ada: Account) -> None:
    token = _sign_in(database, ada)
    with database.transaction() as session:
        ticket = sessions.begin(session, ada.id, days=1).ticket
    _sql(database, "UPDATE account SET deleted_at = now()")
    assert _whose(database, token) is None
    with database.transaction() as session:
        assert sessions.redeem_ticket(session, ticket, user_agent="") is None


def test_being_seen_is_noted_at_most_once_a_minute(database: Database, ada: Account) -> None:
    token = _sign_in(database, ada)

    def seen_s_ago() -> float:
        with database.transaction() as session:
            return float(session.execute(text("SELECT extract(epoch FROM now() - seen_at) FROM session")).scalar_one())

    _sql(database, "UPDATE session SET seen_at = now() - interval '50 seconds'")
    _whose(database, token)
    assert seen_s_ago() >= 50
    _sql(database, "UPDATE session SET seen_at = now() - interval '61 seconds'")
    _whose(database, token)
    assert seen_s_ago() < 50


def test_the_list_shows_browsers_and_each_can_be_ended(database: Database, ada: Account) -> None:
    old = _sign_in(database, ada, "Fire\x00fox\n<b>" + "x" * 1000)
    new = _sign_in(database, ada, "Phone")
    with database.transaction() as session:
        listed = sessions.list_of(session, ada.id)
        assert [one.user_agent[:10] for one in listed] == ["Phone", "Firefox<b>"]
        assert len(listed[1].user_agent) <= 300
        sessions.revoke_one(session, ada.id, listed[0].id)
    assert _whose(database, new) is None
    assert _whose(database, old) == ada


def test_nobody_ends_another_ones_session(database: Database, ada: Account) -> None:
    token = _sign_in(database, ada)
    with database.transaction() as session:
        eve = accounts.create(session, name="eve", password_hash=None)
        target = sessions.list_of(session, ada.id)[0]
        sessions.revoke_one(session, eve.id, target.id)
    assert _whose(database, token) == ada


def test_the_page_that_began_a_session_knows_it_before_the_cookie_is_fetched(database: Database, ada: Account) -> None:
    with database.transaction() as session:
        begun = sessions.begin(session, ada.id, days=1)
        assert sessions.account_of_session(session, begun.session_id) == ada
        token = sessions.redeem_ticket(session, begun.ticket, user_agent="Browser")
        assert token is not None
        assert sessions.of_token(session, token) == (ada, begun.session_id)
        sessions.revoke_one(session, ada.id, begun.session_id)
        assert sessions.account_of_session(session, begun.session_id) is None
        assert sessions.account_of(session, token) is None


def test_one_more_than_an_account_may_have_ends_the_one_unseen_for_longest(database: Database, ada: Account) -> None:
    first, second = _sign_in(database, ada), _sign_in(database, ada)
    _sql(database, "UPDATE session SET seen_at = now() - interval '1 day'")
    _sql(database, "UPDATE session SET seen_at = now() - interval '2 days' WHERE id = (SELECT max(id) FROM session)")
    with database.transaction() as session:
        for _ in range(SESSIONS_MAX - 2):
            sessions.begin(session, ada.id, days=1)
        assert len(sessions.list_of(session, ada.id)) == SESSIONS_MAX
    last = _sign_in(database, ada)
    assert [_whose(database, token) for token in (first, second, last)] == [ada, None, ada]
    with database.transaction() as session:
        assert len(sessions.list_of(session, ada.id)) == SESSIONS_MAX


def test_many_who_sign_in_at_once_do_not_pass_the_limit_together(database: Database, ada: Account) -> None:
    with database.transaction() as session:
        for _ in range(SESSIONS_MAX - 1):
            sessions.begin(session, ada.id, days=1)
    start = threading.Barrier(6)

    def enter(_: int) -> None:
        start.wait()
        with database.transaction() as session:
            sessions.begin(session, ada.id, days=1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(enter, range(6)))
    with database.transaction() as session:
        assert len(sessions.list_of(session, ada.id)) == SESSIONS_MAX
