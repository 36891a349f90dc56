"""The doctor's looks: each finds what is broken and says in its sentence what to do."""

from pathlib import Path

import pytest
from sqlalchemy import text

from configs.secrets import load_or_create
from configs.settings import Settings
from data.database import Database
from data.embedded_postgres import free_port
from data.folder_store import FolderStore
from data.repositories import outbox
from serving import health
from serving.client import GatewayClient
from studio.words.letter import LetterKind


def url_of(database: Database) -> str:
    return database.conninfo.replace("postgresql://", "postgresql+psycopg://", 1)


def nobody() -> GatewayClient:
    return GatewayClient(f"http://127.0.0.1:{free_port()}", "key", 5)


def test_a_living_database_of_this_version_is_well(database: Database) -> None:
    assert health.check_database(database, url_of(database)).ok


def test_a_database_that_does_not_answer_is_told_with_what_to_do() -> None:
    away = f"postgresql+psycopg://melodeon:x@127.0.0.1:{free_port()}/melodeon"
    check = health.check_database(Database(away), away)
    assert not check.ok
    assert "melodeon up" in check.sentence


def test_tables_of_another_version_are_told(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    check = health.check_database(database, url_of(database))
    assert not check.ok
    assert "melodeon migrate" in check.sentence


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects", "key")
    assert health.check_store(store).ok
    (tmp_path / "objects").rename(tmp_path / "away")
    (tmp_path / "objects").touch()
    check = health.check_store(store)
    assert not check.ok
    assert "cannot be used" in check.sentence
    assert "MELODEON_STORE__" in check.sentence


def test_a_gateway_that_does_not_answer_is_one_sentence() -> None:
    (check,) = health.check_engines(nobody())
    assert not check.ok
    assert "var/log/engines.log" in check.sentence


def test_a_queue_without_a_worker_is_told(database: Database) -> None:
    check = health.check_worker(database)
    assert not check.ok
    assert "var/log/worker.log" in check.sentence


def _letter(database: Database, *, age: str, given_up_after: str | None = None) -> None:
    with database.transaction() as session:
        outbox.put(session, LetterKind.RESET_PASSWORD, "ada@example.org", None)
        session.execute(
            text(
                "UPDATE mail SET created_at = now() - CAST(:age AS interval),"
                " given_up_at = now() - CAST(:age AS interval) + CAST(:after AS interval)"
                " WHERE created_at = now()"
            ),
            {"age": age, "after": given_up_after},
        )


def test_letters_that_were_refused_or_lost_long_ago_are_a_remark(database: Database) -> None:
    assert health.check_letters(database).sentence == "0 letters wait, none was given up in the last 30 days."
    _letter(database, age="5 minutes")
    _letter(database, age="2 hours", given_up_after="1 minute")
    _letter(database, age="5 days", given_up_after="73 hours")
    check = health.check_letters(database)
    assert check.ok
    assert check.sentence.startswith("1 letter waits. 2 were given up")
    assert "var/log/worker.log" in check.sentence


@pytest.mark.parametrize(
    ("age", "given_up_after", "said"),
    [("3 days 2 hours", "73 hours", "0 letters wait; 1 given up since yesterday"), ("2 hours", None, "oldest for 2 h")],
)
def test_letters_that_do_not_get_out_are_told(
    database: Database, age: str, given_up_after: str | None, said: str
) -> None:
    _letter(database, age=age, given_up_after=given_up_after)
    check = health.check_letters(database)
    assert not check.ok
    assert said in check.sentence
    assert "MELODEON_MAIL__" in check.sentence


def _message(database: Database, *, state: str, age: str) -> None:
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO notice (id, type, object_id, created_at, received_at, payload, state, next_at, handled_at)"
                " VALUES ('evt_' || :state, 'charge.refunded', 'ch_1', now(), now() - CAST(:age AS interval), '{}',"
                " :state, now(), CASE :state WHEN 'handled' THEN now() END)"
            ),
            {"state": state, "age": age},
        )


def test_messages_of_stripe_under_way_are_well(database: Database) -> None:
    _message(database, state="handled", age="5 days")
    _message(database, state="received", age="5 minutes")
    assert health.check_payments(database).sentence == "1 message of Stripe to be handled, none was given up."


@pytest.mark.parametrize(
    ("state", "said"),
    [("dead", "0 messages of Stripe wait; 1 was given up."), ("received", "waits, the oldest for 2 h; 0 were")],
)
def test_messages_of_stripe_that_stay_are_told(database: Database, state: str, said: str) -> None:
    _message(database, state=state, age="2 hours")
    check = health.check_payments(database)
    assert not check.ok
    assert said in check.sentence
    assert "melodeon billing replay" in check.sentence


def test_secrets_that_others_can_read_are_named(tmp_path: Path) -> None:
    assert not health.check_secrets(tmp_path).ok
    load_or_create(tmp_path)
    assert health.check_secrets(tmp_path).ok
    (tmp_path / "secrets" / "ray_token").chmod(0o644)
    check = health.check_secrets(tmp_path)
    assert not check.ok
    assert "ray_token" in check.sentence


@pytest.mark.parametrize(
    ("url", "host", "ok"),
    [
        ("http://127.0.0.1:8600", "127.0.0.1", True),
        ("https://songs.example", "0.0.0.0", True),
        ("http://songs.example", "127.0.0.1", False),
        ("http://127.0.0.1:8600", "0.0.0.0", False),
        ("http://127.0.0.1.evil.example", "127.0.0.1", False),
    ],
)
def test_an_address_without_https_is_told_unless_it_is_this_machine(url: str, host: str, ok: bool) -> None:
    assert health.check_address(url, host).ok is ok


def test_too_little_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.check_disk(tmp_path).ok
    monkeypatch.setattr(health, "LEAST_DISK_GB", 1e9)
    check = health.check_disk(tmp_path)
    assert not check.ok
    assert "MELODEON_VAR" in check.sentence


def test_one_broken_part_does_not_hide_the_others(database: Database, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path)
    checks = health.all_checks(
        settings,
        database=database,
        database_url=url_of(database),
        logins={"web": url_of(database)},
        store=FolderStore(tmp_path / "objects", "key"),
        gateway=nobody(),
        web_url="http://127.0.0.1:8600",
    )
    assert {check.name: check.ok for check in checks} == {
        "python": True,
        "disk": True,
        "secrets": False,
        "database": True,
        "database logins": True,
        "worker": False,
        "letters": True,
        "payments": True,
        "object store": True,
        "gateway": False,
        "address": True,
        "ray ports": True,
    }


def test_a_login_that_may_do_everything_is_remarked_and_no_fault(database: Database) -> None:
    check = health.check_logins({"web": url_of(database), "worker": url_of(database)})
    assert check.ok
    assert check.sentence.startswith("web, worker: the login may change everything")
    assert not health.check_logins({"web": "postgresql://nobody@127.0.0.1:1/nothing"}).ok
