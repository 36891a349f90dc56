"""Every quality gate with a planted fault, and the player's waveform."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.sound.analyse import FailedGate, check, waveform_peaks
from studio.sound.clip import Clip

RATE_HZ = 48_000


def good(seconds: float = 10.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.4 * np.stack([np.sin(2 * np.pi * 220 * t), np.sin(2 * np.pi * 221 * t)])).astype(np.float32)


def gate_of(samples: np.ndarray, *, rate_hz: int = RATE_HZ, asked_s: float = 10.0) -> str:
    with pytest.raises(FailedGate) as caught:
        check(Clip(samples=samples, rate_hz=rate_hz), asked_s=asked_s)
    assert caught.value.code == f"gate_{caught.value.gate}"
    assert caught.value.sentence.startswith("The sound ")
    assert caught.value.sentence.endswith("Please try again.")
    return caught.value.gate


@pytest.mark.parametrize("asked_s", [9.6, 10.0, 10.4])
def test_good_sound_passes(asked_s):
    check(Clip(samples=good()), asked_s=asked_s)


def test_wrong_rate():
    assert gate_of(good(), rate_hz=44_100) == "wrong_rate"


def test_wrong_channels():
    assert gate_of(good()[:1]) == "wrong_channels"


@pytest.mark.parametrize("asked_s", [9.4, 10.6, 60.0])
def test_wrong_length(asked_s):
    assert gate_of(good(), asked_s=asked_s) == "wrong_length"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_a_number(value):
    samples = good()
    samples[1, 123_456] = value
    assert gate_of(samples) == "not_finite"


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silent(level):
    assert gate_of(good() * np.float32(level)) == "silent"


@pytest.mark.parametrize("start_s", [0.0, 3.0, 6.5])
def test_long_silence_at_the_start_in_the_middle_and_at_the_end(start_s):
    samples = good()
    samples[:, round(start_s * RATE_HZ) : round((start_s + 3.5) * RATE_HZ)] = 0
    assert gate_of(samples) == "long_silence"


def test_a_pause_of_two_seconds_is_music():
    samples = good()
    samples[:, 4 * RATE_HZ : 6 * RATE_HZ] = 0
    check(Clip(samples=samples), asked_s=10.0)


def test_dc_offset_in_one_channel():
    samples = good()
    samples[0] += np.float32(0.01)
    assert gate_of(samples) == "dc_offset"


def test_true_peak_that_no_single_frame_shows():
    t = np.arange(10 * RATE_HZ)
    quarter = np.sin(np.pi / 2 * t + np.pi / 4)
    samples = np.stack([quarter, quarter]).astype(np.float32)
    assert np.abs(samples).max() < 10 ** (-1 / 20)
    assert gate_of(samples) == "true_peak"


def test_the_waveform_shows_where_it_is_loud():
    samples = good()
    samples[:, : 5 * RATE_HZ] *= np.float32(0.25)
    peaks = waveform_peaks(Clip(samples=samples), points=100)
    assert len(peaks) == 100
    assert peaks[10] == pytest.approx(0.1, abs=0.01)
    assert peaks[90] == pytest.approx(0.4, abs=0.01)


@settings(max_examples=40)
@given(
    frames=st.integers(1, 3_000), points=st.integers(1, 900), scale=st.floats(0, 3), channels=st.sampled_from([1, 2])
)
def test_law_of_the_waveform(frames, points, scale, channels):
    """Always as many points as asked, each 0-1, the highest one the peak of the sound."""
    samples = (np.random.default_rng(frames).uniform(-1, 1, (channels, frames)) * scale).astype(np.float32)
    peaks = waveform_peaks(Clip(samples=samples), points=points)
    assert len(peaks) == points
    assert all(0 <= peak <= 1 for peak in peaks)
    assert max(peaks) == pytest.approx(min(1.0, float(np.abs(samples).max())), abs=1e-4)


def test_no_waveform_of_nothing():
    with pytest.raises(ValueError, match="at least one frame"):
        waveform_peaks(Clip(samples=np.zeros((2, 0), np.float32)))
