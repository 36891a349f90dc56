"""Postgres killed again and again while credits move: what was answered is there, what was asked is booked once."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from billing import ledger
from data.database import Database, DatabaseBusy, DatabaseUnreachable, migrate
from data.embedded_postgres import EmbeddedPostgres, free_port
from data.repositories import accounts
from data.repositories import ledger as books
from studio.words.ids import AccountId

WRITERS = 8


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server that keeps what it is told: a commit is on the disk when it returns."""
    folder = Path(tempfile.mkdtemp(prefix="melodeon-kills-", dir="/tmp"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(
        folder=folder / "postgres", port=free_port(), password="a password of tests", log=folder / "log", outside=folder
    )
    server.start()
    migrate(server.url)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Writer:
    """Books one grant after the other; what is not answered is asked again with its key until it is."""

    database: Database
    account_id: AccountId
    answered: dict[str, str] = field(default_factory=dict)
    asked_again: int = 0

    def run(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = f"{self.account_id}:{number}"
            while key not in self.answered:
                try:
                    with self.database.transaction() as session:
                        booked = ledger.grant(
                            session, self.account_id, 1, key=key, note="of the kill test", now=datetime.now(UTC)
                        )
                    self.answered[key] = booked
                except (DatabaseUnreachable, DatabaseBusy):
                    self.asked_again += 1
                    stop.wait(0.05)


def kill(server: EmbeddedPostgres) -> None:
    """SIGKILL for the postmaster and every one of its processes at once, as when the machine takes them."""
    assert server.pid is not None
    postmaster = psutil.Process(server.pid)
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):  # without their head the others end by themselves
            process.kill()
    psutil.wait_procs(family[1:])
    server.stop()


def kept_through(server: EmbeddedPostgres, kills: int, *, between: int) -> int:
    """Kill the server so many times under load; answers how many grants were answered.

    Args:
        between: grants of each writer before the next kill.
    """
    database = Database(server.url, pool_size=WRITERS, pool_timeout_s=2.0)
    writers = []
    for number in range(WRITERS):
        with database.transaction() as session:
            account = accounts.create(session, name=f"person{number}", email="", password_hash=None)
            ledger.open_account(session, account.id)
        writers.append(Writer(database, account.id))
    stop = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(stop,), daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            wanted = min(len(writer.answered) for writer in writers) + between
            while min(len(writer.answered) for writer in writers) < wanted:
                stop.wait(0.02)
            kill(server)
            server.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    with database.transaction() as session:
        assert books.faults(session) == ()
        for writer in writers:
            # each grant once: the balance is their number, and each is the one that was answered
            assert ledger.balance(session, writer.account_id).available_credits == len(writer.answered)
            lines = ledger.statement(session, writer.account_id, len(writer.answered) + 1)
            assert {line.id for line in lines} == set(writer.answered.values())
    database.dispose()
    assert sum(writer.asked_again for writer in writers) > 0
    return sum(len(writer.answered) for writer in writers)


def test_what_was_answered_outlives_two_kills(server: EmbeddedPostgres) -> None:
    assert kept_through(server, 2, between=5) >= 10 * WRITERS


@pytest.mark.long
def test_what_was_answered_outlives_twenty_kills(server: EmbeddedPostgres) -> None:
    assert kept_through(server, 20, between=320) >= 50_000
