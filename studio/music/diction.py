"""How the singer pronounces: what each ARPAbet phone does to the vocal tract, and when each one sounds.

Vowel formants are near the averages of women in Peterson and Barney, JASA 1952; consonant values follow Klatt,
JASA 1980, with the consonants lengthened for singing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from studio.errors import MelodeonError
from studio.music.score import Note, Score

Formants = tuple[float, float, float]

VOWELS: Final[Mapping[str, Formants]] = {
    "IY": (310, 2_790, 3_310), "IH": (430, 2_480, 3_070), "EH": (610, 2_330, 2_990), "AE": (860, 2_050, 2_850),
    "AA": (850, 1_220, 2_810), "AO": (590, 920, 2_710), "UH": (470, 1_160, 2_680), "UW": (370, 950, 2_670),
    "AH": (760, 1_400, 2_780), "ER": (500, 1_640, 1_960),
}  # fmt: skip
DIPHTHONGS: Final[Mapping[str, tuple[str, str]]] = {
    "AY": ("AA", "IH"), "AW": ("AA", "UH"), "OY": ("AO", "IH"), "EY": ("EH", "IY"), "OW": ("AO", "UH"),
}  # fmt: skip


class Sonorant(NamedTuple):
    """A voiced consonant that is all resonance: its formants, loudness 0-1, length, and the formants' widths."""

    formants: Formants
    level: float
    length_s: float
    widths_hz: Formants


class Fricative(NamedTuple):
    """Hiss: its band, its level, its length, how much voice goes along (0-1)."""

    centre_hz: float
    width_hz: float
    level: float
    length_s: float
    voice: float


class Stop(NamedTuple):
    """Closure, burst and breath: the burst's band and level, the lengths, the formants it leans to, voice 0-1."""

    centre_hz: float
    width_hz: float
    level: float
    closure_s: float
    breath_s: float
    locus: Formants
    voice: float
    hiss: float = 0.0


_CLEAR: Final[Formants] = (80, 90, 130)
_NASAL: Final[Formants] = (60, 300, 300)

SONORANTS: Final[Mapping[str, Sonorant]] = {
    "L": Sonorant((360, 1_100, 2_900), 0.7, 0.10, _CLEAR), "R": Sonorant((400, 1_300, 1_750), 0.7, 0.10, _CLEAR),
    "W": Sonorant((330, 750, 2_500), 0.7, 0.10, _CLEAR), "Y": Sonorant((290, 2_700, 3_300), 0.7, 0.09, _CLEAR),
    "M": Sonorant((280, 1_100, 2_500), 0.45, 0.11, _NASAL), "N": Sonorant((280, 1_700, 2_600), 0.45, 0.10, _NASAL),
    "NG": Sonorant((280, 2_300, 2_800), 0.45, 0.10, _NASAL),
}  # fmt: skip
FRICATIVES: Final[Mapping[str, Fricative]] = {
    "S": Fricative(7_200, 2_600, 0.55, 0.15, 0.0), "Z": Fricative(7_200, 2_600, 0.25, 0.12, 0.3),
    "SH": Fricative(3_400, 1_700, 0.60, 0.15, 0.0), "ZH": Fricative(3_400, 1_700, 0.30, 0.11, 0.3),
    "F": Fricative(7_500, 7_000, 0.11, 0.13, 0.0), "V": Fricative(7_000, 7_000, 0.035, 0.09, 0.35),
    "TH": Fricative(6_800, 5_000, 0.10, 0.13, 0.0), "DH": Fricative(6_500, 5_000, 0.03, 0.075, 0.35),
    "HH": Fricative(0, 0, 0.0, 0.10, 0.0),
}  # fmt: skip
STOPS: Final[Mapping[str, Stop]] = {
    "P": Stop(900, 1_200, 0.5, 0.075, 0.055, (300, 900, 2_300), 0.0),
    "T": Stop(4_600, 3_000, 0.8, 0.07, 0.065, (300, 1_800, 2_800), 0.0),
    "K": Stop(2_000, 1_200, 0.6, 0.075, 0.075, (300, 2_100, 2_400), 0.0),
    "B": Stop(800, 1_200, 0.3, 0.07, 0.0, (300, 900, 2_300), 0.12),
    "D": Stop(4_000, 3_000, 0.3, 0.06, 0.0, (300, 1_800, 2_800), 0.12),
    "G": Stop(1_900, 1_200, 0.35, 0.07, 0.0, (300, 2_100, 2_400), 0.12),
    "CH": Stop(3_400, 1_700, 0.5, 0.07, 0.09, (300, 1_900, 2_700), 0.0, 0.5),
    "JH": Stop(3_400, 1_700, 0.3, 0.06, 0.07, (300, 1_900, 2_700), 0.12, 0.3),
}  # fmt: skip

BURST_S: Final = 0.012
_VOWEL_SHARE: Final = 0.5
"""Consonants between two sung notes leave the vowel at least this share of the time."""

_LEGATO_S: Final = 0.12
_PHRASE_GAP_S: Final = 0.35


class UnknownPhone(MelodeonError):
    """A syllable holds a phone the singer has never learned."""

    code = "unknown_phone"

    def __init__(self, phone: str) -> None:
        super().__init__(f"The singer does not know the sound “{phone}”; syllables are written in ARPAbet.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sung:
    """One note to be sung, in seconds: pitch (MIDI), velocity 0-1 and its phones without stress digits."""

    start_s: float
    length_s: float
    pitch: int
    velocity: float
    onset: tuple[str, ...]
    vowel: str
    coda: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One phone and when it sounds (seconds); ``vowel`` and ``note`` tell whose syllable it belongs to."""

    phone: str
    start_s: float
    end_s: float
    vowel: str
    note: int


def phrases(score: Score, notes: tuple[Note, ...]) -> list[list[Sung]]:
    """The notes grouped by the pauses between them. A note without a syllable carries the last vowel on."""
    groups: list[list[Sung]] = []
    vowel, end_s = "AA", -1.0
    for note in notes:
        sung = _sung(score, note, vowel)
        vowel = sung.vowel
        if not groups or sung.start_s - end_s > _PHRASE_GAP_S:
            groups.append([])
        groups[-1].append(sung)
        end_s = sung.start_s + sung.length_s
    return groups


def _sung(score: Score, note: Note, last_vowel: str) -> Sung:
    phones = tuple(phone.rstrip("012") for phone in note.syllable.phones) if note.syllable else (last_vowel,)
    for phone in phones:
        if not any(phone in table for table in (VOWELS, DIPHTHONGS, SONORANTS, FRICATIVES, STOPS)):
            raise UnknownPhone(phone)
    middle = next((i for i, phone in enumerate(phones) if phone in VOWELS or phone in DIPHTHONGS), None)
    if middle is None:
        raise UnknownPhone(" ".join(phones))
    return Sung(
        start_s=score.seconds(note.start_beats),
        length_s=score.seconds(note.length_beats),
        pitch=note.pitch,
        velocity=note.velocity,
        onset=phones[:middle],
        vowel=phones[middle],
        coda=phones[middle + 1 :],
    )


def length_s(phone: str) -> float:
    """How long a consonant takes when there is room."""
    if phone in SONORANTS:
        return SONORANTS[phone].length_s
    if phone in FRICATIVES:
        return FRICATIVES[phone].length_s
    if phone in STOPS:
        stop = STOPS[phone]
        return stop.closure_s + BURST_S + stop.breath_s
    return 0.08


def pronounce(phrase: list[Sung]) -> list[Segment]:
    """When each phone of a phrase sounds: vowels start on their notes, consonants take their time before them."""
    segments: list[Segment] = []
    free_s = phrase[0].start_s - 0.6
    for index, note in enumerate(phrase):
        following = phrase[index + 1] if index + 1 < len(phrase) else None
        onset_s, coda_s = _total_s(note.onset), _total_s(note.coda)
        squeeze = min(1.0, max(0.03, note.start_s - free_s) / onset_s) if onset_s else 1.0
        start_s = note.start_s - onset_s * squeeze
        segments += _run(note.onset, start_s, squeeze, note.vowel, index)
        vowel_end_s, scale = _vowel_end(note, following, coda_s)
        segments.append(
            Segment(phone=note.vowel, start_s=note.start_s, end_s=vowel_end_s, vowel=note.vowel, note=index)
        )
        segments += _run(note.coda, vowel_end_s, scale, note.vowel, index)
        free_s = vowel_end_s + coda_s * scale
    return segments


def _vowel_end(note: Sung, following: Sung | None, coda_s: float) -> tuple[float, float]:
    """Where the vowel stops, and by how much the consonants after it are shortened."""
    end_s = note.start_s + note.length_s
    if following is None or following.start_s - end_s >= _LEGATO_S:
        scale = min(1.0, _VOWEL_SHARE * note.length_s / coda_s) if coda_s else 1.0
        return end_s - coda_s * scale, scale
    gap_s = following.start_s - note.start_s
    between_s = coda_s + _total_s(following.onset)
    scale = min(1.0, (1 - _VOWEL_SHARE) * gap_s / between_s) if between_s else 1.0
    return max(note.start_s + 0.04, following.start_s - between_s * scale), scale


def _total_s(phones: tuple[str, ...]) -> float:
    return sum(length_s(phone) for phone in phones)


def _run(phones: tuple[str, ...], start_s: float, scale: float, vowel: str, note: int) -> list[Segment]:
    segments = []
    for phone in phones:
        end_s = start_s + length_s(phone) * scale
        segments.append(Segment(phone=phone, start_s=start_s, end_s=end_s, vowel=vowel, note=note))
        start_s = end_s
    return segments
