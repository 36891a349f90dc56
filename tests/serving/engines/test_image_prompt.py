"""What an image model is told about a song, and what it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engines.image_prompt import SUBJECT_MAX, cover_prompt, without_forbidden
from studio.text.reading import read_style
from studio.words.brief import Brief, BriefKind

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=200)


def prompt(description: str, title: str = "") -> str:
    brief = Brief(kind=BriefKind.COVER, description=description, title=title)
    return cover_prompt(brief, read_style(brief.music_text)).text


def test_title_subject_scene_and_mood_are_told():
    told = prompt("a dreamy ambient song about my grandmother's garden", "Quiet Hours")
    assert told.startswith("Quiet Hours about my grandmother's garden, ")
    assert "misty landscape" in told
    assert "dreamy mood" in told


@pytest.mark.parametrize(
    ("description", "light"),
    [
        ("happy energetic pop", "bright warm daylight"),
        ("angry aggressive rock", "dark and tense"),
        ("calm happy folk", "soft morning light"),
        ("sad slow ballad", "muted blue dusk"),
    ],
)
def test_the_light_follows_the_mood(description, light):
    assert light in prompt(description)


def test_what_only_musicians_need_is_not_told():
    told = prompt("synthwave, 100 bpm, in A minor, female voice, [verse] la", "Neon")
    assert "bpm" not in told
    assert "minor" not in told
    assert "verse" not in told


@pytest.mark.parametrize(
    "word", ["naked", "NAKED", "n4ked", "Nakéd", "ｎａｋｅｄ", "naked!", "p0rn", "$exy", "swastika", "gore"]
)
def test_what_covers_must_not_show_is_left_out_however_it_is_spelt(word):
    kept, left_out = without_forbidden(f"a {word} garden")
    assert kept == "a garden"
    assert len(left_out) == 1


@pytest.mark.parametrize("text", ["sextant", "essex", "a glass house", "goreng", "closing time", "l0ve", "it's 100%"])
def test_words_that_only_look_like_it_stay(text):
    assert without_forbidden(text) == (text, ())


def test_nobody_is_imitated():
    kept, _ = without_forbidden("a harbour in the style of Some Painter, at night")
    assert kept == "a harbour , at night"
    assert "Painter" not in prompt("folk about a harbour painted by Some Painter")


@given(TEXTS, TEXTS.map(lambda text: text[:100]))
def test_a_prompt_is_never_empty_never_long_and_never_forbidden(description, title):
    told = prompt(description, title)
    assert told
    assert len(told) < SUBJECT_MAX + 320
    assert without_forbidden(told)[1] == ()
