"""API keys as they are kept: told once, stored as a hash, dead when revoked or expired, never more than wished."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from data.database import Database
from data.passwords import hash_password
from data.repositories import api_keys, audit, second_factors, sessions
from data.repositories.api_keys import KEYS_MAX, TooManyKeys, UnfitKey
from data.repositories.texts import UnkeepableText
from serving.account_confirm import NotConfirmed, Shown
from serving.account_keys import make_key
from serving.accounts import CodeNeeded, WrongCode, WrongPassword, put_password, sign_up
from studio.words.account import Account
from studio.words.api_key import ApiKey, Scope

SOON = timedelta(hours=1)


def make(
    database: Database, account, label: str = "script", scopes=(Scope.READ,), expires_at=None
) -> tuple[ApiKey, str]:
    with database.transaction() as session:
        return api_keys.make(session, account.id, label, scopes, expires_at)


def opens(database: Database, secret: str):
    with database.transaction() as session:
        return api_keys.of_secret(session, secret)


def test_a_key_acts_for_its_account_with_its_scopes(account, database) -> None:
    key, secret = make(database, account, " my script ", [Scope.READ, Scope.CREATE, Scope.READ])
    opened = opens(database, secret)
    assert opened.account == account
    assert (opened.key_id, opened.scopes) == (key.id, {Scope.READ, Scope.CREATE})
    assert (key.label, key.shown, key.expires_at) == ("my script", secret[:10], None)


def test_a_key_has_256_random_bits_and_only_its_hash_is_kept(account, database) -> None:
    secrets = {make(database, account)[1] for _ in range(KEYS_MAX)}
    assert len(secrets) == KEYS_MAX
    assert all(secret.startswith("mel_") and len(secret) == 47 for secret in secrets)
    with database.transaction() as session:
        kept = set(session.execute(text("SELECT secret_hash FROM api_key")).scalars())
        everything = str(session.execute(text("SELECT k FROM api_key k")).all())
    assert kept == {hashlib.sha256(secret.encode()).digest() for secret in secrets}
    assert not any(secret[:14] in everything for secret in secrets)


@pytest.mark.parametrize("change", ["revoked", "expired", "all revoked", "owner gone"])
def test_a_key_ends_at_once(account, database, change) -> None:
    key, secret = make(database, account, expires_at=datetime.now(UTC) + SOON)
    assert opens(database, secret) is not None
    with database.transaction() as session:
        if change == "revoked":
            assert api_keys.revoke(session, account.id, key.id)
            assert not api_keys.revoke(session, account.id, key.id)
        elif change == "expired":
            session.execute(text("UPDATE api_key SET expires_at = now()"))
        elif change == "all revoked":
            api_keys.revoke_all(session, account.id, actor=account.id)
        else:
            session.execute(text("UPDATE account SET deleted_at = now()"))
    assert opens(database, secret) is None


def test_an_altered_or_forged_key_opens_nothing(account, database) -> None:
    _, secret = make(database, account)
    altered = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    forged = (altered, secret.upper(), secret + "x", secret[4:], "mel_", "", "\x00", "\ud800", "mel_'--", "x" * 100_000)
    assert [opens(database, each) for each in forged] == [None] * len(forged)


def test_nobody_revokes_another_one_s_key(make_account, database) -> None:
    ada, eve = make_account("ada"), make_account("eve")
    key, secret = make(database, ada)
    with database.transaction() as session:
        assert not api_keys.revoke(session, eve.id, key.id)
        assert api_keys.list_of(session, eve.id) == ()
        assert [one.id for one in api_keys.list_of(session, ada.id)] == [key.id]
    assert opens(database, secret) is not None


@pytest.mark.parametrize(
    ("label", "scopes", "expires_s", "field"),
    [("", [Scope.READ], None, "label"), (" ", [Scope.READ], None, "label"), ("x" * 61, [Scope.READ], None, "label"),
     ("x", [], None, "scopes"), ("x", [Scope.READ], -1, "expires_at")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(account, database, label, scopes, expires_s, field) -> None:
    expires_at = None if expires_s is None else datetime.now(UTC) + timedelta(seconds=expires_s)
    with pytest.raises(UnfitKey) as refused:
        make(database, account, label, scopes, expires_at)
    assert refused.value.field_name == field
    with pytest.raises(UnkeepableText):
        make(database, account, "a\x00b")


def test_an_account_has_no_more_keys_than_it_may_even_when_made_at_once(account, database) -> None:
    for _ in range(KEYS_MAX - 2):
        make(database, account)
    start = threading.Barrier(6)

    def make_one(_: int) -> bool:
        start.wait()
        try:
            make(database, account)
        except TooManyKeys:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(make_one, range(6))) == 2


def test_being_used_is_noted_at_most_once_a_minute(account, database) -> None:
    _, secret = make(database, account)

    def last_used() -> datetime | None:
        with database.transaction() as session:
            return api_keys.list_of(session, account.id)[0].last_used_at

    assert last_used() is None
    opens(database, secret)
    first = last_used()
    opens(database, secret)
    assert last_used() == first
    with database.transaction() as session:
        session.execute(text("UPDATE api_key SET last_used_at = now() - interval '61 seconds'"))
    opens(database, secret)
    assert last_used() > first


def test_making_and_revoking_is_written_down_without_the_secret(account, database) -> None:
    key, secret = make(database, account)
    with database.transaction() as session:
        api_keys.revoke(session, account.id, key.id)
        notes = audit.latest(session, subject=account.id)
    assert [(note.actor, note.action, note.detail) for note in notes] == [
        (account.id, "key_revoked", key.id),
        (account.id, "key_made", key.id),
    ]
    assert secret not in str(notes)


def test_no_scope_but_ours_can_be_kept(account, database) -> None:
    make(database, account)

    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(text("UPDATE api_key SET scopes = ARRAY['read', 'admin']"))


# making one as its owner


PASSWORD = "correct horse battery"


@pytest.fixture
def ada(services) -> Account:
    with services.database.transaction() as session:
        return sign_up(session, name="ada", email="", password=PASSWORD, signup_credits=0, now=services.now())


def wish(services, account, shown: Shown, **more: object) -> tuple[ApiKey, str]:
    return make_key(services, account, shown, **{"label": "script", "scopes": [Scope.READ], **more})  # type: ignore[arg-type]


def test_a_key_takes_the_password_and_where_one_is_on_a_code(services, ada, database) -> None:
    for shown in (Shown(), Shown(password="wrong password")):
        with pytest.raises(WrongPassword):
            wish(services, ada, shown)
    _, first = wish(services, ada, Shown(password=PASSWORD))
    with database.transaction() as session:
        second_factors.begin(session, ada.id, "A" * 32, services.box)
        second_factors.confirm(session, ada.id, ["aaaa-bbbb-cccc"])
    with pytest.raises(CodeNeeded):
        wish(services, ada, Shown(password=PASSWORD))
    # a wish that cannot be met uses no code up
    with pytest.raises(UnfitKey):
        wish(services, ada, Shown(password=PASSWORD, code="aaaa-bbbb-cccc"), label="")
    _, second = wish(services, ada, Shown(password=PASSWORD, code="aaaa-bbbb-cccc"))
    with pytest.raises(WrongCode):
        wish(services, ada, Shown(password=PASSWORD, code="aaaa-bbbb-cccc"))
    assert None not in (opens(database, first), opens(database, second))
    with database.transaction() as session:
        assert len(api_keys.list_of(session, ada.id)) == 2


def test_without_a_password_a_key_takes_a_fresh_session(services, account, database) -> None:
    with database.transaction() as session:
        here = sessions.begin(session, account.id, days=1).session_id
    wish(services, account, Shown(session_id=here))
    with database.transaction() as session:
        session.execute(text("UPDATE session SET created_at = now() - interval '11 minutes'"))
    for shown in (Shown(session_id=here), Shown()):
        with pytest.raises(NotConfirmed, match="within ten minutes"):
            wish(services, account, shown)


def test_a_thief_s_key_does_not_outlive_a_new_password_of_the_same_moment(services, ada, database) -> None:
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            # The thief has shown the old password and stops at the account's row, which is held here.
            session.execute(text("SELECT 1 FROM account WHERE id = :id FOR UPDATE"), {"id": ada.id})
            making = pool.submit(wish, services, ada, Shown(password=PASSWORD))
            _wait_for_a_lock(database)
            put_password(session, ada, hash_password("another horse entirely"), actor=ada.id, revoke_keys=True)
        with pytest.raises(NotConfirmed, match="signed out everywhere"):
            making.result()
    with database.transaction() as session:
        assert api_keys.list_of(session, ada.id) == ()


def _wait_for_a_lock(database: Database) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(1200):
        with database.transaction() as session:
            if session.execute(text(waiting)).scalar_one():
                return
        time.sleep(0.05)
    pytest.fail("nobody waits")
