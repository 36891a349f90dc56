"""Measuring finished sound: the gates every Take must pass, and the waveform the player draws."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import MelodeonError
from studio.sound.clip import Clip, Samples
from studio.sound.loudness import true_peak_dbtp
from studio.units import CEILING_DBTP, RATE_HZ

LENGTH_TOLERANCE_S: Final = 0.5
SILENCE_DBFS: Final = -65.0
SILENCE_MAX_S: Final = 3.0
DC_OFFSET_MAX: Final = 1e-3
TRUE_PEAK_TOLERANCE_DB: Final = 0.05

_WINDOW_S: Final = 0.05


class FailedGate(MelodeonError):
    """The sound is not fit to be heard. ``gate`` names the check; ``code`` is ``gate_`` and that name."""

    def __init__(self, gate: str, sentence: str) -> None:
        super().__init__(f"{sentence} Please try again.")
        self.gate = gate
        self.code = f"gate_{gate}"


def check(clip: Clip, *, asked_s: float) -> None:
    """Return quietly if the finished Clip may be kept, else raise `FailedGate` for the first fault found.

    Gates, in order: ``wrong_rate``, ``wrong_channels``, ``wrong_length`` (more than 0.5 s off ``asked_s``),
    ``not_finite``, ``silent``, ``long_silence`` (3 s or more below -65 dBFS anywhere), ``dc_offset``, ``true_peak``.
    """
    _check_form(clip, asked_s)
    _check_content(clip)


def waveform_peaks(clip: Clip, *, points: int = 800) -> list[float]:
    """The outline for the player: ``points`` values 0-1, each the highest peak of its stretch over all channels."""
    frames = clip.samples.shape[1]
    if not frames or points <= 0:
        raise ValueError("A waveform needs at least one frame and one point.")
    starts = np.arange(points) * frames // points
    high = np.maximum.reduceat(clip.samples, starts, axis=1).max(axis=0)
    low = np.minimum.reduceat(clip.samples, starts, axis=1).min(axis=0)
    peaks = np.clip(np.maximum(high, -low), 0.0, 1.0)
    return [round(float(peak), 4) for peak in peaks]


def _check_form(clip: Clip, asked_s: float) -> None:
    channels = clip.samples.shape[0]
    if clip.rate_hz != RATE_HZ:
        raise FailedGate("wrong_rate", f"The sound came at {clip.rate_hz:,} Hz instead of {RATE_HZ:,} Hz.")
    if channels != 2:
        raise FailedGate("wrong_channels", f"The sound has {channels} channel instead of 2.")
    if abs(clip.duration_s - asked_s) > LENGTH_TOLERANCE_S:
        raise FailedGate("wrong_length", f"The sound lasts {clip.duration_s:.1f} s instead of {asked_s:.1f} s.")


def _check_content(clip: Clip) -> None:
    means = clip.samples.mean(axis=1, dtype=np.float64)
    # a sum over all frames is finite only if every frame is
    if not np.isfinite(means).all():
        raise FailedGate("not_finite", "The sound has values that are not numbers.")
    silent_s = _silences_s(clip.samples)
    if silent_s.sum() >= clip.duration_s - 2 * _WINDOW_S:
        raise FailedGate("silent", "The sound is silent.")
    longest_s = float(silent_s.max(initial=0.0))
    if longest_s >= SILENCE_MAX_S:
        raise FailedGate("long_silence", f"The sound is silent for {longest_s:.1f} s.")
    offset = float(np.abs(means).max())
    if offset > DC_OFFSET_MAX:
        raise FailedGate("dc_offset", f"The sound is shifted off its middle line by {offset:.4f} of full scale.")
    peak = true_peak_dbtp(clip)
    if peak > CEILING_DBTP + TRUE_PEAK_TOLERANCE_DB:
        raise FailedGate("true_peak", f"The sound peaks at {peak:+.1f} dBTP, above {CEILING_DBTP:+.1f} dBTP.")


def _silences_s(samples: Samples) -> NDArray[np.float64]:
    """Lengths in seconds of the unbroken silent stretches."""
    window = round(_WINDOW_S * RATE_HZ)
    windows = samples.shape[1] // window
    shaped = samples[:, : windows * window].reshape(samples.shape[0], windows, window)
    power = np.einsum("cwf,cwf->w", shaped, shaped) / (samples.shape[0] * window)
    silent = np.concatenate(([0], (power < 10 ** (SILENCE_DBFS / 10)).astype(np.int8), [0]))
    edges = np.flatnonzero(np.diff(silent))
    lengths = (edges[1::2] - edges[::2]).astype(np.float64)
    return lengths * _WINDOW_S
