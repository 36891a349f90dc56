"""The forms in which a language model answers: JSON schemas, as narrow as what they ask for.

The patterns are for the grammar of our own transformers engine; a server may support less, see `loosened`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from studio.text.tags import GENRE_TAGS, MOOD_TAGS, SUBGENRE_TAGS, TAGS, TEMPO_TAGS, VOCAL_TAGS

PROMPT_MOST: Final = 240
"""Characters of a written style: music engines read some 250 tokens of it."""
TITLE_LEAST: Final = 2
TITLE_MOST: Final = 60
LINE_MOST: Final = 60
"""Characters of a written line of lyrics; eight syllables are about 35."""

MODERATION_REASONS: Final = (
    "hate", "harassment", "threats", "sexual content", "sexual content about minors", "graphic violence", "self-harm",
    "illegal acts", "private information", "copied lyrics",
)  # fmt: skip
"""Why a text may be refused: a closed list."""

GENRES: Final = tuple(dict.fromkeys((*GENRE_TAGS.values(), *SUBGENRE_TAGS)))
MOODS: Final = tuple(MOOD_TAGS)
TEMPOS: Final = tuple(tag for tag, _ in TEMPO_TAGS)
VOICES: Final = tuple(tag for tag in VOCAL_TAGS if tag != "instrumental")
DETAILS: Final = tuple(sorted(TAGS - {*GENRES, *MOODS, *TEMPOS, *VOCAL_TAGS}))
"""Instruments and themes: what remains of the taxonomy."""

_LETTERS: Final = r"\p{L}\p{M}\p{N} "
_PROMPT: Final = rf"^[\p{{L}}\p{{N}}][{_LETTERS},.'’&/#()+\-]{{8,{PROMPT_MOST - 2}}}[\p{{L}}\p{{N}}.)]$"
_TITLE: Final = rf"^[\p{{L}}\p{{N}}][{_LETTERS},.'’!?&:()\-]{{0,{TITLE_MOST - 2}}}[\p{{L}}\p{{N}}.!?)]$"
_SECTIONS: Final = ("Intro", "Verse", "Pre-Chorus", "Chorus", "Bridge", "Outro")
_BARRED: Final = r"\[\]{}<>\\\"\p{Cc}\p{Cn}\p{Co}\p{Zl}\p{Zp}"


def texts_schema(missing: Sequence[str], lyrics: Mapping[str, Any]) -> dict[str, Any]:
    """An object with these texts, of ``prompt``, ``title`` and ``lyrics``; the form of the lyrics is ``lyrics``."""
    forms = {"prompt": _string(_PROMPT), "title": _string(_TITLE), "lyrics": dict(lyrics)}
    return _object({name: forms[name] for name in missing})


def lyrics_form(sections: int, lines: int, *, least: int = 1, line_most: int = LINE_MOST) -> dict[str, Any]:
    """Lyrics of ``least`` to ``sections`` tagged sections of up to so many lines of up to so many characters."""
    return _string(f"^{lyrics_pattern(sections, lines, least=least, line_most=line_most)}$")


def lyrics_pattern(sections: int, lines: int, *, least: int = 1, line_most: int = LINE_MOST) -> str:
    """The regular expression (Rust's and ECMA's syntax) of such lyrics."""
    line = rf"[^\s{_BARRED}][^{_BARRED}]{{0,{line_most - 1}}}\n"
    section = rf"\[({'|'.join(_SECTIONS)})( [1-9])?\]\n({line}){{1,{lines}}}"
    more = rf"(\n{section}){{{least - 1},{sections - 1}}}" if sections > 1 else ""
    return section + more


def tags_schema(*, voices: Sequence[str], tempos: Sequence[str]) -> dict[str, Any]:
    """One tag of each facet and up to four details. The facets share no tag, so that at least four differ."""
    return _object(
        {
            "genre": _choice(GENRES),
            "mood": _choice(MOODS),
            "voice": _choice(voices),
            "tempo": _choice(tempos),
            "details": {"type": "array", "items": _choice(DETAILS), "minItems": 0, "maxItems": 4},
        }
    )


def moderation_schema() -> dict[str, Any]:
    """A list of reasons, empty when there is nothing to object to."""
    reasons = {"type": "array", "items": _choice(MODERATION_REASONS), "minItems": 0, "maxItems": 3}
    return _object({"reasons": reasons})


def loosened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same form without patterns and lengths, which not every server's grammar knows."""
    narrow = ("pattern", "minItems", "maxItems")
    kept = {name: value for name, value in schema.items() if name not in narrow}
    return {name: loosened(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _object(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
    }


def _string(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


def _choice(words: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}
