"""Loudness and true peak after ITU-R BS.1770-5."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.sound.clip import Clip, Samples
from studio.sound.filters import Sections, energies
from studio.sound.kernel import kernel

ABSOLUTE_GATE_LUFS: Final = -70.0
RELATIVE_GATE_LU: Final = -10.0
SILENCE_LUFS: Final = -math.inf

_OFFSET_DB: Final = -0.691
_PHASES: Final = 4
_TAPS: Final = 24


def integrated_lufs(clip: Clip) -> float:
    """Integrated (gated) loudness of the whole Clip in LUFS; ``-inf`` when nothing passes the absolute gate.

    Blocks of 400 ms overlap by 75 %; a Clip shorter than one block counts as silent.
    """
    blocks = block_energies(clip)
    loud = blocks[_lufs(blocks) > ABSOLUTE_GATE_LUFS]
    if not len(loud):
        return SILENCE_LUFS
    gate = _lufs(loud.mean()) + RELATIVE_GATE_LU
    return float(_lufs(loud[_lufs(loud) > gate].mean()))


def block_energies(clip: Clip) -> NDArray[np.float64]:
    """K-weighted mean square of every 400 ms block, one each 100 ms, the channels summed with weight 1."""
    hops = energies(clip.samples, _k_weighting(clip.rate_hz), hop=clip.rate_hz // 10)
    if len(hops) < 4:
        return np.zeros(0)
    return (hops[:-3] + hops[1:-2] + hops[2:-1] + hops[3:]) / 4


def true_peak_dbtp(clip: Clip) -> float:
    """Highest 4x oversampled peak in dB relative to full scale; ``-inf`` for digital silence."""
    peak = float(true_peak_envelope(clip.samples).max(initial=0.0))
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def true_peak_envelope(samples: Samples) -> NDArray[np.float32]:
    """Largest magnitude at and between frame ``i`` and its neighbours, over all channels; float32 ``[frames]``.

    Four-fold oversampling by a polyphase windowed sinc, as BS.1770-5 annex 2 describes it.
    """
    envelope: NDArray[np.float32] = _envelope(samples, _INTERPOLATORS)
    return envelope


def _lufs(energy: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return _OFFSET_DB + 10 * np.log10(np.asarray(energy, np.float64) + 1e-30)


def _k_weighting(rate_hz: int) -> Sections:
    """The two filters of BS.1770-5, annex 1, moved to any rate.

    The standard prints coefficients for 48 kHz; these analogue parameters give them back to ten digits.
    """
    K = math.tan(math.pi * 1681.974450955533 / rate_hz)
    Q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + K / Q + K * K
    shelf = (
        (high + band * K / Q + K * K) / a0,
        2 * (K * K - high) / a0,
        (high - band * K / Q + K * K) / a0,
        2 * (K * K - 1) / a0,
        (1 - K / Q + K * K) / a0,
    )
    K = math.tan(math.pi * 38.13547087602444 / rate_hz)
    Q = 0.5003270373238773
    a0 = 1 + K / Q + K * K
    high_pass = (1.0, -2.0, 1.0, 2 * (K * K - 1) / a0, (1 - K / Q + K * K) / a0)
    return np.array([shelf, high_pass])


def _design_interpolators() -> NDArray[np.float32]:
    """float32 ``[3, taps]``: the filters for the positions 1/4, 1/2 and 3/4 after a frame."""
    offsets = np.arange(_TAPS) - (_TAPS // 2 - 1)
    rows = []
    for phase in range(1, _PHASES):
        t = offsets - phase / _PHASES
        window = np.i0(9.0 * np.sqrt(np.clip(1 - (t / (_TAPS / 2)) ** 2, 0, None))) / np.i0(9.0)
        taps = np.sinc(t) * window
        rows.append(taps / taps.sum())
    return np.array(rows, np.float32)


_INTERPOLATORS: Final = _design_interpolators()


@kernel
def _envelope(samples, filters):  # type: ignore[no-untyped-def]
    channels, frames = samples.shape
    taps = filters.shape[1]
    before = taps // 2 - 1
    block = 2048
    envelope = np.zeros(frames, np.float32)
    padded = np.zeros(block + taps, np.float32)
    between = np.zeros(block, np.float32)
    for start in range(0, frames, block):
        size = min(block, frames - start)
        for channel in range(channels):
            for j in range(size + taps):
                k = start + j - before
                padded[j] = samples[channel, k] if 0 <= k < frames else np.float32(0.0)
            for i in range(size):
                envelope[start + i] = max(envelope[start + i], abs(samples[channel, start + i]))
            for phase in range(filters.shape[0]):
                between[:] = np.float32(0.0)
                for tap in range(taps):
                    weight = filters[phase, tap]
                    for i in range(size):
                        between[i] += weight * padded[i + tap]
                for i in range(size):
                    envelope[start + i] = max(envelope[start + i], abs(between[i]))
    # a peak between two frames must hold back both of them
    last = np.float32(0.0)
    for i in range(frames):
        here = envelope[i]
        envelope[i] = max(here, last)
        last = here
    return envelope
