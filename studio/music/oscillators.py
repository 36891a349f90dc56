"""The compiled voices that patches are made of. Each turns one note into sound; none keeps state between notes.

Noise and starting phases come from a table of white noise that the caller drew from its own generator, so the same
note is the same bits in every process and thread.
"""

import math
from typing import NamedTuple

import numpy as np

from studio.sound.kernel import kernel
from studio.units import RATE_HZ

_RATE = float(RATE_HZ)


class Press(NamedTuple):
    """One key pressed: length in frames, the frame where it is let go, pitch, velocity 0-1, place in the noise."""

    frames: int
    gate: int
    frequency_hz: float
    velocity: float
    offset: int


class Wave(NamedTuple):
    """Settings of the subtractive voice. All floats but ``voices`` (one compiled body serves all).

    Detuned saws (or pulses, with ``pulse_width`` above 0) and a sine an octave below, through a resonant low-pass
    whose corner follows the key and sweeps ``sweep_octaves`` down its own envelope.
    """

    voices: int = 1
    detune_cents: float = 0.0
    pulse_width: float = 0.0
    spread: float = 0.7
    sub: float = 0.0
    noise: float = 0.0
    cutoff_hz: float = 1_000.0
    key_follow: float = 1.0
    resonance: float = 0.1
    sweep_octaves: float = 0.0
    sweep_attack_s: float = 0.005
    sweep_decay_s: float = 0.3
    sweep_sustain: float = 0.3
    attack_s: float = 0.005
    decay_s: float = 0.3
    sustain: float = 0.7
    release_s: float = 0.2
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.3
    vibrato_delay_s: float = 0.3


class Tines(NamedTuple):
    """Settings of the FM voice: a sine bent by two modulators, one lasting and one short (the hammer's tine)."""

    ratio: float
    bend: float
    bend_decay_s: float
    bend_sustain: float
    tine_ratio: float
    tine_bend: float
    decay_s: float
    sustain: float
    attack_s: float
    release_s: float


class Pipes(NamedTuple):
    """Settings of the harmonic voice (flute, organ): steady harmonics with vibrato, scoop and breath."""

    attack_s: float
    release_s: float
    vibrato_cents: float
    vibrato_hz: float
    vibrato_delay_s: float
    tremolo: float
    scoop_cents: float
    breath: float


@kernel
def _saw(phase, step):  # type: ignore[no-untyped-def]
    """A band-limited saw (polyBLEP: Välimäki, Pekonen and Nam, JASA 2012)."""
    value = 2.0 * phase - 1.0
    if phase < step:
        x = phase / step
        value -= x + x - x * x - 1.0
    elif phase > 1.0 - step:
        x = (phase - 1.0) / step
        value -= x * x + x + x + 1.0
    return value


@kernel
def _vibrato(t, cents, rate_hz, delay_s):  # type: ignore[no-untyped-def]
    if cents == 0.0 or t < delay_s:
        return 1.0
    depth = min(1.0, 3.0 * (t - delay_s)) * cents
    return 2.0 ** (depth * math.sin(2.0 * math.pi * rate_hz * (t - delay_s)) / 1200.0)


@kernel
def _envelope(press, settings):  # type: ignore[no-untyped-def]
    """Linear attack, exponential decay to the sustained level, exponential release; float32 ``[frames]``."""
    out = np.zeros(press.frames, np.float32)
    sustain = settings.sustain
    rise = 1.0 / max(1.0, settings.attack_s * _RATE)
    decay = math.exp(-1.0 / (settings.decay_s * _RATE))
    release = math.exp(-4.0 / (settings.release_s * _RATE))
    level, top = 0.0, False
    for i in range(press.frames):
        if i >= press.gate:
            level *= release
        elif not top:
            level += rise
            top = level >= 1.0
        else:
            level = sustain + (level - sustain) * decay
        out[i] = level
    return out


@kernel
def _unison(wave, noise, offset):  # type: ignore[no-untyped-def]
    """Starting phase, tuning factor, left and right gain of each voice; float64 ``[4, voices]``.

    A flat voice and its sharp twin stand on the same side and the pairs change sides, so neither ear hears it flat.
    The outer voices are softer: the ear takes the pitch from the middle.
    """
    n = wave.voices
    out = np.zeros((4, n))
    for k in range(n):
        out[0, k] = abs(noise[(offset + 17 * k) % len(noise)]) % 1.0
        x = 2.0 * k / (n - 1) - 1.0 if n > 1 else 0.0
        pan = 0.0
        if x != 0.0:
            pan = wave.spread if min(k, n - 1 - k) % 2 == 0 else -wave.spread
        out[1, k] = 2.0 ** (x * wave.detune_cents / 1200.0)
        out[2, k] = (1.0 - 0.45 * abs(x)) * (1.0 + pan)
        out[3, k] = (1.0 - 0.45 * abs(x)) * (1.0 - pan)
    return out


@kernel
def _corner_hz(t, press, wave):  # type: ignore[no-untyped-def]
    """Where the low-pass stands ``t`` seconds into the note."""
    if t < wave.sweep_attack_s:
        sweep = t / wave.sweep_attack_s
    else:
        fall = math.exp(-(t - wave.sweep_attack_s) / wave.sweep_decay_s)
        sweep = wave.sweep_sustain + (1.0 - wave.sweep_sustain) * fall
    octaves = wave.sweep_octaves * sweep * (0.4 + 0.6 * press.velocity)
    corner = (wave.cutoff_hz + wave.key_follow * press.frequency_hz) * 2.0**octaves
    return min(max(corner, 30.0), 0.42 * _RATE)


@kernel
def subtractive(press, wave, noise):  # type: ignore[no-untyped-def]
    """One note of the subtractive voice; float32 ``[2, frames]``.

    The filter is the trapezoidal state-variable one (Zavalishin, *The Art of VA Filter Design*).
    """
    out = np.zeros((2, press.frames), np.float32)
    unison = _unison(wave, noise, press.offset)
    phase, tune = unison[0], unison[1]
    envelope = _envelope(press, wave)
    z = np.zeros((2, 2))
    damping = 2.0 - 2.0 * wave.resonance
    scale = 0.5 / math.sqrt(wave.voices)
    base, a1, a2, a3, sub_phase = press.frequency_hz, 0.0, 0.0, 0.0, 0.0
    for i in range(press.frames):
        if i % 16 == 0:
            t = i / _RATE
            base = press.frequency_hz * _vibrato(t, wave.vibrato_cents, wave.vibrato_hz, wave.vibrato_delay_s) / _RATE
            g = math.tan(math.pi * _corner_hz(t, press, wave) / _RATE)
            a1 = 1.0 / (1.0 + g * (g + damping))
            a2 = g * a1
            a3 = g * a2
        left, right = 0.0, 0.0
        for k in range(wave.voices):
            step = base * tune[k]
            phase[k] = (phase[k] + step) % 1.0
            value = _saw(phase[k], step)
            if wave.pulse_width > 0.0:
                value -= _saw((phase[k] + wave.pulse_width) % 1.0, step)
            left += value * unison[2, k]
            right += value * unison[3, k]
        sub_phase += 0.5 * base
        extra = wave.noise * noise[(press.offset + i) % len(noise)] + wave.sub * math.sin(2.0 * math.pi * sub_phase)
        for c in range(2):
            v3 = (left if c == 0 else right) * scale + extra - z[c, 1]
            v1 = a1 * z[c, 0] + a2 * v3
            v2 = z[c, 1] + a2 * z[c, 0] + a3 * v3
            z[c, 0] = 2.0 * v1 - z[c, 0]
            z[c, 1] = 2.0 * v2 - z[c, 1]
            out[c, i] = v2 * envelope[i]
    return out


@kernel
def tines(press, settings):  # type: ignore[no-untyped-def]
    """One note of the FM voice (Chowning, JAES 1973); float32 ``[1, frames]``."""
    out = np.zeros((1, press.frames), np.float32)
    s = settings
    envelope = _envelope(press, s)
    index, tine = 1.0, 1.0
    index_decay, tine_decay = math.exp(-1.0 / (s.bend_decay_s * _RATE)), math.exp(-1.0 / (0.05 * _RATE))
    hardness = 0.35 + 0.65 * press.velocity
    w = 2.0 * math.pi * press.frequency_hz / _RATE
    for i in range(press.frames):
        index = s.bend_sustain + (index - s.bend_sustain) * index_decay
        tine *= tine_decay
        bend = s.bend * hardness * index * math.sin(s.ratio * w * i)
        bend += s.tine_bend * press.velocity * tine * math.sin(s.tine_ratio * w * i)
        out[0, i] = envelope[i] * math.sin(w * i + bend)
    return out


@kernel
def string(press, brightness, decay_s, noise):  # type: ignore[no-untyped-def]
    """One plucked string; float32 ``[1, frames]``.

    Karplus and Strong (CMJ 1983) with the pick position as a comb and an interpolated delay. Both the loop's
    low-pass and the interpolation delay the fundamental by a known phase, which is taken off the length of the line,
    so the string is in tune.
    """
    size = len(noise)
    w = 2.0 * math.pi * press.frequency_hz / _RATE
    soft = 0.5 - 0.25 * brightness
    loop_delay = math.atan2(soft * math.sin(w), 1.0 - soft + soft * math.cos(w)) / w
    length = _RATE / press.frequency_hz - loop_delay
    whole = math.floor(length)
    part = length - whole
    mix = math.sin(w * part) / (math.sin(w * part) + math.sin(w * (1.0 - part)))
    raw = np.zeros(whole)
    low = 0.0
    for i in range(whole):
        low += (0.25 + 0.6 * brightness * press.velocity) * (noise[(press.offset + i) % size] - low)
        raw[i] = low
    line = np.zeros(whole)
    pick = max(1, int(whole * 0.18))
    for i in range(whole):
        line[i] = raw[i] - 0.85 * raw[(i - pick) % whole]
    line -= line.mean()
    line *= 0.25 / math.sqrt((line * line).mean() + 1e-12)
    out = np.zeros((1, press.frames), np.float32)
    keep = 10.0 ** (-3.0 / (decay_s * press.frequency_hz))
    stopped = 10.0 ** (-3.0 / (min(decay_s, 0.12) * press.frequency_hz))
    older, before = 0.0, 0.0
    k = 0
    for i in range(press.frames):
        newer = line[k]
        value = (1.0 - mix) * newer + mix * older
        older = newer
        line[k] = (keep if i < press.gate else stopped) * ((1.0 - soft) * value + soft * before)
        before = value
        out[0, i] = value
        k += 1
        if k == whole:
            k = 0
    return out


@kernel
def hammered(press, noise):  # type: ignore[no-untyped-def]
    """One piano note: inharmonic partials, two strings each; float32 ``[2, frames]``.

    Stiffness after Fletcher (JASA 1964). Of each pair one string dies fast and one slowly, slightly detuned: that
    is the piano's two-stage decay with its beating. Partials are ringing two-pole resonators, dropped once inaudible.
    """
    out = np.zeros((2, press.frames), np.float32)
    stiffness = 0.0002 * (press.frequency_hz / 261.6) ** 1.1
    flat = 1.0 / math.sqrt(1.0 + stiffness * 2.0)
    partials = int(min(26.0, 0.42 * _RATE / press.frequency_hz))
    for k in range(1, partials + 1):
        pitch = press.frequency_hz * k * flat * math.sqrt(1.0 + stiffness * k * k)
        level = abs(math.sin(math.pi * k * 0.121)) / k ** (1.3 - 0.5 * press.velocity)
        if k > 8:
            level *= math.exp(-0.14 * (k - 8) * (1.6 - press.velocity))
        fast_s = 0.75 * (261.6 / press.frequency_hz) ** 0.6 / (1.0 + 0.2 * k)
        for pair in range(2):
            tail_s = fast_s if pair == 0 else 5.0 * fast_s
            amplitude = level * (0.62 if pair == 0 else 0.38)
            w = 2.0 * math.pi * pitch * 2.0 ** ((0.35 if pair else -0.2) / 1200.0) / _RATE
            r = math.exp(-1.0 / (tail_s * _RATE))
            damped = math.exp(-1.0 / (0.07 * _RATE))
            start = 2.0 * math.pi * abs(noise[(press.offset + 2 * k + pair) % len(noise)])
            y1, y2 = math.sin(start - w), math.sin(start - 2.0 * w)
            c, d = 2.0 * r * math.cos(w), r * r
            pan = 0.5 + 0.33 * math.sin(1.7 * k + 0.9 * pair)
            left, right = amplitude * (1.0 - pan), amplitude * pan
            heard = min(press.frames, int(tail_s * _RATE * (9.0 + math.log(amplitude + 1e-6))))
            for i in range(heard):
                if i == press.gate:
                    c, d = c * damped, d * damped * damped
                y = c * y1 - d * y2
                y2, y1 = y1, y
                out[0, i] += left * y
                out[1, i] += right * y
    return out


@kernel
def pipes(press, levels, settings, noise):  # type: ignore[no-untyped-def]
    """One note of the harmonic voice; float32 ``[2, frames]``, tremolo in opposite phase on the two sides.

    ``levels``: float64, of the harmonics of ``frequency_hz`` (by the recursion sin kx = 2 cos x sin (k-1)x - …).
    """
    out = np.zeros((2, press.frames), np.float32)
    s = settings
    size = len(noise)
    phase, level = 0.0, 0.0
    rise, fall = 1.0 - math.exp(-3.0 / (s.attack_s * _RATE)), math.exp(-4.0 / (s.release_s * _RATE))
    scoop, scoop_keep = s.scoop_cents, math.exp(-1.0 / (0.02 * _RATE))
    bend, sway = 1.0, 0.0
    # breath: noise through a resonator at the octave, scaled so that ``breath`` is its level at every pitch
    w, r = min(4.0 * math.pi * press.frequency_hz / _RATE, 3.0), 0.985
    c, d, puff = 2.0 * r * math.cos(w), r * r, s.breath * math.sin(w) * math.sqrt(2.0 * (1.0 - r * r))
    b1, b2 = 0.0, 0.0
    for i in range(press.frames):
        level = level + rise * (1.0 - level) if i < press.gate else level * fall
        if i % 16 == 0:
            t = i / _RATE
            bend = _vibrato(t, s.vibrato_cents, s.vibrato_hz, s.vibrato_delay_s) * 2.0 ** (-scoop / 1200.0)
            sway = s.tremolo * math.sin(2.0 * math.pi * s.vibrato_hz * t)
        scoop *= scoop_keep
        phase += press.frequency_hz * bend / _RATE
        if phase >= 1.0:
            phase -= 1.0
        x = 2.0 * math.pi * phase
        two_cos, low, here = 2.0 * math.cos(x), 0.0, math.sin(x)
        value = 0.0
        for k in range(len(levels)):
            value += levels[k] * here
            low, here = here, two_cos * here - low
        air = puff * noise[(press.offset + i) % size] + c * b1 - d * b2
        b2, b1 = b1, air
        value = (value + air) * level
        out[0, i] = value * (1.0 + sway)
        out[1, i] = value * (1.0 - sway)
    return out
