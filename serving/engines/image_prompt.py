"""What an image model is told: mood, genre and subject of a song, and nothing that a cover must not show."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from studio.text.style import Style
from studio.text.subject import subject_span
from studio.words.brief import Brief

SUBJECT_MAX: Final = 160
"""Characters of the person's own words. CLIP reads 77 tokens, some 300 letters; the rest of the prompt needs half."""

_SCENES: Final[Mapping[str, str]] = {
    "pop": "bold colourful studio scene with flowing shapes",
    "synthwave": "retro-futuristic neon horizon with a low sun",
    "lofi": "cosy room by a rainy window in soft lamplight",
    "house": "abstract light beams over a dark dance floor",
    "rock": "stormy landscape with dramatic light",
    "folk": "quiet hills and an old road at golden hour",
    "hiphop": "city street at night with long shadows",
    "jazz": "smoky late-night bar in warm light",
    "ambient": "vast misty landscape, very still",
    "rnb": "silk, haze and violet light",
    "ballad": "lone figure far away under a wide evening sky",
}
_FINISH: Final = "album cover artwork, square composition, calm lower third, fine detail"
"""Letters are drawn over the lower third afterwards. Nothing is said about letters: turbo models take no negative
prompt, and naming what is not wanted brings it in."""

_NOT_SHOWN: Final = {
    "nakedness": "nude nudes nudity naked topless nsfw lingerie underwear undressed nipple nipples penis vagina",
    "sex": "porn porno pornographic sex sexual sexy erotic erotica hentai fetish orgy rape raped incest",
    "children": "loli lolita shota preteen underage toddler",
    "gore": "gore gory bloodbath decapitated decapitation beheaded beheading dismembered mutilated mutilation corpse "
    "corpses entrails torture tortured suicide lynching",
    "hatred": "swastika swastikas nazi nazis hitler kkk klan isis",
    "marks of others": "logo logos trademark watermark disney marvel pokemon nintendo barbie",
}
_FORBIDDEN: Final = frozenset(word for words in _NOT_SHOWN.values() for word in words.split())
_WORD: Final = re.compile(r"[\w@$!'’]+")
_IMITATION: Final = re.compile(
    r"\b(?:in|after)\s+the\s+(?:style|manner)\s+of\s+[^,.;\n]+|\b(?:painted|drawn|photographed|art)\s+by\s+[^,.;\n]+",
    re.IGNORECASE,
)
_LEET: Final = str.maketrans("013457@$!", "oieastasi")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverPrompt:
    """The text for the model, and which of the person's words were left out of it."""

    text: str
    left_out: tuple[str, ...] = ()


def cover_prompt(brief: Brief, style: Style) -> CoverPrompt:
    """The prompt for the cover of this song.

    The subject is the title and what the description says the song is about; scene and light come from the style.
    Words for what covers must not show, and wishes to imitate somebody, are left out.
    """
    subject, left_out = without_forbidden(f"{brief.title.strip()} {_told(brief.music_text)}")
    subject = _shortened(subject)
    scene = _SCENES.get(style.genre, _SCENES["pop"])
    moods = ", ".join(style.moods[:3])
    parts = [f"{subject}, {scene}" if subject else scene, moods and f"{moods} mood", _light(style), _FINISH]
    return CoverPrompt(text=", ".join(part for part in parts if part), left_out=left_out)


def _told(text: str) -> str:
    """What the song is about ("about walking home"), in the person's own words."""
    start, end = subject_span(text)
    return text[start:end].strip()


def without_forbidden(text: str) -> tuple[str, tuple[str, ...]]:
    """``text`` without words that covers must not show, however they are spelt, and those words."""
    left_out: list[str] = []

    def judged(match: re.Match[str]) -> str:
        if _bare(match.group()) not in _FORBIDDEN:
            return match.group()
        left_out.append(match.group())
        return " "

    kept = _IMITATION.sub(" ", text)
    kept = _WORD.sub(judged, kept)
    return " ".join(kept.split()), tuple(dict.fromkeys(left_out))


def _bare(word: str) -> str:
    """A word as it is meant: lower case, no accents, digits and signs that stand for letters read as those."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    plain = plain.rstrip("!'’").removesuffix("'s").removesuffix("’s")
    return plain.translate(_LEET) if any(c.isalpha() for c in plain) else plain


def _shortened(text: str) -> str:
    if len(text) <= SUBJECT_MAX:
        return text
    return text[:SUBJECT_MAX].rsplit(" ", 1)[0].rstrip(" ,;:-")


def _light(style: Style) -> str:
    if style.arousal >= 0.35:
        return "bright warm daylight" if style.valence >= 0 else "high contrast, dark and tense"
    return "soft morning light" if style.valence >= 0 else "muted blue dusk"
