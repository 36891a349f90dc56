"""What every room's tests may ask for: a real Postgres, accounts with credits, a folder store."""

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import expect
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from billing import ledger
from configs.secrets import load_or_create
from configs.settings import load
from data.database import Database
from data.embedded_postgres import EmbeddedPostgres
from data.folder_store import FolderStore
from data.repositories import accounts
from data.testing import fresh_database, postgres_server
from serving import models
from serving.api.services import Services
from serving.catalogue import known
from serving.client import GatewayClient
from studio.words.account import Account
from ui.testing import Stack, whole_stack

# before torch is imported: two test processes of two threads each would only wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

# how long an example takes is the machine's affair: times are measured in bench/ and asserted nowhere
hypothesis.settings.register_profile("melodeon", deadline=None)
hypothesis.settings.load_profile("melodeon")

# of everything that is expected of a page; five seconds, the library's own, are little on a busy machine
expect.set_options(timeout=60_000)

MakeAccount = Callable[..., Account]


MAIN = sys.modules["__main__"]


def pytest_runtest_teardown() -> None:
    """Streamlit's AppTest puts its script in the place of the main module; whatever is forked later would run it."""
    sys.modules["__main__"] = MAIN


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
    "MELODEON_WORKER__EXTRA_PATIENCE_S": "240",
}
"""Settings by which a worker that died is missed after 8 seconds instead of 30, and a Ray that begins anew on a busy
machine costs no song its cover."""


class Products:
    """The whole product, as many tests in a row want it. One runs at a time: who asks for another ends it."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._asked: tuple[object, ...] | None = None
        self._stack: Stack | None = None

    def ask(self, settings: Mapping[str, str], *options: str) -> Stack:
        """The product with these settings and options of ``melodeon up``, started if it does not run yet."""
        asked = (dict(settings), options)
        if self._stack is None or asked != self._asked:
            self.end()
            self._stack, self._asked = self._running.enter_context(whole_stack(settings, options)), asked
        return self._stack

    def end(self) -> None:
        """End what runs; nothing of it may be left."""
        self._stack = None
        self._running.close()


@pytest.fixture(scope="session")
def products() -> Iterator[Products]:
    """Products of this test process."""
    made = Products()
    yield made
    made.end()


@pytest.fixture(scope="module")
def stack(products: Products) -> Stack:
    """The whole product, started once for all tests that ask for it in a row."""
    return products.ask(QUICK)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with tiny checkpoints of random weights, made here, for a whole song."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("tiny-ace-step-turbo", "tiny-qwen", "tiny-planner", "tiny-sdxl"):
        models.fetch(known().spec_of(name), folder, offline=True, say=lambda _: None)
    return folder


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whatever asks for the stack is marked so: `make test` runs these after the others."""
    if "stack" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.stack)


OTHER_HALF = re.compile(r"tests/(journeys/|serving/deployments/(?!test_ray_serve))")
"""Of the tests that start the product or a Ray: the journeys and what runs models. The one half has the rest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each half stands in a row, so that no product is started twice."""
    items.sort(key=lambda item: bool(OTHER_HALF.match(item.nodeid)))


class Halves(LoadScopeScheduling):
    """Each half runs in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return "other half" if OTHER_HALF.match(nodeid) else "one half"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """With ``--dist loadgroup``. By itself it does nothing: xdist 3.8 sets a name that pytest 9.2 reads no more."""
    return Halves(config, log) if config.getoption("dist") == "loadgroup" else None
