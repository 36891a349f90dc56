"""Palettes are told apart, run from dark to light, and follow the mood."""

from itertools import combinations

import pytest

from studio.art.palette import PALETTES, Palette, blend, choose_palette, contrast, luminance
from studio.music.chance import generator
from studio.text.style import Style
from studio.text.vocabulary import GENRE_WORDS


def test_there_are_enough_and_they_differ() -> None:
    assert len(PALETTES) >= 16
    assert len({palette.name for palette in PALETTES}) == len(PALETTES)
    for first, second in combinations(PALETTES, 2):
        apart = sum(abs(a - b) for x, y in zip(first.ramp, second.ramp, strict=True) for a, b in zip(x, y, strict=True))
        assert apart > 120, (first.name, second.name)


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_a_palette_runs_from_dark_to_light(palette: Palette) -> None:
    lights = [luminance(colour) for colour in palette.ramp]
    assert lights == sorted(lights)
    assert contrast(palette.deep, palette.light) >= 10
    assert palette.genres <= set(GENRE_WORDS)


def test_mood_chooses() -> None:
    def mean_valence(valence: float) -> float:
        chosen = [choose_palette(Style(valence=valence, genre="pop"), generator("t", seed)) for seed in range(40)]
        return sum(palette.valence for palette in chosen) / len(chosen)

    assert mean_valence(0.8) > mean_valence(-0.8) + 0.3


def test_every_palette_is_used_somewhere() -> None:
    used = {
        choose_palette(Style(genre=genre, valence=v / 4, arousal=a / 4), generator("t", seed)).name
        for genre in GENRE_WORDS
        for v in range(-4, 5)
        for a in range(-4, 5)
        for seed in range(6)
    }
    assert used == {palette.name for palette in PALETTES}


def test_known_contrasts() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert blend((0, 0, 0), (255, 255, 255), 0.5) == (128, 128, 128)
