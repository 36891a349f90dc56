"""Another rate, another number of channels: the same sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.sound.clip import Clip
from studio.sound.resample import resampled, stereo
from studio.units import RATE_HZ


def tone(rate_hz: int, *, frequency_hz: float = 1_000.0, seconds: float = 0.5, channels: int = 2) -> Clip:
    wave = 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(rate_hz * seconds)) / rate_hz)
    return Clip(samples=np.tile(wave.astype(np.float32), (channels, 1)), rate_hz=rate_hz)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 96_000])
def test_a_tone_stays_the_same_tone(rate_hz):
    made = resampled(tone(rate_hz))
    wanted = tone(RATE_HZ).samples
    assert made.rate_hz == RATE_HZ
    assert made.samples.shape == wanted.shape
    inside = slice(2_000, -2_000)
    assert np.abs(made.samples[:, inside] - wanted[:, inside]).max() < 2e-3


def test_what_the_new_rate_cannot_hold_is_gone():
    made = resampled(tone(96_000, frequency_hz=30_000.0))
    assert np.abs(made.samples[:, 2_000:-2_000]).max() < 1e-3


def test_a_clip_of_that_rate_is_left_as_it_is():
    clip = tone(RATE_HZ)
    assert resampled(clip) is clip


@given(rate_hz=st.sampled_from([8_000, 11_025, 44_100, 47_999, 88_200]), frames=st.integers(1, 500))
def test_its_length_in_seconds_stays_to_the_next_frame(rate_hz, frames):
    made = resampled(Clip(samples=np.zeros((1, frames), np.float32), rate_hz=rate_hz))
    assert made.samples.shape == (1, -(-frames * RATE_HZ // rate_hz))


def test_one_channel_is_heard_on_both_sides_and_two_stay():
    mono = tone(RATE_HZ, channels=1)
    both = stereo(mono)
    assert np.array_equal(both.samples, np.vstack([mono.samples, mono.samples]))
    assert stereo(both) is both
