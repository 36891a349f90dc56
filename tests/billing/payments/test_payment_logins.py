"""Payments by the logins that are meant for them: the worker's side as ``billing``, doors and pages as ``app``."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, make_url

from billing import inbox, reconcile
from billing.payments import Payments
from configs.secrets import load_or_create
from configs.settings import load
from data import roles
from data.database import Database
from data.repositories import notices
from serving.billing_loop import payments_handled


@pytest.fixture
def logins(database: Database) -> Iterator[dict[str, Database]]:
    """The same database as the web process and as payments see it."""
    owner = make_url(database.conninfo).set(drivername="postgresql+psycopg")
    passwords = {f"melodeon_{name}": f"the {name}'s password" for name in ("app", "billing")}
    engine = create_engine(owner)
    with engine.begin() as connection:
        assert roles.grant_roles(connection, passwords)
    engine.dispose()
    opened = {
        name.removeprefix("melodeon_"): Database(
            owner.set(username=name, password=password).render_as_string(hide_password=False), pool_size=2
        )
        for name, password in passwords.items()
    }
    yield opened
    for one in opened.values():
        one.dispose()


def test_a_life_of_purchases_by_the_two_logins(shop, logins) -> None:
    desk, door = lambda: replace(shop.desk, database=logins["billing"]), shop.door
    web, worker = Payments(door, logins["app"]), Payments(door, logins["billing"])
    ada, bob = shop.somebody(), shop.somebody()
    assert worker.make_customers() == 2
    shop.payments = web
    packs = [shop.buy(ada), shop.buy(ada)]
    shop.buy(bob, "pro")
    assert web.fulfil(packs[0], now=shop.clock.now()).granted
    for event in door.events(since=shop.clock.now(), undelivered_only=False):
        inbox.receive(logins["app"], event, None, now=shop.clock.now())
    reconcile.heal(desk())
    assert (shop.credits(ada), shop.credits(bob), shop.plan(bob)) == ((20, 0), (100, 0), "pro")
    dispute = shop.stripe.dispute(shop.charge_of(packs[0]))
    shop.stripe.refund(shop.charge_of(packs[1]), 100)
    assert reconcile.heal(desk()) == ()
    assert shop.credits(ada) == (8, 0)
    shop.stripe.close_dispute(dispute["id"], won=True)
    assert reconcile.heal(desk()) == ()
    assert shop.credits(ada) == (18, 0)
    with logins["billing"].transaction() as session:
        assert notices.forget_handled(session, before=shop.clock.now()) == 0
    shop.agrees_with_stripe()


def test_the_worker_handles_payments_when_they_are_on_and_only_then(shop, endpoint, tmp_path) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    stripe = {
        "api_key": shop.stripe.api_key,
        "webhook_secrets": (shop.stripe.webhook_secret,),
        "base_url": shop.stripe.url,
    }
    settings = load(var=tmp_path, database={"url": shop.database.conninfo}, stripe=stripe)
    secrets = load_or_create(tmp_path)

    async def run() -> None:
        async with payments_handled(load(var=tmp_path), secrets) as chores:
            assert chores == {}
        async with payments_handled(settings, secrets) as chores, asyncio.timeout(120):
            assert list(chores) == ["reconcile"]
            while await asyncio.to_thread(shop.credits, ada) != (10, 0):
                await asyncio.sleep(0.05)

    asyncio.run(run())
    assert shop.credits(ada) == (10, 0)
