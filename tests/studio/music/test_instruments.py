"""Instruments: in tune, sounding, ending without a click, and never silent about a wrong name."""

import numpy as np
import pytest

from studio.music.drums import KITS, UnknownDrum, hit, kit
from studio.music.instruments import NoteCache, play
from studio.music.oscillators import hammered, pipes, string, subtractive, tines
from studio.music.patches import PATCHES, Tone, UnknownPatch, patch
from studio.music.score import Note, Part, Score

RATE_HZ = 48_000
NOISE = np.random.default_rng(1).standard_normal(1 << 18).astype(np.float32)
NAMES = (
    "epiano", "piano", "polysaw", "pad", "strings", "organ", "powerguitar", "guitar", "pluck", "arp", "lead", "bell",
    "flute", "synthbass", "fingerbass", "uprightbass", "subbass",
)  # fmt: skip
BASSES = ("synthbass", "fingerbass", "uprightbass", "subbass")
DRUM_KEYS = (36, 37, 38, 39, 41, 42, 44, 45, 46, 47, 49, 50, 51, 70)


def tone(pitch: int, *, velocity: float = 0.8, length_s: float = 2.0) -> Tone:
    return Tone(pitch=pitch, velocity=velocity, length_s=length_s, noise=NOISE, offset=997 * pitch)


def pitches(name: str) -> tuple[int, ...]:
    if name in BASSES:
        return (31, 36, 43, 48)
    return (40, 45, 52, 57) if name == "powerguitar" else (50, 60, 67, 76)


def cents_off(samples: np.ndarray, frequency_hz: float) -> float:
    """Where the energy around the first three harmonics lies, in cents from where it should; detuned voices average."""
    mono = samples.sum(axis=0)[4_800:84_000].astype(np.float64)
    size = 1 << 20
    power = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), size)) ** 2
    total, weight = 0.0, 0.0
    for harmonic in (1, 2, 3):
        centre = frequency_hz * harmonic * size / RATE_HZ
        reach = max(int(centre * (2 ** (50 / 1200) - 1)), int(2.5 * size / len(mono)))
        bins = np.arange(round(centre) - reach, round(centre) + reach + 1)
        total += float((power[bins] * 1200 * np.log2(bins / centre)).sum())
        weight += float(power[bins].sum())
    return total / weight


def score(part: Part, patch_name: str, *notes: Note, duration_s: float = 3.0) -> Score:
    return Score(
        genre="pop",
        tempo_bpm=120,
        key="A minor",
        duration_s=duration_s,
        sections=(),
        chords=(),
        notes=notes,
        instruments={part: patch_name},
        seed=5,
    )


def stem_of(song: Score, part: Part) -> np.ndarray:
    stem = np.zeros((2, round(song.duration_s * RATE_HZ)), np.float32)
    fractions = list(play(song, part, stem))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    return stem


def test_the_patches_are_those_the_composer_may_name():
    assert set(NAMES) <= set(PATCHES)
    assert set(KITS) == {"acoustic", "electronic", "lofi", "brushes"}


@pytest.mark.parametrize("name", NAMES)
def test_in_tune_within_5_cents(name):
    off = [cents_off(patch(name).sound(tone(pitch)), tone(pitch).frequency_hz) for pitch in pitches(name)]
    assert np.abs(off).max() <= 5.0, off


@pytest.mark.parametrize("name", ["guitar", "fingerbass", "uprightbass", "powerguitar"])
def test_strings_are_in_tune_within_2_cents(name):
    off = [cents_off(patch(name).sound(tone(pitch)), tone(pitch).frequency_hz) for pitch in pitches(name)]
    assert np.abs(off).max() <= 2.0, off


@pytest.mark.parametrize("name", ["pad", "strings", "polysaw", "pluck", "arp", "lead"])
def test_neither_side_of_a_unison_is_flat(name):
    made = [patch(name).sound(tone(pitch)) for pitch in pitches(name)]
    for side in range(2):
        off = [
            cents_off(sound[side : side + 1], tone(pitch).frequency_hz)
            for sound, pitch in zip(made, pitches(name), strict=True)
        ]
        assert abs(np.mean(off)) <= 5.0, off


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length_s", [0.05, 0.7])
def test_every_note_sounds_stays_in_bounds_and_ends_without_a_click(name, length_s):
    song = score(
        Part.KEYS, name, Note(part=Part.KEYS, start_beats=0, length_beats=2 * length_s, pitch=48, velocity=0.9)
    )
    stem = stem_of(song, Part.KEYS)
    assert np.isfinite(stem).all()
    assert 0.02 < np.abs(stem).max() < 2.0
    last = int(np.flatnonzero(np.abs(stem).max(axis=0) > 1e-4)[-1])
    assert last < RATE_HZ * (length_s + 1.6)
    assert np.abs(np.diff(stem[:, last - 240 : last + 2], axis=1)).max() < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_harder_is_louder(name):
    soft, hard = (patch(name).sound(tone(48, velocity=v, length_s=0.5)) for v in (0.3, 0.9))
    assert hard.std() > 1.05 * soft.std()


@pytest.mark.parametrize("kit_name", sorted(KITS))
@pytest.mark.parametrize("key", DRUM_KEYS)
def test_every_drum_of_every_kit_sounds_and_dies_away(kit_name, key):
    stroke = hit(kit(kit_name), key, 0.9, np.random.default_rng(1))
    assert stroke.dtype == np.float32
    assert np.isfinite(stroke).all()
    assert 0.15 < np.abs(stroke).max() < 2.0
    assert np.abs(stroke[:, -100:]).max() < 0.02
    assert stroke[:, stroke.shape[1] // 2 :].std() < 0.5 * stroke[:, : stroke.shape[1] // 2].std()


def test_the_bass_drum_is_low_and_the_hat_is_high():
    def centre_hz(key: int) -> float:
        stroke = hit(kit("acoustic"), key, 0.9, np.random.default_rng(1)).sum(axis=0)
        power = np.abs(np.fft.rfft(stroke)) ** 2
        return float((power * np.fft.rfftfreq(len(stroke), 1 / RATE_HZ)).sum() / power.sum())

    assert centre_hz(36) < 300 < centre_hz(45) * 2 < centre_hz(38) < centre_hz(42)


@pytest.mark.parametrize("part", [Part.KEYS, Part.DRUMS])
@pytest.mark.parametrize("name", ["kazoo", ""])
def test_an_unknown_instrument_is_named(part, name):
    song = score(part, name, Note(part=part, start_beats=0, length_beats=1, pitch=38, velocity=0.8))
    with pytest.raises(UnknownPatch, match="Choose one of") as caught:
        stem_of(song, part)
    assert caught.value.code == "unknown_patch"


def test_an_unknown_drum_is_named():
    song = score(Part.DRUMS, "lofi", Note(part=Part.DRUMS, start_beats=0, length_beats=1, pitch=99, velocity=0.8))
    with pytest.raises(UnknownDrum, match="99"):
        stem_of(song, Part.DRUMS)


def test_a_note_starts_on_its_frame():
    song = score(Part.KEYS, "epiano", Note(part=Part.KEYS, start_beats=2.5, length_beats=1, pitch=60, velocity=0.8))
    sounding = np.flatnonzero(np.abs(stem_of(song, Part.KEYS)).max(axis=0) > 1e-4)
    assert sounding[0] / RATE_HZ == pytest.approx(1.25, abs=0.002)


def test_repeated_drum_strokes_differ_but_repeated_songs_do_not():
    notes = [Note(part=Part.DRUMS, start_beats=2 * k, length_beats=0.2, pitch=38, velocity=0.8) for k in range(2)]
    song = score(Part.DRUMS, "acoustic", *notes)
    stem = stem_of(song, Part.DRUMS)
    assert not np.array_equal(stem[:, :9_600], stem[:, RATE_HZ : RATE_HZ + 9_600])
    assert np.array_equal(stem, stem_of(song, Part.DRUMS))


def test_the_cache_makes_equal_notes_once_and_keeps_its_limit():
    cache, made = NoteCache(most_bytes=10_000), []

    def make(name: int) -> np.ndarray:
        made.append(name)
        return np.zeros((2, 500), np.float32)

    for name in (1, 1, 2, 3, 1, 2):
        cache.get((name,), lambda name=name: make(name))
        assert cache.bytes <= 10_000
    assert made == [1, 2, 3, 1, 2]


def test_each_sample_loop_is_compiled_for_one_set_of_types():
    for name in NAMES:
        patch(name).sound(tone(48, length_s=0.05))
    for loop in (subtractive, tines, string, hammered, pipes):
        assert len(loop.signatures) == 1
