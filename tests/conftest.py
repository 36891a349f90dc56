"""What every room's tests may ask for: a real Postgres, accounts with credits, a folder store."""

import itertools
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest

from billing import ledger
from configs.secrets import load_or_create
from configs.settings import load
from data.database import Database
from data.embedded_postgres import EmbeddedPostgres
from data.folder_store import FolderStore
from data.repositories import accounts
from data.testing import fresh_database, postgres_server
from serving.api.services import Services
from serving.client import GatewayClient
from studio.words.account import Account
from ui.testing import Stack, whole_stack

# before torch is imported: two test processes of two threads each would only wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

# how long an example takes is the machine's affair: times are measured in bench/ and asserted nowhere
hypothesis.settings.register_profile("melodeon", deadline=None)
hypothesis.settings.load_profile("melodeon")

MakeAccount = Callable[..., Account]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The Postgres server of this test process."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated, empty database for this test alone."""
    with fresh_database(postgres) as fresh:
        yield fresh


@pytest.fixture
def make_account(database: Database) -> MakeAccount:
    """Makes accounts: ``make_account("ada", credits=100)``; the first one is the admin."""
    numbers = itertools.count(1)

    def make(name: str | None = None, *, credits: int = 100) -> Account:  # noqa: A002 - the glossary's word
        name = name or f"person{next(numbers)}"
        with database.transaction() as session:
            account = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
            ledger.open_with_signup_grant(session, account.id, amount=credits, now=datetime.now(UTC))
        return account

    return make


@pytest.fixture
def account(make_account: MakeAccount) -> Account:
    """An account with 100 credits."""
    return make_account()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty object store in a folder."""
    return FolderStore(tmp_path / "objects", "the link key of tests")


@pytest.fixture
def services(database: Database, store: FolderStore, tmp_path: Path) -> Services:
    """The services of a process; no gateway answers and nobody takes money."""
    return Services(
        settings=load(var=tmp_path),
        secrets=load_or_create(tmp_path),
        database=database,
        store=store,
        gateway=GatewayClient("http://127.0.0.1:9", "no key", 1.0),
    )


QUICK = {
    "MELODEON_WORKER__LEASE_S": "8",
    "MELODEON_WORKER__HEARTBEAT_S": "2",
    "MELODEON_WORKER__SWEEP_S": "1",
    "MELODEON_WORKER__RETRY_BASE_S": "1",
}
"""Settings by which a worker that died is missed after 8 seconds instead of 30."""


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole product, started once for all tests that ask for it; afterwards nothing of it may be left."""
    with whole_stack(QUICK) as running:
        yield running


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whatever asks for the stack is marked so: `make test` runs these after the others, in one process."""
    if "stack" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.stack)
