"""Titles: short, in title case, and fit to be shown and printed whatever the person typed."""

import re
import unicodedata
from collections import Counter
from typing import Final

from studio.text.sections import parse_lyrics
from studio.text.subject import singable_subject, subject_of
from studio.text.verses import sung_subject
from studio.text.vocabulary import word_set

LONGEST: Final = 50
"""Characters of a made title; a person's own title may be longer."""

_SMALL: Final = word_set("a an the and but or nor of in on at to for from with by as into")
_MARKUP: Final = re.compile(r"<[^<>]{0,200}>|https?://\S+")
_EDGES: Final = " '’-–—.,:;&"


def title_of(description: str, *, lyrics: str = "", seed: int) -> str:
    """A title of 1 to `LONGEST` characters for a song.

    It is what the description says the song is about, if the lyrics (when given) sing of it; else the line that the
    chorus repeats; else what the song's theme suggests. The same arguments give the same title.
    """
    sung = " ".join(_plain(lyrics).casefold().split())
    said = [sung_subject(description, seed).title]
    if singable_subject(description) is None and not lyrics:
        said = [_own_words(description), *said]
    for title in [*said, *(title.removeprefix("the ") for title in said)]:
        if title and (not sung or _plain(title).casefold() in sung):
            return title_case(_short(title))
    hook = _short(_plain(_hook(lyrics)))
    return title_case(hook or _short(said[-1]))


def title_case(text: str) -> str:
    """English title case; words that carry capitals already, and scripts without them, stay as they are.

    >>> title_case("driving home at midnight")
    'Driving Home at Midnight'
    """
    written = text.split()
    last = len(written) - 1
    return " ".join(
        word if (word in _SMALL and 0 < at < last) or word[:1].isupper() else word[:1].upper() + word[1:]
        for at, word in enumerate(written)
    )


def _own_words(description: str) -> str:
    """The subject in the person's own words and script, for texts that the writer cannot sing."""
    said = subject_of(_MARKUP.sub(" ", description))
    return _short(_plain(said))


def _hook(lyrics: str) -> str:
    """The line most often sung in the chorus, the first of them; without a chorus that of the whole text."""
    sections = parse_lyrics(lyrics)
    choruses = [line for section in sections if section.name == "chorus" for line in section.lines]
    lines = choruses or [line for section in sections for line in section.lines]
    counts = Counter(line for line in lines if _plain(line))
    return max(counts, key=lambda line: (counts[line], -lines.index(line))) if counts else ""


def _plain(text: str) -> str:
    """Letters, digits and the little punctuation a title needs; no markup, emoji or control characters."""
    kept: list[str] = []
    marks = 0
    for letter in unicodedata.normalize("NFC", _MARKUP.sub(" ", text)):
        kind = unicodedata.category(letter)[0]
        marks = marks + 1 if kind == "M" else 0
        if kind in {"L", "N"} or letter in "'’-&" or (kind == "M" and marks <= 2 and kept and kept[-1] != " "):
            kept.append(letter)
        else:
            kept.append(" ")
    return " ".join("".join(kept).split()).strip(_EDGES)


def _short(text: str) -> str:
    """As many whole words as fit, at most six; a single endless word is cut."""
    words = text.split()[:6]
    while len(words) > 1 and len(" ".join(words)) > LONGEST:
        words.pop()
    while len(words) > 1 and words[-1].lower() in _SMALL:
        words.pop()
    joined = " ".join(words)
    return joined if len(joined) <= LONGEST else joined[: LONGEST - 1] + "…"
