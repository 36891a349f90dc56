"""The desk: levels, the voice over its backing, mono lows, tonal balance."""

import numpy as np
import pytest

from studio.sound.clip import Clip
from studio.sound.filters import Band, design, energies, equalise
from studio.sound.loudness import integrated_lufs
from studio.sound.mix import Console, Curve, Room, Strip
from studio.sound.tone import Tone, balance, octave_levels_db

RATE_HZ = 48_000
FRAMES = 6 * RATE_HZ


def noise(seed: int, level: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((2, FRAMES)) * level).astype(np.float32)


def desk(**settings) -> Console:
    return Console(FRAMES, echo_s=0.3, **settings)


def finished(console: Console) -> np.ndarray:
    fractions = list(console.finish(Room(decay_s=1.0), Tone()))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    return console.mix


@pytest.mark.parametrize("level", [0.001, 0.1, 3.0])
def test_a_stem_stands_where_its_strip_says_whatever_it_came_with(level):
    console = desk()
    console.add(noise(1, level), Strip(level_lufs=-20.0))
    assert integrated_lufs(Clip(samples=console.mix)) == pytest.approx(-20.0, abs=0.05)


def test_a_silent_stem_changes_nothing():
    console = desk()
    console.add(np.zeros((2, FRAMES), np.float32), Strip(level_lufs=-20.0, reverb=0.5))
    console.add_voice(np.zeros((2, FRAMES), np.float32), Strip(level_lufs=-20.0), over_backing_db=3, duck_db=2)
    assert not console.mix.any()


@pytest.mark.parametrize("over_db", [2.0, 4.0])
def test_the_voice_stands_over_its_backing_only_where_it_sings(over_db):
    band = design((Band(kind="high_pass", frequency_hz=300), Band(kind="low_pass", frequency_hz=3_400)))
    console = desk()
    console.add(noise(1), Strip(level_lufs=-20.0))
    before = console.mix.copy()
    voice = noise(2)
    voice[:, : FRAMES // 2] = 0
    console.add_voice(voice, Strip(level_lufs=-17.0), over_backing_db=over_db, duck_db=2.0)
    sung = energies(voice, band, hop=FRAMES // 6)[3:].mean()
    backing = energies(np.ascontiguousarray(console.mix - voice), band, hop=FRAMES // 6)[4:].mean()
    assert 10 * np.log10(sung / backing) == pytest.approx(over_db, abs=0.3)
    stepped_back = 10 * np.log10(backing / energies(before, band, hop=FRAMES // 6)[4:].mean())
    assert -2.2 < stepped_back < -1.0
    quiet = slice(0, FRAMES // 2 - RATE_HZ // 5)
    assert np.array_equal(console.mix[:, quiet], before[:, quiet])


def test_a_voice_alone_takes_the_level_of_its_strip():
    console = desk()
    console.add_voice(noise(3), Strip(level_lufs=-17.0), over_backing_db=3.0, duck_db=2.0)
    assert integrated_lufs(Clip(samples=console.mix)) == pytest.approx(-17.0, abs=0.05)


def test_the_ride_and_the_pump_shape_the_stem():
    halves = Curve(times_s=np.array([0.0, 2.9, 3.1, 6.0]), gains=np.array([0.25, 0.25, 1.0, 1.0]))
    console = desk(ride=halves)
    console.add(noise(1), Strip(level_lufs=-20.0))
    assert console.mix[:, :RATE_HZ].std() / console.mix[:, -RATE_HZ:].std() == pytest.approx(0.25, abs=0.02)
    pumped = desk(pump=halves)
    pumped.add(noise(1), Strip(level_lufs=-20.0))
    assert pumped.mix[:, :RATE_HZ].std() / pumped.mix[:, -RATE_HZ:].std() == pytest.approx(1.0, abs=0.02)
    pumped.add(noise(2), Strip(level_lufs=0.0, pumped=True))
    assert pumped.mix[:, :RATE_HZ].std() / pumped.mix[:, -RATE_HZ:].std() == pytest.approx(0.25, abs=0.03)


def test_the_lows_are_mono_and_the_mix_is_near_minus_16_lufs():
    console = desk()
    console.add(noise(1), Strip(level_lufs=-18.0, reverb=0.3))
    mix = finished(console)
    side = ((mix[0] - mix[1]) / 2)[None].copy()
    middle = ((mix[0] + mix[1]) / 2)[None].copy()
    low = (Band(kind="low_pass", frequency_hz=40), Band(kind="low_pass", frequency_hz=40))
    equalise(side, low)
    equalise(middle, low)
    assert 20 * np.log10(side.std() / middle.std()) < -15
    assert integrated_lufs(Clip(samples=mix)) == pytest.approx(-16.0, abs=1.5)


@pytest.mark.parametrize("colour", [0.0, 0.6])
def test_balance_brings_the_octaves_near_the_target(colour):
    samples = noise(4)
    for i in range(2):
        samples[i] = samples[i] + colour * np.roll(samples[i], 1) + colour * np.roll(samples[i], 2)
    target = Tone().octaves_db

    def worst(x: np.ndarray) -> float:
        off = octave_levels_db(x) - target
        return float(np.abs(off[1:8] - off[1:8].mean()).max())

    before = worst(samples)
    balance(samples, Tone())
    assert worst(samples) < 0.55 * before


def test_octave_levels_find_a_tone():
    t = np.arange(FRAMES) / RATE_HZ
    tone = np.tile(np.sin(2 * np.pi * 500 * t), (2, 1)).astype(np.float32)
    assert int(octave_levels_db(tone).argmax()) == 4
