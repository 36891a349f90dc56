"""The lyric writer's material: themes, closers by rhyme, hooks and bridges, read from ``resources/`` once."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

from studio.text.subject import SubjectKind

BRIGHT: Final = "+"
DARK: Final = "-"
EITHER: Final = "="
LOUD: Final = "!"
QUIET: Final = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """What a song may be about.

    Attributes:
        feel: -1 sad … 1 happy, for songs whose prompt names no mood.
        words: lower-case words of a prompt that choose this theme.
        titles: subjects for songs that have none.
        openers: whole sentences of 7-9 syllables.
    """

    name: str
    feel: float
    words: frozenset[str]
    titles: tuple[str, ...]
    openers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """Lines with a mood: ``+`` bright, ``-`` dark, ``=`` either; and a strength: ``!`` only for songs that are not
    calm, ``~`` only for songs that are not excited, or neither.
    """

    mood: str
    lines: tuple[str, ...]
    strength: str = ""

    def suits(self, moods: frozenset[str], unfit: frozenset[str]) -> bool:
        """Whether a song of these ``moods`` in which these strengths are ``unfit`` may use it."""
        return self.mood in moods and self.strength not in unfit


@lru_cache(maxsize=1)
def themes() -> tuple[Theme, ...]:
    """All themes, in the order of the file."""
    return tuple(_theme(name, lines) for name, lines in _blocks("themes.txt"))


@lru_cache(maxsize=1)
def closers() -> tuple[tuple[Stanza, ...], ...]:
    """The closers by rhyme sound; each is a stanza of one line."""
    return tuple(
        tuple(_stanza(mark, (text,)) for mark, _, text in (line.partition(" ") for line in lines))
        for _, lines in _blocks("closers.txt")
    )


@lru_cache(maxsize=1)
def hooks() -> tuple[tuple[SubjectKind, Stanza], ...]:
    """Choruses with the kind of subject they suit; ``{k}``, ``{K}`` and ``{b}`` stand for it."""
    found = []
    for header, lines in _blocks("hooks.txt"):
        kind, mark = header.split()
        found.append((SubjectKind(kind), _stanza(mark, tuple(lines))))
    return tuple(found)


@lru_cache(maxsize=1)
def bridges() -> tuple[Stanza, ...]:
    """Bridges of four lines."""
    return _stanzas("bridge")


@lru_cache(maxsize=1)
def lifts() -> tuple[Stanza, ...]:
    """Couplets that lead into the chorus."""
    return _stanzas("lift")


def _stanzas(kind: str) -> tuple[Stanza, ...]:
    return tuple(
        _stanza(header.split()[1], tuple(lines))
        for header, lines in _blocks("bridges.txt")
        if header.split()[0] == kind
    )


def _stanza(mark: str, lines: tuple[str, ...]) -> Stanza:
    return Stanza(mood=mark[0], lines=lines, strength=mark[1:])


def _theme(name: str, lines: list[str]) -> Theme:
    settings = dict(line.split(": ", 1) for line in lines[:3])
    return Theme(
        name=name,
        feel=float(settings["feel"]),
        words=frozenset(settings["words"].split()),
        titles=tuple(title.strip() for title in settings["titles"].split("|")),
        openers=tuple(lines[3:]),
    )


def _blocks(file_name: str) -> Iterator[tuple[str, list[str]]]:
    """The blocks of a resource: header after ``==``, then its lines; ``#`` starts a remark, empty lines are free."""
    text = resources.files("studio.text").joinpath("resources", file_name).read_text(encoding="utf-8")
    for block in text.split("\n== ")[1:]:
        header, *lines = block.splitlines()
        yield header, [line for line in lines if line and not line.startswith("#")]
