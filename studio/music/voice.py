"""The singer: a formant synthesiser that sings syllables on notes.

A glottal pulse train and breath pass through a cascade of six resonators, hiss through one of its own (Klatt, JASA
1980). Everything that moves is a control track at 250 Hz, smoothed as the tongue is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import MelodeonError
from studio.music.diction import Sung, phrases, pronounce
from studio.music.instruments import part_rng
from studio.music.score import Note, Part, Score
from studio.music.vocal_tract import CONTROL_HZ, articulate, sound
from studio.sound.clip import Samples
from studio.units import RATE_HZ

_LEAD_IN_S: Final = 0.7
_TAIL_S: Final = 0.25
_DOUBLED_ENERGY: Final = 0.85
_NOISE_SIZE: Final = 1 << 18


class UnknownVoice(MelodeonError):
    """The Score asks for a singer that does not exist."""

    code = "unknown_voice"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no singer called “{name}”. Choose one of: {', '.join(sorted(SINGERS))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Singer:
    """One singer.

    Attributes:
        formant_scale: length of the vocal tract, 1 for an average woman's.
        brightness: 0-1, how little the glottal source is dulled.
        open_quotient: share of each cycle the vocal folds are open.
        breath: level of the air in the tone.
        vibrato_semitones, vibrato_hz: of held notes.
        ring: 0-1, how far the third to fifth formants gather into the singer's formant.
    """

    formant_scale: float
    brightness: float
    open_quotient: float
    breath: float
    vibrato_semitones: float
    vibrato_hz: float
    ring: float


SINGERS: Final[Mapping[str, Singer]] = {
    "female": Singer(
        formant_scale=0.95, brightness=0.8, open_quotient=0.62, breath=0.3,
        vibrato_semitones=0.33, vibrato_hz=5.5, ring=0.15,
    ),
    "male": Singer(
        formant_scale=0.80, brightness=0.9, open_quotient=0.55, breath=0.2,
        vibrato_semitones=0.3, vibrato_hz=5.2, ring=0.45,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One pass through the song: which notes, how loud on either side, and how late (the doubles drag a little)."""

    notes: tuple[Note, ...]
    left: float
    right: float
    late_s: float


def sing(score: Score, part: Part, stem: Samples) -> Iterator[float]:
    """Add the singing of ``part`` (vocal or harmony) onto ``stem`` (silent ``[2, frames]``), yielding 0-1.

    The lead stands in the middle and is doubled at the sides where the section's energy is high; the harmony is two
    takes at the sides. Raises `UnknownVoice`, or `UnknownPhone` for a syllable that is not ARPAbet.
    """
    if score.voice not in SINGERS:
        raise UnknownVoice(score.voice)
    singer = SINGERS[score.voice]
    rng = part_rng(score, part)
    noise = rng.standard_normal(_NOISE_SIZE).astype(np.float32)
    work = [(layer, phrase) for layer in _layers(score, part) for phrase in phrases(score, layer.notes)]
    for done, (layer, phrase) in enumerate(work):
        yield done / len(work)
        start_s = phrase[0].start_s - _LEAD_IN_S
        mono = _sing_phrase(phrase, start_s, singer, rng, noise)
        late_s = layer.late_s * float(rng.uniform(0.6, 1.4))
        _place(stem, mono, start_s + late_s, layer)
    yield 1.0


def _layers(score: Score, part: Part) -> list[_Layer]:
    notes = score.of_part(part)
    if part is Part.HARMONY:
        return [
            _Layer(notes=notes, left=1.0, right=0.2, late_s=0.008),
            _Layer(notes=notes, left=0.2, right=1.0, late_s=0.016),
        ]
    loud = tuple(note for note in notes if _energy(score, note) >= _DOUBLED_ENERGY)
    return [
        _Layer(notes=notes, left=1.0, right=1.0, late_s=0.0),
        _Layer(notes=loud, left=0.4, right=0.05, late_s=0.012),
        _Layer(notes=loud, left=0.05, right=0.4, late_s=0.020),
    ]


def _energy(score: Score, note: Note) -> float:
    bar = note.start_beats / score.beats_per_bar + 1e-6
    for section in score.sections:
        if section.start_bar <= bar < section.start_bar + section.bars:
            return section.energy
    return 0.5


def _place(stem: Samples, mono: Samples, start_s: float, layer: _Layer) -> None:
    start = round(start_s * RATE_HZ)
    skip = max(0, -start)
    length = min(len(mono) - skip, stem.shape[1] - start - skip)
    if length > 0:
        piece = mono[skip : skip + length]
        stem[0, start + skip : start + skip + length] += np.float32(layer.left) * piece
        stem[1, start + skip : start + skip + length] += np.float32(layer.right) * piece


def _sing_phrase(
    phrase: list[Sung], start_s: float, singer: Singer, rng: np.random.Generator, noise: NDArray[np.float32]
) -> Samples:
    end_s = phrase[-1].start_s + phrase[-1].length_s + _TAIL_S
    steps = int((end_s - start_s) * CONTROL_HZ) + 2
    pitch_hz = melody_hz(phrase, start_s, steps, singer, rng)
    tracks = articulate(
        pronounce(phrase),
        [note.velocity for note in phrase],
        pitch_hz,
        start_s=start_s,
        formant_scale=singer.formant_scale,
        breath=singer.breath,
        ring=singer.ring,
    )
    return sound(
        tracks,
        noise,
        int(rng.integers(len(noise))),
        brightness=singer.brightness,
        open_quotient=singer.open_quotient,
    )


def melody_hz(
    phrase: list[Sung], start_s: float, steps: int, singer: Singer, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The pitch the singer takes, in Hz at 250 values a second: glides, scoops, vibrato and a slow drift."""
    semitones = np.full(steps, float(phrase[0].pitch))
    sway, scoop = np.zeros(steps), np.zeros(steps)
    ended_s = -10.0
    for note in phrase:
        first = max(0, int((note.start_s - start_s) * CONTROL_HZ))
        semitones[max(0, first - 8) :] = note.pitch
        length = min(int(note.length_s * CONTROL_HZ), steps - first)
        if note.length_s > 0.35 and length > 0:
            sway[first : first + length] = _vibrato(length, note.length_s, singer, rng)
        if note.start_s - ended_s > 0.25:
            reach = min(30, steps - first)
            scoop[first : first + reach] = -0.7 * np.exp(-np.arange(reach) / CONTROL_HZ / 0.03)
        ended_s = note.start_s + note.length_s
    glide = np.hanning(int(0.07 * CONTROL_HZ) | 1)
    half = len(glide) // 2
    semitones = np.convolve(np.pad(semitones, half, "edge"), glide / glide.sum(), "valid")
    drift = np.convolve(rng.standard_normal(steps + 100), np.hanning(101) / 6.2, "valid")[:steps]
    hertz: NDArray[np.float64] = 440.0 * 2 ** ((semitones + sway + scoop + 0.04 * drift - 69) / 12)
    return hertz


def _vibrato(length: int, length_s: float, singer: Singer, rng: np.random.Generator) -> NDArray[np.float64]:
    t = np.arange(length) / CONTROL_HZ
    depth = singer.vibrato_semitones * np.clip((t - 0.22) / 0.35, 0, 1) * np.clip((length_s - t) / 0.12, 0, 1)
    rate_hz = singer.vibrato_hz + 0.25 * float(rng.standard_normal())
    wave: NDArray[np.float64] = depth * np.sin(2 * np.pi * rate_hz * (t - 0.22))
    return wave
