"""The road of a newcomer: sign up, describe a song, watch it, hear it, share it."""

import os
import signal
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from ui.testing import Stack, spend

PATIENCE_MS = 60_000
SONG_MS = 180_000
Person = Any
MakePerson = Callable[..., Person]


def wait_for_songs(page: Page) -> None:
    expect(page.get_by_text("Your songs are ready.")).to_be_visible(timeout=SONG_MS)


def play_first(page: Page) -> None:
    card = page.locator("article.card, .card").first
    card.hover()
    card.get_by_role("button", name="Play").first.click()


def test_a_newcomer_makes_plays_and_publishes_a_song_and_another_finds_it(person: MakePerson) -> None:
    ada = person()
    page = ada.page
    ada.create("dreamy synthwave about driving home at midnight")
    panel = page.locator(".st-key-panel")
    expect(panel.get_by_text("Music").first).to_be_visible(timeout=PATIENCE_MS)
    wait_for_songs(page)
    assert ada.credits() == (98, 0)
    newest = page.locator(".st-key-newest .card")
    expect(newest).to_have_count(2)

    play_first(page)
    ada.plays_on()
    for title in ("Library", "Account", "Discover"):
        ada.go(title)
        ada.plays_on()

    ada.go("Library")
    first = page.locator(".st-key-library .card").first
    title = first.get_by_role("link").first.inner_text()
    first.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Publish").click()
    expect(page.get_by_text("Published: everybody can find it now.")).to_be_visible()

    bob = person()
    bob.open("/")
    found = bob.page.locator(".st-key-discover .card").filter(has_text=ada.name)
    expect(found.first).to_contain_text(title[:10], timeout=PATIENCE_MS)
    found.first.hover()
    found.first.get_by_role("button", name="Play").first.click()
    bob.plays_on()
    # The second take stayed private.
    assert found.count() == 1


def test_every_page_opened_cold_shows_frame_and_player(person: MakePerson) -> None:
    ada = person()
    ada.create("a short waltz about a paper boat")
    wait_for_songs(ada.page)
    play_first(ada.page)
    ada.plays_on()
    song = ada.page.locator(".st-key-newest .card").first.get_by_role("link").first.get_attribute("href")
    assert song is not None
    for path in ("/", "/create", "/library", "/account", song):
        page = ada.tab()
        page.goto(ada.stack.web_url + path)
        expect(page.get_by_test_id("stSidebarNav")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator(".st-key-player").get_by_role("button", name="Play", exact=True)).to_be_visible()
        expect(page.locator(".st-key-to_account")).to_contain_text(ada.name)
        page.close()


def test_the_music_plays_on_while_the_web_process_restarts(person: MakePerson, stack: Stack) -> None:
    ada = person()
    ada.create("calm ambient about snow, instrumental")
    wait_for_songs(ada.page)
    ada.page.evaluate("window.__melodeon.audio.loop = true")
    play_first(ada.page)
    ada.plays_on()
    os.kill(stack.pid_of("web"), signal.SIGKILL)
    ada.plays_on()
    expect(ada.page.locator(".st-key-to_account")).to_contain_text(ada.name)
    ada.page.wait_for_timeout(1000)
    ada.plays_on()
    # The tab comes back by itself and works again.
    expect(ada.page.get_by_test_id("stConnectionStatus")).to_have_count(0, timeout=PATIENCE_MS)
    ada.go("Library")
    ada.plays_on()


def test_reload_keeps_the_person_signed_in_and_signing_out_everywhere_ends_other_devices(person: MakePerson) -> None:
    ada = person()
    ada.page.reload()
    ada.signed_in()
    phone = person(ada.name, sign_up=False)
    phone.sign_in()
    phone.signed_in()
    ada.open("/account")
    ada.page.get_by_role("button", name="Sign out everywhere").click()
    expect(ada.page.get_by_role("button", name="Sign in or sign up")).to_be_visible(timeout=PATIENCE_MS)
    phone.page.reload()
    expect(phone.page.get_by_role("button", name="Sign in or sign up")).to_be_visible(timeout=PATIENCE_MS)


def test_wrong_passwords_weak_passwords_and_taken_names_get_a_sentence(person: MakePerson) -> None:
    ada = person()
    eve = person(ada.name, sign_up=False)
    eve.sign_in("not the password")
    expect(eve.page.get_by_text("The name or the password is wrong.")).to_be_visible(timeout=PATIENCE_MS)
    page = eve.open("/sign-in")
    page.get_by_role("tab", name="New here").click()
    form = page.get_by_role("tabpanel").filter(has_text="Make your account")
    form.get_by_label("Name", exact=True).fill(ada.name.upper())
    form.get_by_label("Password", exact=True).fill("password")
    form.get_by_role("button", name="Make my account").click()
    expect(page.get_by_text("one of the first that others would guess")).to_be_visible(timeout=PATIENCE_MS)
    form.get_by_label("Password", exact=True).fill("quite another phrase")
    form.get_by_role("button", name="Make my account").click()
    expect(page.get_by_text("is taken")).to_be_visible(timeout=PATIENCE_MS)


def test_an_empty_description_costs_nothing_and_says_what_to_do(person: MakePerson) -> None:
    ada = person()
    page = ada.open("/create")
    page.get_by_role("button", name="Create · 2 credits").click()
    expect(page.get_by_text("Describe your song in a few words first.")).to_be_visible(timeout=PATIENCE_MS)
    assert ada.credits() == (100, 0)


def test_a_double_click_makes_one_request(person: MakePerson) -> None:
    ada = person()
    ada.describe("warm lo-fi for a rainy Sunday, no vocals")
    ada.page.get_by_role("button", name="Create · 2 credits").dblclick()
    wait_for_songs(ada.page)
    assert ada.credits() == (98, 0)


def test_a_song_can_be_cancelled_and_the_credits_come_back(person: MakePerson) -> None:
    ada = person()
    ada.create("slow piano ballad about a letter")
    panel = ada.page.locator(".st-key-panel")
    panel.get_by_role("button", name="Cancel").click(timeout=PATIENCE_MS)
    expect(panel.get_by_text("Cancelled").first).to_be_visible(timeout=PATIENCE_MS)
    for _ in range(100):
        if ada.credits() == (100, 0):
            return
        ada.page.wait_for_timeout(100)
    raise AssertionError(f"the credits did not come back: {ada.credits()}")


def test_without_credits_the_request_is_kept_and_runs_with_one_click_later(person: MakePerson, stack: Stack) -> None:
    ada = person()
    spend(stack.services, ada.account(), leave=1)
    ada.create("joyful house track about dancing on the roof")
    expect(ada.page.get_by_text("The request is kept in your library")).to_be_visible(timeout=PATIENCE_MS)
    assert ada.credits() == (1, 0)
    assert stack.melodeon("credits", "grant", ada.name, "10").returncode == 0
    ada.go("Library")
    ada.page.locator(".st-key-library .card").first.get_by_role("button", name="More").click()
    ada.page.get_by_role("menuitem", name="Run again").click()
    wait_for_songs(ada.page)
    assert ada.credits() == (9, 0)


def test_what_people_type_is_shown_as_text(person: MakePerson) -> None:
    ada = person()
    hostile = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1> **bold** [link](javascript:alert(1))"
    ada.create(hostile)
    wait_for_songs(ada.page)
    ada.go("Library")
    card = ada.page.locator(".st-key-library .card").first
    card.get_by_role("button", name="More").click()
    ada.page.get_by_role("menuitem", name="Rename").click()
    dialog = ada.page.get_by_role("dialog")
    dialog.get_by_label("Title").fill(hostile[:100])
    dialog.get_by_role("button", name="Save").click()
    expect(ada.page.locator(".st-key-library .card").first).to_contain_text("<script>", timeout=PATIENCE_MS)
    ada.page.locator(".st-key-library .card").first.get_by_role("link").first.click()
    expect(ada.page.get_by_role("heading", name="<script>")).to_be_visible(timeout=PATIENCE_MS)
    assert ada.page.evaluate("window.hacked") is None


def test_somebody_elses_private_song_is_not_there(person: MakePerson) -> None:
    ada = person()
    ada.create("smoky jazz about the last train")
    wait_for_songs(ada.page)
    href = ada.page.locator(".st-key-newest .card").first.get_by_role("link").first.get_attribute("href")
    eve = person()
    eve.open(str(href))
    expect(eve.page.get_by_text("There is no such song")).to_be_visible(timeout=PATIENCE_MS)
