"""The vocal tract: phones become control tracks, control tracks become sound."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.music.diction import BURST_S, DIPHTHONGS, FRICATIVES, SONORANTS, STOPS, VOWELS, Formants, Segment
from studio.sound.clip import Samples
from studio.sound.kernel import kernel
from studio.units import RATE_HZ

CONTROL_HZ: Final = 250
"""Control values per second."""

_HOP: Final = RATE_HZ // CONTROL_HZ
_REST_HZ: Final = (600.0, 1_500.0, 2_700.0, 3_900.0, 4_900.0, 6_200.0)
_WIDTH_HZ: Final = (80.0, 90.0, 130.0, 200.0, 280.0, 600.0)
_NEUTRAL: Final[Formants] = (350, 1_700, 2_700)
_LEVELLING: Final = 0.75
"""How far the loudness of the vowels is made even: 0 not at all, 1 completely."""

Track = NDArray[np.float64]


@dataclass(slots=True)
class Tracks:
    """What moves while singing, 250 values a second.

    ``pitch_hz``, ``voice``, ``breath``, ``hiss``, ``hiss_hz``, ``hiss_width_hz``: float64 ``[steps]``;
    ``formants_hz`` and ``widths_hz``: float64 ``[steps, 6]``.
    """

    pitch_hz: Track
    voice: Track
    breath: Track
    hiss: Track
    hiss_hz: Track
    hiss_width_hz: Track
    formants_hz: Track
    widths_hz: Track


def articulate(
    segments: Sequence[Segment],
    velocities: Sequence[float],
    pitch_hz: Track,
    *,
    start_s: float,
    formant_scale: float,
    breath: float,
    ring: float,
) -> Tracks:
    """The control tracks of a phrase that begins at ``start_s``; ``velocities`` belong to the segments' notes."""
    steps = len(pitch_hz)
    rest = np.array(_REST_HZ) * formant_scale
    rest[2:5] += ring * 0.35 * (rest[3] * 0.86 - rest[2:5])
    tracks = Tracks(
        pitch_hz=pitch_hz,
        voice=np.zeros(steps),
        breath=np.zeros(steps),
        hiss=np.zeros(steps),
        hiss_hz=np.full(steps, 5_000.0),
        hiss_width_hz=np.full(steps, 2_000.0),
        formants_hz=np.tile(rest, (steps, 1)),
        widths_hz=np.tile(_WIDTH_HZ, (steps, 1)),
    )
    for segment in segments:
        first = max(0, round((segment.start_s - start_s) * CONTROL_HZ))
        last = min(steps, max(first + 1, round((segment.end_s - start_s) * CONTROL_HZ)))
        strength = 0.55 + 0.6 * velocities[segment.note]
        _shape(tracks, segment, slice(first, last), strength, formant_scale)
    _inhale(tracks, segments[0].start_s - start_s)
    tracks.breath += breath * tracks.voice
    _smooth(tracks)
    # a singer opens the mouth until the first formant reaches the note
    tracks.formants_hz[:, 0] = np.maximum(tracks.formants_hz[:, 0], 1.02 * pitch_hz)
    tracks.voice *= _evenness(tracks)
    return tracks


def _shape(tracks: Tracks, segment: Segment, span: slice, strength: float, scale: float) -> None:
    """Write one phone into its span of the tracks."""
    phone = segment.phone
    if phone in VOWELS or phone in DIPHTHONGS:
        tracks.voice[span] = strength
        tracks.formants_hz[span, :3] = _vowel(phone, span.stop - span.start, scale)
    elif phone in SONORANTS:
        sonorant = SONORANTS[phone]
        tracks.voice[span] = strength * sonorant.level
        tracks.formants_hz[span, :3] = np.array(sonorant.formants) * scale
        tracks.widths_hz[span, :3] = sonorant.widths_hz
    elif phone in FRICATIVES:
        _fricative(tracks, segment, span, strength, scale)
    else:
        _stop(tracks, segment, span, strength, scale)


def _vowel(phone: str, steps: int, scale: float) -> Track:
    """Formants of a vowel; a diphthong stays on its first sound for most of the note."""
    if phone in VOWELS:
        return np.tile(np.array(VOWELS[phone]) * scale, (steps, 1))
    first, second = (np.array(VOWELS[name]) * scale for name in DIPHTHONGS[phone])
    way = np.clip((np.arange(steps) / steps - 0.6) / 0.3, 0, 1)[:, None]
    return np.asarray(first * (1 - way) + second * way, np.float64)


def _neighbour(segment: Segment, scale: float) -> Track:
    """The vowel a consonant leans to: the one of its own syllable."""
    formants: Track = _vowel(segment.vowel, 1, scale)[0]
    return formants


def _fricative(tracks: Tracks, segment: Segment, span: slice, strength: float, scale: float) -> None:
    fricative = FRICATIVES[segment.phone]
    vowel = _neighbour(segment, scale)
    if segment.phone == "HH":
        tracks.formants_hz[span, :3] = vowel
        tracks.breath[span] = 1.6
        return
    tracks.formants_hz[span, :3] = 0.3 * vowel + 0.7 * np.array(_NEUTRAL) * scale
    steps = span.stop - span.start
    edge = np.minimum(np.arange(steps) + 1, steps - np.arange(steps)) / CONTROL_HZ / 0.018
    tracks.hiss[span] = fricative.level * np.minimum(1, edge)
    tracks.hiss_hz[span], tracks.hiss_width_hz[span] = fricative.centre_hz, fricative.width_hz
    tracks.voice[span] = strength * fricative.voice


def _stop(tracks: Tracks, segment: Segment, span: slice, strength: float, scale: float) -> None:
    stop = STOPS[segment.phone]
    tracks.formants_hz[span, :3] = 0.5 * _neighbour(segment, scale) + 0.5 * np.array(stop.locus) * scale
    steps = span.stop - span.start
    closed = stop.closure_s / (stop.closure_s + BURST_S + stop.breath_s)
    burst = span.start + int(steps * closed)
    after = min(span.stop, burst + max(1, round(BURST_S * CONTROL_HZ)))
    tracks.voice[span.start : burst] = strength * stop.voice
    tracks.hiss_hz[burst : span.stop], tracks.hiss_width_hz[burst : span.stop] = stop.centre_hz, stop.width_hz
    tracks.hiss[burst:after] = stop.level
    if stop.hiss:
        tracks.hiss[after : span.stop] = stop.hiss
    elif stop.breath_s:
        tracks.breath[after : span.stop] = 1.1
        tracks.hiss[after : span.stop] = 0.12 * stop.level


def _inhale(tracks: Tracks, until_s: float) -> None:
    """A quiet breath in the quarter second before the first phone."""
    last = int((until_s - 0.04) * CONTROL_HZ)
    first = max(0, last - int(0.22 * CONTROL_HZ))
    if last > first:
        tracks.breath[first:last] = 0.22 * np.hanning(last - first)


def _smooth(tracks: Tracks) -> None:
    for name, width_s in (("voice", 0.022), ("breath", 0.02), ("hiss", 0.009)):
        setattr(tracks, name, _hann(getattr(tracks, name), width_s))
    for k in range(len(_REST_HZ)):
        tracks.formants_hz[:, k] = _hann(tracks.formants_hz[:, k], 0.048)
        tracks.widths_hz[:, k] = _hann(tracks.widths_hz[:, k], 0.024)


def _hann(track: Track, width_s: float) -> Track:
    window = np.hanning(max(3, int(width_s * CONTROL_HZ) | 1) + 2)
    half = len(window) // 2
    smooth: Track = np.convolve(np.pad(track, half, "edge"), window / window.sum(), "valid")
    return smooth


def _evenness(tracks: Tracks) -> Track:
    """The gain that brings the vowels nearer to one loudness, from what the resonators do to the harmonics."""
    harmonics = np.arange(1, 25)
    frequencies = tracks.pitch_hz[:, None] * harmonics
    power = 1.0 / harmonics**2 * np.ones_like(frequencies)
    for k in range(4):
        f, width = tracks.formants_hz[:, k : k + 1], tracks.widths_hz[:, k : k + 1]
        square = frequencies**2
        power *= f**4 / ((f**2 - square) ** 2 + width**2 * square)
    level = np.sqrt(power.sum(axis=1))
    gain: Track = (2.0 / level) ** _LEVELLING
    return gain


def sound(
    tracks: Tracks, noise: NDArray[np.float32], offset: int, *, brightness: float, open_quotient: float
) -> Samples:
    """Turn the tracks into float32 ``[frames]``, 192 frames per control value."""
    controls = np.column_stack(
        [
            tracks.pitch_hz,
            tracks.voice,
            tracks.breath,
            tracks.hiss,
            tracks.hiss_hz,
            tracks.hiss_width_hz,
            tracks.formants_hz,
            tracks.widths_hz,
        ]
    )
    samples: Samples = _tract(controls, noise, offset, brightness, open_quotient)
    return samples


@kernel
def _glottal_flow(phase, open_quotient):  # type: ignore[no-untyped-def]
    """Rosenberg's pulse C (JASA 1971): air through the folds at ``phase`` 0-1 of a cycle."""
    peak = 0.78 * open_quotient
    if phase < peak:
        return 0.5 * (1.0 - math.cos(math.pi * phase / peak))
    if phase < open_quotient:
        return math.cos(0.5 * math.pi * (phase - peak) / (open_quotient - peak))
    return 0.0


@kernel
def _resonator(frequency_hz, width_hz, coefficients, k):  # type: ignore[no-untyped-def]
    """Klatt's digital resonator with unit gain at 0 Hz, written into row ``k``."""
    r = math.exp(-math.pi * width_hz / 48_000.0)
    b = 2.0 * r * math.cos(2.0 * math.pi * min(frequency_hz, 21_000.0) / 48_000.0)
    coefficients[k, 0], coefficients[k, 1], coefficients[k, 2] = 1.0 - b + r * r, b, -r * r


@kernel
def _tract(controls, noise, offset, brightness, open_quotient):  # type: ignore[no-untyped-def]
    hop, formants = _HOP, len(_REST_HZ)
    frames = (controls.shape[0] - 1) * hop
    out = np.zeros(frames, np.float32)
    size = len(noise)
    now = np.zeros(controls.shape[1])
    coefficients = np.zeros((formants + 1, 3))
    y = np.zeros((formants + 1, 2))
    phase, jitter, shimmer, flow, dull, air = 0.0, 1.0, 1.0, 0.0, 0.0, 0.0
    hiss_gain = 0.0
    for i in range(frames):
        if i % 24 == 0:
            k = i // hop
            part = (i % hop) / hop
            for j in range(controls.shape[1]):
                now[j] = controls[k, j] * (1.0 - part) + controls[k + 1, j] * part
            for j in range(formants):
                _resonator(now[6 + j], now[6 + formants + j], coefficients, j)
            _resonator(now[4], now[5], coefficients, formants)
            hiss_gain = 1.0 - math.exp(-math.pi * now[5] / 48_000.0)
        white = noise[(offset + i) % size]
        phase += now[0] * jitter / 48_000.0
        if phase >= 1.0:
            phase -= 1.0
            jitter = 1.0 + 0.0022 * white
            shimmer = 1.0 + 0.02 * noise[(offset + i + 7_919) % size]
        next_flow = _glottal_flow(phase, open_quotient)
        slope = (next_flow - flow) * 6_720.0 / max(now[0], 60.0)
        flow = next_flow
        dull += brightness * (slope - dull)
        air += 0.5 * (white - air)
        valve = 0.35 + 0.65 * flow if now[1] > 0.05 else 1.0
        value = dull * now[1] * shimmer + 0.06 * air * now[2] * valve
        for j in range(formants):
            value = coefficients[j, 0] * value + coefficients[j, 1] * y[j, 0] + coefficients[j, 2] * y[j, 1]
            y[j, 1] = y[j, 0]
            y[j, 0] = value
        j = formants
        hiss = hiss_gain * white + coefficients[j, 1] * y[j, 0] + coefficients[j, 2] * y[j, 1]
        y[j, 1] = y[j, 0]
        y[j, 0] = hiss
        out[i] = value + 1.3 * now[3] * hiss + 0.004 * (white - air) * now[2] * valve
    return out
