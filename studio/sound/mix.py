"""The mixing desk: stems come in one after the other and are gone; one stereo sound comes out.

Levels are set by measured loudness, so a part sits where its strip says whatever its instrument puts out. Only two
buses are kept, the mix and what is sent to the room, so a long song needs the memory of a few stems, not of all.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.sound.clip import Clip, Samples
from studio.sound.effects import Compressor, Reverb, compress, drive, echo, shape, widen
from studio.sound.filters import Band, design, energies, equalise
from studio.sound.loudness import integrated_lufs
from studio.sound.tone import Tone, balance
from studio.units import RATE_HZ

MONO_BELOW_HZ: Final = 120.0
VOICE_BAND_HZ: Final = (300.0, 3_400.0)

_STRIP_LUFS: Final = -20.0
"""Where a stem stands when it meets its compressor, so that thresholds mean the same for every instrument."""

_SILENT_ENERGY: Final = 1e-12
_BUS_LUFS: Final = -16.0
_HOP_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A gain over time: piecewise linear through the points, times ascending, in seconds."""

    times_s: NDArray[np.float64]
    gains: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """What the desk does to one stem.

    Attributes:
        level_lufs: its integrated loudness in the mix.
        bands, compressor, drive_db: before the fader, in this order.
        width: least energy of the side against the middle signal; narrower stems are widened to it.
        echo, reverb: how much goes to the echo and to the room, 0-1.
        pumped: ducks under the bass drum where the song wants that.
    """

    level_lufs: float
    bands: tuple[Band, ...] = ()
    compressor: Compressor | None = None
    drive_db: float = 0.0
    width: float = 0.0
    echo: float = 0.0
    reverb: float = 0.0
    pumped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The reverberation: seconds to -60 dB and how dull it is, 0-1."""

    decay_s: float
    damping: float = 0.45


class Console:
    """A desk for one song. Call `add` per stem, `add_voice` for the lead voice, then `finish` once."""

    def __init__(self, frames: int, *, echo_s: float, ride: Curve | None = None, pump: Curve | None = None) -> None:
        """``ride``: the song's own dynamics, on every stem; ``pump``: the ducking under the bass drum."""
        self._bus = np.zeros((2, frames), np.float32)
        self._send = np.zeros((2, frames), np.float32)
        self._echo_s = echo_s
        self._ride = ride
        self._pump = pump

    def add(self, stem: Samples, strip: Strip) -> None:
        """Mix a stem in. The stem is worked on in place: its content is used up."""
        self._treat(stem, strip)
        if _set_loudness(stem, strip.level_lufs):
            self._pour(stem, strip)

    def add_voice(self, stem: Samples, strip: Strip, *, over_backing_db: float, duck_db: float) -> None:
        """Mix the lead voice in, ``over_backing_db`` above what is already there between 300 and 3,400 Hz.

        While it sings, the middle of the backing steps back by ``duck_db``. Over silence the strip's level counts.
        """
        self._treat(stem, strip)
        band = design(
            (
                Band(kind="high_pass", frequency_hz=VOICE_BAND_HZ[0]),
                Band(kind="low_pass", frequency_hz=VOICE_BAND_HZ[1]),
            )
        )
        hop = round(_HOP_S * RATE_HZ)
        voice = energies(stem, band, hop=hop)
        if voice.max(initial=0.0) < _SILENT_ENERGY:
            return
        singing = voice > voice.max() * 1e-3
        self._step_back(singing, duck_db)
        backing = float(energies(self._bus, band, hop=hop)[singing].mean())
        if backing > 1e-8:
            gain_db = over_backing_db + 10 * math.log10(backing / float(voice[singing].mean()))
            stem *= np.float32(10 ** (gain_db / 20))
        else:
            _set_loudness(stem, strip.level_lufs)
        self._pour(stem, strip)

    def finish(self, room: Room, tone: Tone) -> Iterator[float]:
        """Turn the buses into the finished mix, yielding 0-1 as it goes; afterwards read `mix`."""
        yield 0.0
        equalise(self._send, (Band(kind="high_pass", frequency_hz=220.0), Band(kind="low_pass", frequency_hz=9_000.0)))
        yield 0.1
        reverb, frames, piece = Reverb(decay_s=room.decay_s, damping=room.damping), self._bus.shape[1], 10 * RATE_HZ
        for start in range(0, frames, piece):
            reverb.add(self._send[:, start : start + piece], self._bus[:, start : start + piece])
            yield 0.1 + 0.5 * min(1.0, (start + piece) / frames)
        self._send = np.zeros((2, 0), np.float32)
        _narrow_bass(self._bus)
        yield 0.7
        balance(self._bus, tone)
        yield 0.8
        _set_loudness(self._bus, _BUS_LUFS)
        compress(self._bus, Compressor(threshold_db=-10.0, ratio=1.8, attack_s=0.03, release_s=0.15))
        yield 1.0

    @property
    def mix(self) -> Samples:
        """The mix so far, float32 ``[2, frames]``; after `finish` at about -16 LUFS and not yet mastered."""
        return self._bus

    def _treat(self, stem: Samples, strip: Strip) -> None:
        """Run the strip's effects."""
        equalise(stem, strip.bands)
        if strip.compressor or strip.drive_db:
            _set_loudness(stem, _STRIP_LUFS)
        if strip.compressor:
            compress(stem, strip.compressor)
        if strip.drive_db:
            drive(stem, gain_db=strip.drive_db)
        if strip.width:
            widen(stem, least=strip.width)

    def _pour(self, stem: Samples, strip: Strip) -> None:
        if strip.pumped and self._pump:
            shape(stem, self._pump.times_s, self._pump.gains)
        if strip.echo:
            echo(stem, delay_s=self._echo_s, level=strip.echo)
        if self._ride:
            shape(stem, self._ride.times_s, self._ride.gains)
        self._bus += stem
        if strip.reverb:
            stem *= np.float32(strip.reverb)
            self._send += stem

    def _step_back(self, singing: NDArray[np.bool_], duck_db: float) -> None:
        """Take the middle of the backing down while ``singing`` (one value per 100 ms)."""
        times = (np.arange(len(singing), dtype=np.float64) + 0.5) * _HOP_S
        change = np.where(singing, 10 ** (-duck_db / 20) - 1, 0.0)
        for channel in range(2):
            middle = self._bus[channel : channel + 1].copy()
            equalise(middle, (Band(kind="band_pass", frequency_hz=1_200.0, q=0.5),))
            shape(middle, times, change)
            self._bus[channel] += middle[0]


def _set_loudness(samples: Samples, level_lufs: float) -> bool:
    """Scale in place to an integrated loudness; False, and nothing done, for silence."""
    loudness = integrated_lufs(Clip(samples=samples))
    if math.isfinite(loudness):
        samples *= np.float32(10 ** ((level_lufs - loudness) / 20))
    return math.isfinite(loudness)


def _narrow_bass(samples: Samples) -> None:
    """Make everything below 120 Hz mono: the side signal loses its lows."""
    left, right = samples
    # in place, left and right become middle and side, and come back
    left += right
    left *= np.float32(0.5)
    right -= left
    equalise(samples[1:], (Band(kind="high_pass", frequency_hz=MONO_BELOW_HZ),))
    left -= right
    right *= np.float32(2.0)
    right += left
