"""Comparing with Stripe: whatever was not heard heals in one run; what nobody paid for is told and never healed."""

from datetime import timedelta

import pytest

from billing import ledger, reconcile
from billing.reconcile import Kind
from billing.stripe_door import StripeUnreachable
from studio.words.credit import BlockKind
from studio.words.purchase import PurchaseState

SUCCESS = "https://studio.example.org/done"


def kinds(shop) -> set[Kind]:
    return {difference.kind for difference in reconcile.check(shop.desk)}


def test_an_endpoint_dead_for_three_days_is_healed_by_one_run(shop, endpoint) -> None:
    packs, plan, refunded, disputed, waiting = (shop.somebody() for _ in range(5))
    shop.stripe.deliver_to("http://127.0.0.1:9/dead")
    for item in ("usd_10", "usd_25", "eur_50"):
        shop.buy(packs, item)
    shop.buy(plan, "pro")
    shop.stripe.refund(shop.charge_of(shop.buy(refunded)))
    shop.stripe.dispute(shop.charge_of(shop.buy(disputed)))
    slow = shop.begin(waiting)
    shop.stripe.pay_later(slow)
    forgotten = shop.begin(waiting)
    shop.clock.advance(days=3.5)
    assert shop.notices() == {}
    assert shop.credits(packs) == (0, 0)
    before = kinds(shop)
    assert {Kind.UNHEARD, Kind.UNGRANTED, Kind.INVOICE, Kind.OPEN, Kind.REFUND, Kind.DISPUTE} <= before
    assert reconcile.heal(shop.desk) == ()
    assert set(shop.notices()) == {"handled"}
    assert shop.credits(packs) == (85, 0)
    assert (shop.credits(plan), shop.plan(plan)) == ((100, 0), "pro")
    assert shop.credits(refunded) == shop.credits(disputed) == shop.credits(waiting) == (0, 0)
    assert shop.purchase(forgotten).state is PurchaseState.EXPIRED
    assert shop.purchase(slow).state is PurchaseState.OPEN
    shop.agrees_with_stripe()
    shop.clock.advance(days=2)
    assert reconcile.heal(shop.desk) == ()
    assert shop.credits(waiting) == (10, 0)


def test_looking_changes_nothing(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.stripe.deliver_to("http://127.0.0.1:9/dead")
    shop.buy(ada)
    shop.stripe.deliver()
    first = reconcile.check(shop.desk)
    assert first == reconcile.check(shop.desk) != ()
    assert (shop.credits(ada), shop.notices()) == ((0, 0), {})


def test_it_heals_by_the_objects_although_stripe_thinks_that_all_was_delivered(shop, endpoint) -> None:
    # the messages came, and the database was put back to a state from before them
    ada, bob, eve = shop.somebody(), shop.somebody(), shop.somebody()
    shop.buy(ada)
    shop.buy(bob, "pro")
    charge_id = shop.charge_of(shop.buy(eve))
    shop.stripe.deliver()
    shop.value("DELETE FROM notice RETURNING 1")
    assert kinds(shop) == {Kind.UNGRANTED, Kind.INVOICE}
    assert reconcile.heal(shop.desk) == ()
    assert (shop.credits(ada), shop.credits(bob), shop.credits(eve)) == ((10, 0), (100, 0), (10, 0))
    shop.stripe.refund(charge_id, 250)
    shop.stripe.dispute(charge_id)
    shop.stripe.deliver()
    shop.value("DELETE FROM notice RETURNING 1")
    assert kinds(shop) == {Kind.REFUND, Kind.DISPUTE}
    assert reconcile.heal(shop.desk) == ()
    assert shop.credits(eve) == (0, 0)
    shop.agrees_with_stripe()


def test_a_subscription_that_went_on_unheard_is_brought_up_to_date(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    shop.stripe.cancel(shop.subscription_of(ada))
    shop.clock.advance(days=32)
    shop.value("DELETE FROM notice RETURNING 1")
    assert kinds(shop) == {Kind.SUBSCRIPTION}
    assert reconcile.heal(shop.desk) == ()
    assert shop.plan(ada) == "free"


def test_a_subscription_renewed_unheard_is_brought_up_to_date(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    shop.clock.advance(days=32)
    shop.value("DELETE FROM notice RETURNING 1")
    assert kinds(shop) == {Kind.INVOICE, Kind.SUBSCRIPTION}
    assert reconcile.heal(shop.desk) == ()
    assert shop.value("SELECT current_period_end FROM subscription") > shop.clock.now()
    assert shop.value("SELECT count(*) FROM transfer WHERE kind = 'grant'") == 2
    shop.agrees_with_stripe()


def test_an_invoice_that_is_not_paid_is_no_difference(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    shop.stripe.set_card(shop.stripe.all("customer")[0]["id"], works=False)
    shop.clock.advance(days=32)
    shop.hear()
    assert [each["status"] for each in shop.stripe.all("invoice")] == ["paid", "open"]
    shop.agrees_with_stripe()


def test_one_thing_that_cannot_be_healed_does_not_stop_the_others(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    lost = shop.buy(shop.somebody())  # the newest, so the first to be compared
    shop.stripe.deliver()
    shop.value("DELETE FROM notice RETURNING 1")
    shop.value("DELETE FROM purchase WHERE id = :id RETURNING 1", id=lost)
    shop.stripe.all("checkout.session")[-1]["client_reference_id"] = "acc_" + "0" * 32
    assert [(each.kind, each.subject) for each in reconcile.heal(shop.desk)] == [(Kind.UNGRANTED, lost)]
    assert shop.credits(ada) == (10, 0)


def test_a_purchase_at_the_edge_of_what_stripe_lists_is_no_alarm(shop, endpoint) -> None:
    ada = shop.somebody()
    ours = shop.clock.now() + timedelta(seconds=30)  # our clock is a little ahead of Stripe's
    shop.payments.start_checkout(ada, "usd_10", key="1", success_url=SUCCESS, cancel_url=SUCCESS, now=ours)
    shop.stripe.pay(shop.stripe.all("checkout.session")[0]["id"])
    shop.hear()
    shop.clock.advance(seconds=reconcile.SPAN.total_seconds() + 10)
    assert list(shop.door.sessions(since=shop.clock.now() - reconcile.SPAN)) == []
    shop.agrees_with_stripe()


def test_credits_that_nobody_paid_for_are_told_and_left_alone(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    with shop.database.transaction() as session:
        ledger.grant(
            session,
            ada.id,
            10,
            key=f"checkout:{session_id}",
            note="forged",
            now=shop.clock.now(),
            kind=BlockKind.PAID,
        )
    assert kinds(shop) == {Kind.UNPAID}
    shop.value("UPDATE purchase SET state = 'paid', paid_at = now() RETURNING 1")
    (left,) = reconcile.heal(shop.desk)
    assert (left.kind, left.subject) == (Kind.UNPAID, session_id)


def test_a_purchase_made_up_whole_is_told_too(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.value(
        "INSERT INTO purchase (id, account_id, item, credits, amount_minor, currency, state, created_at, paid_at)"
        " VALUES ('cs_forged', :account, 'pack_usd_10', 10, 499, 'usd', 'paid', :now, :now) RETURNING 1",
        account=ada.id,
        now=shop.clock.now(),
    )
    assert {(each.kind, each.subject) for each in reconcile.check(shop.desk)} == {
        (Kind.UNPAID, "cs_forged"),
        (Kind.UNGRANTED, "cs_forged"),
    }


def test_a_message_given_up_stays_in_the_list_until_it_is_replayed(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.deliver()
    shop.value("UPDATE notice SET state = 'dead', last_error = 'It broke.' WHERE type LIKE 'checkout%' RETURNING 1")
    left = reconcile.heal(shop.desk)
    assert [(each.kind, "It broke." in each.sentence) for each in left] == [(Kind.DEAD, True)]
    # the credits came all the same: the payment itself was compared
    assert shop.credits(ada) == (10, 0)


def test_a_checkout_that_even_stripe_has_forgotten_is_closed(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    shop.value("UPDATE purchase SET id = 'cs_forgotten' RETURNING 1")
    shop.clock.advance(days=2)
    assert kinds(shop) == {Kind.OPEN}
    assert reconcile.heal(shop.desk) == ()
    assert shop.purchase("cs_forgotten").state is PurchaseState.EXPIRED
    assert session_id != "cs_forgotten"


def test_with_stripe_away_it_says_so_and_changes_nothing(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.stripe.faults.next(500, 500, 500)
    with pytest.raises(StripeUnreachable):
        reconcile.check(shop.desk)
    shop.hear()
    shop.agrees_with_stripe()


def test_old_things_are_left_alone(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada)
    shop.hear()
    shop.clock.advance(days=40)
    assert reconcile.check(shop.desk) == ()
    assert shop.clock.now() - reconcile.SPAN > shop.purchase(shop.stripe.all("checkout.session")[0]["id"]).created_at
    assert timedelta(days=30) == reconcile.SPAN
