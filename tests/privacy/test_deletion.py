"""What is left of somebody who has left: lines in the books under a number, and nothing that they ever wrote."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from PIL import Image
from sqlalchemy import text

from billing import ledger
from billing.payments import Payments
from billing.stripe_door import StripeDoor, StripeUnreachable
from billing.testing import FakeStripe, VirtualClock
from data.access import NotFound
from data.passwords import hash_password
from data.repositories import accounts, avatars, sessions, subscriptions
from data.repositories import songs as song_rows
from data.repositories.accounts import LastAdmin
from data.uploads import BadUpload
from serving import attempts, privacy
from serving.account_confirm import NotConfirmed, Shown, confirm
from serving.account_proofs import ask_reset
from serving.accounts import CodeNeeded, WrongPassword
from serving.attempts import Fenced
from serving.avatars import set_avatar
from serving.limits import TooManyRequests
from serving.sweep import clean_store
from studio.words.account import Account, Role
from studio.words.brief import Brief
from studio.words.job import JobState, Stage

WORD, OTHER = "quixotl", "zarathon"
PASSWORD = "seven green bottles"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def places_with(session, word: str) -> list[str]:
    """Every table of the database, ours or a library's, with a row that holds this word in any column."""
    every = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    tables = session.execute(text(every)).scalars()
    found = []
    for table in sorted(tables):
        condition = "whole::text ILIKE :word OR whole::text ILIKE :bytes"
        count = session.execute(
            text(f'SELECT count(*) FROM "{table}" AS whole WHERE {condition}'),
            {"word": f"%{word}%", "bytes": f"%{word.encode().hex()}%"},
        ).scalar_one()
        if count:
            found.append(table)
    return found


def test_nothing_that_the_person_wrote_is_left_in_any_table(services, make_person, database) -> None:
    ada, bob = make_person("ada", WORD), make_person("bob", OTHER)
    with database.transaction() as session:
        before = places_with(session, WORD)
    assert {"account", "api_key", "identity", "job", "job_progress", "mail", "session", "song"} <= set(before)
    privacy.delete(services, ada.account)
    with database.transaction() as session:
        assert places_with(session, WORD) == []
        assert places_with(session, OTHER) == [table for table in before if table != "procrastinate_jobs"]
        assert accounts.by_id(session, ada.account.id) is None
        assert accounts.by_name(session, "ada") is None
        kept = session.execute(text("SELECT name, email FROM account WHERE id = :id"), {"id": ada.account.id}).one()
        assert tuple(kept) == (f"deleted-{ada.account.id[-12:]}", "")
        assert accounts.by_id(session, bob.account.id) == bob.account


def test_sessions_end_songs_disappear_and_every_object_is_removed(services, make_person, database, store) -> None:
    ada, bob = make_person("ada", WORD), make_person("bob", OTHER)
    with database.transaction() as session:
        begun = sessions.begin(session, ada.account.id, days=1)
        token = sessions.redeem_ticket(session, begun.ticket, user_agent="")
        assert token is not None
        assert sessions.account_of(session, token) is not None
    bobs = [key for key in store.list("") if bob.account.id in key]
    privacy.delete(services, ada.account)
    with database.transaction() as session:
        assert sessions.account_of(session, token) is None
        assert sessions.list_of(session, ada.account.id) == ()
        assert [song.artist for song in song_rows.discover(session)] == ["bob"]
        assert song_rows.library(session, ada.account.id) == ()
    clean_store(database, store, older_than_s=0.0)
    assert list(store.list("")) == bobs
    with database.transaction() as session:
        kept = session.execute(text("SELECT key FROM asset")).scalars().all()
    assert sorted(kept) == sorted(bobs)


def test_jobs_end_and_their_holds_are_released_and_the_worker_is_fenced(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    with database.transaction() as session:
        assert ledger.balance(session, ada.account.id).held_credits == 4
    privacy.delete(services, ada.account)
    with database.transaction() as session:
        balance = ledger.balance(session, ada.account.id)
        assert (balance.available_credits, balance.held_credits) == (98, 0)
        states = session.execute(
            text("SELECT state FROM job WHERE account_id = :id ORDER BY number"), {"id": ada.account.id}
        ).scalars()
        assert list(states) == [JobState.PROCESSED, JobState.CANCELLED, JobState.CANCELLED]
    with pytest.raises(Fenced), database.transaction() as session:
        attempts.note_progress(
            session, ada.working.id, 1, stage=Stage.TEXT, fraction=0.5, message="late words", stages={}
        )
    with pytest.raises(Fenced), database.transaction() as session:
        attempts.write_words(session, ada.working.id, 1, title="late", prompt="late", lyrics="late words")


def test_what_a_late_worker_stored_is_swept(services, make_person, database, store) -> None:
    ada = make_person("ada", WORD)
    privacy.delete(services, ada.account)
    late = f"songs/{ada.account.id}/{ada.working.id}/1/0.wav"
    store.put(late, b"made for somebody who left", media_type="audio/wav")
    clean_store(database, store, older_than_s=0.0)
    assert store.head(late) is None


def test_the_books_stay_whole(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    with database.transaction() as session:
        before = ledger.statement(session, ada.account.id, 100)
    privacy.delete(services, ada.account)
    with database.transaction() as session:
        after = ledger.statement(session, ada.account.id, 100)
        assert after[-len(before) :] == before
        assert list(ledger.faults(session)) == []


def test_again_changes_nothing_and_the_name_is_free(services, make_person, make_account, database) -> None:
    ada = make_person("ada", WORD)
    privacy.delete(services, ada.account)
    privacy.delete(services, ada.account)
    newcomer = make_account("ada")
    assert newcomer.id != ada.account.id
    with database.transaction() as session:
        noted = session.execute(text("SELECT count(*) FROM audit WHERE action = 'account_deleted'")).scalar_one()
    assert noted == 1


def test_a_letter_that_was_asked_for_by_address_goes_too(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    ask_reset(database, f"{WORD}@EXAMPLE.org")
    privacy.delete(services, ada.account)
    with database.transaction() as session:
        assert places_with(session, WORD) == []


def test_the_payment_service_forgets_them_and_their_subscription_ends(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    with FakeStripe(VirtualClock(NOW)) as fake:
        door = StripeDoor(fake.api_key, (fake.webhook_secret,), fake.url)
        selling = replace(services, payments=Payments(door, database))
        assert selling.payments is not None
        selling.payments.sync_prices()
        urls = {"success_url": "http://127.0.0.1/yes", "cancel_url": "http://127.0.0.1/no"}
        selling.payments.start_checkout(ada.account, "pro", key="one", now=NOW, **urls)
        (checkout,) = door.sessions(since=NOW)
        fake.pay(checkout.id)
        paid = door.checkout_session(checkout.id)
        assert door.subscription(str(paid.subscription)).status == "active"
        privacy.delete(selling, ada.account)
        assert door.subscription(str(paid.subscription)).status == "canceled"
        door.close()
    with database.transaction() as session:
        assert places_with(session, WORD) == []


def test_nothing_is_deleted_while_the_payment_service_cannot_be_reached(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    with database.transaction() as session:
        subscriptions.keep_customer(session, ada.account.id, "cus_1")
    door = StripeDoor("sk_test_nobody", (), "http://127.0.0.1:9")
    with pytest.raises(StripeUnreachable):
        privacy.delete(replace(services, payments=Payments(door, database)), ada.account)
    door.close()
    with database.transaction() as session:
        assert accounts.by_id(session, ada.account.id) is not None


def test_a_request_that_was_under_way_meanwhile_is_refused(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    privacy.delete(services, ada.account)
    with pytest.raises(NotFound):
        services.ask(ada.account, Brief(description=f"{WORD} too late"), key="late")
    with database.transaction() as session:
        assert places_with(session, WORD) == []


def test_the_last_admin_cannot_leave(services, make_account, database) -> None:
    first, second = make_account(), make_account()
    with pytest.raises(LastAdmin):
        privacy.delete(services, first)
    with database.transaction() as session:
        accounts.set_role(session, second.id, Role.ADMIN)
    privacy.delete(services, first)
    with database.transaction() as session:
        assert accounts.by_id(session, first.id) is None


def test_the_picture_shared_by_nobody_else_is_released_when_another_comes(services, make_person, database) -> None:
    ada = make_person("ada", WORD)
    with database.transaction() as session:
        avatars.replace(session, ada.account.id, None)
        released = session.execute(text("SELECT count(*) FROM asset WHERE released_at IS NOT NULL")).scalar_one()
    assert released == 1


def test_leaving_takes_the_password_and_the_code(services, make_person, make_account, database) -> None:
    ada = make_person("ada", WORD)
    with database.transaction() as session:
        accounts.set_password(session, ada.account.id, hash_password(PASSWORD))
    with pytest.raises(WrongPassword):
        confirm(services, ada.account, Shown(password="wrong"))
    with pytest.raises(CodeNeeded):
        confirm(services, ada.account, Shown(password=PASSWORD))
    confirm(services, ada.account, Shown(password=PASSWORD, code="aaaa-bbbb-cccc"))
    bob = make_account("bob")
    with database.transaction() as session:
        accounts.set_password(session, bob.id, hash_password(PASSWORD))
    confirm(services, bob, Shown(password=PASSWORD))


def test_without_a_password_only_a_fresh_session_lets_somebody_leave(services, make_account, database) -> None:
    eve = make_account("eve")
    with database.transaction() as session:
        begun = sessions.begin(session, eve.id, days=1)
    confirm(services, eve, Shown(session_id=begun.session_id))
    with pytest.raises(NotConfirmed):
        confirm(services, eve, Shown())
    with database.transaction() as session:
        session.execute(text("UPDATE session SET created_at = now() - interval '11 minutes'"))
    with pytest.raises(NotConfirmed):
        confirm(services, eve, Shown(session_id=begun.session_id))


def test_of_the_last_two_administrators_who_leave_at_once_one_stays(services, make_account, database) -> None:
    both = [make_account("ann"), make_account("ben")]
    with database.transaction() as session:
        for one in both:
            accounts.set_role(session, one.id, Role.ADMIN)

    def leave(account: Account) -> bool:
        try:
            privacy.delete(services, account)
        except LastAdmin:
            return False
        return True

    with ThreadPoolExecutor(2) as pool, database.transaction() as session:
        # Both have been let in and wait here, at the row of their account.
        session.execute(text("SELECT 1 FROM account FOR UPDATE"))
        leaving = [pool.submit(leave, one) for one in both]
        wait_for_locks(database, 2)
        session.commit()
        assert sorted(one.result() for one in leaving) == [False, True]


def wait_for_locks(database, number: int) -> None:
    """Until so many wait for a lock that another transaction holds."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(600):
        with database.transaction() as session:
            if session.execute(text(waiting)).scalar_one() >= number:
                return
        time.sleep(0.05)
    pytest.fail("nobody waits")


def test_a_picture_that_comes_after_its_account_has_left_is_not_kept(services, make_account, database, store) -> None:
    make_account("first")
    ada = make_account("ada")
    privacy.delete(services, ada)
    drawn = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(drawn, "PNG")
    with pytest.raises(NotFound):
        set_avatar(services, ada, drawn.getvalue())
    with database.transaction() as session:
        assert session.execute(text("SELECT avatar_key FROM account WHERE id = :id"), {"id": ada.id}).scalar_one() == ""
    assert list(store.list("avatars/")) == []


def test_pictures_are_not_read_without_end(services, make_account) -> None:
    ada = make_account("ada")
    for _ in range(10):
        with pytest.raises(BadUpload):
            set_avatar(services, ada, b"no picture")
    with pytest.raises(TooManyRequests):
        set_avatar(services, ada, b"no picture")
