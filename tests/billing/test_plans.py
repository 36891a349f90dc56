"""What can be bought, and what a broken plans.toml is told."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import plans
from billing.plans import BrokenPlans, Pack, Plan, UnknownItem, money_text, read_offer

GOOD = """
[plans.free]
label = "Free"
start_cost = 3
"""
PRO = """
[plans.pro]
label = "Pro"
start_cost = 1
amount_minor = 1499
"""
PACK = """
[packs.ten]
label = "10 credits"
credits = 10
amount_minor = 499
currency = "usd"
"""


def test_the_packs_are_those_of_the_price_list() -> None:
    prices = {(p.currency, p.credits): money_text(p.amount_minor, p.currency) for p in plans.packs().values()}
    assert prices == {
        ("usd", 10): "$4.99",
        ("usd", 25): "$9.99",
        ("usd", 50): "$14.99",
        ("eur", 1): "€3.49",
        ("eur", 10): "€24.99",
        ("eur", 25): "€49.99",
        ("eur", 50): "€79.99",
    }


def test_the_plans_are_free_and_pro() -> None:
    free, pro = plans.plan("free"), plans.plan("pro")
    assert list(plans.plans()) == ["free", "pro"]
    assert (free.is_paid, free.start_cost, free.projects_max, free.releases_per_day) == (False, 3, 1, 1)
    assert (pro.is_paid, pro.start_cost, pro.projects_max, pro.releases_per_day) == (True, 1, None, None)
    assert pro.monthly_credits > 0
    assert (pro.trial_days, pro.lookup_key) == (0, "plan_pro_monthly")


def test_no_pack_is_a_worse_bargain_than_a_smaller_one() -> None:
    for currency in ("usd", "eur"):
        bought = sorted((p for p in plans.packs().values() if p.currency == currency), key=lambda p: p.credits)
        each = [p.amount_minor / p.credits for p in bought]
        assert each == sorted(each, reverse=True)


def test_everything_for_sale_is_found_by_its_name_and_by_its_key() -> None:
    keys = [item.lookup_key for item in plans.items()]
    assert len(keys) == len(set(keys)) == 8
    for item in plans.items():
        assert plans.item(item.name) is item
        assert plans.by_lookup_key(item.lookup_key) is item
    assert plans.pack("usd_10").lookup_key == "pack_usd_10"


@pytest.mark.parametrize("name", ["free", "gold", "", "pack_usd_10", "../pro"])
def test_what_is_not_for_sale_is_refused(name: str) -> None:
    with pytest.raises(UnknownItem, match="not for sale"):
        plans.item(name)
    with pytest.raises(UnknownItem):
        plans.pack(name)


@pytest.mark.parametrize("key", ["", "pack_gold", "plan_free_monthly", "usd_10", "price_1234"])
def test_a_price_that_is_not_ours_is_none_and_never_nought(key: str) -> None:
    assert plans.by_lookup_key(key) is None


def test_what_is_left_out_is_free_and_without_limits() -> None:
    plan = read_offer(GOOD).plans["free"]
    assert (plan.monthly_credits, plan.amount_minor, plan.trial_days) == (0, 0, 0)
    assert (plan.projects_max, plan.releases_per_day) == (None, None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[plans.free", "It is not TOML"),
        ("", "The field “plans” is missing."),
        ("plans = 3", "plans: Input should be a valid dictionary"),
        ("[plans]\nfree = 3", "plans.free: Input should be"),
        ("[plans.pro]\nlabel = 'Pro'\nstart_cost = 1", "There must be a plan “free”"),
        (GOOD + "amount_minor = 100", "There must be a plan “free” that costs nothing"),
        (GOOD + "monthly_credits = 5", "brings neither monthly credits nor a trial"),
        (GOOD + "trial_days = 3", "brings neither monthly credits nor a trial"),
        (GOOD + "price = 3", "There is no field “plans.free.price”."),
        (GOOD.replace("start_cost = 3", ""), "The field “plans.free.start_cost” is missing."),
        (GOOD.replace("start_cost = 3", "start_cost = 0"), "plans.free.start_cost: Input should be greater than 0."),
        (GOOD.replace("start_cost = 3", "start_cost = '3'"), "plans.free.start_cost: Input should be a valid integer."),
        (GOOD + "projects_max = -1", "plans.free.projects_max"),
        (GOOD + PRO.replace("1499", "49"), "amount_minor is 0 or at least 50"),
        (GOOD + PRO.replace("1499", "14.99"), "plans.pro.amount_minor: Input should be a valid integer."),
        (GOOD + PRO + "currency = 'jpy'", "plans.pro.currency"),
        (GOOD + PRO + "trial_days = 900", "plans.pro.trial_days"),
        (GOOD + PACK.replace("credits = 10\n", "credits = 0\n"), "packs.ten.credits: Input should be greater than 0."),
        (GOOD + PACK.replace("499", "-499"), "packs.ten.amount_minor"),
        (GOOD + PACK.replace("499", "10"), "packs.ten.amount_minor: Input should be greater than or equal to 50."),
        (GOOD + PACK.replace('"usd"', '"USD"'), "packs.ten.currency"),
        (GOOD + PACK.replace('currency = "usd"', ""), "The field “packs.ten.currency” is missing."),
        (GOOD + PACK.replace("packs.ten", "packs.Ten"), "packs.Ten.name"),
        (GOOD + PACK.replace("packs.ten", "packs.free"), "A pack and a plan are both called “free”"),
        ("refund_days = -1" + GOOD, "refund_days"),
    ],
)
def test_a_broken_file_is_told_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(BrokenPlans, match=re.escape(sentence)):
        read_offer(text)


def test_several_faults_are_told_at_once() -> None:
    with pytest.raises(BrokenPlans) as caught:
        read_offer(GOOD + "colour = 'red'\n" + PACK.replace("499", "1"))
    assert "plans.free.colour" in caught.value.sentence
    assert "packs.ten.amount_minor" in caught.value.sentence


@given(st.text(max_size=80))
def test_no_text_gets_past_with_another_error(text: str) -> None:
    for whole in (text, GOOD + text):
        try:
            offer = read_offer(whole)
        except BrokenPlans:
            continue
        assert "free" in offer.plans


@given(st.integers(0, 99_999_999))
def test_money_keeps_every_cent(amount_minor: int) -> None:
    shown = money_text(amount_minor, "usd")
    assert shown.startswith("$")
    assert int(re.sub(r"[$,.]", "", shown)) == amount_minor
    assert re.fullmatch(r"\$\d{1,3}(,\d{3})*\.\d\d", shown)


def test_what_is_sold_cannot_be_altered() -> None:
    for item in (plans.pack("usd_10"), plans.plan("pro")):
        assert isinstance(item, Pack | Plan)
        with pytest.raises(ValueError, match="frozen"):
            item.amount_minor = 1
