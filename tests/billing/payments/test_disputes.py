"""Refunds and disputes: the twelve cases, each exact, no balance ever negative, whatever order the messages take."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import ledger, reconcile, reversals
from billing.handlers import ATTEMPTS_MAX
from billing.ledger import OwesCredits
from billing.stripe_records import ChargeRecord, CheckoutMode, DisputeRecord
from data.repositories import purchases
from studio.words.ids import AccountId, JobId
from studio.words.purchase import Purchase, PurchaseState

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


def test_a_dispute_about_a_part_takes_its_share_of_what_is_left(shop, bought) -> None:
    shop.stripe.refund(bought[2], 100)
    shop.hear()
    assert shop.credits(bought[0]) == (8, 0)
    dispute = shop.stripe.dispute(bought[2])
    dispute["amount"] = 200
    ends(shop, bought, credits=(4, 0), state=PurchaseState.DISPUTED)
    shop.stripe.close_dispute(dispute["id"], won=True)
    ends(shop, bought, credits=(8, 0), state=PurchaseState.PAID)


def test_a_second_dispute_of_the_same_charge_takes_nothing_more(shop, bought) -> None:
    shop.stripe.dispute(bought[2])
    shop.hear()
    (charge,) = shop.stripe.all("charge")
    charge["disputed"] = False
    shop.stripe.dispute(bought[2])
    ends(shop, bought, credits=(0, 0), state=PurchaseState.DISPUTED)


def test_of_two_disputes_the_first_is_won_and_the_other_keeps_what_it_took(shop, bought) -> None:
    first = shop.stripe.dispute(bought[2])
    shop.hear()
    (charge,) = shop.stripe.all("charge")
    charge["disputed"] = False
    second = shop.stripe.dispute(bought[2])
    shop.hear()
    shop.stripe.close_dispute(first["id"], won=True)
    ends(shop, bought, credits=(0, 0), state=PurchaseState.DISPUTED)
    shop.stripe.close_dispute(second["id"], won=True)
    ends(shop, bought, credits=(CREDITS, 0), state=PurchaseState.PAID)


def test_while_the_bank_thinks_it_over_the_credits_stay_taken(shop, bought) -> None:
    dispute = shop.stripe.dispute(bought[2])
    shop.hear()
    dispute["status"] = "under_review"
    shop.stripe._shelves.emit("charge.dispute.funds_withdrawn", dispute)
    ends(shop, bought, credits=(0, 0), state=PurchaseState.DISPUTED)


@given(bought_credits=st.integers(0, 1000), back_minor=st.integers(0, 2000), charge_minor=st.integers(0, 1000))
def test_the_share_due_is_never_more_than_was_bought(bought_credits: int, back_minor: int, charge_minor: int) -> None:
    bought = Purchase(
        id="cs_1",
        account_id=AccountId("acc_1"),
        item="pack_usd_10",
        credits=bought_credits,
        amount_minor=charge_minor,
        currency="usd",
        created_at=datetime(2026, 11, 20, tzinfo=UTC),
    )
    due = reversals.due_credits(bought, back_minor, charge_minor)
    if back_minor >= charge_minor > 0:
        assert due == bought_credits
    assert 0 <= due * charge_minor <= bought_credits * min(back_minor, charge_minor)
    assert due <= reversals.due_credits(bought, back_minor + 1, charge_minor)


def only(shop, kind: str) -> None:
    """Leave one message of this kind in the inbox."""
    shop.stripe.deliver()
    shop.value("DELETE FROM notice WHERE state = 'received' AND type <> :kind RETURNING 1", kind=kind)
    assert shop.value("SELECT count(*) FROM notice WHERE state = 'received'") == 1


def test_a_refund_that_was_overtaken_while_it_read_books_the_newer_one(shop, bought, monkeypatch) -> None:
    ada, _, charge_id = bought
    shop.stripe.refund(charge_id, 100)
    only(shop, "charge.refunded")
    ask, asked = shop.door.charge, []

    def meanwhile(asked_id: str) -> ChargeRecord:
        told = ask(asked_id)
        asked.append(told.refunded_minor)
        if len(asked) == 1:  # another worker reads the next refund too, and books both
            shop.stripe.refund(charge_id, 150)
            book(shop, reversals.read_charge(shop.database, shop.door, charge_id))
        return told

    monkeypatch.setattr(shop.door, "charge", meanwhile)
    assert shop.work_off() == 1
    assert shop.credits(ada) == (5, 0)
    assert asked == [100, 250, 250, 250]


def test_a_dispute_that_was_overtaken_while_it_read_books_the_newer_one(shop, bought, monkeypatch) -> None:
    ada, session_id, charge_id = bought
    dispute_id = shop.stripe.dispute(charge_id)["id"]
    only(shop, "charge.dispute.created")
    ask, asked = shop.door.disputes_of, []

    def meanwhile(asked_id: str) -> tuple[DisputeRecord, ...]:
        told = ask(asked_id)
        asked.extend(each.status for each in told)
        if len(asked) == 1:  # it is won, and another worker books that
            shop.stripe.close_dispute(dispute_id, won=True)
            book(shop, reversals.read_dispute(shop.database, shop.door, dispute_id))
        return told

    monkeypatch.setattr(shop.door, "disputes_of", meanwhile)
    assert shop.work_off() == 1
    assert (shop.credits(ada), shop.purchase(session_id).state) == ((CREDITS, 0), PurchaseState.PAID)
    assert asked == ["needs_response", "won", "won"]


def book(shop, backs: tuple[reversals.MoneyBack, ...]) -> None:
    with shop.database.transaction() as session:
        reversals.book(session, backs, now=shop.clock.now())


def test_money_back_to_others_is_not_our_business(shop, endpoint) -> None:
    shop.stripe.deliver_to(None)
    stranger = shop.door.create_customer("acc_elsewhere", "Eve", "eve@example.org")
    checkout = shop.door.checkout(
        lookup_key="pack_usd_10",
        mode=CheckoutMode.PAYMENT,
        customer=stranger,
        account_id="acc_elsewhere",
        success_url="https://shop.example.org/done",
        cancel_url="https://shop.example.org",
        key="1",
    )
    shop.stripe.pay(checkout.id)
    shop.stripe.deliver_to(endpoint)
    shop.stripe.refund(shop.charge_of(checkout.id))
    shop.hear()
    assert set(shop.notices()) == {"handled"}


@pytest.mark.parametrize("days", [56, 180, 395])
def test_money_may_be_called_back_long_after(shop, bought, days) -> None:
    # a SEPA debit for eight weeks and, never allowed, for thirteen months; an order by Klarna for half a year
    shop.clock.advance(days=days)
    shop.hear()
    shop.stripe.dispute(bought[2])
    ends(shop, bought, credits=(0, 0), state=PurchaseState.DISPUTED)


def test_money_called_back_long_after_heals_too_when_nobody_listened(shop, bought) -> None:
    shop.clock.advance(days=180)
    shop.hear()
    shop.stripe.deliver_to("http://127.0.0.1:9/dead")
    shop.stripe.refund(bought[2], 100)
    shop.clock.advance(days=4)
    assert shop.credits(bought[0]) == (CREDITS, 0)
    assert reconcile.heal(shop.desk) == ()
    ends(shop, bought, credits=(8, 0), state=PurchaseState.PAID)


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
