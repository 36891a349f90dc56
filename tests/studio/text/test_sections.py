"""Section tags are read however they are written, and written so that they read the same."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.text.sections import LyricSection, format_lyrics, has_tags, parse_lyrics


def test_parse_reads_tags_in_any_case() -> None:
    text = "hello\n\n[VERSE 2]\none\n two  three \n[Pre Chorus]\nup\n[Chorus: all]\nla\n[guitar solo]\n"
    text += "[Spoken Word]\nhm\n[outro] bye"
    assert [(s.name, s.number, s.lines) for s in parse_lyrics(text)] == [
        ("verse", None, ("hello",)),
        ("verse", 2, ("one", "two three")),
        ("pre-chorus", None, ("up",)),
        ("chorus", None, ("la",)),
        ("solo", None, ()),
        ("spoken word", None, ("hm",)),
        ("outro", None, ("bye",)),
    ]


@pytest.mark.parametrize("tag", ["**[Chorus]**", "## Chorus", "Chorus:", "**Chorus:**", "[ hook ]", "[Refrain]"])
def test_parse_reads_other_ways_to_write_a_tag(tag: str) -> None:
    assert parse_lyrics(f"{tag}\nla la") == (LyricSection(name="chorus", lines=("la la",)),)


def test_an_empty_chorus_repeats_the_last() -> None:
    sections = parse_lyrics("[chorus]\nla\n[verse]\nmm\n[chorus]\n")
    assert sections[2] == sections[0]


def test_a_line_that_only_contains_a_bracket_or_tag_word_is_a_line() -> None:
    assert parse_lyrics("The chorus of birds\n(ooh) [yeah] we go")[0].lines == (
        "The chorus of birds",
        "(ooh) [yeah] we go",
    )


def test_empty_lyrics_have_no_sections() -> None:
    assert parse_lyrics(" \n\n") == ()


@given(st.text(alphabet=string.ascii_letters + "[]#*_: \n0123456789'é-", max_size=300))
def test_parse_and_format_agree(text: str) -> None:
    sections = parse_lyrics(text)
    assert parse_lyrics(format_lyrics(sections)) == sections


@pytest.mark.parametrize(
    ("tag", "name"),
    [("[Drop]", "instrumental"), ("[Drum break]", "break"), ("[Rap]", "verse"), ("[The End]", "outro")],
)
def test_the_names_of_sections(tag: str, name: str) -> None:
    assert parse_lyrics(tag)[0].name == name


def test_a_text_without_tags_has_none() -> None:
    assert not has_tags("the chorus of birds\n(ooh) [yeah]")
    assert has_tags("la\nChorus:\nla")


@pytest.mark.parametrize("line", ["chorus" + " " * 9_990 + "x", "[" + " " * 9_990 + "x", "verse" + "\t" * 9_990 + "1x"])
def test_a_line_of_thousands_of_spaces_is_read_at_once(line: str) -> None:
    """Were it not, this would take an hour, and so would a replica."""
    assert not has_tags(line)
    assert parse_lyrics(line) == (LyricSection(name="verse", lines=(" ".join(line.split()),)),)


def test_an_empty_tag_is_a_line() -> None:
    assert parse_lyrics("[ ]\nla") == (LyricSection(name="verse", lines=("[ ]", "la")),)
