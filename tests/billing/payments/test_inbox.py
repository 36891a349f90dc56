"""The inbox: kept once, handled once, tried again with pauses, given up with a sentence; a dead Stripe only delays."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from billing import handlers, inbox, reversals, standing_orders
from billing.handlers import ATTEMPTS_MAX, LEASE, Handled
from billing.standing_orders import Overtaken
from billing.stripe_door import StripeDoor, door
from billing.stripe_records import EventRecord
from data.listen import notifications
from data.repositories import notices
from serving.billing_loop import BillingLoop


def tell(shop, *, type: str = "charge.refunded", object_id: str = "ch_nobody", number: int = 1) -> None:  # noqa: A002
    """Put a message into the inbox."""
    record = EventRecord(id=f"evt_{number}", type=type, object_id=object_id, created=shop.clock.now(), livemode=False)
    inbox.receive(shop.database, record, None, now=shop.clock.now())


def test_a_message_is_new_once(shop) -> None:
    with ThreadPoolExecutor(8) as pool:
        record = EventRecord(id="evt_1", type="x.y", object_id="o", created=shop.clock.now(), livemode=False)
        new = pool.map(lambda _: inbox.receive(shop.database, record, None, now=shop.clock.now()), range(16))
        assert sum(new) == 1


def test_a_new_message_is_announced_once(shop) -> None:
    heard: list[str] = []

    async def listen() -> None:
        def begun() -> None:
            tell(shop, number=1)
            tell(shop, number=1)
            shop.value(f"SELECT pg_notify('{notices.CHANNEL}', 'the end')")

        listening = notifications(shop.database.conninfo, notices.CHANNEL, begun=begun)
        async with asyncio.timeout(120), aclosing(listening):
            async for told in listening:
                heard.append(told)
                if told:
                    return

    asyncio.run(listen())
    assert heard == ["", "the end"]


def test_many_workers_never_take_the_same_message(shop) -> None:
    for number in range(60):
        tell(shop, type="nothing.asked", number=number)
    with ThreadPoolExecutor(6) as pool:
        taken = [
            notice.id for part in pool.map(lambda _: handlers.claim(shop.desk, most=10), range(8)) for notice in part
        ]
    assert len(taken) == len(set(taken)) == 60


def test_who_claims_passes_over_what_another_is_claiming(shop) -> None:
    for number in range(2):
        tell(shop, type="nothing.asked", number=number)
    now = shop.clock.now()
    with shop.database.transaction() as one, shop.database.transaction() as other:
        other.execute(text("SET LOCAL lock_timeout = '2s'"))
        (first,) = notices.claim(one, now=now, until=now + LEASE, most=1)
        (second,) = notices.claim(other, now=now, until=now + LEASE, most=10)
    assert {first.id, second.id} == {"evt_0", "evt_1"}


def test_who_books_a_message_keeps_others_off_it(shop) -> None:
    tell(shop)
    free = text("SELECT count(*) FROM (SELECT id FROM notice FOR UPDATE SKIP LOCKED) AS free")
    with shop.database.transaction() as session:
        assert session.execute(free).scalar_one() == 1
    with shop.database.transaction() as one, shop.database.transaction() as other:
        assert notices.lock(one, "evt_1")
        assert other.execute(free).scalar_one() == 0


def test_what_is_over_is_not_claimed(shop) -> None:
    tell(shop, type="nothing.asked", number=1)
    shop.work_off()
    tell(shop, type="nothing.asked", number=2)
    with shop.database.transaction() as session:
        notices.bury(session, "evt_2", "It broke.")
    shop.clock.advance(days=1)
    assert handlers.claim(shop.desk, most=10) == ()


def test_a_worker_that_died_leaves_its_message_to_another_after_the_lease(shop) -> None:
    tell(shop, type="nothing.asked")
    assert len(handlers.claim(shop.desk, most=10)) == 1
    assert handlers.claim(shop.desk, most=10) == ()
    shop.clock.advance(seconds=LEASE.total_seconds())
    assert shop.work_off() == 1
    assert shop.notices() == {"handled": 1}


def test_a_message_that_kills_every_worker_is_given_up(shop) -> None:
    tell(shop, type="nothing.asked")
    for _ in range(ATTEMPTS_MAX):
        assert len(handlers.claim(shop.desk, most=1)) == 1
        shop.clock.advance(seconds=LEASE.total_seconds())
    shop.work_off()
    assert shop.notices() == {"dead": 1}
    assert shop.value("SELECT last_error FROM notice") == "Every worker that took it up died."


def test_a_refusal_is_tried_again_with_growing_pauses_and_then_given_up(shop) -> None:
    tell(shop)  # of a charge that Stripe does not know
    pauses = []
    for _ in range(ATTEMPTS_MAX):
        (notice,) = handlers.claim(shop.desk, most=10)
        outcome = handlers.attempt(shop.desk, notice)
        if outcome is Handled.LATER:
            due = shop.value("SELECT next_at FROM notice")
            pauses.append((due - shop.clock.now()).total_seconds())
            shop.clock.advance(seconds=pauses[-1])
    assert outcome is Handled.DEAD
    assert pauses == [10.0 * 2**number for number in range(ATTEMPTS_MAX - 1)]
    with shop.database.transaction() as session:
        (letter,) = notices.dead(session, most=10)
        assert notices.backlog(session).dead == 1
    assert letter.last_error.startswith("The payment service refused")


def test_the_last_attempt_is_made_too(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    shop.value("UPDATE notice SET attempts = :done RETURNING 1", done=ATTEMPTS_MAX - 1)
    shop.work_off()
    assert shop.notices() == {"handled": 5}
    assert shop.credits(ada) == (10, 0)


def test_what_is_booked_and_its_mark_are_one(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    with marks_refused(shop):
        shop.work_off()
        assert (shop.notices(), shop.credits(ada)) == ({"received": 5}, (0, 0))
    shop.clock.advance(seconds=60)
    shop.work_off()
    assert (shop.notices(), shop.credits(ada)) == ({"handled": 5}, (10, 0))
    shop.books_hold()


@contextmanager
def marks_refused(shop) -> Iterator[None]:
    """The database breaks whoever marks a message as handled."""
    with shop.database.transaction() as session:
        session.execute(
            text("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$")
        )
        session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE UPDATE ON notice FOR EACH ROW WHEN (NEW.state = 'handled')"
                " EXECUTE FUNCTION refuse()"
            )
        )
    yield
    with shop.database.transaction() as session:
        session.execute(text("DROP FUNCTION refuse CASCADE"))


def test_a_message_that_breaks_its_handler_does_not_stop_the_others(shop) -> None:
    for number in range(3):
        tell(shop, type="nothing.asked", number=number)
    with marks_refused(shop):
        assert shop.work_off() == 0
    assert shop.value("SELECT sum(attempts) FROM notice") == 3
    assert shop.value("SELECT max(last_error) FROM notice").startswith("It broke its handler (")
    shop.clock.advance(seconds=10)
    assert shop.work_off() == 3


def test_while_stripe_is_away_the_others_wait_without_being_tried(shop, endpoint) -> None:
    people = [shop.somebody() for _ in range(3)]
    for person in people:
        shop.buy(person)
    shop.stripe.deliver()
    shop.value("DELETE FROM notice WHERE type NOT LIKE 'checkout%' RETURNING 1")
    shop.stripe.faults.next(500, 500, 500)
    assert shop.work_off() == 0
    assert shop.value("SELECT max(attempts) FROM notice") == 0
    assert shop.work_off() == 0
    assert [shop.credits(person) for person in people] == [(0, 0)] * 3
    shop.clock.advance(seconds=handlers.UNREACHABLE_PAUSE_S)
    assert shop.work_off() == 3
    assert [shop.credits(person) for person in people] == [(10, 0)] * 3


def test_what_was_given_up_can_be_replayed(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    shop.value("UPDATE notice SET state = 'dead', attempts = :most RETURNING 1", most=ATTEMPTS_MAX)
    with shop.database.transaction() as session:
        assert notices.replay(session, "evt_unknown", now=shop.clock.now()) == 0
        one = notices.dead(session, most=1)[0].id
        assert notices.replay(session, one, now=shop.clock.now()) == 1
        assert notices.replay(session, None, now=shop.clock.now()) == 4
    shop.work_off()
    assert shop.credits(ada) == (10, 0)
    assert shop.notices() == {"handled": 5}


def test_a_dead_stripe_only_delays(shop, endpoint, monkeypatch) -> None:
    monkeypatch.setattr(door, "RETRIES", 0)
    nobody = StripeDoor(shop.stripe.api_key, (shop.stripe.webhook_secret,), "http://127.0.0.1:9")
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    for _ in range(3 * ATTEMPTS_MAX):
        handlers.work_off(replace(shop.desk, door=nobody))
        shop.clock.advance(seconds=handlers.UNREACHABLE_PAUSE_S)
    nobody.close()
    assert shop.notices() == {"handled": 4, "received": 1}
    assert shop.value("SELECT attempts FROM notice WHERE state = 'received'") == 0
    shop.work_off()
    assert shop.credits(ada) == (10, 0)


def test_two_at_the_same_message_book_it_once(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    claimed = handlers.claim(shop.desk, most=10)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda notice: handlers.handle(shop.desk, notice), claimed * 4))
    assert sum(done) == len(claimed)
    assert shop.credits(ada) == (10, 0)
    shop.books_hold()


def test_what_was_read_of_a_subscription_before_something_newer_was_booked_is_refused(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    held = shop.subscription_of(ada)
    first = standing_orders.read(shop.database, shop.door, held)
    also_first = standing_orders.read(shop.database, shop.door, held)
    book(shop, first)
    with pytest.raises(Overtaken):
        book(shop, also_first)
    old = standing_orders.read(shop.database, shop.door, held)
    shop.stripe.cancel(held, at_period_end=False)
    new = standing_orders.read(shop.database, shop.door, held)
    book(shop, new)
    with pytest.raises(Overtaken):
        book(shop, old)
    assert (shop.value("SELECT status FROM subscription"), shop.plan(ada)) == ("canceled", "free")


def book(shop, seen: standing_orders.SubscriptionSeen) -> None:
    with shop.database.transaction() as session:
        standing_orders.book(session, seen, now=shop.clock.now())


def test_what_was_read_of_a_refund_before_something_newer_was_booked_is_refused(shop, endpoint) -> None:
    ada = shop.somebody()
    charge_id = shop.charge_of(shop.buy(ada))
    shop.hear()
    old = reversals.read_charge(shop.database, shop.door, charge_id)
    shop.stripe.refund(charge_id, 250)
    new = reversals.read_charge(shop.database, shop.door, charge_id)
    for backs, overtaken in ((new, False), (old, True), (new, True)):
        with pytest.raises(Overtaken) if overtaken else nullcontext(), shop.database.transaction() as session:
            reversals.book(session, backs, now=shop.clock.now())
    assert shop.credits(ada) == (5, 0)


def test_a_message_that_was_overtaken_while_it_read_reads_again(shop, endpoint, monkeypatch) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    held = shop.subscription_of(ada)
    ask, asked = shop.door.subscription, []

    def meanwhile(subscription_id: str):
        told = ask(subscription_id)
        asked.append(told.status)
        if len(asked) == 1:  # the other one reads the end, and books it first
            shop.stripe.cancel(held, at_period_end=False)
            tell(shop, type="customer.subscription.deleted", object_id=held, number=2)
            (notice,) = handlers.claim(shop.desk, most=1)
            assert handlers.handle(shop.desk, notice)
        return told

    monkeypatch.setattr(shop.door, "subscription", meanwhile)
    tell(shop, type="customer.subscription.updated", object_id=held)
    shop.work_off()
    assert asked == ["active", "canceled", "canceled"]
    assert (shop.value("SELECT status FROM subscription"), shop.notices()) == ("canceled", {"handled": 2})


def test_handled_messages_are_forgotten_after_their_time(shop) -> None:
    tell(shop, type="nothing.asked")
    tell(shop, number=2)
    shop.work_off()
    with shop.database.transaction() as session:
        assert notices.forget_handled(session, before=shop.clock.now()) == 0
        assert notices.forget_handled(session, before=shop.clock.now() + timedelta(days=1)) == 1
    assert shop.notices() == {"received": 1}


def test_the_hourly_run_remembers_what_was_handled_for_three_months(shop) -> None:
    tell(shop, type="nothing.asked")
    shop.work_off()
    loop = BillingLoop(shop.database, shop.payments, now=shop.clock.now)
    shop.clock.advance(days=89)
    asyncio.run(loop.reconcile())
    assert shop.notices() == {"handled": 1}
    shop.clock.advance(days=2)
    asyncio.run(loop.reconcile())
    assert shop.notices() == {}


@pytest.mark.parametrize("announced", [True, False])
def test_the_loop_hears_handles_and_makes_customers(shop, endpoint, announced) -> None:
    ada, bob = shop.somebody(), shop.somebody()
    poll_s = 60.0 if announced else 0.2

    async def until(condition) -> None:
        async with asyncio.timeout(120):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.05)

    async def run() -> None:
        loop = BillingLoop(shop.database, shop.payments, now=shop.clock.now, poll_s=poll_s)
        task = asyncio.create_task(loop.run())
        try:
            await until(lambda: shop.value("SELECT count(*) FROM account WHERE stripe_customer_id <> ''") == 2)
            await asyncio.sleep(0.5)  # the first look at the inbox is over, and somebody listens
            await asyncio.to_thread(shop.buy, ada)
            await asyncio.to_thread(shop.stripe.deliver)
            await until(lambda: shop.credits(ada) == (10, 0))
            await asyncio.to_thread(shop.buy, bob)
            await loop.reconcile()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert shop.credits(bob) == (10, 0)
    shop.agrees_with_stripe()
