"""The pages of buying without a browser: what they say, what they offer, and the quote before a click."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from billing import plans
from billing.limits import Feature
from studio.words.credit import Balance, Movement, MovementKind
from studio.words.ids import AccountId, TransferId
from studio.words.purchase import PurchaseState
from studio.words.subscription import Subscription
from ui.widgets import prices, upgrade_dialog
from ui.widgets.plain import credits_text
from ui.widgets.quote import quote_text
from ui.widgets.statement import WHAT, as_row

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
ADA = AccountId("acc_" + "0" * 32)


def balance(available: int) -> Balance:
    return Balance(account_id=ADA, available_credits=available, held_credits=0)


@given(price=st.integers(1, 500), have=st.integers(0, 500))
def test_a_quote_names_the_price_and_what_is_left(price: int, have: int) -> None:
    text = quote_text(price, balance(have))
    assert text.startswith(f"This costs {credits_text(price)} · you have {have:,}")
    left = re.search(r"(\d+) left afterwards", text)
    assert (left is not None) == (have >= price)
    if left is not None:
        assert int(left[1]) == have - price


def test_what_is_free_is_called_so() -> None:
    assert quote_text(0, balance(1)) == "Free · you have 1 credit"


def test_the_best_value_is_the_cheapest_credit() -> None:
    for currency in ("usd", "eur"):
        offered = [pack for pack in plans.packs().values() if pack.currency == currency]
        best = prices.best_value(offered)
        assert best is not None
        assert best.credits == 50
    assert prices.best_value(offered[:1]) is None
    assert prices.each_text(plans.pack("usd_10")) == "$0.50 a credit"


def test_pro_brings_more_than_free() -> None:
    free, pro = (prices.gains(plans.plan(name)) for name in ("free", "pro"))
    assert "100 credits every month" in pro
    assert "3 times as many turns in a full queue" in pro
    assert not any("turns" in line or "every month" in line for line in free)
    assert free[-1] == "To come: 1 project, 1 release a day"
    assert pro[-1] == "To come: any number of projects, any number of releases a day"


def test_every_feature_and_every_movement_has_words() -> None:
    assert set(upgrade_dialog.GAIN) == set(Feature)
    assert set(WHAT) == set(MovementKind)


@pytest.mark.parametrize(
    ("status", "ending", "words"),
    [
        ("active", False, "Renews on 20 November 2026"),
        ("active", True, "Ends on 20 November 2026"),
        ("trialing", False, "Free until 20 November 2026"),
        ("past_due", False, "The last payment failed. Give another card"),
    ],
)
def test_a_subscription_says_how_it_goes_on(status: str, ending: bool, words: str) -> None:
    held = Subscription(
        id="sub_1", account_id=ADA, plan="pro", status=status, current_period_end=NOW, cancel_at_period_end=ending
    )
    assert words in prices.standing_text(held)


@pytest.mark.parametrize(
    ("kind", "change", "shown"),
    [
        (MovementKind.GRANT, 1000, "+1,000"),
        (MovementKind.HOLD, -2, "−2"),
        (MovementKind.CAPTURE, 0, "(2)"),
        (MovementKind.EXPIRE, -5, "−5"),
    ],
)
def test_a_line_of_the_statement_says_what_it_did(kind: MovementKind, change: int, shown: str) -> None:
    line = Movement(
        id=TransferId("tr_" + "0" * 32),
        kind=kind,
        amount_credits=abs(change) or 2,
        change_credits=change,
        job_id=None,
        note="",
        at=NOW,
        number=1,
    )
    assert as_row(line) == {"When": NOW, "What": WHAT[kind], "Credits": shown}


def _packs(open_for_sale: bool) -> None:
    import streamlit as st

    from ui.widgets.prices import draw_packs

    st.text(f"chosen: {draw_packs(open_for_sale=open_for_sale)}")


def prices_shown(page: AppTest) -> list[str]:
    assert not page.exception
    return [metric.value for metric in page.metric]


def test_packs_are_shown_in_the_chosen_currency_and_one_can_be_bought() -> None:
    page = AppTest.from_function(_packs, args=(True,)).run()
    assert prices_shown(page) == ["$4.99", "$9.99", "$14.99"]
    assert page.text[0].value == "chosen: None"
    page.button(key="buy_usd_25").click().run()
    assert page.text[0].value == "chosen: usd_25"
    page.session_state["currency"] = "eur"
    page.run()
    assert prices_shown(page) == ["€3.49", "€24.99", "€49.99", "€79.99"]
    assert page.text[0].value == "chosen: None"


def test_nothing_can_be_pressed_while_payments_are_off() -> None:
    page = AppTest.from_function(_packs, args=(False,)).run()
    assert prices_shown(page) == ["$4.99", "$9.99", "$14.99"]
    assert all(button.disabled for button in page.button)


def _plans(plan: str, subscription: object) -> None:
    import streamlit as st

    from studio.words.account import Account, Role
    from ui.widgets.prices import draw_plans

    account = Account(id="acc_1", name="ada", email="", role=Role.CREATOR, plan=plan, created_at=None)
    st.text(f"chosen: {draw_plans(account, subscription, open_for_sale=True)}")


def test_a_plan_can_be_bought_once() -> None:
    page = AppTest.from_function(_plans, args=("free", None)).run()
    assert [heading.value for heading in page.subheader] == ["Free :green-badge[Your plan]", "Pro"]
    page.button(key="buy_pro").click().run()
    assert page.text[0].value == "chosen: pro"
    held = Subscription(
        id="sub_1", account_id=ADA, plan="pro", status="active", current_period_end=NOW, cancel_at_period_end=True
    )
    page = AppTest.from_function(_plans, args=("pro", held)).run()
    assert [heading.value for heading in page.subheader] == ["Free", "Pro :green-badge[Your plan]"]
    assert not page.button
    assert "Ends on" in page.caption[0].value


def _arrival(state: object, item: str) -> None:
    from billing import plans
    from serving.api.buying import Arrival
    from studio.words.credit import Balance
    from ui.widgets.checkout import draw_arrival

    have = Balance(account_id="acc_1", available_credits=110, held_credits=0)
    draw_arrival(Arrival(state=state, item=plans.by_lookup_key(item), credits=10, balance=have))


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        (PurchaseState.PAID, "success", "10 credits arrived"),
        (PurchaseState.OPEN, "info", "on its way"),
        (PurchaseState.FAILED, "error", "did not go through"),
        (PurchaseState.EXPIRED, "error", "did not go through"),
        (PurchaseState.REFUNDED, "info", "went back to you"),
        (PurchaseState.DISPUTED, "info", "went back to you"),
    ],
)
def test_the_way_back_says_what_became_of_it(state: PurchaseState, kind: str, words: str) -> None:
    page = AppTest.from_function(_arrival, args=(state, "pack_usd_10")).run()
    assert not page.exception
    assert words in page.get(kind)[0].value
    assert page.metric[0].value == "110 credits"


def test_a_plan_says_that_its_credits_come_with_its_invoice() -> None:
    page = AppTest.from_function(_arrival, args=(PurchaseState.PAID, "plan_pro_monthly")).run()
    assert "You are on Pro. Its 100 credits" in page.success[0].value


def test_what_is_no_longer_sold_still_arrives() -> None:
    page = AppTest.from_function(_arrival, args=(PurchaseState.PAID, "pack_of_old")).run()
    assert "What you bought arrived" in page.success[0].value
