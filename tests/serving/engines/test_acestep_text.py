"""Texts for ACE-Step: nothing is cut without a word, and sections fill the song."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engines.acestep_text import CAPTION_TOKENS, LYRIC_TOKENS, estimated_sections, fitted

HEAD = 60
"""Tokens of what stands around either text; every character of the text itself is one."""


def fit(caption: str = "", lyrics: str = ""):
    count = lambda text: HEAD + len(text)  # noqa: E731
    return fitted(caption, lyrics, caption_tokens=count, lyric_tokens=count)


def test_short_texts_stay_as_they_are_without_a_note():
    texts = fit("warm folk", "[verse]\nla la")
    assert (texts.caption, texts.lyrics, texts.note) == ("warm folk", "[verse]\nla la", "")


@given(st.text(max_size=600))
def test_a_caption_always_leaves_room_for_the_numbers_that_follow_it(caption):
    texts = fit(caption)
    assert HEAD + len(texts.caption) <= CAPTION_TOKENS
    assert caption.startswith(texts.caption)
    assert bool(texts.note) == (texts.caption != caption)


def test_a_long_caption_ends_at_a_word_and_the_note_quotes_its_end():
    texts = fit("dreamy synthwave with warm pads " * 20)
    assert texts.caption.split()[-1] in {"dreamy", "synthwave", "with", "warm", "pads"}
    assert f"“{texts.caption[-40:]}”" in texts.note


@given(st.lists(st.text(alphabet="abc ", max_size=80), max_size=80))
def test_lyrics_lose_whole_lines_at_their_end(lines):
    lyrics = "\n".join(lines).strip()
    texts = fit(lyrics=lyrics)
    assert HEAD + len(texts.lyrics) <= LYRIC_TOKENS
    assert texts.lyrics.splitlines() == lyrics.splitlines()[: len(texts.lyrics.splitlines())]


def test_the_note_says_how_many_lines_are_lost():
    assert "The last 61 lines of the lyrics" in fit(lyrics="\n".join(["x" * 50] * 100)).note
    assert "The last line of the lyrics is" in fit(lyrics="\n".join(["x" * 50] * 40)).note


def test_sections_take_their_share_of_the_lines():
    sections = estimated_sections("[intro]\n\n[verse]\na\nb\nc\nd\n[chorus]\ne\nf", 80.0)
    assert [section.name for section in sections] == ["intro", "verse", "chorus"]
    assert [section.start_s for section in sections] == pytest.approx([0, 20, 60])
    assert sections[-1].end_s == 80.0


def test_an_instrumental_is_one_section():
    (only,) = estimated_sections("[Instrumental]", 30.0)
    assert (only.name, only.start_s, only.end_s) == ("instrumental", 0, 30)


@given(st.text(alphabet="[]abc \nverse", max_size=200), st.floats(1, 600))
def test_sections_follow_each_other_without_a_gap_to_the_very_end(lyrics, duration_s):
    sections = estimated_sections(lyrics, duration_s)
    for one, following in pairwise(sections):
        assert one.end_s == following.start_s
    assert sections[0].start_s == 0
    assert sections[-1].end_s == pytest.approx(duration_s)
