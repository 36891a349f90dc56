"""Texts for ACE-Step: what its encoders read of them, and where the parts of the song may lie. No torch here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from studio.text.sections import LyricSection, parse_lyrics
from studio.words.take import Section

CAPTION_TOKENS: Final = 256
LYRIC_TOKENS: Final = 2_048
"""What the encoders were trained on; the pipeline cuts the rest off without a word."""

_LINES_OF_PLAYED: Final = 2
"""An intro or a solo takes about as long as two sung lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What the model reads, and a sentence for the person when that is not all that was written."""

    caption: str
    lyrics: str
    note: str = ""


def fitted(
    caption: str, lyrics: str, *, caption_tokens: Callable[[str], int], lyric_tokens: Callable[[str], int]
) -> Texts:
    """Both texts, shortened where the encoders would cut.

    Tempo, key, metre and length follow the caption in what the encoder reads: a long caption would push them out, so
    it is the caption that is shortened. Lyrics lose whole lines at their end.

    Args:
        caption, lyrics: as the Brief has them.
        caption_tokens, lyric_tokens: how many tokens the whole input has with this caption, these lyrics.
    """
    kept = _longest(caption, len(caption), lambda text, count: text[:count], caption_tokens, CAPTION_TOKENS)
    if len(kept) < len(caption) and " " in kept:
        kept = kept[: kept.rindex(" ")]
    lines = lyrics.splitlines()
    sung = _longest(lyrics, len(lines), lambda _, count: "\n".join(lines[:count]), lyric_tokens, LYRIC_TOKENS)
    return Texts(caption=kept, lyrics=sung, note=_note(caption, kept, lyrics, sung))


def _longest(text: str, parts: int, first: Callable[[str, int], str], tokens: Callable[[str], int], most: int) -> str:
    """The longest beginning of ``text``, in whole parts, that has at most ``most`` tokens."""
    if tokens(text) <= most:
        return text
    least, too_many = 0, parts
    while too_many - least > 1:
        middle = (least + too_many) // 2
        if tokens(first(text, middle)) <= most:
            least = middle
        else:
            too_many = middle
    return first(text, least)


def _note(caption: str, kept: str, lyrics: str, sung: str) -> str:
    sentences = []
    if len(kept) < len(caption):
        sentences.append(f"The model reads only the beginning of this style, up to “{kept[-40:]}”.")
    missing = len([line for line in lyrics.splitlines() if line.strip()]) - len(
        [line for line in sung.splitlines() if line.strip()]
    )
    if missing:
        what = "line of the lyrics is" if missing == 1 else f"{missing} lines of the lyrics are"
        sentences.append(f"The last {what} more than the model reads and cannot be heard.")
    return " ".join(sentences)


def estimated_sections(lyrics: str, duration_s: float) -> tuple[Section, ...]:
    """The sections of ``lyrics`` spread over the song, each as long as its share of the lines.

    An estimate: the model does not tell when it sings what. Without tags it is one section.
    """
    parts = parse_lyrics(lyrics) or (LyricSection(name="verse"),)
    weights = [len(part.lines) or _LINES_OF_PLAYED for part in parts]
    sections, sung = [], 0
    for part, weight in zip(parts, weights, strict=True):
        start_s = duration_s * sung / sum(weights)
        sung += weight
        sections.append(Section(name=part.name, start_s=start_s, end_s=duration_s * sung / sum(weights)))
    return tuple(sections)
