"""The road of a song through real model classes: ACE-Step's sound, Qwen's words, an image model's cover, all tiny."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from ui.testing import Stack

SONG_MS = 180_000
WATCH = """new MutationObserver(() => {
    window.__writing ||= Boolean(document.querySelector("[role=dialog]")?.innerText.includes("Writing"));
}).observe(document.body, {subtree: true, childList: true, characterData: true})"""
"""Notes whether the dialog ever says that it is at work; who only looks now and then may miss it."""
Person = Any


@pytest.fixture(scope="module")
def stack(tiny_product: Stack) -> Stack:
    """The product on tiny models instead of the built-in engines."""
    return tiny_product


def test_models_make_a_whole_song(person: Callable[..., Person], stack: Stack) -> None:
    ada = person()
    ada.create("dreamy synthwave about driving home at midnight")
    expect(ada.page.get_by_text("Your songs are ready.")).to_be_visible(timeout=SONG_MS)
    cards = ada.page.locator(".st-key-newest .card")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("Tiny ACE-Step turbo")
    assert ada.credits() == (98, 0)
    ada.page.get_by_text("Advanced").click()
    expect(ada.page.get_by_text("its two takes differ by seed")).to_be_visible()
    cards.first.hover()
    cards.first.get_by_role("button", name="Play").first.click()
    ada.plays_on()
    query = text(
        "SELECT provenance->'music'->>'engine', provenance->'cover'->>'engine',"
        " job.results->'text'->'takes'->0->>'engine', job.results->'plan'->'takes'->0->>'engine'"
        " FROM song JOIN job ON job.id = song.job_id WHERE song.account_id = :id"
    )
    with stack.services.database.transaction() as session:
        made_by = session.execute(query, {"id": ada.account().id}).all()
    assert [tuple(row) for row in made_by] == [("tiny-ace-step-turbo", "tiny-sdxl", "tiny-qwen", "tiny-planner")] * 2


def test_lyrics_are_written_while_one_watches(person: Callable[..., Person]) -> None:
    ada = person()
    page = ada.open("/create")
    page.get_by_text("Custom", exact=True).click()
    page.get_by_label("Style").fill("warm folk")
    page.locator(".st-key-write_lyrics button").click()
    page.get_by_label("What are they about?").fill("the sea")
    page.evaluate(WATCH)
    page.locator(".st-key-write button").click()
    page.locator(".st-key-use_lyrics button").click()
    assert page.evaluate("window.__writing")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_label("Lyrics", exact=True)).to_have_value(re.compile(r"\["))
    expect(page.get_by_role("button", name="Rewrite lyrics")).to_be_visible()
