"""Lyrics: reading and writing text with section tags, and the built-in lyric writer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from studio.music.form import plan_sections
from studio.text.style import Style
from studio.text.verses import Verses

_TAG: Final = re.compile(r"^[\s*_#]*\[\s*([^\]\n]{1,60}?)\s*\][\s*_:]*(.*)$")
_BARE_TAG: Final = re.compile(
    r"^[\s*_#]*((?:pre-?\s?chorus|chorus|verse|bridge|intro|outro|hook|refrain)(?:\s+\d{1,2})?)\s*:?[*_]*\s*:?\s*$",
    re.IGNORECASE,
)
_NAMES: Final = (
    (re.compile(r"\b(?:pre[\s-]*(?:chorus|hook)|lift|build(?:[\s-]?up)?)\b"), "pre-chorus"),
    (re.compile(r"\b(?:chorus|hook|refrain)\b"), "chorus"),
    (re.compile(r"\b(?:verse|strophe)\b"), "verse"),
    (re.compile(r"\b(?:bridge|middle\s?(?:8|eight))\b"), "bridge"),
    (re.compile(r"\bintro\b"), "intro"),
    (re.compile(r"\b(?:outro|ending|coda)\b"), "outro"),
    (re.compile(r"\b(?:instrumental|solo|interlude|break|drop)\b"), "instrumental"),
)
_NUMBER: Final = re.compile(r"(?<![\w.])(\d{1,2})(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricSection:
    """One section of the lyrics.

    Attributes:
        name: "verse", "pre-chorus", "chorus", "bridge", "intro", "outro", "instrumental", or an unknown tag as written
            in lower case ("spoken word").
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
        tag = _TAG.match(written)
        bare = None if tag else _BARE_TAG.match(written)
        rest = written if not (tag or bare) else tag[2] if tag else ""
        if tag or bare:
            found.append((*_read_tag((tag or bare or [""])[1]), []))
        line = " ".join(rest.split())
        if line:
            if not found:
                found.append(("verse", None, []))
            found[-1][2].append(line)
    return tuple(_with_repeats(LyricSection(name=n, number=k, lines=tuple(lines)) for n, k, lines in found))


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


def write_lyrics(subject_text: str, style: Style, *, seed: int, duration_s: float, tempo_bpm: float) -> str:
    """Lyrics about ``subject_text``, as long as a song of ``duration_s`` at ``tempo_bpm`` can hold.

    Verses have lines of about eight syllables, of which the second and fourth rhyme; the chorus names the subject.
    The same arguments give the same text. For an instrumental ``style`` the text is ``[Instrumental]``.

    Args:
        subject_text: what the person wrote: a description of the song or of its lyrics; may be empty.
        style: its mood chooses between bright and dark lines.
        seed: 0 … 2**31 - 1.
        duration_s: 10-600.
        tempo_bpm: 30-300.
    """
    if style.instrumental:
        return format_lyrics([LyricSection(name="instrumental")])
    verses = Verses(subject_text, style, seed)
    makers = {"verse": verses.verse, "pre-chorus": verses.lift, "chorus": verses.chorus, "bridge": verses.bridge}
    plan = _whole_rhymes(plan_sections(duration_s, tempo_bpm, instrumental=False))
    many_verses = sum(name == "verse" for name, _ in plan) > 1
    sections: list[LyricSection] = []
    for name, count in plan:
        if not count or name not in makers:
            continue
        number = 1 + sum(section.name == "verse" for section in sections) if name == "verse" and many_verses else None
        sections.append(LyricSection(name=name, number=number, lines=makers[name](count)))
    return format_lyrics(sections)


def _whole_rhymes(plan: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """The plan with an even number of lines in every section, so that no line waits for its rhyme."""
    counts = dict(plan)
    if (counts.get("verse"), counts.get("chorus")) == (3, 3):
        return tuple((name, {"verse": 2, "chorus": 4}.get(name, count)) for name, count in plan)
    return tuple((name, 2 if count == 3 else count) for name, count in plan)
