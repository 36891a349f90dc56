"""Mastering: the last step before a Song is heard, for any engine's Clip.

It changes loudness and peaks only; the balance of a mix is the business of whoever mixed it.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import MelodeonError
from studio.sound.clip import Clip
from studio.sound.filters import Band, equalise
from studio.sound.kernel import kernel
from studio.sound.loudness import integrated_lufs, true_peak_dbtp, true_peak_envelope
from studio.units import CEILING_DBTP, TARGET_LUFS

LOOK_AHEAD_S: Final = 0.003
RELEASE_S: Final = 0.12
_CLOSE_ENOUGH_LU: Final = 0.05
_ROUNDS: Final = 10
_MARGIN_DB: Final = 0.1
"""The limiter aims below the ceiling: its moving gain shifts the peaks between the frames a little."""


class SilentClip(MelodeonError):
    """There is nothing to master."""

    code = "silent_clip"

    def __init__(self, clip: Clip) -> None:
        super().__init__(f"The sound of {clip.duration_s:.1f} s is silent, so it cannot be mastered. Try another seed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mastered:
    """A finished Clip with what was measured on it: integrated loudness and highest true peak."""

    clip: Clip
    loudness_lufs: float
    true_peak_dbtp: float


def master(clip: Clip, *, target_lufs: float = TARGET_LUFS, ceiling_dbtp: float = CEILING_DBTP) -> Mastered:
    """Bring a Clip to the target loudness under the true-peak ceiling.

    Ordinary music ends within ±0.3 LU of the target. Where peaks stand so high that only heavy limiting would
    reach it, the closest result is returned with its measured loudness. The true peak never exceeds the ceiling.
    Channels, rate and length stay. Raises `SilentClip` when the gated loudness does not exist.
    """
    source = clip.samples.copy()
    equalise(source, (Band(kind="high_pass", frequency_hz=20.0),), rate_hz=clip.rate_hz)
    loudness = integrated_lufs(Clip(samples=source, rate_hz=clip.rate_hz))
    if not math.isfinite(loudness):
        raise SilentClip(clip)
    envelope = true_peak_envelope(source)
    limited = np.empty_like(source)
    gain_db = target_lufs - loudness
    for _ in range(_ROUNDS):
        gain = limiting_gain(envelope, gain_db=gain_db, ceiling_dbtp=ceiling_dbtp - _MARGIN_DB, rate_hz=clip.rate_hz)
        np.multiply(source, gain, out=limited)
        finished = Clip(samples=limited, rate_hz=clip.rate_hz)
        loudness = integrated_lufs(finished)
        if abs(target_lufs - loudness) <= _CLOSE_ENOUGH_LU:
            break
        gain_db += target_lufs - loudness
    del source, envelope, gain  # the last measurement of a long song needs their room
    peak = true_peak_dbtp(finished)
    if peak > ceiling_dbtp:
        limited *= np.float32(10 ** ((ceiling_dbtp - peak - 0.001) / 20))
        loudness, peak = integrated_lufs(finished), true_peak_dbtp(finished)
    return Mastered(clip=finished, loudness_lufs=loudness, true_peak_dbtp=peak)


def limiting_gain(
    envelope: NDArray[np.float32], *, gain_db: float, ceiling_dbtp: float, rate_hz: int
) -> NDArray[np.float32]:
    """The gain per frame that raises a sound by ``gain_db`` and holds its ``envelope`` under the ceiling.

    ``envelope``: see `true_peak_envelope`. Look-ahead limiter: the needed gain is held over a window (sliding
    minimum), let go exponentially, and smoothed by a box of the same width; every value the box averages already
    satisfies the frame in its middle, so the smoothed gain does too.
    """
    gain, ceiling = 10 ** (gain_db / 20), 10 ** (ceiling_dbtp / 20)
    needed = np.maximum(envelope, np.float32(1e-9))
    np.divide(np.float32(ceiling / gain), needed, out=needed)
    np.minimum(needed, np.float32(1.0), out=needed)
    half = round(LOOK_AHEAD_S * rate_hz / 2)
    _hold_and_smooth(needed, half, math.exp(-1 / (RELEASE_S * rate_hz)))
    needed *= np.float32(gain)
    return needed


@kernel
def _hold_and_smooth(gain, half, keep):  # type: ignore[no-untyped-def]
    """In place: sliding minimum over ``2 half + 1`` frames, exponential release, then a box as wide."""
    frames, window = len(gain), 2 * half + 1
    queue_frame, queue_gain = np.zeros(window + 1, np.int64), np.zeros(window + 1)
    head, count = 0, 0
    box = np.ones(window)
    total, value = float(window), 1.0
    for i in range(frames + 2 * half):
        if i < frames:
            here = gain[i]
            while count and queue_gain[(head + count - 1) % window] >= here:
                count -= 1
            tail = (head + count) % window
            queue_frame[tail], queue_gain[tail] = i, here
            count += 1
        while queue_frame[head] <= i - window:
            head = (head + 1) % window
            count -= 1
        value = min(queue_gain[head], 1.0 + (value - 1.0) * keep)
        total += value - box[i % window]
        box[i % window] = value
        if i >= 2 * half:
            gain[i - 2 * half] = min(total / window, 1.0)
