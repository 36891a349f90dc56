"""Giving people what they paid for: once, whoever asks, however often and at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from billing import fulfilment, plans
from billing.fulfilment import UnknownBuyer, UnknownPrice
from billing.payments import AlreadySubscribed, NotSubscribed
from billing.plans import UnknownItem
from billing.stripe_door import StripeUnreachable
from studio.words.purchase import PurchaseState


def test_a_pack_paid_by_card_gives_its_credits_once(shop, endpoint) -> None:
    ada = shop.somebody(credits=3)
    session_id = shop.buy(ada, "usd_25")
    shop.hear()
    shop.hear()
    assert shop.credits(ada) == (28, 0)
    purchase = shop.purchase(session_id)
    assert (purchase.state, purchase.credits, purchase.item) == (PurchaseState.PAID, 25, "pack_usd_25")
    assert set(shop.notices()) == {"handled"}
    shop.agrees_with_stripe()


def test_the_webhook_and_the_landing_page_at_once_give_it_once(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    shop.stripe.deliver()

    def ask(number: int) -> bool:
        if number % 5 == 0:
            shop.work_off()
            return False
        return shop.payments.fulfil(session_id, now=shop.clock.now()).granted

    with ThreadPoolExecutor(20) as pool:
        granted = list(pool.map(ask, range(40)))
    assert sum(granted) <= 1
    assert shop.credits(ada) == (10, 0)
    shop.agrees_with_stripe()


def test_the_landing_page_alone_is_enough_and_tells_what_came_of_it(shop) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    told = shop.payments.fulfil(session_id, now=shop.clock.now())
    assert (told.state, told.granted, told.account_id) == (PurchaseState.OPEN, False, ada.id)
    shop.stripe.pay(session_id)
    told = shop.payments.fulfil(session_id, now=shop.clock.now())
    assert (told.state, told.granted, told.credits) == (PurchaseState.PAID, True, 10)
    assert not shop.payments.fulfil(session_id, now=shop.clock.now()).granted
    assert shop.credits(ada) == (10, 0)


def test_a_checkout_that_was_never_noted_here_is_given_all_the_same(shop) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    shop.value("DELETE FROM purchase RETURNING 1")
    assert shop.payments.fulfil(session_id, now=shop.clock.now()).granted
    assert shop.credits(ada) == (10, 0)
    shop.books_hold()


def test_a_plan_whose_checkout_was_never_noted_gives_one_month(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada, "pro")
    shop.value("DELETE FROM purchase RETURNING 1")
    shop.hear()
    assert (shop.credits(ada), shop.plan(ada)) == ((100, 0), "pro")
    assert shop.purchase(session_id).credits == 0
    shop.agrees_with_stripe()


def test_a_checkout_of_two_packs_gives_both(shop) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    (session,) = shop.stripe.all("checkout.session")
    session["_line_items"]["data"][0]["quantity"] = 2
    session["amount_total"] = 998
    shop.value("DELETE FROM purchase RETURNING 1")
    assert shop.payments.fulfil(session_id, now=shop.clock.now()).credits == 20
    assert shop.credits(ada) == (20, 0)
    purchase = shop.purchase(session_id)
    assert (purchase.amount_minor, purchase.currency) == (998, "usd")


def test_a_checkout_of_two_things_is_an_alarm(shop) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    (session,) = shop.stripe.all("checkout.session")
    session["_line_items"]["data"] *= 2
    shop.value("DELETE FROM purchase RETURNING 1")
    with pytest.raises(UnknownPrice, match=f"The checkout {session_id}"):
        shop.payments.fulfil(session_id, now=shop.clock.now())
    assert shop.credits(ada) == (0, 0)


def test_a_pack_is_given_for_money_alone(shop) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    (session,) = shop.stripe.all("checkout.session")
    session.update(status="complete", payment_status="no_payment_required", url=None)
    assert not shop.payments.fulfil(session_id, now=shop.clock.now()).granted
    assert shop.credits(ada) == (0, 0)


def test_credits_that_were_bought_never_expire_and_know_their_price(shop) -> None:
    session_id = shop.buy(shop.somebody(), "eur_10")
    shop.payments.fulfil(session_id, now=shop.clock.now())
    with shop.database.transaction() as session:
        (block,) = session.execute(text("SELECT kind, amount, expires_at, cost_minor, currency::text FROM grant_block"))
    assert tuple(block) == ("paid", 10, None, 2499, "eur")


def test_what_was_paid_is_not_closed_as_forgotten(shop) -> None:
    session_id = shop.buy(shop.somebody())
    shop.payments.fulfil(session_id, now=shop.clock.now())
    with shop.database.transaction() as session:
        fulfilment.close_forgotten(session, session_id, now=shop.clock.now())
    assert shop.purchase(session_id).state is PurchaseState.PAID


def test_what_was_promised_is_given_although_the_offer_has_changed_since(shop, monkeypatch) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    changed = plans.offer().model_copy(update={"packs": {}})
    monkeypatch.setattr(plans, "offer", lambda: changed)
    assert shop.payments.fulfil(session_id, now=shop.clock.now()).credits == 10
    assert shop.credits(ada) == (10, 0)


def test_an_unknown_price_is_an_alarm_and_never_zero_credits(shop, endpoint, monkeypatch) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    shop.value("DELETE FROM purchase RETURNING 1")
    with monkeypatch.context() as patch:
        changed = plans.offer().model_copy(update={"packs": {}})
        patch.setattr(plans, "offer", lambda: changed)
        with pytest.raises(UnknownPrice, match="which is none of"):
            shop.payments.fulfil(session_id, now=shop.clock.now())
        shop.hear()
    assert shop.notices()["dead"] == 1
    assert shop.value("SELECT last_error FROM notice WHERE state = 'dead'").startswith(f"The checkout {session_id}")
    assert shop.credits(ada) == (0, 0)


def test_money_from_nobody_we_know_is_an_alarm(shop) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    shop.value("DELETE FROM purchase RETURNING 1")
    next(each for each in shop.stripe.all("checkout.session"))["client_reference_id"] = "acc_" + "0" * 32
    with pytest.raises(UnknownBuyer):
        fulfilment.fulfil(shop.database, shop.door, session_id, now=shop.clock.now())
    assert shop.credits(ada) == (0, 0)


def test_the_same_wish_twice_is_one_checkout(shop) -> None:
    ada = shop.somebody()
    again = {"key": "one wish", "success_url": "https://a.example.org", "cancel_url": "https://b.example.org"}
    urls = {shop.payments.start_checkout(ada, "usd_10", now=shop.clock.now(), **again) for _ in range(3)}
    assert len(urls) == len(shop.stripe.all("checkout.session")) == 1
    assert shop.value("SELECT count(*) FROM purchase") == 1


def test_the_same_key_of_two_people_is_two_checkouts(shop) -> None:
    again = {"key": "one wish", "success_url": "https://a.example.org", "cancel_url": "https://b.example.org"}
    for person in (shop.somebody(), shop.somebody()):
        shop.payments.start_checkout(person, "usd_10", now=shop.clock.now(), **again)
    assert len({each["client_reference_id"] for each in shop.stripe.all("checkout.session")}) == 2


def test_what_is_not_for_sale_cannot_be_bought(shop) -> None:
    ada = shop.somebody()
    for name in ("free", "gold", "", "pack_usd_10"):
        with pytest.raises(UnknownItem):
            shop.begin(ada, name)
    assert shop.stripe.all("checkout.session") == []


def test_a_plan_is_not_bought_twice_and_the_portal_is_for_buyers(shop, endpoint) -> None:
    ada, bob = shop.somebody(), shop.somebody()
    shop.buy(ada, "pro")
    shop.hear()
    with pytest.raises(AlreadySubscribed):
        shop.begin(ada, "pro")
    assert shop.payments.portal_url(ada, "https://studio.example.org").startswith(shop.stripe.url)
    with pytest.raises(NotSubscribed):
        shop.payments.portal_url(bob, "https://studio.example.org")


def test_an_account_is_one_customer_however_many_ask(shop) -> None:
    ada = shop.somebody()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: shop.payments.ensure_customer(ada), range(8)))
    assert len(found) == 1
    assert shop.payments.make_customers() == 0


def test_new_accounts_become_customers_by_and_by(shop) -> None:
    people = [shop.somebody() for _ in range(3)]
    assert shop.payments.make_customers() == 3
    assert len(shop.stripe.all("customer")) == 3
    assert {each["metadata"]["account_id"] for each in shop.stripe.all("customer")} == {each.id for each in people}
    assert shop.payments.make_customers() == 0


def test_an_address_that_stripe_refuses_keeps_nobody_waiting(shop) -> None:
    ada, bob, eve = (shop.somebody() for _ in range(3))
    shop.value("UPDATE account SET email = 'nowhere' WHERE id = :id RETURNING 1", id=bob.id)
    assert shop.payments.make_customers() == 2
    assert {each["metadata"]["account_id"] for each in shop.stripe.all("customer")} == {ada.id, eve.id}
    shop.value("UPDATE account SET email = 'bob@example.org' WHERE id = :id RETURNING 1", id=bob.id)
    assert shop.payments.make_customers() == 1


def test_a_stripe_that_is_away_for_a_moment_is_asked_again(shop) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    shop.stripe.faults.next("lost", 500)
    assert shop.payments.fulfil(session_id, now=shop.clock.now()).granted
    shop.stripe.faults.next(500, 500, 500, 500)
    with pytest.raises(StripeUnreachable):
        shop.payments.fulfil(session_id, now=shop.clock.now())
    assert shop.credits(ada) == (10, 0)


def test_checkouts_of_others_that_nobody_paid_are_not_our_business(shop, endpoint) -> None:
    shop.begin(shop.somebody())
    shop.value("DELETE FROM purchase RETURNING 1")
    (session,) = shop.stripe.all("checkout.session")
    session["client_reference_id"] = None
    shop.clock.advance(days=2)
    shop.hear()
    assert set(shop.notices()) == {"handled"}
    assert shop.value("SELECT count(*) FROM purchase") == 0


def test_whoever_closes_the_account_meanwhile_is_forgotten_at_stripe_too(shop) -> None:
    ada = shop.somebody()
    shop.value("UPDATE account SET deleted_at = now() RETURNING 1")
    assert shop.payments.ensure_customer(ada) == ""
    (customer,) = shop.stripe.all("customer")
    assert not customer["name"]
    assert not customer["email"]
