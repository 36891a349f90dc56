"""Titles, whatever was typed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.text.lyrics import write_lyrics
from studio.text.reading import read_style
from studio.text.titles import LONGEST, title_case, title_of


@pytest.mark.parametrize(
    ("description", "title"),
    [
        ("dreamy synthwave about driving home at midnight", "Driving Home at Midnight"),
        ("sad piano ballad for a lost dog", "Lost Dog"),
        ("a song for my mother on her birthday", "My Mother"),
        ("LOVE IS A BATTLEFIELD", "Love Is a Battlefield"),
        ("pop called “Neon Hearts”", "Neon Hearts"),
        ("folk about the sea", "The Sea"),
        ("日本の夏の歌", "日本の夏の歌"),
        ("שיר על אהבה", "שיר על אהבה"),
        ("canción sobre la lluvia", "Canción Sobre La Lluvia"),
    ],
)
def test_title_says_the_subject(description: str, title: str) -> None:
    assert title_of(description, seed=3) == title


def test_title_of_given_lyrics_is_their_hook() -> None:
    lyrics = "[verse]\nWalking on and on\n[chorus]\nCarry me over the water\nI will not fall\nCarry me over the water"
    assert title_of("folk song", lyrics=lyrics, seed=1) == "Carry Me Over the Water"


@given(
    seed=st.integers(min_value=0, max_value=2**31 - 1),
    description=st.sampled_from(("angry metal", "pop about neon hearts", "", "for Anna", "jazz")),
)
def test_title_of_written_lyrics_is_sung(seed: int, description: str) -> None:
    lyrics = write_lyrics(description, read_style(description), seed=seed, duration_s=60, tempo_bpm=100)
    assert title_of(description, lyrics=lyrics, seed=seed).lower() in lyrics.lower()


@given(
    description=st.one_of(
        st.text(max_size=300),
        st.sampled_from(
            (
                "",
                "🎸🔥💔",
                "<script>alert(1)</script>",
                "<b>bold</b> song",
                "x" * 2000,
                "a\u0301\u0302\u0303\u0304\u0305 zalgo",
                "\u202eright to left\u202c",
                "'; DROP TABLE songs; --",
                "\x00\x07\n\n",
                "about " + "word " * 300,
            )
        ),
    ),
    seed=st.integers(min_value=0, max_value=99),
)
def test_any_text_gives_a_decent_title(description: str, seed: int) -> None:
    title = title_of(description, seed=seed)
    assert 1 <= len(title) <= LONGEST
    assert title == title.strip()
    assert "  " not in title
    assert not set('<>{}[]\n\t"\\/') & set(title)
    assert all(unicodedata.category(letter)[0] in "LNM" or letter in " '’-&…" for letter in title)
    assert any(letter.isalnum() for letter in title)
    assert title == title_of(description, seed=seed)


def test_title_case_leaves_names_alone() -> None:
    assert title_case("the house of McDonald in NYC") == "The House of McDonald in NYC"
