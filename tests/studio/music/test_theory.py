"""Keys and chords are what musicians call by these names."""

import pytest

from studio.errors import MelodeonError
from studio.music.progressions import ADDED, NINTHS, PROGRESSIONS, SEVENTHS
from studio.music.theory import KEYS, Key, UnknownKey, harmony, parse_key, pitches_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A minor", "A minor"),
        ("Am", "A minor"),
        ("a", "A major"),
        ("F# major", "F# major"),
        ("Bb", "A# major"),
        ("bb", "A# major"),
        ("f sharp min", "F# minor"),
        ("A♭m", "G# minor"),
        ("C-sharp minor", "C# minor"),
        ("Cb", "B major"),
        ("CM", "C major"),
        ("Gmaj", "G major"),
        ("  d  MINOR ", "D minor"),
    ],
)
def test_keys_are_read_in_every_usual_spelling(text: str, name: str) -> None:
    assert parse_key(text).name == name


@pytest.mark.parametrize("text", ["", "H", "A mixolydian", "minor", "A minor please", "7"])
def test_what_is_no_key_is_refused_with_advice(text: str) -> None:
    with pytest.raises(UnknownKey, match="Write for example") as refusal:
        parse_key(text)
    assert isinstance(refusal.value, MelodeonError)


def test_the_24_canonical_names_read_back_as_themselves() -> None:
    assert len(set(KEYS)) == 24
    assert [parse_key(name).name for name in KEYS] == list(KEYS)


def test_relative_keys_share_their_scale() -> None:
    assert set(parse_key("C").scale) == set(parse_key("Am").scale)


@pytest.mark.parametrize(
    ("key", "numeral", "symbol", "tones"),
    [
        ("C", "I", "C", {0, 4, 7}),
        ("C", "bVII", "A#", {10, 2, 5}),
        ("C", "V/3", "G/B", {7, 11, 2}),
        ("Am", "VI", "F", {5, 9, 0}),
        ("Am", "V7", "E7", {4, 8, 11, 2}),
        ("Am", "iim7b5", "Bm7b5", {11, 2, 5, 9}),
        ("D", "vi9", "Bm9", {11, 2, 6, 9, 1}),
    ],
)
def test_roman_numerals_name_chords(key: str, numeral: str, symbol: str, tones: set[int]) -> None:
    chord = harmony(parse_key(key), numeral)
    assert (chord.symbol, set(chord.tones)) == (symbol, tones)


def test_the_dominant_of_a_minor_key_raises_the_leading_note() -> None:
    scale = harmony(parse_key("Am"), "V").scale
    assert 8 in scale
    assert 7 not in scale


@pytest.mark.parametrize("minor", [False, True])
def test_every_numeral_of_the_tables_is_a_chord(minor: bool) -> None:
    mode = "minor" if minor else "major"
    written = [n for genre in PROGRESSIONS.values() for text in genre[mode].values() for n in text.split(";")]
    numerals = {n for progression in written for bar in progression.split() for n in bar.split(",")}
    numerals |= set(SEVENTHS[mode].values()) | set(NINTHS[mode].values()) | set(ADDED[mode].values())
    for numeral in numerals:
        chord = harmony(Key(tonic=0, minor=minor), numeral)
        assert set(chord.tones) <= set(chord.scale) or "dim" in chord.symbol, numeral
        assert chord.bass in chord.tones


def test_progressions_fill_four_or_eight_bars() -> None:
    lengths = {
        len(progression.split())
        for genre in PROGRESSIONS.values()
        for mode in genre.values()
        for text in mode.values()
        for progression in text.split(";")
    }
    assert lengths <= {4, 8}


def test_unreadable_numerals_are_refused() -> None:
    with pytest.raises(ValueError, match="Roman numeral"):
        harmony(parse_key("C"), "Q7")


def test_pitches_of_a_class_rise_within_the_range() -> None:
    assert pitches_of((0, 7), 48, 60) == (48, 55, 60)
