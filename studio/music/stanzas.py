"""Reading lyrics: section tags, stanzas and lines short enough to be sung in one breath."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from studio.text.phonetics import count_syllables, syllables, words

LONGEST_LINE: Final = 20
"""Syllables; longer lines are sung in several breaths, and each is a line of its own."""
_BREATH: Final = 14

_TAG: Final = re.compile(r"\s*\[([^\]\n]{1,60})\]\s*(.*)")
_NAMES: Final = (
    (re.compile(r"pre[\s-]*(?:chorus|hook)|build"), "pre-chorus"),
    (re.compile(r"chorus|hook|refrain|drop"), "chorus"),
    (re.compile(r"verse|strophe|rap"), "verse"),
    (re.compile(r"bridge|middle"), "bridge"),
    (re.compile(r"intro"), "intro"),
    (re.compile(r"outro|ending|coda|end"), "outro"),
    (re.compile(r"solo"), "solo"),
    (re.compile(r"instrumental|interlude"), "instrumental"),
    (re.compile(r"break"), "break"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """A section of the lyrics: its name ("verse", "chorus", …) and its lines; without lines it is played."""

    name: str
    lines: tuple[str, ...]


def section_name(tag: str) -> str:
    """The name of a section as the composer knows it: "Pre-Chorus 2" is "pre-chorus", "Hook" is "chorus"."""
    return next((name for pattern, name in _NAMES if pattern.search(tag.lower())), "verse")


def read_stanzas(lyrics: str) -> tuple[Stanza, ...]:
    """The sections of ``lyrics``, in order.

    Tags stand in square brackets. Without any tag, stanzas are told by blank lines: one that returns is the chorus, or
    else every second one. A ``[Chorus]`` tag without lines means the chorus again.
    """
    tagged = any(_TAG.match(line) for line in lyrics.splitlines())
    stanzas = _tagged(lyrics) if tagged else _untagged(lyrics)
    chorus: tuple[str, ...] = ()
    whole: list[Stanza] = []
    for stanza in stanzas:
        if stanza.name == "chorus":
            chorus = stanza.lines or chorus
            whole.append(Stanza(name="chorus", lines=chorus))
        elif stanza.lines or stanza.name not in {"verse", "pre-chorus", "bridge"}:
            whole.append(stanza)
    return tuple(whole)


def _tagged(lyrics: str) -> list[Stanza]:
    found: list[tuple[str, list[str]]] = []
    for written in lyrics.splitlines():
        tag = _TAG.match(written)
        text = (tag[2] if tag else written).strip()
        if tag:
            found.append((section_name(tag[1]), []))
        if words(text):
            if not found:
                found.append(("verse", []))
            found[-1][1].append(text)
    return [Stanza(name=name, lines=tuple(lines)) for name, lines in found]


def _untagged(lyrics: str) -> list[Stanza]:
    groups = [
        tuple(line.strip() for line in group.splitlines() if words(line)) for group in re.split(r"\n\s*\n", lyrics)
    ]
    groups = [group for group in groups if group]
    returning = {group for group in groups if groups.count(group) > 1}
    return [
        Stanza(name="chorus" if group in returning or (not returning and at % 2) else "verse", lines=group)
        for at, group in enumerate(groups)
    ]


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
