"""Another sample rate, or another number of channels, for the same sound."""

from math import gcd

import numpy as np

from studio.sound.clip import Clip
from studio.units import RATE_HZ


def resampled(clip: Clip, rate_hz: int = RATE_HZ) -> Clip:
    """``clip`` at ``rate_hz``: polyphase, Kaiser window of beta 9 (about -90 dB); its length is rounded up to a frame.

    A clip that already has the rate is given back as it is.
    """
    if clip.rate_hz == rate_hz:
        return clip
    # more than a second of imports, which processes that never meet another rate need not wait for
    from scipy.signal import resample_poly  # noqa: PLC0415

    common = gcd(clip.rate_hz, rate_hz)
    samples = resample_poly(clip.samples, rate_hz // common, clip.rate_hz // common, axis=1, window=("kaiser", 9.0))
    return Clip(samples=np.ascontiguousarray(samples, np.float32), rate_hz=rate_hz)


def stereo(clip: Clip) -> Clip:
    """``clip`` with two channels: one channel is heard on both sides at its own level."""
    if clip.samples.shape[0] == 2:
        return clip
    return Clip(samples=np.repeat(clip.samples, 2, axis=0), rate_hz=clip.rate_hz)
