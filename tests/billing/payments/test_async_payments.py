"""Methods whose money takes days (SEPA, Klarna): no credit before it is there, none at all if it never comes."""

from studio.words.purchase import PurchaseState


def test_nothing_is_given_before_the_money_is_there(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    shop.stripe.pay_later(session_id)
    for _ in range(4):
        shop.hear()
        assert not shop.payments.fulfil(session_id, now=shop.clock.now()).granted
        assert shop.credits(ada) == (0, 0)
        assert shop.purchase(session_id).state is PurchaseState.OPEN
        shop.agrees_with_stripe()
        shop.clock.advance(days=1)
    shop.clock.advance(days=1)
    shop.hear()
    assert shop.credits(ada) == (10, 0)
    assert shop.purchase(session_id).state is PurchaseState.PAID
    shop.agrees_with_stripe()


def test_money_that_never_comes_gives_nothing(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    shop.stripe.pay_later(session_id)
    shop.hear()
    shop.stripe.fail(session_id)
    shop.hear()
    assert shop.credits(ada) == (0, 0)
    assert shop.purchase(session_id).state is PurchaseState.FAILED
    # what is told late of the same checkout changes nothing
    assert not shop.payments.fulfil(session_id, now=shop.clock.now()).granted
    assert shop.purchase(session_id).state is PurchaseState.FAILED
    shop.agrees_with_stripe()


def test_a_declined_card_gives_nothing_and_the_checkout_can_be_paid_after_all(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    shop.stripe.fail(session_id)
    shop.hear()
    assert (shop.credits(ada), shop.purchase(session_id).state) == ((0, 0), PurchaseState.OPEN)
    shop.stripe.pay(session_id)
    shop.hear()
    assert shop.credits(ada) == (10, 0)
    shop.agrees_with_stripe()


def test_a_checkout_nobody_paid_is_closed_after_a_day(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada)
    shop.clock.advance(days=2)
    shop.hear()
    assert (shop.credits(ada), shop.purchase(session_id).state) == ((0, 0), PurchaseState.EXPIRED)
    shop.agrees_with_stripe()


def test_a_plan_ordered_by_bank_transfer_gives_its_credits_when_the_money_is_there(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.begin(ada, "pro")
    shop.stripe.pay_later(session_id)
    shop.hear()
    assert shop.credits(ada) == (0, 0)
    shop.stripe.settle(session_id)
    shop.hear()
    assert (shop.credits(ada), shop.plan(ada)) == ((100, 0), "pro")
    shop.agrees_with_stripe()
