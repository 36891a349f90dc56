"""Clip: sound in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.units import RATE_HZ

Samples = NDArray[np.float32]
"""float32 ``[channels, frames]``; full scale is ±1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Sound in memory.

    Attributes:
        samples: float32 ``[channels, frames]``, channels 1 or 2, full scale ±1, finite.
        rate_hz: frames per second, > 0.
    """

    samples: Samples
    rate_hz: int = RATE_HZ

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.shape[0] not in (1, 2):
            raise ValueError(f"A clip is [channels, frames] with 1 or 2 channels, not {self.samples.shape}.")
        if self.samples.dtype != np.float32:
            raise ValueError(f"A clip is float32, not {self.samples.dtype}.")
        if self.rate_hz <= 0:
            raise ValueError(f"The rate must be above 0 Hz, not {self.rate_hz}.")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.rate_hz)
