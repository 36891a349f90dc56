"""Score: the whole song as notes. Time is in beats (quarter notes); seconds appear only when it is rendered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Part(StrEnum):
    """The players."""

    DRUMS = "drums"
    BASS = "bass"
    KEYS = "keys"
    PAD = "pad"
    ARP = "arp"
    LEAD = "lead"
    VOCAL = "vocal"
    HARMONY = "harmony"


@dataclass(frozen=True, slots=True, kw_only=True)
class Syllable:
    """One sung syllable.

    Attributes:
        text: as written, for the page.
        phones: ARPAbet (CMUdict), exactly one vowel, which carries its stress digit: ``("N", "AY1", "T")``.
        starts_line: True for the first syllable of a lyric line.
    """

    text: str
    phones: tuple[str, ...]
    starts_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note. A note that ends before it starts cannot be built.

    Attributes:
        start_beats: ≥ 0, swing and timing noise included.
        length_beats: > 0.
        pitch: MIDI number 0-127; for drums the General MIDI percussion key.
        velocity: 0-1.
        syllable: only for ``vocal`` and ``harmony``.
    """

    part: Part
    start_beats: float
    length_beats: float
    pitch: int
    velocity: float
    syllable: Syllable | None = None

    def __post_init__(self) -> None:
        if self.start_beats < 0 or self.length_beats <= 0:
            raise ValueError(f"A note starts at or after 0 and lasts: {self}")
        if not 0 <= self.pitch <= 127 or not 0 <= self.velocity <= 1:
            raise ValueError(f"Pitch is 0-127 and velocity 0-1: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormSection:
    """One part of the form: name ("verse"), first bar (0-based), length in bars, energy 0-1, its lyric lines.

    ``lift`` is how many semitones above the key of the song it stands: a final chorus may be raised.
    """

    name: str
    start_bar: int
    bars: int
    energy: float
    lines: tuple[str, ...] = ()
    lift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chord:
    """One chord: when, how long, its name ("Am7") and the voiced MIDI pitches, low to high."""

    start_beats: float
    length_beats: float
    symbol: str
    pitches: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The whole song.

    Attributes:
        genre: key of the genre tables.
        tempo_bpm: quarter notes per minute.
        key: canonical name ("A minor"); sections may stand higher, see `FormSection.lift`.
        beats_per_bar: 4 in this version.
        duration_s: exact length of the finished song; the last bars ring out or fade to it.
        sections, chords, notes: in order of time.
        instruments: which patch plays each part ("epiano", "pad", …; drums: the kit's name).
        voice: "female" or "male".
        seed: of the rendering's own noise (drift, breath, humanising).
    """

    genre: str
    tempo_bpm: float
    key: str
    duration_s: float
    sections: tuple[FormSection, ...]
    chords: tuple[Chord, ...]
    notes: tuple[Note, ...]
    instruments: Mapping[Part, str] = field(default_factory=dict)
    voice: str = "female"
    seed: int = 0
    beats_per_bar: int = 4

    def seconds(self, beats: float) -> float:
        """Time of a position in beats, in seconds from the start."""
        return beats * 60.0 / self.tempo_bpm

    def of_part(self, part: Part) -> tuple[Note, ...]:
        """The notes of one part, in order."""
        return tuple(note for note in self.notes if note.part is part)
