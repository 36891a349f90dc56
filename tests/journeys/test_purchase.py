"""The road of a buyer, on the fake Stripe: a pack, a song of it, a plan, the portal, the end of the plan."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from data.repositories import subscriptions
from ui.testing import Stack, spend, until

SONG_MS = 180_000
Person = Any
MakePerson = Callable[..., Person]


@pytest.fixture(scope="module")
def stack(tiny_product: Stack) -> Stack:
    """The product with pretended payments."""
    assert "payments are pretended" in tiny_product.said()
    return tiny_product


def rail(page: Page) -> Any:
    """The credits in the sidebar, which no rerun of the page draws."""
    return page.locator(".st-key-jobs .balance")


def buy(page: Page, item: str) -> None:
    """Press a card's button on the page of prices and arrive at the checkout."""
    page.locator(f".st-key-buy_{item} button").click()
    page.wait_for_url(re.compile(r"/c/pay/cs_"))


def pay(page: Page) -> None:
    """Pay by card and arrive at the product again."""
    page.get_by_role("button", name=re.compile(r"^Pay \$")).click()
    page.wait_for_url(re.compile(r"/billing-success\?session=cs_"))


def ends(stack: Stack, ada: Person) -> bool:
    """Whether the plan ends with its month."""
    with stack.services.database.transaction() as session:
        held = subscriptions.entitling(session, ada.account().id)
    return held is not None and held.cancel_at_period_end


def test_buy_a_pack_make_a_song_subscribe_and_cancel(person: MakePerson, stack: Stack) -> None:
    ada = person()
    spend(stack.services, ada.account(), leave=1)
    watching = ada.tab()
    watching.goto(stack.web_url + "/library")
    expect(rail(watching)).to_have_text("1 credit")

    # Too few credits: the price is said before the click, and the click leads to where there are more.
    ada.describe("a short waltz about a paper boat")
    expect(ada.page.get_by_text("Two takes cost 2 credits · you have 1")).to_be_visible()
    ada.page.get_by_role("button", name="Create · 2 credits").click()
    dialog = ada.page.get_by_role("dialog")
    expect(dialog.get_by_text("The request is kept in your library")).to_be_visible()
    dialog.get_by_role("button", name="Get credits").click()
    page = ada.page
    expect(page.get_by_role("heading", name="Credits", exact=True)).to_be_visible()
    expect(page.get_by_text("Payments are pretended here")).to_be_visible()

    # Left without paying: nothing came.
    buy(page, "usd_10")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("heading", name="Nothing was bought")).to_be_visible()
    assert ada.credits() == (1, 0)

    # Paid: the other tab, which nobody touches, shows it.
    page.get_by_role("button", name="Back to the prices").click()
    buy(page, "usd_10")
    pay(page)
    expect(page.get_by_text("10 credits arrived.")).to_be_visible()
    expect(rail(watching)).to_have_text("11 credits")
    page.reload()
    expect(page.get_by_text("10 credits arrived.")).to_be_visible()
    assert ada.credits() == (11, 0)

    ada.create("a short waltz about a paper boat")
    expect(page.get_by_text("Your songs are ready.")).to_be_visible(timeout=SONG_MS)
    assert ada.credits() == (9, 0)

    ada.go("Credits")
    buy(page, "pro")
    pay(page)
    expect(page.get_by_text("You are on Pro.")).to_be_visible()
    expect(rail(watching)).to_have_text("109 credits")
    until(lambda: ada.account().plan == "pro", "the plan is pro")
    page.goto(stack.web_url + "/upgrade")
    expect(page.locator(".st-key-plan_pro").get_by_text("Your plan")).to_be_visible()
    expect(page.locator(".st-key-buy_pro")).to_have_count(0)

    page.locator(".st-key-to_portal button").click()
    page.wait_for_url(re.compile(r"/p/session/"))
    page.get_by_role("button", name="Cancel at the end of the period").click()
    expect(page.get_by_text("Ends on")).to_be_visible()
    until(lambda: ends(stack, ada), "the cancellation is known")
    page.get_by_role("link", name="Back").click()
    expect(page.locator(".st-key-plan_pro").get_by_text("Ends on")).to_be_visible()
    assert stack.melodeon("billing", "reconcile", "--check").returncode == 0


def test_who_is_not_signed_in_is_asked_to_and_comes_back(person: MakePerson) -> None:
    bob = person(arrive=False)
    page = bob.open("/upgrade")
    page.locator(".st-key-buy_usd_25 button").click()
    expect(page.get_by_text("Sign in first")).to_be_visible()
    bob.fill_sign_up()
    bob.signed_in()
    expect(page.get_by_role("heading", name="Credits", exact=True)).to_be_visible()
    page.get_by_role("radio", name="Euro").click()
    expect(page.locator(".st-key-pack_eur_1")).to_contain_text("€3.49")
