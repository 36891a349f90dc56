"""What the composer reads from lyrics: stanzas to sing or to play, and lines short enough for one breath."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from studio.text.phonetics import count_syllables, syllables, words
from studio.text.sections import SECTION_NAMES, has_tags, parse_lyrics

LONGEST_LINE: Final = 20
"""Syllables; longer lines are sung in several breaths, and each is a line of its own."""
_BREATH: Final = 14
_ONLY_SUNG: Final = frozenset({"verse", "pre-chorus", "bridge"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """A section of the lyrics: its name ("verse", "chorus", …) and its lines; without lines it is played."""

    name: str
    lines: tuple[str, ...]


def read_stanzas(lyrics: str) -> tuple[Stanza, ...]:
    """The sections of ``lyrics`` in order, without the lines that hold no word.

    Without any tag, stanzas are told by blank lines: one that returns is the chorus, or else every second one. A tag
    that names no section the composer knows is a verse.
    """
    if not has_tags(lyrics):
        return _untagged(lyrics)
    stanzas = (
        Stanza(
            name=section.name if section.name in SECTION_NAMES else "verse",
            lines=tuple(line for line in section.lines if words(line)),
        )
        for section in parse_lyrics(lyrics)
    )
    return tuple(stanza for stanza in stanzas if stanza.lines or stanza.name not in _ONLY_SUNG)


def _untagged(lyrics: str) -> tuple[Stanza, ...]:
    groups = [
        tuple(line.strip() for line in group.splitlines() if words(line)) for group in re.split(r"\n\s*\n", lyrics)
    ]
    groups = [group for group in groups if group]
    returning = {group for group in groups if groups.count(group) > 1}
    return tuple(
        Stanza(name="chorus" if group in returning or (not returning and at % 2) else "verse", lines=group)
        for at, group in enumerate(groups)
    )


def fitting_pieces(lines: Iterable[str]) -> list[str]:
    """The lines, each longer than `LONGEST_LINE` syllables cut between words into breaths of about equal length."""
    return [piece for line in lines for piece in _breaths(line)]


def _breaths(line: str) -> list[str]:
    total = count_syllables(line)
    if total <= LONGEST_LINE:
        return [line]
    target = total / math.ceil(total / _BREATH)
    pieces: list[str] = []
    current: list[str] = []
    held = 0
    for written in (part for word in line.split() for part in _short_words(word)):
        size = count_syllables(written)
        if current and held + size / 2 > target:
            pieces.append(" ".join(current))
            current, held = [], 0
        current.append(written)
        held += size
    rest = " ".join(current)
    return [piece for piece in [*pieces, rest] if words(piece)]


def _short_words(written: str) -> list[str]:
    """A word of more syllables than a breath holds, cut between its syllables; any other as it is."""
    if count_syllables(written) <= _BREATH:
        return [written]
    letters = [sound.text for word in words(written) for sound in syllables(word)]
    return ["".join(letters[at : at + _BREATH]) for at in range(0, len(letters), _BREATH)]
