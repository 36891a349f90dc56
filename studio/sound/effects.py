"""Effects that need a loop over the samples: compressor, drive, echo, reverb. All work on ``[channels, frames]``."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.sound.clip import Samples
from studio.sound.filters import Band, equalise
from studio.sound.kernel import kernel
from studio.units import RATE_HZ

_BLOCK: Final = 1 << 17
_PRE_DELAY_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """A feed-forward compressor with a soft knee of 6 dB; the louder channel leads both.

    Attributes:
        threshold_db: peak level where it sets in.
        ratio: ≥ 1; input dB above the threshold per output dB.
        attack_s, release_s: time constants of the level it follows.
    """

    threshold_db: float
    ratio: float
    attack_s: float = 0.01
    release_s: float = 0.1


def compress(samples: Samples, settings: Compressor) -> None:
    """Compress in place (Giannoulis, Massberg and Reiss, JAES 2012: soft-knee gain computer)."""
    _compress(
        samples,
        float(settings.threshold_db),
        1.0 - 1.0 / settings.ratio,
        math.exp(-1 / (settings.attack_s * RATE_HZ)),
        math.exp(-1 / (settings.release_s * RATE_HZ)),
    )


def drive(samples: Samples, *, gain_db: float) -> None:
    """Saturate in place: tanh after ``gain_db``, scaled back so that quiet sound keeps its level.

    First-order antiderivative anti-aliasing (Parker, Zavalishin and Le Bivic, DAFx 2016); it delays by half a frame.
    """
    _drive(samples, 10 ** (gain_db / 20))


def echo(samples: Samples, *, delay_s: float, level: float) -> None:
    """Add a ping-pong echo in place: four repeats, left and right by turns, narrowed to 300-5,000 Hz.

    ``level``: of the first repeat, 0-1; each further one has half of the one before.
    """
    frames = samples.shape[1]
    tail = samples.mean(axis=0, keepdims=True)
    equalise(tail, (Band(kind="high_pass", frequency_hz=300.0), Band(kind="low_pass", frequency_hz=5_000.0)))
    step = round(delay_s * RATE_HZ)
    for repeat in range(4):
        shift = step * (repeat + 1)
        if step <= 0 or shift >= frames:
            return
        _add(samples[repeat % samples.shape[0], shift:], tail[0, :-shift], level * 0.5**repeat)


def widen(samples: Samples, *, least: float) -> None:
    """Widen a stereo sound in place until its side signal has ``least`` of the energy of its middle.

    The middle, 11 ms late, is added left and taken off right, so the mono sum stays as it was (Schroeder, JAES 1958).
    """
    middle = (samples[0] + samples[1]) * np.float32(0.5)
    energy = float(np.dot(middle, middle))
    # left is middle + side, right is middle - side
    both = float(np.dot(samples[0], samples[0]) + np.dot(samples[1], samples[1])) / 2
    lacking = least - (both - energy) / energy if energy > 0 else 0.0
    shift = round(0.011 * RATE_HZ)
    if lacking <= 0 or shift >= len(middle):
        return
    _add(samples[0, shift:], middle[:-shift], math.sqrt(lacking))
    _add(samples[1, shift:], middle[:-shift], -math.sqrt(lacking))


def _add(target: NDArray[np.float32], source: NDArray[np.float32], gain: float) -> None:
    """``target += gain * source``, a block at a time: a long song has no room for a product of its own length."""
    for start in range(0, len(target), _BLOCK):
        target[start : start + _BLOCK] += source[start : start + _BLOCK] * np.float32(gain)


class _RoomState(NamedTuple):
    """What a `Reverb` keeps between pieces; the compiled loop writes into the arrays."""

    lengths: NDArray[np.int64]
    gains: NDArray[np.float64]
    brightness: float
    lines: NDArray[np.float64]
    lows: NDArray[np.float64]
    diffusers: NDArray[np.float64]
    pre_delay: NDArray[np.float64]
    clock: NDArray[np.int64]


class Reverb:
    """A room: eight delay lines feeding each other through a Householder matrix (Jot and Chaigne, AES 1991).

    Two all-passes per channel thicken the input, each line loses its highs through a one-pole low-pass, and the
    read points wander a few frames so that no mode rings. Keeps its state between calls.
    """

    def __init__(self, *, decay_s: float, damping: float = 0.45) -> None:
        """``decay_s``: time to -60 dB at low frequencies; ``damping`` 0-1: how fast the highs go."""
        lengths = np.array((1433, 1601, 1867, 2053, 2251, 2399, 2617, 2797), np.int64)
        self._state = _RoomState(
            lengths=lengths,
            gains=10 ** (-3 * lengths / RATE_HZ / decay_s),
            brightness=1.0 - damping,
            lines=np.zeros((8, int(lengths.max()) + 32)),
            lows=np.zeros(8),
            diffusers=np.zeros((4, 512)),
            pre_delay=np.zeros((2, round(_PRE_DELAY_S * RATE_HZ))),
            clock=np.zeros(1, np.int64),
        )

    def add(self, send: Samples, bus: Samples) -> None:
        """Add the reverberation of ``send`` onto ``bus``; both ``[2, frames]``, the next piece of one sound."""
        _reverberate(send, bus, self._state)


def shape(samples: Samples, times_s: NDArray[np.float64], gains: NDArray[np.float64]) -> None:
    """Multiply in place by the piecewise linear curve through ``(times_s, gains)``; times ascend."""
    for start in range(0, samples.shape[1], _BLOCK):
        piece = samples[:, start : start + _BLOCK]
        t = (np.arange(piece.shape[1]) + start) / RATE_HZ
        piece *= np.interp(t, times_s, gains).astype(np.float32)


@kernel
def _compress(samples, threshold_db, slope, attack, release):  # type: ignore[no-untyped-def]
    step, knee = 16, 6.0
    level, gain = 0.0, 1.0
    last = samples.shape[0] - 1
    for start in range(0, samples.shape[1], step):
        stop = min(start + step, samples.shape[1])
        for i in range(start, stop):
            peak = max(abs(samples[0, i]), abs(samples[last, i]))
            keep = attack if peak > level else release
            level = peak + keep * (level - peak)
        over = 20.0 * math.log10(level + 1e-9) - threshold_db
        if over <= -knee / 2:
            cut = 0.0
        elif over >= knee / 2:
            cut = slope * over
        else:
            cut = slope * (over + knee / 2) ** 2 / (2 * knee)
        target = 10.0 ** (-cut / 20.0)
        grow = (target - gain) / step
        for i in range(start, stop):
            gain += grow
            for channel in range(samples.shape[0]):
                samples[channel, i] *= gain


@kernel
def _log_cosh(x):  # type: ignore[no-untyped-def]
    a = abs(x)
    return a + math.log1p(math.exp(-2.0 * a)) - 0.6931471805599453


@kernel
def _drive(samples, gain):  # type: ignore[no-untyped-def]
    for channel in range(samples.shape[0]):
        x0, f0 = 0.0, 0.0
        for i in range(samples.shape[1]):
            x = gain * samples[channel, i]
            f = _log_cosh(x)
            y = (f - f0) / (x - x0) if abs(x - x0) > 1e-4 else math.tanh(0.5 * (x + x0))
            samples[channel, i] = y / gain
            x0, f0 = x, f


@kernel
def _diffuse(buffer, clock, length, value):  # type: ignore[no-untyped-def]
    k = clock % length
    delayed = buffer[k]
    inner = value - 0.6 * delayed
    buffer[k] = inner
    return delayed + 0.6 * inner


@kernel
def _reverberate(send, bus, room):  # type: ignore[no-untyped-def]
    size = room.lines.shape[1]
    wander, speed, v = np.zeros(8), np.zeros(8), np.zeros(8)
    now = room.clock[0]
    for i in range(send.shape[1]):
        if i % 64 == 0:
            for k in range(8):
                w = 2.0 * math.pi * (0.31 + 0.07 * k) / 48_000.0
                wander[k] = 6.0 * math.sin(w * now + k)
                speed[k] = (6.0 * math.sin(w * (now + 64) + k) - wander[k]) / 64.0
        p = now % room.pre_delay.shape[1]
        left, right = room.pre_delay[0, p], room.pre_delay[1, p]
        # the offset keeps the decaying lines out of the slow denormal numbers
        room.pre_delay[0, p], room.pre_delay[1, p] = send[0, i] + 1e-20, send[1, i] + 1e-20
        left = _diffuse(room.diffusers[1], now, 379, _diffuse(room.diffusers[0], now, 142, left))
        right = _diffuse(room.diffusers[3], now, 433, _diffuse(room.diffusers[2], now, 107, right))
        total = 0.0
        for k in range(8):
            position = now - room.lengths[k] + wander[k] - 8.0
            wander[k] += speed[k]
            whole = math.floor(position)
            part = position - whole
            a = whole % size
            b = a + 1 if a + 1 < size else 0
            delayed = room.lines[k, a] * (1.0 - part) + room.lines[k, b] * part
            room.lows[k] += room.brightness * (delayed - room.lows[k])
            v[k] = room.lows[k] * room.gains[k]
            total += v[k]
        total *= 0.25
        w = now % size
        for k in range(8):
            room.lines[k, w] = v[k] - total + (left if k % 2 == 0 else right) * 0.35
        bus[0, i] += 0.6 * (v[0] - v[2] + v[4] - v[6])
        bus[1, i] += 0.6 * (v[1] - v[3] + v[5] - v[7])
        now += 1
    room.clock[0] = now
