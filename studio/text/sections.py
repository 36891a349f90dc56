"""Sections of lyrics: reading and writing text whose parts are marked by tags such as ``[Verse 2]``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_TAG: Final = re.compile(r"^[\s*_#]*\[\s*([^\]\s][^\]\n]{0,59}?)\s*\][\s*_:]*(.*)$")
_BARE_TAG: Final = re.compile(
    r"^[\s*_#]*((?:pre-?\s?chorus|chorus|verse|bridge|intro|outro|hook|refrain)(?:\s+\d{1,2})?)\s*:?[*_]*\s*:?\s*$",
    re.IGNORECASE,
)
_NAMES: Final = (
    (re.compile(r"\b(?:pre[\s-]*(?:chorus|hook)|lift|build(?:[\s-]?up)?)\b"), "pre-chorus"),
    (re.compile(r"\b(?:chorus|hook|refrain)\b"), "chorus"),
    (re.compile(r"\b(?:verse|strophe|rap)\b"), "verse"),
    (re.compile(r"\b(?:bridge|middle\s?(?:8|eight))\b"), "bridge"),
    (re.compile(r"\bintro\b"), "intro"),
    (re.compile(r"\b(?:outro|ending|end|coda)\b"), "outro"),
    (re.compile(r"\bsolo\b"), "solo"),
    (re.compile(r"\b(?:instrumental|interlude|drop)\b"), "instrumental"),
    (re.compile(r"\bbreak\b"), "break"),
)
_NUMBER: Final = re.compile(r"(?<![\w.])(\d{1,2})(?!\w)")

SECTION_NAMES: Final = tuple(name for _, name in _NAMES)
"""What a section may be; the composer knows all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricSection:
    """One section of the lyrics.

    Attributes:
        name: one of `SECTION_NAMES`, or an unknown tag as written in lower case ("spoken word").
        number: as written in the tag ("[Verse 2]"), None if it has none.
        lines: without empty ones; none for a section that is only played.
    """

    name: str
    lines: tuple[str, ...] = ()
    number: int | None = None


def parse_lyrics(text: str) -> tuple[LyricSection, ...]:
    """The sections of ``text`` in order.

    A tag stands in square brackets at the start of a line, in any case; lines before the first tag are a verse. A
    ``[chorus]`` without lines repeats the chorus before it. ``parse_lyrics(format_lyrics(s)) == s`` for every result.
    """
    found: list[tuple[str, int | None, list[str]]] = []
    for written in text.splitlines():
        tag, line = _split_tag(written)
        if tag:
            found.append((*_read_tag(tag), []))
        if line:
            if not found:
                found.append(("verse", None, []))
            found[-1][2].append(line)
    return tuple(_with_repeats(LyricSection(name=n, number=k, lines=tuple(lines)) for n, k, lines in found))


def has_tags(text: str) -> bool:
    """Whether any line of ``text`` is or begins with a section tag."""
    return any(_split_tag(line)[0] for line in text.splitlines())


def _split_tag(written: str) -> tuple[str, str]:
    """The tag a line begins with ("" if none) and what follows it."""
    # Single spaces only: the patterns would take minutes over a line with thousands of them.
    line = " ".join(written.split())
    if tag := _TAG.match(line):
        return tag[1], tag[2]
    if bare := _BARE_TAG.match(line):
        return bare[1], ""
    return "", line


def _read_tag(tag: str) -> tuple[str, int | None]:
    lowered = " ".join(tag.lower().split())
    number = _NUMBER.search(lowered)
    name = next((name for pattern, name in _NAMES if pattern.search(lowered)), None)
    if name is None:
        return lowered, None
    return name, int(number[1]) if number else None


def _with_repeats(sections: Iterable[LyricSection]) -> Iterable[LyricSection]:
    chorus: tuple[str, ...] = ()
    for section in sections:
        if section.name == "chorus" and not section.lines:
            yield LyricSection(name="chorus", number=section.number, lines=chorus)
            continue
        if section.name == "chorus":
            chorus = section.lines
        yield section


def format_lyrics(sections: Iterable[LyricSection]) -> str:
    """The sections as text: a tag such as ``[Verse 2]``, its lines, and an empty line between sections."""
    return "\n\n".join("\n".join((_tag(section), *section.lines)) for section in sections)


def _tag(section: LyricSection) -> str:
    name = "-".join(part.capitalize() for part in section.name.split("-"))
    return f"[{name}]" if section.number is None else f"[{name} {section.number}]"
