"""Mastering: loudness reached, peaks held, length kept, silence refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from studio.sound.clip import Clip
from studio.sound.loudness import integrated_lufs, true_peak_dbtp, true_peak_envelope
from studio.sound.master import SilentClip, limiting_gain, master

RATE_HZ = 48_000


def band(seconds: float, *, level: float = 0.2, seed: int = 1, beats_hz: float = 2.0, punch: float = 6.0) -> Clip:
    """Something like music: decaying strokes of noise and tones over a bed."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    stroke = np.exp(-(t * beats_hz % 1.0) * punch)
    bed = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * 331 * t + 1)
    left = stroke * rng.standard_normal(len(t)) * 0.5 + stroke * np.sin(2 * np.pi * 60 * t) + bed
    right = stroke * rng.standard_normal(len(t)) * 0.5 + stroke * np.sin(2 * np.pi * 60 * t) + bed[::-1]
    return Clip(samples=(level * np.stack([left, right])).astype(np.float32))


@pytest.mark.parametrize("level", [0.001, 0.05, 1.0, 4.0])
@pytest.mark.parametrize("seconds", [10, 30])
def test_ordinary_music_ends_at_minus_14_lufs_under_minus_1_dbtp(level, seconds):
    source = band(seconds, level=level)
    result = master(source)
    assert result.loudness_lufs == pytest.approx(-14.0, abs=0.3)
    assert result.true_peak_dbtp <= -1.0
    assert result.clip.samples.shape == source.samples.shape


def test_the_measurements_are_those_of_the_clip():
    result = master(band(10))
    assert result.loudness_lufs == integrated_lufs(result.clip)
    assert result.true_peak_dbtp == true_peak_dbtp(result.clip)


def test_an_independent_longer_filter_finds_no_peak_above_the_ceiling_either():
    result = master(band(10, punch=20.0))
    oversampled = resample_poly(result.clip.samples.astype(np.float64), 8, 1, axis=1, window=("kaiser", 12.0))
    assert 20 * np.log10(np.abs(oversampled).max()) <= -0.95


@pytest.mark.parametrize(("target_lufs", "ceiling_dbtp"), [(-23.0, -1.0), (-16.0, -2.0), (-11.0, -1.0)])
def test_other_targets_are_reached(target_lufs, ceiling_dbtp):
    result = master(band(10), target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp)
    assert result.loudness_lufs == pytest.approx(target_lufs, abs=0.3)
    assert result.true_peak_dbtp <= ceiling_dbtp


def test_a_mono_clip_at_another_rate_keeps_its_form():
    mono = Clip(samples=band(10).samples[:1].copy(), rate_hz=44_100)
    result = master(mono)
    assert result.clip.samples.shape == mono.samples.shape
    assert result.clip.rate_hz == 44_100
    assert result.loudness_lufs == pytest.approx(-14.0, abs=0.3)


def test_even_sparse_clicks_stay_under_the_ceiling():
    samples = np.zeros((2, 10 * RATE_HZ), np.float32)
    samples[:, ::12_000] = 0.5
    assert master(Clip(samples=samples)).true_peak_dbtp <= -1.0


def test_the_source_is_left_alone_and_a_shift_off_the_middle_line_is_removed():
    source = Clip(samples=band(10).samples + np.float32(0.05))
    before = source.samples.copy()
    result = master(source)
    assert np.array_equal(source.samples, before)
    assert abs(float(result.clip.samples.mean())) < 1e-3


def test_silence_is_refused_with_a_sentence():
    with pytest.raises(SilentClip, match="silent") as caught:
        master(Clip(samples=np.zeros((2, 5 * RATE_HZ), np.float32)))
    assert caught.value.code == "silent_clip"


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    gain_db=st.floats(-20, 30),
    ceiling_dbtp=st.floats(-12, 0),
    spikes=st.lists(st.integers(0, 4_799), max_size=12),
)
def test_law_of_the_limiter(seed, gain_db, ceiling_dbtp, spikes):
    """Whatever comes, gain x envelope ≤ ceiling; the gain never exceeds what was asked and moves smoothly."""
    samples = (np.random.default_rng(seed).standard_normal((2, 4_800)) * 0.1).astype(np.float32)
    samples[:, spikes] = 1.5
    envelope = true_peak_envelope(samples)
    gain = limiting_gain(envelope, gain_db=gain_db, ceiling_dbtp=ceiling_dbtp, rate_hz=RATE_HZ)
    ceiling, asked = 10 ** (ceiling_dbtp / 20), 10 ** (gain_db / 20)
    assert (gain * envelope <= ceiling * (1 + 1e-5)).all()
    assert (gain <= asked * (1 + 1e-6)).all()
    assert (gain > 0).all()
    # a box of 145 frames can move by at most 1/145 of the full range per frame
    assert np.abs(np.diff(gain)).max() <= asked / 144


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), headroom_db=st.floats(0.1, 20))
def test_a_sound_below_the_ceiling_passes_unchanged(seed, headroom_db):
    samples = (np.random.default_rng(seed).standard_normal((2, 4_800)) * 0.1).astype(np.float32)
    envelope = true_peak_envelope(samples)
    ceiling_dbtp = 20 * np.log10(float(envelope.max())) + headroom_db
    gain = limiting_gain(envelope, gain_db=0.0, ceiling_dbtp=ceiling_dbtp, rate_hz=RATE_HZ)
    assert gain == pytest.approx(1.0, abs=1e-6)
