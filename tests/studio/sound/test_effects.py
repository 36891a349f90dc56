"""Filters and effects: what each does to a known signal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.sound.effects import Compressor, Reverb, compress, drive, echo, shape, widen
from studio.sound.filters import Band, design, energies, equalise, response_db

RATE_HZ = 48_000


def sine(frequency_hz: float, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.tile(level * np.sin(2 * np.pi * frequency_hz * t), (2, 1)).astype(np.float32)


def level_db(samples: np.ndarray) -> float:
    return float(20 * np.log10(samples[:, samples.shape[1] // 2 :].std()))


@pytest.mark.parametrize(
    ("band", "frequency_hz", "expected_db"),
    [
        (Band(kind="peak", frequency_hz=1_000, gain_db=6.0), 1_000, 6.0),
        (Band(kind="peak", frequency_hz=1_000, gain_db=6.0, q=2), 60, 0.0),
        (Band(kind="low_shelf", frequency_hz=500, gain_db=-8.0), 30, -8.0),
        (Band(kind="low_shelf", frequency_hz=500, gain_db=-8.0), 12_000, 0.0),
        (Band(kind="high_shelf", frequency_hz=2_000, gain_db=5.0), 20_000, 5.0),
        (Band(kind="high_shelf", frequency_hz=2_000, gain_db=5.0), 40, 0.0),
        (Band(kind="high_pass", frequency_hz=200), 200, -3.01),
        (Band(kind="high_pass", frequency_hz=200), 50, -24.1),
        (Band(kind="low_pass", frequency_hz=2_000), 2_000, -3.01),
        (Band(kind="band_pass", frequency_hz=1_000), 1_000, 0.0),
    ],
)
def test_a_band_has_its_gain_in_the_formula_and_in_the_sound(band, frequency_hz, expected_db):
    assert response_db(design((band,)), np.array([float(frequency_hz)]))[0] == pytest.approx(expected_db, abs=0.15)
    samples = sine(frequency_hz)
    before = level_db(samples)
    equalise(samples, (band,))
    assert level_db(samples) - before == pytest.approx(expected_db, abs=0.2)


@pytest.mark.parametrize("frequency_hz", [0.0, -10.0, 24_000.0, 30_000.0])
def test_a_band_outside_the_spectrum_is_refused(frequency_hz):
    with pytest.raises(ValueError, match="lies between"):
        design((Band(kind="peak", frequency_hz=frequency_hz),))


def test_energies_are_those_of_the_filtered_sound():
    bands = (Band(kind="high_pass", frequency_hz=500), Band(kind="peak", frequency_hz=900, gain_db=4))
    samples = np.random.default_rng(3).standard_normal((2, 9_700)).astype(np.float32)
    measured = energies(samples, design(bands), hop=480)
    equalise(samples, bands)
    expected = (samples[:, :9_600].astype(np.float64) ** 2).reshape(2, 20, 480).mean(axis=2).sum(axis=0)
    assert measured == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("level_dbfs", "expected_dbfs"), [(-40.0, -40.0), (-10.0, -17.5), (0.0, -15.0)])
def test_the_compressor_follows_its_ratio(level_dbfs, expected_dbfs):
    samples = np.full((2, RATE_HZ), 10 ** (level_dbfs / 20), np.float32)
    compress(samples, Compressor(threshold_db=-20.0, ratio=4.0))
    assert 20 * np.log10(samples[0, -1]) == pytest.approx(expected_dbfs, abs=0.1)


def test_the_louder_channel_leads_both():
    samples = np.stack([np.full(RATE_HZ, 0.9), np.full(RATE_HZ, 0.09)]).astype(np.float32)
    compress(samples, Compressor(threshold_db=-20.0, ratio=4.0))
    assert samples[0, -1] / samples[1, -1] == pytest.approx(10.0, rel=1e-4)


def test_drive_keeps_quiet_sound_and_bounds_loud_sound():
    quiet, loud = sine(200, level=0.001), sine(200, level=0.9)
    before = level_db(quiet)
    drive(quiet, gain_db=12.0)
    drive(loud, gain_db=12.0)
    assert level_db(quiet) == pytest.approx(before, abs=0.05)
    assert np.abs(loud).max() <= 10 ** (-12 / 20)


def test_drive_folds_little_back():
    """The 9th and 11th harmonic of 5 kHz would land at 3 and 7 kHz; a plain tanh leaves -20 dB of them."""
    samples = sine(5_000, level=0.9)
    drive(samples, gain_db=15.0)
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1])))
    folded = max(spectrum[f - 20 : f + 20].max() for f in (3_000, 7_000))
    assert 20 * np.log10(folded / spectrum.max()) < -33


def test_the_echo_goes_left_and_right():
    samples = np.zeros((2, RATE_HZ), np.float32)
    samples[:, :960] = sine(1_000, 0.02)
    echo(samples, delay_s=0.2, level=0.5)
    heard = [np.abs(samples[:, k * 9_600 : k * 9_600 + 2_000]).max(axis=1) for k in (1, 2, 3, 4)]
    assert [bool(left > right) for left, right in heard] == [True, False, True, False]
    assert heard[0].max() > heard[1].max() > heard[2].max() > 0


@pytest.mark.parametrize("decay_s", [0.8, 2.5])
def test_the_room_rings_as_long_as_it_says(decay_s):
    """T30 by Schroeder's backward integration (ISO 3382), in the octaves around 500 Hz."""
    frames = round((decay_s + 0.5) * RATE_HZ)
    send, bus = np.zeros((2, frames), np.float32), np.zeros((2, frames), np.float32)
    send[:, 0] = 1.0
    Reverb(decay_s=decay_s, damping=0.0).add(send, bus)
    left = bus[:1].copy()
    equalise(left, (Band(kind="high_pass", frequency_hz=300), Band(kind="low_pass", frequency_hz=800)))
    decay_db = 10 * np.log10(np.cumsum(left[0, ::-1].astype(np.float64) ** 2)[::-1] + 1e-20)
    decay_db -= decay_db[0]
    from_5, to_35 = np.argmax(decay_db < -5), np.argmax(decay_db < -35)
    assert 2 * (to_35 - from_5) / RATE_HZ == pytest.approx(decay_s, rel=0.15)


def test_the_room_is_the_same_in_pieces_and_its_sides_differ():
    rng = np.random.default_rng(1)
    send = rng.standard_normal((2, 20_000)).astype(np.float32)
    whole, pieces = np.zeros_like(send), np.zeros_like(send)
    Reverb(decay_s=1.0).add(send, whole)
    room = Reverb(decay_s=1.0)
    for start in range(0, 20_000, 6_400):
        room.add(send[:, start : start + 6_400], pieces[:, start : start + 6_400])
    assert np.array_equal(whole, pieces)
    assert abs(np.corrcoef(whole)[0, 1]) < 0.5


@settings(max_examples=10)
@given(least=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_law_of_widening(least, seed):
    """Mono sound gets the asked side energy, and its mono sum is left as it was."""
    mono = np.random.default_rng(seed).standard_normal(RATE_HZ).astype(np.float32)
    samples = np.stack([mono, mono])
    widen(samples, least=least)
    middle, side = samples.sum(axis=0) / 2, (samples[0] - samples[1]) / 2
    assert np.abs(middle - mono).max() < 1e-5
    assert (side**2).sum() / (middle**2).sum() == pytest.approx(least, rel=0.05)


def test_wide_sound_is_not_widened():
    samples = np.random.default_rng(2).standard_normal((2, RATE_HZ)).astype(np.float32)
    before = samples.copy()
    widen(samples, least=0.3)
    assert np.array_equal(samples, before)


def test_a_curve_is_piecewise_linear_across_blocks():
    samples = np.ones((2, 300_000), np.float32)
    times, gains = np.array([0.0, 2.0, 4.0]), np.array([1.0, 0.0, 0.5])
    shape(samples, times, gains)
    assert np.abs(samples[0] - np.interp(np.arange(300_000) / RATE_HZ, times, gains)).max() < 1e-6
