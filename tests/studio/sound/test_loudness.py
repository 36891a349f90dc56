"""Loudness and true peak against the reference signals of ITU-R BS.1770-5 / EBU Tech 3341 and against pyloudnorm."""

import math

import numpy as np
import pyloudnorm
import pytest

from studio.sound.clip import Clip
from studio.sound.loudness import integrated_lufs, true_peak_dbtp

RATE_HZ = 48_000


def tone(
    frequency_hz: float, level_dbfs: float, seconds: float, rate_hz: int = RATE_HZ, phase: float = 0.0
) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency_hz * t + phase)).astype(np.float32)


def stereo(left: np.ndarray, right: np.ndarray) -> Clip:
    return Clip(samples=np.stack([left, right]))


def noise_song(seed: int, seconds: float = 8.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    frames = round(seconds * RATE_HZ)
    swell = 0.02 + 0.2 * np.abs(np.sin(np.arange(frames) / RATE_HZ * rng.uniform(0.5, 3)))
    return (np.cumsum(rng.standard_normal((2, frames)), axis=1) % 1.0 * swell - swell / 2).astype(np.float32)


def test_a_full_scale_997_hz_sine_in_one_channel_measures_minus_3_01_lufs():
    clip = stereo(tone(997, 0.0, 5), np.zeros(5 * RATE_HZ, np.float32))
    assert integrated_lufs(clip) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("level_dbfs", [-23.0, -33.0, -14.0])
def test_a_stereo_1_khz_sine_measures_its_own_level(level_dbfs):
    sine = tone(1_000, level_dbfs, 20)
    assert integrated_lufs(stereo(sine, sine)) == pytest.approx(level_dbfs, abs=0.1)


def test_the_relative_gate_leaves_quiet_stretches_out():
    """EBU Tech 3341, test case 3: 10 s at -36, 60 s at -23, 10 s at -36 dBFS measure -23.0 ± 0.1 LUFS."""
    sine = np.concatenate([tone(1_000, -36, 10), tone(1_000, -23, 60), tone(1_000, -36, 10)])
    assert integrated_lufs(stereo(sine, sine)) == pytest.approx(-23.0, abs=0.1)


def test_the_absolute_gate_leaves_near_silence_out():
    """EBU Tech 3341, test case 4: stretches at -72 dBFS count for nothing."""
    sine = np.concatenate(
        [tone(1_000, level, 10) for level in (-72, -36)] + [tone(1_000, -23, 60), tone(1_000, -72, 10)]
    )
    assert integrated_lufs(stereo(sine, sine)) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
def test_other_rates_agree(rate_hz):
    sine = tone(1_000, -20, 5, rate_hz)
    assert integrated_lufs(Clip(samples=np.stack([sine, sine]), rate_hz=rate_hz)) == pytest.approx(-20, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pyloudnorm(seed):
    samples = noise_song(seed)
    reference = pyloudnorm.Meter(RATE_HZ).integrated_loudness(samples.T.astype(np.float64))
    assert integrated_lufs(Clip(samples=samples)) == pytest.approx(reference, abs=0.1)


@pytest.mark.parametrize("frames", [0, 100, 5 * RATE_HZ])
def test_silence_and_clips_too_short_to_measure_have_no_loudness(frames):
    assert integrated_lufs(Clip(samples=np.zeros((2, frames), np.float32))) == -math.inf


def test_true_peak_sees_between_the_frames():
    """A quarter-rate sine at 45 degrees is never sampled at its top: sample peaks read 3 dB low."""
    sine = tone(RATE_HZ / 4, -6.0, 1, phase=math.pi / 4)
    assert 20 * math.log10(float(np.abs(sine).max())) == pytest.approx(-9.01, abs=0.01)
    # the first and last frames ring, as any cut sine does; the tolerance is that of EBU Tech 3341, cases 15-19
    fade = np.clip(np.minimum(np.arange(RATE_HZ), np.arange(RATE_HZ)[::-1]) / 480, 0, 1).astype(np.float32)
    assert -6.4 <= true_peak_dbtp(stereo(sine * fade, sine * fade)) <= -5.8


def test_true_peak_of_silence_is_minus_infinity():
    assert true_peak_dbtp(Clip(samples=np.zeros((2, 100), np.float32))) == -math.inf
