"""The drum kits: every hit made from sine sweeps, ringing metal and shaped noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from studio.music.patches import UnknownPatch
from studio.sound.clip import Samples
from studio.units import RATE_HZ

Wave = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What makes one kit differ from another.

    Attributes:
        kick_from_hz, kick_to_hz: the sweep of the bass drum; ``kick_sweep_s`` and ``kick_decay_s`` time constants.
        kick_click: level of the beater.
        snare_hz: the shell; ``snare_decay_s``: of the wires; ``snare_wires``: their level.
        brushed: the snare is stroked, not struck.
        hat_decay_s: of the open hat; ``top_hz``: where everything above is dull.
    """

    kick_from_hz: float
    kick_to_hz: float
    kick_sweep_s: float
    kick_decay_s: float
    kick_click: float
    snare_hz: float
    snare_decay_s: float
    snare_wires: float
    brushed: bool = False
    hat_decay_s: float = 0.16
    top_hz: float = 13_500.0


KITS: Final[Mapping[str, Kit]] = {
    "acoustic": Kit(
        kick_from_hz=165.0, kick_to_hz=56.0, kick_sweep_s=0.018, kick_decay_s=0.13, kick_click=0.4,
        snare_hz=192.0, snare_decay_s=0.14, snare_wires=0.6,
    ),
    "electronic": Kit(
        kick_from_hz=200.0, kick_to_hz=48.0, kick_sweep_s=0.03, kick_decay_s=0.18, kick_click=0.3,
        snare_hz=205.0, snare_decay_s=0.16, snare_wires=0.75,
    ),
    "lofi": Kit(
        kick_from_hz=130.0, kick_to_hz=52.0, kick_sweep_s=0.03, kick_decay_s=0.14, kick_click=0.12,
        snare_hz=180.0, snare_decay_s=0.09, snare_wires=0.5, hat_decay_s=0.12, top_hz=8_500.0,
    ),
    "brushes": Kit(
        kick_from_hz=115.0, kick_to_hz=60.0, kick_sweep_s=0.015, kick_decay_s=0.1, kick_click=0.1,
        snare_hz=185.0, snare_decay_s=0.12, snare_wires=0.55, brushed=True, hat_decay_s=0.2, top_hz=13_000.0,
    ),
}  # fmt: skip

_METAL_HZ: Final = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)
_CRASH_HZ: Final = (317.0, 465.0, 632.0, 811.0, 1_113.0)


class UnknownDrum(UnknownPatch):
    """The Score strikes a percussion key that no kit has."""

    code = "unknown_drum"

    def __init__(self, key: int) -> None:
        super().__init__(f"percussion key {key}", tuple(str(known) for known in _HITS))


def kit(name: str) -> Kit:
    """The kit called ``name``; `UnknownPatch` if there is none."""
    if name not in KITS:
        raise UnknownPatch(name, tuple(KITS))
    return KITS[name]


def hit(kit: Kit, key: int, velocity: float, rng: np.random.Generator) -> Samples:
    """One stroke of General MIDI percussion ``key``; float32 ``[2, frames]``, fading to zero by itself.

    ``rng`` draws the noise, so that two strokes need not be alike. `UnknownDrum` for a key that no kit has.
    """
    if key not in _HITS:
        raise UnknownDrum(key)
    make, pan = _HITS[key]
    wave = make(kit, velocity, rng)
    wave = _filter(wave, "lowpass", kit.top_hz)
    wave *= velocity**1.2
    wave[-240:] *= np.linspace(1, 0, min(240, len(wave)))
    angle = (pan + 1) * np.pi / 4
    return (np.stack([wave * np.cos(angle), wave * np.sin(angle)]) * 1.2).astype(np.float32)


def _time(length_s: float) -> Wave:
    return np.arange(round(length_s * RATE_HZ)) / RATE_HZ


def _filter(wave: Wave, kind: str, corner_hz: float | tuple[float, float], order: int = 2) -> Wave:
    sections = butter(order, np.asarray(corner_hz) / (RATE_HZ / 2), kind, output="sos")
    filtered: Wave = sosfilt(sections, wave)
    return filtered


def _sweep(t: Wave, from_hz: float, to_hz: float, fall_s: float) -> Wave:
    """A sine whose pitch falls exponentially."""
    wave: Wave = np.sin(2 * np.pi * (to_hz * t + (from_hz - to_hz) * fall_s * (1 - np.exp(-t / fall_s))))
    return wave


def _metal(t: Wave, frequencies: tuple[float, ...], scale: float, rng: np.random.Generator) -> Wave:
    waves = [np.sign(np.sin(2 * np.pi * f * scale * t + 6 * rng.random())) for f in frequencies]
    return np.asarray(sum(waves) / len(frequencies), np.float64)


def _kick(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:
    t = _time(0.6)
    body = _sweep(t, kit.kick_from_hz, kit.kick_to_hz, kit.kick_sweep_s) * np.exp(-t / kit.kick_decay_s)
    click = _filter(rng.standard_normal(len(t)), "bandpass", (1_500.0, 7_000.0)) * np.exp(-t / 0.004)
    wave: Wave = np.tanh(1.6 * (body * np.minimum(1, t / 0.0006) + kit.kick_click * velocity * click)) * 0.95
    return wave


def _snare(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:
    t = _time(0.45)
    noise = rng.standard_normal(len(t))
    if kit.brushed:
        stroke = np.minimum(1, t / 0.018) * np.exp(-t / kit.snare_decay_s)
        shell = np.sin(2 * np.pi * kit.snare_hz * t) * np.exp(-t / 0.04) * 0.15
        return np.asarray(_filter(noise, "bandpass", (1_200.0, 7_500.0)) * stroke * 0.6 + shell, np.float64)
    shell = np.sin(2 * np.pi * kit.snare_hz * t + 2.5 * np.exp(-t / 0.01)) * np.exp(-t / 0.07) * 0.7
    shell += np.sin(2 * np.pi * 1.78 * kit.snare_hz * t) * np.exp(-t / 0.04) * 0.35
    wires = _filter(noise, "bandpass", (900.0, 9_000.0)) * np.exp(-t / kit.snare_decay_s)
    sizzle = _filter(noise, "highpass", 5_000.0) * np.exp(-t / (0.6 * kit.snare_decay_s))
    wave: Wave = np.tanh(1.3 * (shell + kit.snare_wires * (0.6 + 0.4 * velocity) * wires + 0.3 * sizzle)) * 0.8
    return wave


def _rim(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:  # noqa: ARG001 - every hit has one shape
    t = _time(0.12)
    stick = _filter(rng.standard_normal(len(t)), "bandpass", (1_400.0, 3_400.0)) * np.exp(-t / 0.012) * 1.4
    return np.asarray(stick + np.sin(2 * np.pi * 1_690 * t) * np.exp(-t / 0.01) * 0.5, np.float64)


def _clap(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:  # noqa: ARG001
    t = _time(0.4)
    hands = np.zeros_like(t)
    for start_s, decay_s in ((0.0, 0.006), (0.011, 0.006), (0.021, 0.006), (0.031, 0.1)):
        late = np.clip(t - start_s, 0, None)
        hands = np.maximum(hands, np.exp(-late / decay_s) * (t >= start_s))
    return np.asarray(_filter(rng.standard_normal(len(t)), "bandpass", (800.0, 4_200.0)) * hands * 1.2, np.float64)


def _hat(kit: Kit, velocity: float, rng: np.random.Generator, *, decay: float) -> Wave:
    decay_s = decay * kit.hat_decay_s * (0.7 + 0.3 * velocity)
    t = _time(min(1.0, 7 * decay_s + 0.02))
    metal = _metal(t, _METAL_HZ, 2.1, rng) * 0.5 + rng.standard_normal(len(t)) * 0.35
    return np.asarray(_filter(metal, "bandpass", (6_500.0, 15_500.0), 3) * np.exp(-t / decay_s) * 1.1, np.float64)


def _crash(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:  # noqa: ARG001
    t = _time(2.6)
    metal = _metal(t, _METAL_HZ, 3.37, rng) * 0.35 + _metal(t, _CRASH_HZ, 2.3, rng) * 0.3
    wash = _filter(metal + 0.5 * rng.standard_normal(len(t)), "highpass", 2_800.0)
    return np.asarray(wash * (0.7 * np.exp(-t / 0.55) + 0.4 * np.exp(-t / 0.05)) * np.minimum(1, t / 0.002), np.float64)


def _ride(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:  # noqa: ARG001
    t = _time(1.4)
    metal = _metal(t, _METAL_HZ, 3.37, rng) * 0.4 + 0.3 * rng.standard_normal(len(t))
    wash = _filter(metal, "bandpass", (3_500.0, 12_000.0))
    ping = np.sin(2 * np.pi * 4_180 * t) * np.exp(-t / 0.12) * 0.07
    return np.asarray(wash * (0.3 * np.exp(-t / 0.35) + 0.6 * np.exp(-t / 0.02)) + ping, np.float64)


def _tom(kit: Kit, velocity: float, rng: np.random.Generator, *, frequency_hz: float) -> Wave:  # noqa: ARG001
    t = _time(0.7)
    body = _sweep(t, 1.6 * frequency_hz, frequency_hz, 0.03) * np.exp(-t / 0.17)
    skin = _filter(rng.standard_normal(len(t)), "bandpass", (300.0, 3_000.0)) * np.exp(-t / 0.03) * 0.3
    return np.asarray(body + skin, np.float64)


def _shaker(kit: Kit, velocity: float, rng: np.random.Generator) -> Wave:  # noqa: ARG001
    t = _time(0.16)
    grains = _filter(rng.standard_normal(len(t)), "bandpass", (4_500.0, 11_000.0))
    return np.asarray(grains * np.minimum(1, t / 0.014) * np.exp(-t / 0.03) * 0.8, np.float64)


_HITS: Final[Mapping[int, tuple[Callable[[Kit, float, np.random.Generator], Wave], float]]] = {
    35: (_kick, 0.0), 36: (_kick, 0.0),
    37: (_rim, 0.1), 38: (_snare, 0.0), 39: (_clap, 0.08), 40: (_snare, 0.0),
    41: (partial(_tom, frequency_hz=88.0), -0.4), 43: (partial(_tom, frequency_hz=104.0), -0.3),
    45: (partial(_tom, frequency_hz=130.0), -0.15), 47: (partial(_tom, frequency_hz=160.0), 0.1),
    48: (partial(_tom, frequency_hz=182.0), 0.25), 50: (partial(_tom, frequency_hz=210.0), 0.35),
    42: (partial(_hat, decay=0.2), 0.3), 44: (partial(_hat, decay=0.12), 0.3), 46: (partial(_hat, decay=1.0), 0.3),
    49: (_crash, -0.3), 57: (_crash, 0.35), 51: (_ride, -0.35), 59: (_ride, -0.35), 70: (_shaker, -0.4),
}  # fmt: skip
"""General MIDI percussion key: how it is made and where it stands."""
