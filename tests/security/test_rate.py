"""Limits: shared by replicas, strict in every span, open again by themselves; guessing is slow, whoever is guessed."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from data.database import Database
from data.repositories import rate_limits
from serving.accounts import SignInLocked, WrongPassword, sign_in, sign_up
from serving.limits import GUESSES, GUESSES_OF_ADDRESS, Limit, TooManyRequests, network_of, take

PASSWORD = "correct horse battery"


@pytest.fixture
def replica(database):
    """A second process on the same database."""
    other = Database(database.conninfo)
    yield other
    other.dispose()


def _hit(database: Database, bucket: str = "b", *, most: int = 10, per_s: float = 900) -> int | None:
    with database.transaction() as session:
        return rate_limits.hit(session, bucket, most=most, per_s=per_s)


def _later(database: Database, seconds: float) -> None:
    """Let that much time pass: every bucket is as far from the clock as it would be then."""
    with database.transaction() as session:
        session.execute(
            text("UPDATE rate_limit SET free_at = free_at - make_interval(secs => :seconds)"), {"seconds": seconds}
        )


def test_half_comes_at_once_the_rest_evenly_and_never_more_in_any_span(database: Database) -> None:
    now_s, passed = 0.0, []
    for _ in range(200):
        wait_s = _hit(database)
        if wait_s is None:
            passed.append(now_s)
        _later(database, 10.0)
        now_s += 10.0
    assert passed[:5] == [0.0, 10.0, 20.0, 30.0, 40.0]
    for start in passed:
        assert sum(1 for moment in passed if start <= moment < start + 900) <= 10
    assert len(passed) >= 2000 / 900 * 5  # it goes on for ever, if slowly


def test_the_wait_that_is_told_is_enough_and_not_much_more(database: Database) -> None:
    assert [_hit(database) for _ in range(5)] == [None] * 5
    wait_s = _hit(database)
    assert wait_s is not None
    assert 175 <= wait_s <= 180
    _later(database, wait_s - 5)
    assert _hit(database) is not None
    _later(database, 5)
    assert _hit(database) is None
    assert _hit(database) is not None


def test_two_replicas_count_together_even_at_once(database: Database, replica: Database) -> None:
    turns = itertools.cycle((database, replica))
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(_hit, [next(turns) for _ in range(64)]))
    assert waits.count(None) == 5


def test_buckets_know_nothing_of_each_other_and_keep_no_address(database: Database) -> None:
    for _ in range(6):
        _hit(database, "from 192.0.2.7")
    assert _hit(database, "from 192.0.2.8") is None
    with database.transaction() as session:
        everything = str(session.execute(text("SELECT r FROM rate_limit r")).all())
    assert "192" not in everything


def test_a_try_given_back_was_none_and_a_free_bucket_is_swept(database: Database) -> None:
    for _ in range(20):
        assert _hit(database) is None
        with database.transaction() as session:
            rate_limits.give_back(session, "b", most=10, per_s=900)
    _hit(database, "long gone")
    _later(database, 1000)
    _hit(database, "b")
    with database.transaction() as session:
        assert rate_limits.sweep(session) == 1
        assert session.execute(text("SELECT count(*) FROM rate_limit")).scalar_one() == 1


def test_counting_writes_nothing_that_must_reach_the_disk(database: Database) -> None:
    with database.transaction() as session:
        kind = session.execute(text("SELECT relpersistence FROM pg_class WHERE relname = 'rate_limit'")).scalar_one()
    assert kind == "u"


def test_a_limit_of_one_is_no_limit_of_this_kind(database: Database) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        _hit(database, most=1)


def test_taking_counts_even_when_what_follows_fails_and_says_how_long_to_wait(database: Database) -> None:
    limit = Limit(name="tests", most=2, per_s=120)
    take(database, limit, "ada")
    with pytest.raises(TooManyRequests, match="2 minutes") as refused:
        take(database, limit, "ada")
    assert 61 <= refused.value.retry_after_s <= 120


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"),
        ("", ""), ("testclient", "testclient"),
    ],
)  # fmt: skip
def test_a_household_is_counted_as_one(address: str, counted: str) -> None:
    assert network_of(address) == counted


@settings(max_examples=200)
@given(st.text(max_size=100))
def test_whatever_stands_where_an_address_should_be_is_counted_as_something_short(text_: str) -> None:
    assert len(network_of(text_)) <= 64


def _guess(database: Database, name: str, address: str = "") -> str:
    try:
        sign_in(database, name, "wrong password", address=address)
    except WrongPassword:
        return "wrong"
    except SignInLocked as locked:
        return "locked" if 1 <= locked.retry_after_s <= 180 else f"locked for {locked.retry_after_s} s"
    raise AssertionError("a wrong password opened the account")


@pytest.fixture
def ada(database: Database):
    with database.transaction() as session:
        return sign_up(session, name="ada", email="", password=PASSWORD, signup_credits=0, now=datetime.now(UTC))


@pytest.mark.parametrize("name", ["ada", "nobody-here", "nobody@example.org", "not a name", ""])
def test_known_and_unknown_are_locked_alike_over_all_replicas(ada, database, replica, name) -> None:
    answers = [_guess(some, name) for some in (database, replica) * 4]
    assert answers == ["wrong"] * 5 + ["locked"] * 3


def test_in_no_quarter_of_an_hour_are_there_more_than_ten_tries_at_one_account(ada, database) -> None:
    tries, now_s = [], 0.0
    while now_s < 1800:
        for _ in range(2):
            if _guess(database, "ada") == "wrong":
                tries.append(now_s)
        _later(database, 60.0)
        now_s += 60.0
    assert max(sum(1 for moment in tries if start <= moment < start + 900) for start in tries) <= GUESSES.most == 10


def test_one_address_is_locked_over_all_accounts_and_others_are_not(ada, database, replica) -> None:
    answers, last_s = [], time.monotonic()
    for number, some in enumerate((database, replica) * 30):
        now_s = time.monotonic()
        # The clock stands still nine seconds after the first: one more is free every 18 s, which guesses may well take.
        _later(database, last_s - now_s + (9.0 if number == 1 else 0.0))
        last_s = now_s
        answers.append(_guess(some, f"somebody{number}", f"2001:db8::{number:x}"))
    assert answers == ["wrong"] * 50 + ["locked"] * 10
    assert sign_in(database, "ada", PASSWORD, address="192.0.2.1").id == ada.id
    with pytest.raises(SignInLocked):
        sign_in(database, "ada", PASSWORD, address="2001:db8::99")


def test_the_lock_opens_by_itself_and_a_right_password_forgives(ada, database) -> None:
    for _ in range(5):
        _guess(database, "ada")
    with pytest.raises(SignInLocked):
        sign_in(database, "ada", PASSWORD)
    _later(database, 181)
    assert sign_in(database, "ADA", PASSWORD).id == ada.id
    assert [_guess(database, "ada") for _ in range(6)] == ["wrong"] * 5 + ["locked"]


def test_signing_in_rightly_again_and_again_locks_nobody_out(ada, database) -> None:
    for _ in range(GUESSES_OF_ADDRESS.most // 2 + 5):
        sign_in(database, "ada", PASSWORD, address="192.0.2.1")
