"""Verses, choruses and bridges: drawing lines from the material so that they rhyme, vary and share one mood."""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from studio.music.chance import generator
from studio.text import material
from studio.text.material import BRIGHT, DARK, EITHER, LOUD, QUIET, Stanza, Theme, themes
from studio.text.phonetics import count_syllables, rhyme_part, words
from studio.text.reading import read_style
from studio.text.style import Style
from studio.text.subject import Subject, SubjectKind, singable_subject
from studio.text.vocabulary import ANIMALS, GENRE_WORDS, MOODS, PEOPLE, word_set

T = TypeVar("T")

_COMMON: Final = word_set(
    "and the that this with from your you're have like just what when there them they then than only into upon never "
    "ever will know always i've all our my me it's every feel little still"
)
_USUAL_THEMES: Final = {
    "folk": "home",
    "synthwave": "night",
    "hiphop": "city",
    "rock": "freedom",
    "jazz": "city",
    "house": "party",
}
_USUAL_AROUSAL: Final = {"ambient": -0.6, "lofi": -0.4, "ballad": -0.2, "house": 0.6, "rock": 0.5}
_USUAL_VALENCE: Final = {"house": 0.4}
_CALM_WORDS: Final = word_set("lullaby sleep sleeping bedtime goodnight cradle asleep")
_PROPER: Final = word_set("I July August September October December Saturday Sunday Monday Friday I'm")


def rhymes(first: str, second: str) -> bool:
    """Whether two words rhyme: equal from the last stressed vowel on, and not the same word.

    Before R the vowels of "ear" and "near" count as one, as they do in most American speech (CMUdict writes both).
    """
    return first.lower() != second.lower() and _rhyme_sound(first) == _rhyme_sound(second)


def _rhyme_sound(word: str) -> tuple[str, ...]:
    sound = rhyme_part(word)
    return ("IH", *sound[1:]) if sound[:2] == ("IY", "R") else sound


def theme_of(text: str, style: Style) -> Theme:
    """The theme that the subject of ``text`` names, else its other words, else its moods; else one that fits the style.

    Of themes named equally often, the one whose feel is nearest to the style's mood is taken. A song to somebody of
    whom the text says no more is about love, or about distance if it is sad.
    """
    for weights in _evidence(text):
        scores = {theme.name: sum(w for word, w in weights.items() if word in theme.words) for theme in themes()}
        if max(scores.values()) > 0:
            return max(themes(), key=lambda theme: (scores[theme.name], -abs(theme.feel - style.valence)))
    subject = singable_subject(text)
    to_somebody = subject is not None and subject.kind is SubjectKind.PERSON
    name = ("love" if style.valence > -0.25 else "distance") if to_somebody else _theme_by_mood(style)
    return next(theme for theme in themes() if theme.name == name)


def _evidence(text: str) -> Iterator[dict[str, int]]:
    """Words and their weights, from the best witness to the weakest: the subject, other words, moods."""
    subject = singable_subject(text)
    said = [word.lower() for word in words(subject.phrase)] if subject else []
    strong = {word.removesuffix("'s"): 3 if at in {0, len(said) - 1} else 2 for at, word in enumerate(said)}
    yield strong | {word: 5 for word in said if word in ANIMALS | PEOPLE}
    genres = {word for table in GENRE_WORDS.values() for word in table}
    others = [word.lower().removesuffix("'s") for word in words(text)]
    yield {word: 1 for word in others if word not in genres and word not in MOODS}
    yield {word: 1 for word in others if word in MOODS}


def _theme_by_mood(style: Style) -> str:
    """The name of a theme for a text that names none."""
    if style.valence < -0.25:
        return "fight" if style.arousal > 0.3 else "city" if style.genre == "hiphop" else "heartbreak"
    if style.arousal > 0.5:
        return "party" if style.genre == "house" else "freedom"
    if style.arousal < -0.45 or style.genre in {"ambient", "lofi"}:
        return "peace"
    return _USUAL_THEMES.get(style.genre, "love" if style.valence > 0.2 else "hope")


def sung_subject(text: str, seed: int) -> Subject:
    """What the chorus of a song about ``text`` sings of: its subject, or a title of its theme."""
    named = singable_subject(text)
    if named:
        return named
    theme = theme_of(text, read_style(text))
    title = generator("title", seed, theme.name).choice(theme.titles)
    phrase = " ".join(word if word in _PROPER else word.lower() for word in title.split())
    kind = SubjectKind.NOUN if phrase.startswith("the ") else SubjectKind.PHRASE
    return Subject(kind=kind, phrase=phrase, title=phrase)


class Verses:
    """Draws the parts of one song. No opener, closer or rhyme sound comes twice while others are left."""

    def __init__(self, text: str, style: Style, seed: int) -> None:
        self._rng = generator("lyrics", seed, text, style.genre)
        self._theme = theme_of(text, style)
        usual = self._theme.feel + _USUAL_VALENCE.get(style.genre, 0.0)
        self._moods = _moods(style.valence if style.moods else usual, self._rng)
        self._openers = _shuffled(self._rng, self._theme.openers)
        self._unfit = _unfit_strengths(text, style)
        self._families = _shuffled(self._rng, material.closers())
        self._lifts = _shuffled(self._rng, [lift for lift in material.lifts() if self._suits(lift)])
        self._bridges = _shuffled(self._rng, [bridge for bridge in material.bridges() if self._suits(bridge)])
        self._chorus = self._draw_chorus(sung_subject(text, seed))

    def _suits(self, stanza: Stanza) -> bool:
        return stanza.suits(self._moods, self._unfit)

    def verse(self, count: int) -> tuple[str, ...]:
        """``count`` lines (1-4): opener and closer by turns; the closers rhyme, or in a couplet the two."""
        if count == 2:
            return self._couplet()
        family = _next(self._families)
        lines: list[str] = []
        for _ in range((count + 1) // 2):
            opener = self._apart(self._openers, lines)
            lines.append(opener)
            lines.append(self._closer(family, lines))
        return tuple(lines[:count])

    def _couplet(self) -> tuple[str, ...]:
        """An opener and a closer that rhymes with it."""
        pairs = [
            (opener, closer.lines[0])
            for opener in self._openers
            for family in self._families
            if rhymes(words(opener)[-1], words(family[0].lines[0])[-1])
            for closer in family
            if self._suits(closer) and rhymes(words(opener)[-1], words(closer.lines[0])[-1])
        ]
        apart = [pair for pair in pairs if not _weighty(pair[0]) & _weighty(pair[1])]
        return self._rng.choice(apart) if apart else self.verse(4)[:2]

    def chorus(self, count: int) -> tuple[str, ...]:
        """The first ``count`` lines (1-4) of the song's one chorus."""
        return self._chorus[:count]

    def lift(self, count: int) -> tuple[str, ...]:
        """``count`` lines (1-2) before the chorus."""
        return _next(self._lifts).lines[:count]

    def bridge(self, count: int) -> tuple[str, ...]:
        """The last ``count`` lines (1-4) of a bridge, so that they end on its rhyme."""
        return _next(self._bridges).lines[-count:]

    def _draw_chorus(self, subject: Subject) -> tuple[str, ...]:
        phrase, bare = subject.phrase, subject.phrase.removeprefix("the ")
        kinds = {subject.kind} | ({SubjectKind.PHRASE} if count_syllables(phrase) > 5 else set())
        written = [
            tuple(_capital(line.format(k=phrase, K=_capital(phrase), b=bare)) for line in stanza.lines)
            for kind, stanza in material.hooks()
            if kind in kinds and self._suits(stanza)
            for _ in range((1 if stanza.mood == EITHER else 3) * (3 if stanza.strength else 1))
        ]
        short = [lines for lines in written if max(map(count_syllables, lines)) <= 10]
        return self._rng.choice(short or written)

    def _closer(self, family: Sequence[Stanza], lines: list[str]) -> str:
        """A closer of the song's mood that rhymes with the one before and repeats no word of weight."""
        fitting = [closer.lines[0] for closer in family if self._suits(closer)]
        if len(lines) > 1:
            fitting = [line for line in fitting if rhymes(words(line)[-1], words(lines[1])[-1])]
        self._rng.shuffle(fitting)
        return self._apart(fitting, lines)

    def _apart(self, choices: list[str], lines: list[str]) -> str:
        """The first choice that shares no word of weight with ``lines``; it goes to the end of the choices."""
        used = {word for line in lines for word in _weighty(line)}
        at = next((at for at, line in enumerate(choices) if not used & _weighty(line)), 0)
        line = choices.pop(at)
        choices.append(line)
        return line


def _moods(valence: float, rng: random.Random) -> frozenset[str]:
    """The moods of lines that a song may use: never bright and dark ones together."""
    if abs(valence) > 0.2:
        return frozenset({EITHER, BRIGHT if valence > 0 else DARK})
    return frozenset({EITHER, BRIGHT if rng.random() < 0.5 + valence else DARK})


def _unfit_strengths(text: str, style: Style) -> frozenset[str]:
    """The strengths a song may not use: nothing loud in a lullaby, nothing hushed in an anthem."""
    arousal = style.arousal if style.moods else _USUAL_AROUSAL.get(style.genre, 0.0)
    if arousal < -0.15 or _CALM_WORDS & {word.lower() for word in words(text)}:
        return frozenset({LOUD})
    return frozenset({QUIET}) if arousal > 0.15 else frozenset({LOUD, QUIET})


def _weighty(line: str) -> frozenset[str]:
    return frozenset(word for word in re.findall(r"[a-z']+", line.lower()) if len(word) > 3 and word not in _COMMON)


def _shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    return rng.sample(list(items), len(items))


def _next(choices: list[T]) -> T:
    """The first of ``choices``, which goes to their end."""
    choices.append(choices.pop(0))
    return choices[-1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
