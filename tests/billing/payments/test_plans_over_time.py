"""Plans over 24 virtual months: the plan follows the subscription, and the grants are exactly the paid lines."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing import ledger, plans
from billing.plans import Plan
from data.repositories import subscriptions
from studio.words.purchase import PurchaseState

MONTHLY = 100
LARGER = 250
CREDITS_AT = {1499: MONTHLY, 2998: LARGER}
"""What a month brings, by its price in cents."""


def paid_for(shop, customer: str) -> int:
    """The credits of the whole months that a customer has paid, as Stripe's invoices say."""
    return sum(
        CREDITS_AT[line["amount"]]
        for invoice in shop.stripe.all("invoice")
        if invoice["customer"] == customer and invoice["status"] == "paid"
        for line in invoice["lines"]["data"]
        if line["amount"] > 0 and not line["parent"]["subscription_item_details"]["proration"]
    )


def granted(shop, account) -> int:
    """How many credits of plans an account was ever given."""
    return shop.value(
        "SELECT coalesce(sum(amount), 0) FROM transfer WHERE account_id = :id AND idempotency_key LIKE 'invoice:%'"
        " AND kind = 'grant'",
        id=account.id,
    )


def customer_of(shop, account) -> str:
    with shop.database.transaction() as session:
        return subscriptions.customer_of(session, account.id)


def test_the_first_month_is_given_once_though_two_messages_tell_of_it(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada, "pro")
    shop.payments.fulfil(session_id, now=shop.clock.now())
    shop.hear()
    assert (shop.credits(ada), shop.plan(ada)) == ((MONTHLY, 0), "pro")
    shop.agrees_with_stripe()


def test_24_months_of_many_lives(shop, endpoint, two_plans) -> None:
    keeper, leaver, failing, returning, changer = people = [shop.somebody() for _ in range(5)]
    for person in people:
        shop.buy(person, "pro")
    shop.hear()
    for month in range(1, 25):
        if month == 3:
            shop.stripe.cancel(shop.subscription_of(leaver))
            shop.stripe.set_card(customer_of(shop, failing), works=False)
        if month == 6:
            shop.stripe.set_card(customer_of(shop, returning), works=False)
        if plan := {4: "studio", 9: "pro", 14: "studio", 20: "pro"}.get(month):
            shop.stripe.switch(shop.subscription_of(changer), price_of(shop, f"plan_{plan}_monthly"))
            shop.hear()
            assert shop.plan(changer) == plan
        shop.clock.advance(days=8)
        shop.hear()
        if month == 6:
            assert shop.plan(returning) == "pro"
        if month == 7:
            # a renewal failed a week ago, Stripe still tries: the plan stays, a good card brings the month's credits
            shop.stripe.set_card(customer_of(shop, returning), works=True)
            shop.hear()
            assert shop.plan(returning) == "pro"
        shop.clock.advance(days=22.5)
        shop.hear()
        if month in (2, 5, 12, 24):
            shop.agrees_with_stripe()
    assert [shop.plan(person) for person in people] == ["pro", "free", "free", "pro", "pro"]
    brought = [granted(shop, person) for person in people]
    assert brought == [paid_for(shop, customer_of(shop, person)) for person in people]
    assert brought == [25 * MONTHLY, 3 * MONTHLY, 3 * MONTHLY, 25 * MONTHLY, 13 * MONTHLY + 12 * LARGER]
    # what was not spent did not last: only the month at hand is there
    with shop.database.transaction() as session:
        ledger.expire(session, now=shop.clock.now())
    assert shop.credits(keeper) == (MONTHLY, 0)
    assert shop.credits(leaver) == (0, 0)
    shop.agrees_with_stripe()


def test_cancelling_keeps_the_plan_until_the_period_ends_and_can_be_taken_back(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    held = shop.subscription_of(ada)
    shop.stripe.cancel(held)
    shop.hear()
    assert shop.plan(ada) == "pro"
    assert shop.value("SELECT cancel_at_period_end FROM subscription")
    shop.stripe.resume(held)
    shop.clock.advance(days=32)
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("pro", 2 * MONTHLY)
    shop.stripe.cancel(held, at_period_end=False)
    shop.hear()
    assert shop.plan(ada) == "free"
    # whoever comes back subscribes anew
    shop.buy(ada, "pro")
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("pro", 3 * MONTHLY)
    shop.agrees_with_stripe()


def test_a_payment_that_fails_for_good_ends_the_plan(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    shop.stripe.set_card(customer_of(shop, ada), works=False)
    shop.clock.advance(days=31)
    shop.hear()
    assert (shop.plan(ada), shop.value("SELECT status FROM subscription")) == ("pro", "past_due")
    shop.clock.advance(days=40)
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("free", MONTHLY)
    shop.agrees_with_stripe()


@pytest.fixture
def two_plans(shop, monkeypatch) -> Plan:
    """A second paid plan, twice as large, that Stripe knows too."""
    offer = plans.offer()
    studio = offer.plans["pro"].model_copy(
        update={"name": "studio", "label": "Studio", "amount_minor": 2998, "monthly_credits": LARGER}
    )
    wider = offer.model_copy(update={"plans": {**offer.plans, "studio": studio}})
    monkeypatch.setattr(plans, "offer", lambda: wider)
    shop.payments.sync_prices()
    return studio


def price_of(shop, lookup_key: str) -> str:
    (price,) = [each for each in shop.stripe.all("price") if each["lookup_key"] == lookup_key]
    return price["id"]


def test_changing_the_plan_to_and_fro_makes_no_credits(shop, endpoint, two_plans) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    held = shop.subscription_of(ada)
    for plan in ("studio", "pro", "studio", "pro", "studio"):
        shop.clock.advance(days=1)
        shop.stripe.switch(held, price_of(shop, f"plan_{plan}_monthly"))
        shop.hear()
        assert shop.plan(ada) == plan
        assert granted(shop, ada) == MONTHLY
    shop.clock.advance(days=28)
    shop.hear()
    assert granted(shop, ada) == MONTHLY + LARGER
    shop.stripe.switch(held, price_of(shop, "plan_pro_monthly"))
    shop.clock.advance(days=31)
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("pro", 2 * MONTHLY + LARGER)
    shop.agrees_with_stripe()


def test_a_trial_gives_the_plan_but_no_credits_and_is_had_once(shop, endpoint, monkeypatch) -> None:
    offer = plans.offer()
    trial = {**offer.plans, "pro": offer.plans["pro"].model_copy(update={"trial_days": 14})}
    monkeypatch.setattr(plans, "offer", lambda: offer.model_copy(update={"plans": trial}))
    ada = shop.somebody()
    session_id = shop.buy(ada, "pro")
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("pro", 0)
    assert shop.purchase(session_id).state is PurchaseState.PAID
    shop.clock.advance(days=15)
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("pro", MONTHLY)
    shop.stripe.cancel(shop.subscription_of(ada), at_period_end=False)
    shop.hear()
    shop.buy(ada, "pro")
    shop.hear()
    assert (shop.plan(ada), granted(shop, ada)) == ("pro", 2 * MONTHLY)
    shop.agrees_with_stripe()


def test_a_month_paid_late_lasts_a_week_at_least(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.stripe.deliver()
    shop.clock.advance(days=29)
    shop.work_off()
    expires_at = shop.value("SELECT expires_at FROM grant_block WHERE account_id = :id", id=ada.id)
    assert expires_at >= shop.clock.now() + timedelta(days=6)


def test_a_closed_accounts_subscription_ends_in_the_books_too(shop, endpoint) -> None:
    ada = shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    shop.payments.forget(replace(ada, stripe_customer_id=customer_of(shop, ada)))
    shop.value("UPDATE account SET stripe_customer_id = '', deleted_at = now() WHERE id = :id RETURNING 1", id=ada.id)
    shop.hear()
    assert set(shop.notices()) == {"handled"}
    assert shop.value("SELECT status FROM subscription") == "canceled"
    shop.agrees_with_stripe()
