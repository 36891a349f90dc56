"""The writer's material: enough of it, in metre, in rhyme, and nothing twice."""

import re
from collections import Counter
from itertools import combinations

import pytest

from studio.text.material import BRIGHT, DARK, EITHER, LOUD, QUIET, Stanza, bridges, closers, hooks, lifts, themes
from studio.text.phonetics import count_syllables, is_pronounceable, words
from studio.text.subject import SubjectKind
from studio.text.verses import rhymes

MOODS = {BRIGHT, DARK, EITHER}


def test_there_is_enough() -> None:
    assert len(themes()) >= 20
    assert all(len(theme.openers) >= 25 and len(theme.titles) >= 4 for theme in themes())
    assert len(closers()) >= 20
    assert all(len(family) >= 12 for family in closers())
    assert len(hooks()) >= 25
    assert len(bridges()) >= 15
    assert len(lifts()) >= 12


def test_no_line_stands_twice() -> None:
    lines = [line for theme in themes() for line in theme.openers]
    lines += [line for family in closers() for stanza in family for line in stanza.lines]
    assert [line for line, count in Counter(line.lower() for line in lines).items() if count > 1] == []
    choruses = Counter("".join(stanza.lines) for _, stanza in hooks())
    assert max(choruses.values()) == 1


@pytest.mark.parametrize("theme", themes(), ids=lambda theme: theme.name)
def test_openers_have_seven_to_nine_syllables(theme) -> None:  # type: ignore[no-untyped-def]
    assert {line: count_syllables(line) for line in theme.openers if not 7 <= count_syllables(line) <= 9} == {}


def test_closers_have_seven_to_nine_syllables() -> None:
    lines = [line for family in closers() for stanza in family for line in stanza.lines]
    assert {line: count_syllables(line) for line in lines if not 7 <= count_syllables(line) <= 9} == {}


def test_closers_of_a_family_rhyme() -> None:
    for family in closers():
        lasts = {words(stanza.lines[0])[-1].lower() for stanza in family}
        assert [(a, b) for a, b in combinations(sorted(lasts), 2) if not rhymes(a, b)] == []


@pytest.mark.parametrize("unfit", [frozenset({LOUD}), frozenset({QUIET}), frozenset({LOUD, QUIET})])
@pytest.mark.parametrize("polar", [BRIGHT, DARK])
def test_each_family_has_a_pair_for_each_mood(polar: str, unfit: frozenset[str]) -> None:
    for family in closers():
        fitting = [words(s.lines[0])[-1].lower() for s in family if s.suits(frozenset({polar, EITHER}), unfit)]
        assert len(fitting) >= 4
        assert all(any(rhymes(first, second) for second in fitting) for first in fitting)


@pytest.mark.parametrize("stanza", [s for _, s in hooks()] + list(bridges()), ids=lambda s: s.lines[1])
def test_second_and_fourth_line_rhyme(stanza: Stanza) -> None:
    assert len(stanza.lines) == 4
    assert rhymes(words(stanza.lines[1])[-1], words(stanza.lines[3])[-1])


@pytest.mark.parametrize("stanza", lifts(), ids=lambda s: s.lines[0])
def test_lifts_rhyme(stanza: Stanza) -> None:
    assert rhymes(words(stanza.lines[0])[-1], words(stanza.lines[1])[-1])


def test_moods_and_kinds() -> None:
    assert {s.mood for family in closers() for s in family} == MOODS
    for kind in SubjectKind:
        own = [s for k, s in hooks() if k is kind]
        assert {s.mood for s in own if not s.strength} == MOODS
        assert {s.strength for s in own} == {"", LOUD, QUIET}
    assert all(re.search(r"\{[kKb]\}", " ".join(s.lines)) for _, s in hooks())
    assert all(-1 <= theme.feel <= 1 for theme in themes())


def test_everything_can_be_sung() -> None:
    lines = [line for theme in themes() for line in (*theme.openers, *theme.titles)]
    lines += [line for family in closers() for stanza in family for line in stanza.lines]
    lines += [line for stanza in (*bridges(), *lifts()) for line in stanza.lines]
    assert [line for line in lines if not is_pronounceable(line)] == []
