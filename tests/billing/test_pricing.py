"""What a Brief costs and what the plans are."""

import pytest

from billing.plans import UnknownPlan, plan, plans
from billing.pricing import CREDITS_PER_SERVICE, CREDITS_PER_TAKE, price_of
from studio.words.brief import Brief, BriefKind


@pytest.mark.parametrize("takes", [1, 2, 3, 4])
def test_a_song_costs_one_credit_a_take(takes: int) -> None:
    assert price_of(Brief(kind=BriefKind.SONG, takes=takes)) == takes


@pytest.mark.parametrize("kind", [kind for kind in BriefKind if kind is not BriefKind.SONG])
def test_drafts_are_free(kind: BriefKind) -> None:
    assert price_of(Brief(kind=kind)) == 0


def test_every_kind_has_a_price() -> None:
    assert set(CREDITS_PER_TAKE) == set(BriefKind)
    assert all(price >= 0 for price in CREDITS_PER_TAKE.values())


def test_every_service_of_the_studio_has_a_price_and_a_song_has_one_only() -> None:
    services = {"song", "separation", "mastering", "transcription", "enhancement", "sound"}
    assert set(CREDITS_PER_SERVICE) == services
    assert all(price > 0 for price in CREDITS_PER_SERVICE.values())
    assert CREDITS_PER_SERVICE["song"] == price_of(Brief(takes=1))


def test_a_price_cannot_be_altered() -> None:
    with pytest.raises(TypeError):
        CREDITS_PER_TAKE[BriefKind.SONG] = 0  # type: ignore[index]


def test_plans_come_from_the_file() -> None:
    assert plan("free").label == "Free"
    assert plan("free").start_cost > plan("pro").start_cost > 0
    assert [p.name for p in plans().values()] == list(plans())


def test_an_unknown_plan_is_named_and_so_are_the_others() -> None:
    with pytest.raises(UnknownPlan, match=r"“gold”.*free, pro"):
        plan("gold")
