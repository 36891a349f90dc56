"""Sound from ACE-Step's decoder: levels, silence, and windows put back into their source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engines.acestep_ask import FADE_FRAMES, Span
from serving.engines.acestep_sound import PEAK, BrokenSound, SilentSound, check, splice, to_peak

FRAMES = 48_000


def noise(seed: int, frames: int = FRAMES, level: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((2, frames)) * level).astype(np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    samples = noise(1)
    samples[1, 7] = value
    with pytest.raises(BrokenSound, match=r"ACE-Step.*another seed"):
        check(samples, "ACE-Step")


@pytest.mark.parametrize("level", [0.0, 0.0009])
def test_silence_is_refused(level):
    with pytest.raises(SilentSound, match="only silence"):
        check(noise(1, level=level), "ACE-Step")


def test_quiet_sound_is_not_silence():
    check(noise(1, level=0.002), "ACE-Step")


@pytest.mark.parametrize("level", [0.001, 0.1, 3.0])
def test_the_highest_sample_comes_to_minus_1_dbfs_and_the_gain_is_told(level):
    samples = noise(1, level=level)
    before = samples.copy()
    gain_db = to_peak(samples)
    assert np.abs(samples).max() == pytest.approx(PEAK, rel=1e-5)
    np.testing.assert_allclose(samples, before * 10 ** (gain_db / 20), rtol=1e-4)


@given(first=st.integers(0, FRAMES - 100), length=st.integers(50, FRAMES))
def test_outside_the_window_the_source_is_untouched(first, length):
    source, window = noise(1), Span(first=first, end=min(first + length, FRAMES))
    made = noise(2)
    splice(made, source, window)
    assert np.array_equal(made[:, : window.first], source[:, : window.first])
    assert np.array_equal(made[:, window.end :], source[:, window.end :])


def test_between_the_crossfades_the_new_sound_stands_alone():
    source, new = noise(1), noise(2)
    made = new.copy()
    splice(made, source, Span(first=10_000, end=20_000))
    inner = slice(10_000 + FADE_FRAMES, 20_000 - FADE_FRAMES)
    assert np.array_equal(made[:, inner], new[:, inner])
    assert not np.array_equal(made[:, 10_000:11_000], new[:, 10_000:11_000])


def test_the_crossfade_keeps_the_power_and_leaves_no_step():
    source, made = noise(1, level=0.1), noise(2, level=0.1)
    splice(made, source, Span(first=10_000, end=30_000))
    middle = made[:, 10_000 + FADE_FRAMES // 4 : 10_000 + 3 * FADE_FRAMES // 4]
    assert np.sqrt(np.square(middle).mean()) == pytest.approx(0.1, rel=0.15)
    slow = np.sin(np.arange(FRAMES) / 2_000, dtype=np.float32) * np.float32(0.5)
    source = np.stack([slow, slow])
    made = source + np.float32(0.2)
    splice(made, source, Span(first=10_000, end=30_000))
    assert np.abs(np.diff(made)).max() < 0.01


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.7])
def test_a_level_that_the_model_changed_is_undone(gain):
    source = noise(1)
    made = (source * np.float32(gain) + noise(2, level=0.01)).astype(np.float32)
    gain_db = splice(made, source, Span(first=10_000, end=20_000))
    assert gain_db == pytest.approx(-20 * np.log10(gain), abs=0.02)
    assert np.abs(made[:, 12_000:18_000] - source[:, 12_000:18_000]).max() < 0.1


def test_a_rendering_that_has_nothing_of_the_source_teaches_no_gain():
    assert splice(noise(2, level=0.01), noise(1), Span(first=10_000, end=20_000)) == 0


def test_the_new_part_never_exceeds_full_scale():
    made = noise(2, level=2.0)
    assert splice(made, noise(1), Span(first=10_000, end=20_000)) < 0
    assert np.abs(made).max() <= np.abs(noise(1)).max() + 1.0


def test_an_extension_begins_in_the_source_and_ends_alone():
    source, new = noise(1, frames=20_000), noise(2)
    made = new.copy()
    splice(made, source, Span(first=20_000 - FADE_FRAMES, end=FRAMES))
    assert np.array_equal(made[:, : 20_000 - FADE_FRAMES], source[:, : 20_000 - FADE_FRAMES])
    assert np.array_equal(made[:, 20_000:], new[:, 20_000:])


def test_a_window_over_everything_leaves_no_source():
    source, new = noise(1), noise(2)
    made = new.copy()
    splice(made, source, Span(first=0, end=FRAMES))
    assert np.array_equal(made, new)
