"""Tonal balance: how much of each octave a sound has, and bringing it near a target."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.sound.clip import Samples
from studio.sound.filters import Band, design, equalise, response_db
from studio.units import RATE_HZ

OCTAVES_HZ: Final = (31.5, 63.0, 125.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0)

_POP_DB: Final = (-9.0, 0.0, 0.0, -2.5, -4.5, -6.5, -9.0, -12.0, -16.5, -24.0)
_STRENGTH: Final = 0.8
_MOST_DB: Final = 6.0
_LEAST_DB: Final = -12.0
_FRAME: Final = 1 << 14
_FRAMES_MAX: Final = 160
_Q: Final = 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """The wanted balance: the average of popular music, tilted.

    Attributes:
        tilt_db: dB per octave above (and taken off below) 1 kHz; positive is brighter.
    """

    tilt_db: float = 0.0

    @property
    def octaves_db(self) -> NDArray[np.float64]:
        """Wanted level of each octave, from the long-term spectra of Elowsson and Friberg (DAFx 2017)."""
        wanted: NDArray[np.float64] = np.array(_POP_DB) + self.tilt_db * (np.arange(len(OCTAVES_HZ)) - 5)
        return wanted


def octave_levels_db(samples: Samples) -> NDArray[np.float64]:
    """Average level of each octave of `OCTAVES_HZ` over the louder frames; dB, relative to each other."""
    starts = np.linspace(0, max(0, samples.shape[1] - _FRAME), _FRAMES_MAX).astype(int)
    window = np.hanning(_FRAME).astype(np.float32)
    powers = []
    for start in np.unique(starts):
        piece = samples[:, start : start + _FRAME]
        spectrum = np.fft.rfft(piece * window[: piece.shape[1]], _FRAME)
        powers.append((np.abs(spectrum) ** 2).sum(axis=0))
    power = np.array(powers)
    total = power.sum(axis=1)
    mean = power[total > 0.01 * total.max(initial=0.0)].sum(axis=0) if total.any() else power.sum(axis=0)
    frequencies = np.fft.rfftfreq(_FRAME, 1 / RATE_HZ)
    levels = [
        mean[(frequencies >= centre / np.sqrt(2)) & (frequencies < centre * np.sqrt(2))].sum() for centre in OCTAVES_HZ
    ]
    decibels: NDArray[np.float64] = 10 * np.log10(np.array(levels) + 1e-12)
    return decibels


def balance(samples: Samples, tone: Tone) -> None:
    """Bring the octaves of a sound most of the way to the target, in place, within -12 … +6 dB each."""
    have, want = octave_levels_db(samples), tone.octaves_db
    middle = slice(1, 8)
    off = (want - want[middle].mean()) - (have - have[middle].mean())
    wanted = np.clip(_STRENGTH * off, _LEAST_DB, _MOST_DB)
    equalise(samples, _bands(wanted))


def _bands(wanted_db: NDArray[np.float64]) -> tuple[Band, ...]:
    """Ten bells whose sum gives ``wanted_db``: each bell reaches into its neighbours, so the gains are solved for."""
    centres = np.array(OCTAVES_HZ)
    reach = np.column_stack(
        [response_db(design((Band(kind="peak", frequency_hz=f, gain_db=1.0, q=_Q),)), centres) for f in OCTAVES_HZ]
    )
    gains = np.linalg.solve(reach, wanted_db)
    return tuple(
        Band(kind="peak", frequency_hz=f, gain_db=float(gain), q=_Q) for f, gain in zip(OCTAVES_HZ, gains, strict=True)
    )
