"""The door to Postgres: transactions, broken connections, busy pools."""

import os
import re
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from data.database import Database, DatabaseBusy, DatabaseUnreachable, migrate, revision
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.repositories.texts import UnkeepableText, check_keepable, keepable

INSERT = text("INSERT INTO tag (name) VALUES (:name)")


def _tags(database: Database) -> list[str]:
    with database.transaction() as session:
        return list(session.execute(text("SELECT name FROM tag ORDER BY name")).scalars())


def test_a_block_that_ends_well_is_kept_and_one_that_fails_is_not(database: Database) -> None:
    with database.transaction() as session:
        session.execute(INSERT, {"name": "kept"})

    def fail() -> None:
        with database.transaction() as session:
            session.execute(INSERT, {"name": "lost"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _tags(database) == ["kept"]


def test_a_wrong_statement_is_not_called_an_outage(database: Database) -> None:
    with database.transaction() as session:
        session.execute(INSERT, {"name": "once"})
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(INSERT, {"name": "once"})


def test_errors_do_not_quote_what_people_wrote(database: Database) -> None:
    """Neither a statement's values nor the row that the server's own details quote."""
    said = "my secret lyrics"
    insert = "INSERT INTO account (id, name, role, password_hash) VALUES (:id, :name, :role, :said)"
    for wrong in ({"role": "nobody"}, {"name": None}, {"id": "x" * 99}):
        values = {"id": "acc_1", "name": "ada", "role": "admin", "said": said, **wrong}
        with pytest.raises(DBAPIError) as caught, database.transaction() as session:
            session.execute(text(insert), values)
        assert said not in "".join(traceback.format_exception(caught.value))
        assert "INSERT INTO account" in str(caught.value)
        assert type(caught.value.orig).__name__ in str(caught.value)
    with database.transaction() as session:
        session.execute(INSERT, {"name": said})
    with pytest.raises(DBAPIError) as caught, database.transaction() as session:
        session.execute(INSERT, {"name": said})
    assert said not in "".join(traceback.format_exception(caught.value))


def test_each_statement_sees_what_others_committed_before_it(database: Database) -> None:
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM tag")).scalar_one() == 0
        with database.transaction() as other:
            other.execute(INSERT, {"name": "new"})
        assert session.execute(text("SELECT count(*) FROM tag")).scalar_one() == 1


def test_connections_say_who_they_are_and_what_time_zone_they_mean(database: Database) -> None:
    named = Database(database.conninfo, application_name="melodeon worker")
    with named.transaction() as session:
        names = ("application_name", "TimeZone", "statement_timeout", "transaction_isolation")
        shown = [session.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    named.dispose()
    assert shown == ["melodeon worker", "UTC", "30s", "read committed"]


def test_a_statement_that_takes_too_long_is_cancelled_and_the_connection_lives(database: Database) -> None:
    hasty = Database(database.conninfo, statement_timeout_s=1.0)
    with pytest.raises(DatabaseBusy), hasty.transaction() as session:
        session.execute(text("SELECT pg_sleep(5)"))
    hasty.ping()
    hasty.dispose()


def test_when_all_connections_are_busy_it_says_so(database: Database) -> None:
    small = Database(database.conninfo, pool_size=1, pool_timeout_s=0.05)
    with small.transaction() as one, small.transaction() as two:
        one.execute(text("SELECT 1"))
        two.execute(text("SELECT 1"))
        with pytest.raises(DatabaseBusy, match="busy"):
            small.ping()
    small.ping()
    small.dispose()


def test_a_connection_cut_while_idle_is_replaced_unnoticed(database: Database) -> None:
    database.ping()
    with database.transaction() as session:
        pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(database.conninfo) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    database.ping()


def _pids(database: Database, number: int) -> set[int]:
    """The server's processes behind so many transactions at once."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(database.transaction()) for _ in range(number)]
        return {session.execute(text("SELECT pg_backend_pid()")).scalar_one() for session in sessions}


@pytest.mark.parametrize("rest_s", [0.0, 30.0])
def test_a_connection_that_lives_is_kept_however_long_it_rested(
    database: Database, monkeypatch: pytest.MonkeyPatch, rest_s: float
) -> None:
    monkeypatch.setattr("data.database._REST_S", rest_s)
    assert _pids(database, 3) == _pids(database, 3)


def test_a_connection_that_was_only_told_something_is_kept(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("LISTEN gossip"))
    listener = _pids(database, 1)
    with psycopg.connect(database.conninfo) as other:
        other.execute("NOTIFY gossip")
    assert _pids(database, 1) == listener


def test_a_connection_cut_in_the_middle_of_the_work_is_an_outage(database: Database) -> None:
    def be_cut_off() -> None:
        with database.transaction() as session:
            session.execute(INSERT, {"name": "lost"})
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(database.conninfo) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            session.execute(INSERT, {"name": "lost too"})

    with pytest.raises(DatabaseUnreachable):
        be_cut_off()
    assert _tags(database) == []


def test_nobody_at_the_address_is_an_outage_for_every_call() -> None:
    url = f"postgresql://melodeon:secret@127.0.0.1:{free_port()}/melodeon"
    nowhere = Database(url)
    for call in (nowhere.ping, lambda: migrate(url), lambda: revision(url)):
        with pytest.raises(DatabaseUnreachable, match="does not answer") as caught:
            call()
        assert "secret" not in str(caught.value)
    nowhere.dispose()


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill."""
    folder = Path(tempfile.mkdtemp(prefix="melodeon-database-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(
        folder=folder / "postgres", port=free_port(), password="p", log=folder / "log", settings={"fsync": "off"},
        outside=folder,
    )  # fmt: skip
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_the_pool_survives_a_server_that_is_killed_and_started_again(own_server: EmbeddedPostgres) -> None:
    database = Database(own_server.url)
    database.ping()
    pid = own_server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(DatabaseUnreachable):
        database.ping()
    own_server.start()
    database.ping()
    database.dispose()


def test_a_restart_while_all_connections_rest_goes_unnoticed(own_server: EmbeddedPostgres) -> None:
    database = Database(own_server.url)
    before = _pids(database, 3)
    own_server.stop()
    own_server.start()
    assert len(_pids(database, 3)) == len(before) == 3
    database.dispose()


def test_the_address_for_others_works_and_the_one_in_logs_has_no_password(database: Database) -> None:
    with psycopg.connect(database.conninfo) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    password = re.search(r":([^:@]+)@", database.conninfo)
    assert password is not None
    assert password[1] not in repr(database)


def test_the_address_for_others_carries_any_password() -> None:
    url = URL.create("postgresql+psycopg", "ada", "two words + 100 % @:/?#[]' é", "db.example", 5433, "songs")
    database = Database(url.render_as_string(hide_password=False))
    told = conninfo_to_dict(database.conninfo)
    assert (told["password"], told["host"], told["dbname"]) == (url.password, "db.example", "songs")
    assert make_url(database.conninfo).password == url.password


def test_texts_that_postgres_cannot_keep_are_named_before_it_sees_them(database: Database) -> None:
    assert keepable("Ünïcødé 🎵 \n\t\x01")
    with database.transaction() as session:
        for kept in ("\x01", "\ufeff", "\u202e", "\U0010ffff"):
            assert keepable(kept)
            session.execute(INSERT, {"name": kept})
    for text_ in ("\x00", "a\x00", "\ud800", "\udfff"):
        with pytest.raises(UnkeepableText, match="described lyrics"):
            check_keepable(title="fine", described_lyrics=text_)
