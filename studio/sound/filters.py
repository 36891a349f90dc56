"""Second-order filters: one band of an equaliser, and running several of them over a sound.

The designs are those of R. Bristow-Johnson's *Audio EQ Cookbook* (W3C note, 2021).
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from studio.sound.clip import Samples
from studio.sound.kernel import kernel
from studio.units import RATE_HZ

Kind = Literal["peak", "low_shelf", "high_shelf", "high_pass", "low_pass", "band_pass"]
Sections = NDArray[np.float64]
"""float64 ``[sections, 5]``: b0, b1, b2, a1, a2 of each second-order section, normalised to a0 = 1."""

BUTTERWORTH_Q: Final = math.sqrt(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One band of an equaliser.

    Attributes:
        kind: its shape.
        frequency_hz: centre or corner, above 0 and below half the rate.
        gain_db: of peaks and shelves; the others ignore it.
        q: quality; 0.707 is a Butterworth pass filter.
    """

    kind: Kind
    frequency_hz: float
    gain_db: float = 0.0
    q: float = BUTTERWORTH_Q


def design(bands: tuple[Band, ...], *, rate_hz: int = RATE_HZ) -> Sections:
    """The sections of ``bands`` at ``rate_hz``; ``ValueError`` for a frequency outside 0 … rate/2."""
    return np.array([_section(band, rate_hz) for band in bands], np.float64).reshape(len(bands), 5)


def _section(band: Band, rate_hz: int) -> tuple[float, ...]:
    if not 0 < band.frequency_hz < rate_hz / 2:
        raise ValueError(f"A band lies between 0 and {rate_hz / 2:g} Hz, not at {band.frequency_hz:g} Hz.")
    w = 2 * math.pi * band.frequency_hz / rate_hz
    cos, alpha = math.cos(w), math.sin(w) / (2 * band.q)
    match band.kind:
        case "peak":
            A = 10 ** (band.gain_db / 40)
            b, a = (1 + alpha * A, -2 * cos, 1 - alpha * A), (1 + alpha / A, -2 * cos, 1 - alpha / A)
        case "low_shelf":
            b, a = _shelf(band.gain_db, cos, alpha, side=1)
        case "high_shelf":
            b, a = _shelf(band.gain_db, cos, alpha, side=-1)
        case "high_pass":
            b, a = ((1 + cos) / 2, -(1 + cos), (1 + cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
        case "low_pass":
            b, a = ((1 - cos) / 2, 1 - cos, (1 - cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
        case "band_pass":
            b, a = (alpha, 0.0, -alpha), (1 + alpha, -2 * cos, 1 - alpha)
    return (b[0] / a[0], b[1] / a[0], b[2] / a[0], a[1] / a[0], a[2] / a[0])


def _shelf(
    gain_db: float, cos: float, alpha: float, *, side: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    A = 10 ** (gain_db / 40)
    s = 2 * math.sqrt(A) * alpha
    b = (
        A * ((A + 1) - side * (A - 1) * cos + s),
        side * 2 * A * ((A - 1) - side * (A + 1) * cos),
        A * ((A + 1) - side * (A - 1) * cos - s),
    )
    a = (
        (A + 1) + side * (A - 1) * cos + s,
        -side * 2 * ((A - 1) + side * (A + 1) * cos),
        (A + 1) + side * (A - 1) * cos - s,
    )
    return b, a


def response_db(sections: Sections, frequencies_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitude of the whole cascade at the given frequencies, in dB, at 48 kHz."""
    z = np.exp(-2j * np.pi * frequencies_hz / RATE_HZ)
    total = np.ones_like(z)
    for b0, b1, b2, a1, a2 in sections:
        total *= (b0 + b1 * z + b2 * z**2) / (1 + a1 * z + a2 * z**2)
    decibels: NDArray[np.float64] = 20 * np.log10(np.abs(total) + 1e-12)
    return decibels


def equalise(samples: Samples, bands: tuple[Band, ...], *, rate_hz: int = RATE_HZ) -> None:
    """Run ``bands`` over ``samples`` in place, from rest, every channel by itself."""
    if bands:
        _run(samples, design(bands, rate_hz=rate_hz))


def energies(samples: Samples, sections: Sections, *, hop: int) -> NDArray[np.float64]:
    """Mean square of the filtered sound per ``hop`` frames, summed over the channels; float64 ``[hops]``.

    The filtered sound itself is never stored. Frames after the last whole hop are left out.
    """
    result: NDArray[np.float64] = _energies(samples, sections, hop)
    return result


@kernel
def _run(samples, sections):  # type: ignore[no-untyped-def]
    # the channels take turns frame by frame: while one waits for its own last result, the other computes
    channels = samples.shape[0]
    state = np.zeros((channels, sections.shape[0], 2))
    for i in range(samples.shape[1]):
        for channel in range(channels):
            # the offset keeps decaying states out of the slow denormal numbers
            value = samples[channel, i] + 1e-20
            for k in range(sections.shape[0]):
                out = sections[k, 0] * value + state[channel, k, 0]
                state[channel, k, 0] = sections[k, 1] * value - sections[k, 3] * out + state[channel, k, 1]
                state[channel, k, 1] = sections[k, 2] * value - sections[k, 4] * out
                value = out
            samples[channel, i] = value


@kernel
def _energies(samples, sections, hop):  # type: ignore[no-untyped-def]
    channels, hops = samples.shape[0], samples.shape[1] // hop
    result = np.zeros(hops)
    state = np.zeros((channels, sections.shape[0], 2))
    for h in range(hops):
        total = 0.0
        for i in range(h * hop, (h + 1) * hop):
            for channel in range(channels):
                value = samples[channel, i] + 1e-20
                for k in range(sections.shape[0]):
                    out = sections[k, 0] * value + state[channel, k, 0]
                    state[channel, k, 0] = sections[k, 1] * value - sections[k, 3] * out + state[channel, k, 1]
                    state[channel, k, 1] = sections[k, 2] * value - sections[k, 4] * out
                    value = out
                total += value * value
        result[h] = total / hop
    return result
