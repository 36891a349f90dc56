"""What the tests of payments ask for: a shop with a fake Stripe behind the unmodified library, and our doors."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.routing import Mount

from billing import handlers, ledger, reconcile
from billing.handlers import Desk
from billing.payments import Payments
from billing.stripe_door import StripeDoor
from billing.testing import FakeStripe, VirtualClock
from configs.secrets import load_or_create
from configs.settings import load
from data.database import Database
from data.folder_store import FolderStore
from data.repositories import purchases, subscriptions
from serving.api.app import lifespan, make_app
from serving.api.services import Services
from serving.api.views import PREFIX
from serving.client import GatewayClient
from studio.words.account import Account
from studio.words.credit import Balance
from studio.words.ids import JobId
from studio.words.purchase import Purchase

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SUCCESS = "https://studio.example.org/done?session={CHECKOUT_SESSION_ID}"
CANCEL = "https://studio.example.org/upgrade"


class Shop:
    """A database, a Stripe and the time: what people do there, what the worker does here, and what must hold."""

    def __init__(self, database: Database, stripe: FakeStripe, make_account: Callable[..., Account]) -> None:
        self.database = database
        self.stripe = stripe
        self.clock: VirtualClock = stripe.clock
        self.door = StripeDoor(stripe.api_key, (stripe.webhook_secret,), stripe.url)
        self.payments = Payments(self.door, database)
        self.payments.sync_prices()
        self._make_account = make_account
        self._numbers = itertools.count(1)

    @property
    def desk(self) -> Desk:
        return Desk(database=self.database, door=self.door, now=self.clock.now())

    def somebody(self, *, credits: int = 0) -> Account:  # noqa: A002 - the glossary's word
        """A new account, by default without welcome credits."""
        return self._make_account(credits=credits)

    def begin(self, account: Account, item: str = "usd_10") -> str:
        """Begin a checkout; answers its session id."""
        self.payments.start_checkout(
            account, item, key=f"{next(self._numbers)}", success_url=SUCCESS, cancel_url=CANCEL, now=self.clock.now()
        )
        return self.stripe.all("checkout.session")[-1]["id"]

    def buy(self, account: Account, item: str = "usd_10") -> str:
        """Begin a checkout and pay it by card; answers its session id."""
        session_id = self.begin(account, item)
        self.stripe.pay(session_id)
        return session_id

    def charge_of(self, session_id: str) -> str:
        """The charge that paid a checkout, or its first invoice."""
        session = next(each for each in self.stripe.all("checkout.session") if each["id"] == session_id)
        intent = session["payment_intent"] or self.door.invoice(session["invoice"]).payment_intent
        return str(self.stripe.charge_of(intent)["id"])

    def hear(self) -> int:
        """Stripe sends what is due, and the worker handles it; answers how many messages were handled."""
        self.stripe.deliver()
        return self.work_off()

    def work_off(self) -> int:
        return handlers.work_off(self.desk)

    def balance(self, account: Account) -> Balance:
        with self.database.transaction() as session:
            return ledger.balance(session, account.id)

    def credits(self, account: Account) -> tuple[int, int]:
        """What an account has available, and owes."""
        have = self.balance(account)
        return have.available_credits, have.owed_credits

    def plan(self, account: Account) -> str:
        return self.value("SELECT plan FROM account WHERE id = :id", id=account.id)

    def purchase(self, purchase_id: str) -> Purchase:
        with self.database.transaction() as session:
            found = purchases.by_id(session, purchase_id)
        assert found is not None
        return found

    def subscription_of(self, account: Account) -> str:
        """The id of the account's one subscription, as Stripe has it."""
        with self.database.transaction() as session:
            customer = subscriptions.customer_of(session, account.id)
        (held,) = [each for each in self.stripe.all("subscription") if each["customer"] == customer]
        return held["id"]

    def spend(self, account: Account, amount: int, *, job: int = 1) -> None:
        """Hold and capture credits as a song would; the job's row is not made, so no Job law is broken."""
        job_id = JobId(f"job_{job:032x}")
        with self.database.transaction() as session:
            session.execute(
                text(
                    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                    " VALUES (:id, :account, 'song', 'processed', '{}', :amount, :id, '')"
                ),
                {"id": job_id, "account": account.id, "amount": amount},
            )
            now = self.clock.now()
            ledger.hold(session, account.id, job_id, amount, key=f"hold:{job_id}", now=now)
            ledger.settle(session, job_id, captured=amount, key=f"settle:{job_id}", now=now)

    def value(self, sql: str, **values: Any) -> Any:
        with self.database.transaction() as session:
            return session.execute(text(sql), values).scalar()

    def notices(self) -> dict[str, int]:
        """How many notices there are in each state."""
        with self.database.transaction() as session:
            rows = session.execute(text("SELECT state, count(*) AS number FROM notice GROUP BY state"))
            return {row.state: row.number for row in rows}

    def books_hold(self) -> None:
        """The ledger has no fault, no balance is negative, and purchases and grants are one to one (I10)."""
        with self.database.transaction() as session:
            assert ledger.verify(session) == ()
            assert purchases.grants_without_purchase(session) == ()
            assert purchases.without_grant(session) == ()

    def agrees_with_stripe(self) -> None:
        """The books hold, and nothing differs from Stripe's."""
        self.books_hold()
        assert reconcile.check(self.desk) == ()


@pytest.fixture
def clock() -> VirtualClock:
    """The time of Stripe and of the product."""
    return VirtualClock(NOW)


@pytest.fixture
def stripe(clock: VirtualClock) -> Iterator[FakeStripe]:
    """A Stripe of this test alone."""
    with FakeStripe(clock) as fake:
        yield fake


@pytest.fixture
def shop(database: Database, stripe: FakeStripe, make_account: Callable[..., Account]) -> Iterator[Shop]:
    """A shop whose Stripe knows every price; its messages are delivered to nobody yet."""
    made = Shop(database, stripe, make_account)
    yield made
    made.door.close()


@pytest.fixture
def services(shop: Shop, tmp_path: Path) -> Services:
    """The services of the doors, by the shop's clock."""
    clock = shop.clock

    class TimedServices(Services):
        __slots__ = ()

        @staticmethod
        def now() -> datetime:
            return clock.now()

    return TimedServices(
        settings=load(var=tmp_path),
        secrets=load_or_create(tmp_path),
        database=shop.database,
        store=FolderStore(tmp_path / "objects", "the link key of tests"),
        gateway=GatewayClient("http://127.0.0.1:9", "no key", 1.0),
        payments=shop.payments,
    )


@pytest.fixture
def endpoint(shop: Shop, services: Services) -> Iterator[str]:
    """The address of the product's own webhook door, under a real server, where Stripe delivers from now on."""
    doors = make_app(services)
    app = Starlette(routes=[Mount(PREFIX, doors)], lifespan=lambda _: lifespan(doors))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}/webhooks/stripe"
    shop.stripe.deliver_to(url)
    yield url
    server.should_exit = True
    thread.join()
