"""Words have the syllables, stresses and rhymes that an English speaker hears, and every text can be sung somehow."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from studio.text.phonetics import (
    count_syllables,
    is_pronounceable,
    line_syllables,
    rhyme_part,
    stresses,
    syllables,
    words,
)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("midnight", [("M", "IH1", "D"), ("N", "AY2", "T")]),
        ("Don't", [("D", "OW1", "N", "T")]),
        ("don’t", [("D", "OW1", "N", "T")]),
        ("runnin'", [("R", "AH1"), ("N", "IH0", "N")]),
        ("beautiful", [("B", "Y", "UW1"), ("T", "AH0"), ("F", "AH0", "L")]),
    ],
)
def test_known_words_have_their_dictionary_sounds(word: str, phones: list[tuple[str, ...]]) -> None:
    assert [sound.phones for sound in syllables(word)] == phones


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("The quiet evening turns to blue", 8),
        ("Driving home at midnight", 6),
        ("99 balloons", 5),
        ("1984", 5),
        ("zorble glimmerdust", 5),
        ("…!? — 😀", 0),
        ("", 0),
    ],
)
def test_lines_have_as_many_syllables_as_are_sung(line: str, count: int) -> None:
    assert count_syllables(line) == count


def test_words_keep_apostrophes_and_drop_punctuation() -> None:
    assert words("Don't look back, runnin' – 99!") == ("Don't", "look", "back", "runnin'", "99")


def test_stress_follows_content_words() -> None:
    assert stresses("the road is long tonight") == (False, True, False, True, False, True)


@pytest.mark.parametrize(("one", "other"), [("light", "midnight"), ("blue", "through"), ("running", "stunning")])
def test_rhymes_agree(one: str, other: str) -> None:
    assert rhyme_part(one) == rhyme_part(other)


def test_words_that_do_not_rhyme_differ() -> None:
    assert rhyme_part("light") != rhyme_part("love")


@pytest.mark.parametrize("word", ["corazón", "привет", "καλημέρα", "さくら", "사랑", "straße", "naïve"])
def test_scripts_with_a_latin_spelling_are_pronounced(word: str) -> None:
    assert is_pronounceable(word)
    assert "".join(sound.text for sound in syllables(word)) == word


@pytest.mark.parametrize("word", ["שלום", "مرحبا", "你好世界", "हिन्दी"])
def test_other_scripts_are_vocalised_and_say_so(word: str) -> None:
    sounds = syllables(word)
    assert not is_pronounceable(f"hello {word}")
    assert all(sound.vocalised and sound.phones in {("AA1",), ("UW1",)} for sound in sounds)


@given(st.text(max_size=60))
@example("\u0e33")  # one letter that decomposes into two without Latin spelling
def test_any_text_can_be_sung(text: str) -> None:
    for word, sounds in zip(words(text), line_syllables(text), strict=True):
        assert "".join(sound.text for sound in sounds) == word
        for sound in sounds:
            assert sum(phone[-1].isdigit() for phone in sound.phones) == 1
            assert sound.stress in {0, 1, 2}
    assert len(stresses(text)) == count_syllables(text)


@given(st.from_regex(r"[a-z]{1,14}", fullmatch=True))
def test_unknown_words_get_sounds_and_a_rhyme(word: str) -> None:
    assert rhyme_part(word)
    assert any(sound.stress for sound in syllables(word)) or len(syllables(word)) == 1


def test_threads_get_the_same_answer() -> None:
    line = "every window holds a ghost of somebody unknown"
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda _: line_syllables(line), range(32)))
    assert all(answer == answers[0] for answer in answers)
