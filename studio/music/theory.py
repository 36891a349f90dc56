"""Keys, scales and chords."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from studio.errors import MelodeonError

NOTE_NAMES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS: Final[tuple[str, ...]] = tuple(f"{note} {mode}" for note in NOTE_NAMES for mode in ("major", "minor"))
"""The 24 canonical key names, as offered in forms."""

_MAJOR: Final = (0, 2, 4, 5, 7, 9, 11)
_MINOR: Final = (0, 2, 3, 5, 7, 8, 10)
_LETTERS: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_KEY: Final = re.compile(
    r"\s*([A-Ga-g])\s*-?\s*(#|♯|b|♭|sharp|flat)?[\s-]*(major|maj|minor|min|moll|dur|M|m)?\s*", re.IGNORECASE
)
_NUMERAL: Final = re.compile(r"(b|#)?(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(.*)")
_DEGREES: Final = ("i", "ii", "iii", "iv", "v", "vi", "vii")
_QUALITIES: Final = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "9": (0, 4, 7, 10, 2),
    "maj9": (0, 4, 7, 11, 2),
    "m9": (0, 3, 7, 10, 2),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "add9": (0, 4, 7, 2),
    "madd9": (0, 3, 7, 2),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "7sus4": (0, 5, 7, 10),
}


class UnknownKey(MelodeonError):
    """The text names no key."""

    code = "unknown_key"

    def __init__(self, text: str) -> None:
        super().__init__(f"“{text}” is not a key. Write for example “A minor”, “F# major” or “Bb”.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key: its tonic as a pitch class (0 = C … 11 = B) and its mode, major or natural minor."""

    tonic: int
    minor: bool

    def __post_init__(self) -> None:
        if not 0 <= self.tonic <= 11:
            raise ValueError(f"A tonic is a pitch class 0-11, not {self.tonic}.")

    @property
    def name(self) -> str:
        """The canonical name, spelled with sharps: "A# minor"."""
        return f"{NOTE_NAMES[self.tonic]} {'minor' if self.minor else 'major'}"

    @property
    def scale(self) -> tuple[int, ...]:
        """The seven pitch classes, from the tonic up."""
        return tuple((self.tonic + step) % 12 for step in (_MINOR if self.minor else _MAJOR))

    def transposed(self, semitones: int) -> "Key":
        """The same mode, so many semitones higher."""
        return Key(tonic=(self.tonic + semitones) % 12, minor=self.minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmony:
    """A chord without its voicing.

    Attributes:
        symbol: "Am7", "G/B".
        root: pitch class of the root.
        tones: pitch classes from the root up, three to five.
        bass: pitch class of the lowest note.
        scale: the pitch classes a melody may use over it: the key's, altered where the chord borrows a note.
    """

    symbol: str
    root: int
    tones: tuple[int, ...]
    bass: int
    scale: tuple[int, ...]


def parse_key(text: str) -> Key:
    """The key that ``text`` names: "A minor", "Am", "F# major", "Bb", "f sharp min". Without a mode it is major.

    Raises:
        UnknownKey: the text names no key.
    """
    match = _KEY.fullmatch(text)
    if match is None:
        raise UnknownKey(text)
    letter, accidental, mode = match.groups()
    shift = {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}.get((accidental or "").lower(), 0)
    minor = mode is not None and (mode == "m" or mode.lower() in {"minor", "min", "moll"})
    return Key(tonic=(_LETTERS[letter.upper()] + shift) % 12, minor=minor)


@lru_cache(maxsize=4_096)
def harmony(key: Key, numeral: str) -> Harmony:
    """The chord of a Roman numeral in ``key``.

    Capitals are major triads and small letters minor ones; the degree counts on the key's own scale ("VI" in minor is
    the flat sixth), with "b" or "#" before it to alter it. Suffixes are the qualities of `_QUALITIES`; "/3" or "/5"
    puts that chord tone into the bass.

    Raises:
        ValueError: the numeral cannot be read.
    """
    body, _, inversion = numeral.partition("/")
    match = _NUMERAL.fullmatch(body)
    if match is None:
        raise ValueError(f"Not a Roman numeral: {numeral}")
    accidental, degree, suffix = match.groups()
    root = key.scale[_DEGREES.index(degree.lower())] + {"b": -1, "#": 1}.get(accidental or "", 0)
    quality = suffix if degree.isupper() or suffix.startswith(("m", "dim", "sus", "7sus")) else f"m{suffix}"
    tones = tuple((root + step) % 12 for step in _QUALITIES[quality])
    bass = tones[{"3": 1, "5": 2}.get(inversion, 0)]
    name = NOTE_NAMES[root % 12] + quality
    symbol = name if bass == tones[0] else f"{name}/{NOTE_NAMES[bass]}"
    return Harmony(symbol=symbol, root=root % 12, tones=tones, bass=bass, scale=_scale_over(key, tones))


def _scale_over(key: Key, tones: Sequence[int]) -> tuple[int, ...]:
    """The key's scale with each note that a borrowed chord tone contradicts (a semitone away) replaced by it."""
    scale = list(key.scale)
    kept = {key.tonic, *tones}
    for tone in tones:
        if tone not in scale:
            near = [at for at, note in enumerate(scale) if (tone - note) % 12 in (1, 11) and note not in kept]
            if near:
                scale[near[0]] = tone
    return tuple(sorted(set(scale)))


def pitches_of(classes: Sequence[int], low: int, high: int) -> tuple[int, ...]:
    """All MIDI pitches from ``low`` to ``high`` (both included) whose class is among ``classes``, rising."""
    wanted = set(classes)
    return tuple(pitch for pitch in range(low, high + 1) if pitch % 12 in wanted)
