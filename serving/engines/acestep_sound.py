"""What is done to sound that comes out of ACE-Step's decoder: checked, brought to a level, put back into its source."""

import math
from typing import Final

import numpy as np

from serving.engines.acestep_ask import FADE_FRAMES, Span
from studio.errors import MelodeonError
from studio.sound.clip import Samples

PEAK: Final = 10 ** (-1 / 20)
"""Where the model's own pipeline puts the highest sample: -1 dBFS. Loudness is the host's business."""

_SILENT_RMS: Final = 10 ** (-60 / 20)
_ALIKE: Final = 0.5
"""From this correlation on, what was decoded outside the window is taken for the source heard through the model."""

_MOST_GAIN: Final = 2.0


class BrokenSound(MelodeonError):
    """The model gave values that are no numbers."""

    code = "broken_sound"

    def __init__(self, label: str) -> None:
        super().__init__(
            f"{label} gave no usable sound: some of its values are not numbers. Try another seed; if it happens again, "
            "its weights are damaged or its precision is too low for this device."
        )


class SilentSound(MelodeonError):
    """The model gave silence."""

    code = "silent_sound"

    def __init__(self, label: str) -> None:
        super().__init__(f"{label} made only silence. Try another seed, or describe the sound in more detail.")


def check(samples: Samples, label: str) -> None:
    """Raise `BrokenSound` for NaN or infinite values and `SilentSound` below -60 dBFS RMS.

    ``samples`` are those of the decoder: once brought to a level, even silence is loud.
    """
    if not np.isfinite(samples).all():
        raise BrokenSound(label)
    if math.sqrt(float(np.square(samples, dtype=np.float64).mean())) < _SILENT_RMS:
        raise SilentSound(label)


def to_peak(samples: Samples) -> float:
    """Bring ``samples`` in place to the highest sample `PEAK`, and tell the gain in dB."""
    gain = PEAK / max(float(np.abs(samples).max()), 1e-6)
    samples *= np.float32(gain)
    return 20 * math.log10(gain)


def splice(made: Samples, source: Samples, window: Span) -> float:
    """Put ``made[window]`` into ``source``, in place in ``made``, and tell the gain in dB that the new part got.

    Outside the window the result is the source, sample for sample. Just inside either edge the two are crossfaded with
    equal power (their sounds are not correlated), as far as the source reaches.

    Args:
        made: float32 ``[2, frames]``, decoded from latents of the whole sound.
        source: float32 ``[2, n]``, n <= frames; less for an extension.
        window: inside ``made``; it ends at or after the source's end, or inside the source.
    """
    gain = _gain(made, source, window)
    made *= np.float32(gain)
    held = source.shape[1]
    fade = min(FADE_FRAMES, (window.end - window.first) // 2)
    angles = (np.arange(fade, dtype=np.float32) + 0.5) * np.float32(math.pi / 2 / max(fade, 1))
    if window.first:
        _cross(made, source, window.first, np.sin(angles))
    if window.end < held:
        _cross(made, source, window.end - fade, np.cos(angles))
    made[:, : window.first] = source[:, : window.first]
    made[:, window.end : held] = source[:, window.end :]
    return 20 * math.log10(gain)


def _cross(made: Samples, source: Samples, first: int, rising: Samples) -> None:
    place = slice(first, first + len(rising))
    falling = np.sqrt(1 - rising**2)
    made[:, place] = made[:, place] * rising + source[:, place] * falling


def _gain(made: Samples, source: Samples, window: Span) -> float:
    """What brings ``made`` to the source's level.

    Outside the window the model plays the source as its decoder renders it, at some level and not quite alike. The
    least-squares fit of level times source to that rendering finds the level, and the gain undoes it. Where the two
    have little in common there is nothing to learn and the gain is 1.
    The new part never exceeds full scale.
    """
    own = cross = theirs = 0.0
    for part in (slice(0, window.first), slice(window.end, source.shape[1])):
        for channel in range(2):
            a, b = made[channel, part], source[channel, part]
            own += float(np.dot(a, a))
            theirs += float(np.dot(b, b))
            cross += float(np.dot(a, b))
    alike = own > 0 and theirs > 0 and cross / math.sqrt(own * theirs) > _ALIKE
    gain = min(max(theirs / cross, 1 / _MOST_GAIN), _MOST_GAIN) if alike else 1.0
    return min(gain, 1 / max(float(np.abs(made[:, window.first : window.end]).max(initial=0.0)), 1e-6))
