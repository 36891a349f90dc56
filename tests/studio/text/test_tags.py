"""Tags come from a closed vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.text.material import themes
from studio.text.reading import read_style
from studio.text.style import Style
from studio.text.tags import TAGS, THEME_TAGS, tags_of
from studio.text.vocabulary import GENRE_WORDS, MOODS


def test_the_vocabulary_is_about_a_hundred_words() -> None:
    assert 80 <= len(TAGS) <= 130
    assert all(tag == tag.lower().strip() for tag in TAGS)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("dreamy synthwave about driving home at midnight", {"synthwave", "dreamy", "night", "female vocals"}),
        ("sad piano ballad for a lost dog, male vocals", {"ballad", "sad", "piano", "animals", "male vocals", "slow"}),
        ("deep house, no drums, saxophone, 126 bpm", {"house", "saxophone", "fast"}),
        ("joyful ukulele folk", {"folk", "happy", "ukulele"}),
        ("indie rock with acoustic guitar", {"rock", "indie", "acoustic guitar"}),
    ],
)
def test_what_is_said_is_tagged(prompt: str, expected: set[str]) -> None:
    tags = tags_of(read_style(prompt), prompt, instrumental=False)
    assert expected <= set(tags)
    assert "drums" not in tags


def test_every_theme_is_a_tag() -> None:
    assert {theme.name for theme in themes()} == set(THEME_TAGS)


def test_an_instrumental_is_tagged_as_such() -> None:
    tags = tags_of(Style(), "", instrumental=True)
    assert "instrumental" in tags
    assert not {"female vocals", "male vocals"} & set(tags)


@given(
    text=st.text(max_size=200),
    genre=st.sampled_from(sorted(GENRE_WORDS)),
    moods=st.lists(st.sampled_from(sorted(MOODS)), max_size=6),
    instrumental=st.booleans(),
    tempo_bpm=st.one_of(st.none(), st.floats(min_value=30, max_value=300)),
)
def test_three_to_eight_different_known_tags(
    text: str, genre: str, moods: list[str], tempo_bpm: float | None, *, instrumental: bool
) -> None:
    tags = tags_of(Style(genre=genre, moods=tuple(moods)), text, instrumental=instrumental, tempo_bpm=tempo_bpm)
    assert 3 <= len(tags) <= 8
    assert len(set(tags)) == len(tags)
    assert set(tags) <= TAGS
