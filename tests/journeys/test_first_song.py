"""The road of a newcomer: sign up, describe a song, watch it, hear it, share it."""

import os
import signal
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from ui.testing import Stack, spend, until

SONG_MS = 180_000
Person = Any
MakePerson = Callable[..., Person]


def wait_for_songs(page: Page) -> None:
    expect(page.get_by_text("Your songs are ready.")).to_be_visible(timeout=SONG_MS)


def play_first(page: Page) -> None:
    card = page.locator("article.card, .card").first
    card.hover()
    card.get_by_role("button", name="Play").first.click()


def sound_of(ada: Person, card: Locator) -> bytes:
    """A finished take's outline of loudness: equal for equal sound."""
    song = str(card.get_by_role("link").first.get_attribute("href")).split("id=")[1]
    answer = ada.page.request.get(f"{ada.stack.web_url}/api/v1/songs/{song}/files/peaks")
    assert answer.ok
    return bytes(answer.body())


def colour_of(words: Locator) -> str:
    return str(words.locator("p").evaluate("words => getComputedStyle(words).color"))


def test_a_newcomer_makes_plays_and_publishes_a_song_and_another_finds_it(person: MakePerson) -> None:
    ada = person(arrive=False)
    ada.sign_up()
    page = ada.page
    ada.create("dreamy synthwave about driving home at midnight")
    panel = page.locator(".st-key-panel")
    expect(panel.get_by_text("Music").first).to_be_visible()
    wait_for_songs(page)
    assert ada.credits() == (98, 0)
    newest = page.locator(".st-key-newest .card")
    expect(newest).to_have_count(2)

    play_first(page)
    # two takes of ten seconds have rightly ended when three pages took longer to draw
    page.evaluate("window.__melodeon.repeat = 'all'")
    ada.plays_on()
    for title in ("Library", "Account", "Discover"):
        ada.go(title)
        ada.plays_on()

    ada.go("Library")
    first = page.locator(".st-key-library .card").first
    title = first.get_by_role("link").first.inner_text()
    private = page.locator(".st-key-library .card").nth(1).get_by_role("link").first.get_attribute("href")
    first.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Publish").click()
    expect(page.get_by_text("Published: everybody can find it now.")).to_be_visible()

    bob = person()
    bob.open("/")
    found = bob.page.locator(".st-key-discover .card").filter(has_text=ada.name)
    expect(found.first).to_contain_text(title[:10])
    found.first.hover()
    found.first.get_by_role("button", name="Play").first.click()
    bob.plays_on()
    # The second take stayed private.
    assert found.count() == 1
    bob.open(str(private))
    expect(bob.page.get_by_text("There is no such song")).to_be_visible()
    bob.page.get_by_role("button", name="Discover other songs").click()
    expect(bob.page.get_by_role("heading", name="Discover", exact=True)).to_be_visible()


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
        expect(page.get_by_test_id("stSidebarNav")).to_be_visible()
        expect(page.locator(".st-key-player").get_by_role("button", name="Play", exact=True)).to_be_visible()
        expect(page.locator(".st-key-to_account")).to_contain_text(ada.name)
        page.close()
    # Leaving in one tab silences all of them, and the next click in another shows the way in.
    other = ada.tab()
    other.goto(ada.stack.web_url + "/create")
    other.get_by_label("Describe your song").fill("nobody else's business")
    ada.page.locator(".st-key-sign_out").get_by_role("button").click()
    expect(other.locator(".st-key-player").get_by_role("region", name="Player")).to_be_hidden()
    until(lambda: other.evaluate("window.__melodeon.queue.length") == 0, "nothing is left to play")
    other.get_by_test_id("stSidebarNavLink").filter(has_text="Library").click()
    expect(other.get_by_role("heading", name="Make music that is yours")).to_be_visible()


def test_the_music_plays_on_while_the_web_process_restarts(person: MakePerson, stack: Stack) -> None:
    ada = person()
    ada.create("calm ambient about snow, instrumental")
    wait_for_songs(ada.page)
    ada.page.evaluate("window.__melodeon.audio.loop = true")
    play_first(ada.page)
    ada.plays_on()
    returns = stack.said().count("web is back")
    os.kill(stack.pid_of("web"), signal.SIGKILL)
    ada.plays_on()
    expect(ada.page.locator(".st-key-to_account")).to_contain_text(ada.name)
    ada.page.wait_for_timeout(1000)
    ada.plays_on()
    # The tab comes back by itself and works again.
    until(lambda: stack.said().count("web is back") > returns, "the pages come back")
    expect(ada.page.get_by_test_id("stConnectionStatus")).to_have_count(0)
    ada.go("Library")
    ada.plays_on()


def test_reload_keeps_the_person_signed_in_and_signing_out_everywhere_ends_other_devices(person: MakePerson) -> None:
    ada = person(arrive=False)
    ada.sign_up()
    ada.page.reload()
    ada.signed_in()
    phone = person(ada.name, arrive=False)
    phone.sign_in()
    phone.signed_in()
    ada.open("/account?tab=Security")
    ada.page.locator(".st-key-everywhere button").click()
    expect(ada.page.get_by_role("button", name="Sign in or sign up")).to_be_visible()
    phone.page.reload()
    expect(phone.page.get_by_role("button", name="Sign in or sign up")).to_be_visible()


def test_wrong_passwords_weak_passwords_and_taken_names_get_a_sentence(person: MakePerson) -> None:
    ada = person()
    eve = person(ada.name, arrive=False)
    eve.sign_in("not the password")
    expect(eve.page.get_by_text("The name or the password is wrong.")).to_be_visible()
    page = eve.open("/sign-in")
    page.get_by_role("tab", name="New here").click()
    form = page.get_by_role("tabpanel").filter(has_text="Make your account")
    form.get_by_label("Name", exact=True).fill(ada.name.upper())
    form.get_by_label("Password", exact=True).fill("password")
    form.get_by_role("button", name="Make my account").click()
    expect(page.get_by_text("one of the first that others would guess")).to_be_visible()
    form.get_by_label("Password", exact=True).fill("quite another phrase")
    form.get_by_role("button", name="Make my account").click()
    expect(page.get_by_text("is taken")).to_be_visible()


def test_what_was_typed_outlives_a_look_elsewhere_but_not_its_writer(person: MakePerson) -> None:
    ada = person()
    page = ada.open("/create")
    page.get_by_label("Describe your song").fill("a draft")
    # The page's own style sheet is there: selected words have the colour of the text, not the fainter accent.
    simple, custom = (page.get_by_role("radio", name=name) for name in ("Simple", "Custom"))
    until(lambda: colour_of(simple) == colour_of(custom), "both words have the colour of the text")
    custom.click()
    lyrics = page.get_by_role("textbox", name="Lyrics")
    lyrics.fill("[verse]\nla la")
    page.get_by_role("radio", name="Describe the lyrics").click()
    expect(page.get_by_label("What should the lyrics tell?")).to_be_visible()
    page.get_by_role("radio", name="My own lyrics").click()
    expect(lyrics).to_have_value("[verse]\nla la")
    ada.go("Library")
    ada.go("Create")
    page.get_by_role("radio", name="Simple").click()
    expect(page.get_by_label("Describe your song")).to_have_value("a draft")
    page.locator(".st-key-sign_out").get_by_role("button").click()
    expect(page.get_by_role("heading", name="Make music that is yours")).to_be_visible()
    page.get_by_role("tabpanel").get_by_label("Name", exact=True).first.fill(ada.name)
    page.get_by_role("tabpanel").get_by_label("Password", exact=True).first.fill("correct horse battery")
    page.get_by_role("tabpanel").get_by_role("button", name="Sign in").click()
    ada.signed_in()
    ada.go("Create")
    expect(page.get_by_label("Describe your song")).to_have_value("")


def test_an_empty_description_costs_nothing_and_says_what_to_do(person: MakePerson) -> None:
    ada = person()
    page = ada.open("/create")
    page.get_by_role("button", name="Create · 2 credits").click()
    expect(page.get_by_text("Describe your song in a few words first.")).to_be_visible()
    assert ada.credits() == (100, 0)


def test_a_double_click_makes_one_request_and_its_settings_make_the_same_song_again(person: MakePerson) -> None:
    ada = person()
    ada.describe("warm lo-fi for a rainy Sunday, no vocals")
    page = ada.page
    page.get_by_role("button", name="Create · 2 credits").dblclick()
    wait_for_songs(page)
    assert ada.credits() == (98, 0)
    expect(page.locator(".st-key-newest .card.ready")).to_have_count(2)
    second = page.locator(".st-key-newest .card").nth(1)
    wanted = sound_of(ada, second)
    second.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Reuse settings").click()
    expect(page.get_by_text("Started from one of your songs.")).to_be_visible()
    page.get_by_role("button", name="Create · 2 credits").click()
    expect(page.locator(".st-key-newest .card.ready")).to_have_count(4, timeout=SONG_MS)
    assert sound_of(ada, page.locator(".st-key-newest .card").first) == wanted


def test_a_song_can_be_cancelled_and_the_credits_come_back(person: MakePerson) -> None:
    ada = person()
    ada.describe("slow piano ballad about a letter")
    # the longest song, so that it is not made before somebody has found the button
    ada.page.get_by_role("slider").first.press("End")
    ada.page.get_by_role("button", name="Create · 2 credits").click()
    panel = ada.page.locator(".st-key-panel")
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_text("Cancelled").first).to_be_visible()
    expect(ada.page.locator(".st-key-newest .card").first).to_contain_text("You cancelled")
    until(lambda: ada.credits() == (100, 0), "the credits come back")


def test_without_credits_the_request_is_kept_and_runs_with_one_click_later(person: MakePerson, stack: Stack) -> None:
    ada = person()
    spend(stack.services, ada.account(), leave=1)
    ada.create("joyful house track about dancing on the roof")
    expect(ada.page.get_by_text("The request is kept in your library")).to_be_visible()
    assert ada.credits() == (1, 0)
    ada.page.get_by_role("dialog").get_by_role("button", name="Not now").click()
    assert stack.melodeon("credits", "grant", ada.name, "10").returncode == 0
    ada.go("Library")
    ada.page.locator(".st-key-library .card").first.get_by_role("button", name="More").click()
    ada.page.get_by_role("menuitem", name="Run again").click()
    expect(ada.page.get_by_role("dialog").get_by_text("you have 11, 9 left afterwards")).to_be_visible()
    ada.page.get_by_role("dialog").get_by_role("button", name="Run again · 2 credits").click()
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
    expect(ada.page.locator(".st-key-library .card").first).to_contain_text("<script>")
    ada.page.locator(".st-key-library .card").first.get_by_role("link").first.click()
    expect(ada.page.get_by_role("heading", name="<script>")).to_be_visible()
    assert ada.page.evaluate("window.hacked") is None
