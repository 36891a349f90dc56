"""The instruments: what each patch name sounds like, one note at a time and as a whole part."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from studio.errors import MelodeonError
from studio.music.oscillators import Pipes, Press, Tines, Wave, hammered, pipes, string, subtractive, tines
from studio.sound.clip import Samples
from studio.sound.filters import Band
from studio.units import RATE_HZ


class UnknownPatch(MelodeonError):
    """The Score asks for an instrument that does not exist."""

    code = "unknown_patch"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no instrument called “{name}”. Choose one of: {', '.join(sorted(known))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """One note as a patch hears it.

    Attributes:
        pitch: MIDI number, 69 = 440 Hz.
        velocity: 0-1.
        length_s: how long the key is held, > 0.
        noise: the table of white noise; ``offset``: where this note reads it.
    """

    pitch: int
    velocity: float
    length_s: float
    noise: NDArray[np.float32]
    offset: int

    @property
    def frequency_hz(self) -> float:
        """Equal temperament."""
        return float(440.0 * 2 ** ((self.pitch - 69) / 12))

    def press(self, tail_s: float) -> Press:
        """The key as the compiled voices want it; ``tail_s``: how long the sound lasts after it is let go."""
        gate = max(1, round(self.length_s * RATE_HZ))
        return Press(gate + round(tail_s * RATE_HZ), gate, self.frequency_hz, self.velocity, self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """An instrument.

    Attributes:
        sound: plays one Tone; float32 ``[2, frames]``.
        drive_db: saturation of the whole part; 0 for none.
        body: equaliser over the whole part (after the drive).
    """

    sound: Callable[[Tone], Samples]
    drive_db: float = 0.0
    body: tuple[Band, ...] = ()


def patch(name: str) -> Patch:
    """The patch called ``name``; `UnknownPatch` if there is none."""
    if name not in PATCHES:
        raise UnknownPatch(name, tuple(PATCHES))
    return PATCHES[name]


def _synth(wave: Wave) -> Callable[[Tone], Samples]:
    def sound(tone: Tone) -> Samples:
        out: Samples = subtractive(tone.press(wave.release_s), wave, tone.noise)
        out *= np.float32(0.35 + 0.65 * tone.velocity)
        return out

    return sound


def _held(press: Press, *, attack_s: float, decay_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Time in seconds and a plucked envelope that falls to zero after the key is let go."""
    t = np.arange(press.frames) / RATE_HZ
    after = np.clip((press.frames - np.arange(press.frames)) / (press.frames - press.gate), 0, 1)
    return t, np.minimum(1, t / attack_s) * np.exp(-t / decay_s) * after


def _placed(mono: Samples, pan: float = 0.0) -> Samples:
    """One channel at constant power; ``pan`` -1 … 1."""
    angle = (pan + 1) * math.pi / 4
    stereo: Samples = mono * np.array([[math.cos(angle)], [math.sin(angle)]], np.float32)
    return stereo


_EPIANO: Final = Tines(1.0, 1.15, 0.9, 0.22, 14.0, 0.3, 2.4, 0.04, 0.002, 0.3)
_BELL: Final = Tines(3.5, 1.5, 0.55, 0.08, 7.0, 0.3, 1.3, 0.0, 0.001, 1.2)


def _epiano(tone: Tone) -> Samples:
    mono: Samples = tines(tone.press(0.3), _EPIANO)
    sway = 0.2 * np.sin(2 * np.pi * 4.4 * np.arange(mono.shape[1], dtype=np.float32) / np.float32(RATE_HZ))
    stereo: Samples = mono * np.stack([1 + sway, 1 - sway]) * np.float32(0.3 + 0.7 * tone.velocity)
    return stereo


def _bell(tone: Tone) -> Samples:
    mono: Samples = tines(tone.press(1.2), _BELL)
    return _placed(mono, 0.3 if tone.pitch % 2 else -0.3) * np.float32(0.4 + 0.6 * tone.velocity)


def _piano(tone: Tone) -> Samples:
    out: Samples = hammered(tone.press(0.35), tone.noise)
    knock = min(out.shape[1], 1_900)
    t = np.arange(knock, dtype=np.float32)
    thud = np.convolve(tone.noise[tone.offset : tone.offset + knock], np.full(24, 1 / 24, np.float32), "same")
    out[:, : len(thud)] += thud * np.exp(-t[: len(thud)] / 320) * np.float32(0.5 * tone.velocity)
    soften = min(out.shape[1], 96)
    out[:, :soften] *= np.linspace(0, 1, soften, dtype=np.float32)
    return out * np.float32(0.3 + 0.7 * tone.velocity)


def _plucked(*, brightness: float, decay_s: float, tail_s: float, pan: float = 0.0) -> Callable[[Tone], Samples]:
    def sound(tone: Tone) -> Samples:
        mono: Samples = string(tone.press(tail_s), brightness, decay_s, tone.noise)
        return _placed(mono, pan if tone.pitch % 2 else -pan) * np.float32(0.35 + 0.65 * tone.velocity)

    return sound


def _double_tracked(tone: Tone) -> Samples:
    """Two takes of the same electric string, one at each side."""
    press = tone.press(0.2)
    sides = [string(press._replace(offset=tone.offset + shift), 0.8, 5.0, tone.noise) for shift in (0, 40_009)]
    stereo: Samples = np.concatenate(sides) * np.float32(0.5 + 0.5 * tone.velocity)
    return stereo


def _bass_string(*, brightness: float, decay_s: float, round_level: float) -> Callable[[Tone], Samples]:
    pluck = _plucked(brightness=brightness, decay_s=decay_s, tail_s=0.12)

    def sound(tone: Tone) -> Samples:
        out = pluck(tone)
        t, held = _held(tone.press(0.12), attack_s=0.006, decay_s=0.9)
        # the body answers with the octave too: it is what small speakers play of a bass
        x = 2 * np.pi * tone.frequency_hz * t
        ground = (np.sin(x) + 0.7 * np.sin(2 * x)) * held * round_level * (0.4 + 0.6 * tone.velocity)
        return out + ground.astype(np.float32)

    return sound


def _sub_bass(tone: Tone) -> Samples:
    t, held = _held(tone.press(0.15), attack_s=0.004, decay_s=1.6)
    drop = 0.5 * 0.015 * (1 - np.exp(-t / 0.015))
    wave = np.tanh(1.8 * np.sin(2 * np.pi * tone.frequency_hz * (t + drop))) * held * (0.4 + 0.6 * tone.velocity)
    return np.repeat(wave.astype(np.float32)[None], 2, axis=0)


_FLUTE: Final = Pipes(0.07, 0.12, 13.0, 5.1, 0.3, 0.0, 25.0, 0.05)
_ORGAN: Final = Pipes(0.012, 0.07, 5.0, 6.3, 0.0, 0.12, 0.0, 0.0)
_DRAWBARS: Final = np.array([0.45, 1.0, 0.35, 0.6, 0.0, 0.25, 0.0, 0.2])
"""Levels of the harmonics of the pipe an octave below (16', 8', 5⅓', 4', 2⅔', 2')."""


def _flute(tone: Tone) -> Samples:
    levels = np.array([1.0, 0.34, 0.14 * tone.velocity, 0.05, 0.03 * tone.velocity])
    out: Samples = pipes(tone.press(0.15), levels, _FLUTE, tone.noise)
    return out * np.float32(0.4 + 0.6 * tone.velocity)


def _organ(tone: Tone) -> Samples:
    lower = tone.press(0.1)._replace(frequency_hz=tone.frequency_hz / 2)
    out: Samples = pipes(lower, _DRAWBARS, _ORGAN, tone.noise)
    return out * np.float32(0.3 + 0.2 * tone.velocity)


_PAD: Final = Wave(
    voices=5, detune_cents=14.0, sub=0.1, noise=0.008, cutoff_hz=420.0, key_follow=0.9, resonance=0.12,
    sweep_octaves=1.7, sweep_attack_s=0.7, sweep_decay_s=2.5, sweep_sustain=0.6,
    attack_s=0.35, decay_s=2.0, sustain=0.8, release_s=1.3,
)  # fmt: skip
_STRINGS: Final = Wave(
    voices=5, detune_cents=9.0, noise=0.015, cutoff_hz=900.0, key_follow=1.6, resonance=0.05,
    sweep_octaves=0.9, sweep_attack_s=0.25, sweep_decay_s=1.0, sweep_sustain=0.7,
    attack_s=0.17, decay_s=2.0, sustain=0.85, release_s=0.6, vibrato_cents=8.0, vibrato_hz=5.3, vibrato_delay_s=0.35,
)  # fmt: skip
_POLYSAW: Final = Wave(
    voices=5, detune_cents=16.0, sub=0.1, cutoff_hz=500.0, key_follow=1.2, resonance=0.22,
    sweep_octaves=2.5, sweep_attack_s=0.005, sweep_decay_s=0.35, sweep_sustain=0.28,
    attack_s=0.006, decay_s=0.5, sustain=0.55, release_s=0.3,
)  # fmt: skip
_ARP: Final = Wave(
    voices=4, detune_cents=7.0, pulse_width=0.35, cutoff_hz=700.0, key_follow=1.0, resonance=0.42,
    sweep_octaves=2.4, sweep_attack_s=0.003, sweep_decay_s=0.13, sweep_sustain=0.1,
    attack_s=0.003, decay_s=0.25, sustain=0.2, release_s=0.25,
)  # fmt: skip
_PLUCK: Final = Wave(
    voices=4, detune_cents=9.0, cutoff_hz=600.0, key_follow=1.0, resonance=0.3,
    sweep_octaves=3.0, sweep_attack_s=0.002, sweep_decay_s=0.09, sweep_sustain=0.02,
    attack_s=0.002, decay_s=0.18, sustain=0.05, release_s=0.3,
)  # fmt: skip
_LEAD: Final = Wave(
    voices=4, detune_cents=7.0, spread=0.5, sub=0.15, cutoff_hz=1_200.0, key_follow=1.5, resonance=0.2,
    sweep_octaves=1.3, sweep_attack_s=0.01, sweep_decay_s=0.4, sweep_sustain=0.4,
    attack_s=0.014, decay_s=0.6, sustain=0.75, release_s=0.25,
    vibrato_cents=14.0, vibrato_hz=5.4, vibrato_delay_s=0.22,
)  # fmt: skip
_SYNTH_BASS: Final = Wave(
    voices=2, detune_cents=2.0, spread=0.0, sub=0.55, cutoff_hz=220.0, key_follow=1.0, resonance=0.25,
    sweep_octaves=2.7, sweep_attack_s=0.003, sweep_decay_s=0.16, sweep_sustain=0.2,
    attack_s=0.003, decay_s=0.5, sustain=0.7, release_s=0.08,
)  # fmt: skip

_CABINET: Final = (
    Band(kind="high_pass", frequency_hz=95.0),
    Band(kind="peak", frequency_hz=2_400.0, gain_db=4.0, q=0.9),
    Band(kind="low_pass", frequency_hz=4_600.0),
    Band(kind="low_pass", frequency_hz=5_200.0, q=0.9),
)
_WOODEN_BODY: Final = (
    Band(kind="peak", frequency_hz=105.0, gain_db=4.0, q=2.5),
    Band(kind="peak", frequency_hz=210.0, gain_db=3.0, q=2.0),
    Band(kind="peak", frequency_hz=2_800.0, gain_db=2.0, q=1.0),
)

PATCHES: Final[Mapping[str, Patch]] = {
    "epiano": Patch(sound=_epiano, drive_db=3.0),
    "piano": Patch(sound=_piano),
    "polysaw": Patch(sound=_synth(_POLYSAW)),
    "pad": Patch(sound=_synth(_PAD)),
    "strings": Patch(sound=_synth(_STRINGS), body=(Band(kind="peak", frequency_hz=1_100.0, gain_db=-2.0),)),
    "organ": Patch(sound=_organ, drive_db=4.0),
    "powerguitar": Patch(sound=_double_tracked, drive_db=26.0, body=_CABINET),
    "guitar": Patch(sound=_plucked(brightness=0.6, decay_s=3.2, tail_s=0.3, pan=0.25), body=_WOODEN_BODY),
    "pluck": Patch(sound=_synth(_PLUCK)),
    "arp": Patch(sound=_synth(_ARP)),
    "lead": Patch(sound=_synth(_LEAD), drive_db=3.0),
    "bell": Patch(sound=_bell),
    "flute": Patch(sound=_flute),
    "synthbass": Patch(sound=_synth(_SYNTH_BASS), drive_db=5.0),
    "fingerbass": Patch(sound=_bass_string(brightness=0.35, decay_s=3.0, round_level=0.35), drive_db=3.0),
    "uprightbass": Patch(
        sound=_bass_string(brightness=0.15, decay_s=1.8, round_level=0.4),
        body=(Band(kind="peak", frequency_hz=190.0, gain_db=2.0, q=1.5),),
    ),
    "subbass": Patch(sound=_sub_bass),
}
