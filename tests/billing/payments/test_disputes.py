"""Refunds and disputes: the twelve cases, each exact, no balance ever negative, whatever order the messages take."""

import pytest

from billing import ledger
from billing.handlers import ATTEMPTS_MAX
from billing.ledger import OwesCredits
from data.repositories import purchases
from studio.words.ids import JobId
from studio.words.purchase import PurchaseState

PRICE = 499
CREDITS = 10


@pytest.fixture
def bought(shop, endpoint):
    """Somebody who bought ten credits: the account, the purchase and the charge."""
    ada = shop.somebody()
    session_id = shop.buy(ada, "usd_10")
    shop.hear()
    assert shop.credits(ada) == (CREDITS, 0)
    return ada, session_id, shop.charge_of(session_id)


def ends(shop, bought, *, credits: tuple[int, int], state: PurchaseState) -> None:  # noqa: A002
    shop.hear()
    ada, session_id, _ = bought
    assert shop.credits(ada) == credits
    assert shop.purchase(session_id).state is state
    shop.agrees_with_stripe()


def test_1_a_full_refund_takes_everything(shop, bought) -> None:
    shop.stripe.refund(bought[2])
    ends(shop, bought, credits=(0, 0), state=PurchaseState.REFUNDED)


def test_2_a_partial_refund_takes_its_share_rounded_down(shop, bought) -> None:
    shop.stripe.refund(bought[2], PRICE // 3)
    ends(shop, bought, credits=(7, 0), state=PurchaseState.PAID)


def test_3_many_partial_refunds_take_exactly_everything_in_the_end(shop, bought) -> None:
    for part in (100, 1, 99, 200, 99):
        shop.stripe.refund(bought[2], part)
        shop.hear()
    ends(shop, bought, credits=(0, 0), state=PurchaseState.REFUNDED)


def test_4_a_refund_after_everything_was_spent_becomes_a_debt(shop, bought) -> None:
    shop.spend(bought[0], CREDITS)
    shop.stripe.refund(bought[2])
    ends(shop, bought, credits=(0, CREDITS), state=PurchaseState.REFUNDED)


def test_5_a_refund_after_part_was_spent_takes_the_rest_and_owes_the_part(shop, bought) -> None:
    shop.spend(bought[0], 4)
    shop.stripe.refund(bought[2])
    ends(shop, bought, credits=(0, 4), state=PurchaseState.REFUNDED)


def test_6_a_refund_that_fails_gives_the_credits_back(shop, bought) -> None:
    made = shop.stripe.refund(bought[2])
    shop.hear()
    (charge,) = shop.stripe.all("charge")
    charge.update(amount_refunded=0, refunded=False)
    made["status"] = "failed"
    shop.stripe._shelves.emit("refund.failed", made)
    ends(shop, bought, credits=(CREDITS, 0), state=PurchaseState.PAID)


def test_7_a_dispute_takes_the_credits_at_once(shop, bought) -> None:
    shop.stripe.dispute(bought[2])
    ends(shop, bought, credits=(0, 0), state=PurchaseState.DISPUTED)


def test_8_a_dispute_after_spending_stops_new_work_until_the_debt_is_paid(shop, bought) -> None:
    ada = bought[0]
    shop.spend(ada, 6)
    shop.stripe.dispute(bought[2])
    ends(shop, bought, credits=(0, 6), state=PurchaseState.DISPUTED)
    with pytest.raises(OwesCredits), shop.database.transaction() as session:
        ledger.hold(session, ada.id, JobId("job_" + "9" * 32), 1, key="hold", now=shop.clock.now())
    shop.buy(ada, "usd_10")
    shop.hear()
    assert shop.credits(ada) == (4, 0)
    shop.agrees_with_stripe()


def test_9_a_dispute_won_gives_everything_back(shop, bought) -> None:
    dispute = shop.stripe.dispute(bought[2])
    shop.hear()
    shop.stripe.close_dispute(dispute["id"], won=True)
    ends(shop, bought, credits=(CREDITS, 0), state=PurchaseState.PAID)


def test_10_a_dispute_won_after_spending_ends_the_debt(shop, bought) -> None:
    shop.spend(bought[0], 6)
    dispute = shop.stripe.dispute(bought[2])
    shop.hear()
    shop.stripe.close_dispute(dispute["id"], won=True)
    ends(shop, bought, credits=(4, 0), state=PurchaseState.PAID)


def test_11_a_dispute_lost_changes_nothing_more(shop, bought) -> None:
    shop.spend(bought[0], 1)
    dispute = shop.stripe.dispute(bought[2])
    shop.hear()
    shop.stripe.close_dispute(dispute["id"], won=False)
    ends(shop, bought, credits=(0, 1), state=PurchaseState.DISPUTED)


def test_12_a_refund_and_a_dispute_together_never_take_more_than_was_bought(shop, bought) -> None:
    ada, session_id, charge_id = bought
    shop.stripe.refund(charge_id, PRICE // 2 + 1)
    shop.hear()
    assert shop.credits(ada) == (5, 0)
    dispute = shop.stripe.dispute(charge_id)
    ends(shop, bought, credits=(0, 0), state=PurchaseState.DISPUTED)
    shop.stripe.close_dispute(dispute["id"], won=True)
    ends(shop, bought, credits=(5, 0), state=PurchaseState.PAID)
    with shop.database.transaction() as session:
        assert sum(each.restored_at is None for each in purchases.reversals(session, [session_id])) == 1


def test_the_messages_may_come_in_any_order_and_all_at_once(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    charge_id = shop.charge_of(session_id)
    shop.stripe.refund(charge_id, 100)
    dispute = shop.stripe.dispute(charge_id)
    shop.stripe.close_dispute(dispute["id"], won=True)
    shop.stripe.deliver()
    # the money back is heard of first, the purchase last
    shop.value("UPDATE notice SET next_at = next_at + interval '1 s' WHERE type LIKE 'checkout%' RETURNING 1")
    shop.work_off()
    assert shop.credits(ada) == (0, 0)
    for _ in range(3):
        shop.clock.advance(seconds=60)
        shop.work_off()
    assert shop.credits(ada) == (8, 0)
    assert set(shop.notices()) == {"handled"}
    shop.agrees_with_stripe()


def test_an_inquiry_takes_nothing(shop, bought) -> None:
    dispute = shop.stripe.dispute(bought[2])
    dispute["status"] = "warning_needs_response"
    ends(shop, bought, credits=(CREDITS, 0), state=PurchaseState.PAID)


def test_money_back_for_what_was_never_sold_here_is_given_up_with_a_sentence(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada)
    shop.stripe.refund(shop.charge_of(session_id))
    shop.stripe.deliver()
    shop.value("UPDATE notice SET type = 'nothing' WHERE type LIKE 'checkout%' RETURNING 1")
    for _ in range(ATTEMPTS_MAX):
        shop.work_off()
        shop.clock.advance(hours=2)
    assert shop.notices()["dead"] == 2  # charge.refunded and refund.created
    assert "no purchase paid by it" in shop.value("SELECT min(last_error) FROM notice WHERE state = 'dead'")
    assert shop.credits(ada) == (0, 0)


def test_a_refund_of_a_plans_month_takes_the_months_credits_and_leaves_the_plan(shop, endpoint) -> None:
    ada = shop.somebody()
    session_id = shop.buy(ada, "pro")
    shop.hear()
    assert shop.credits(ada) == (100, 0)
    shop.stripe.refund(shop.charge_of(session_id))
    shop.hear()
    assert (shop.credits(ada), shop.plan(ada)) == ((0, 0), "pro")
    shop.agrees_with_stripe()
