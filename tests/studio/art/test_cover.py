"""Covers: size, legibility, determinism and variety."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from studio.art.cover import SCENES, choose_scene, paint_cover
from studio.art.palette import choose_palette, contrast
from studio.art.typography import MARGIN, SANS, SERIF, set_title
from studio.music.chance import generator
from studio.text.style import Style
from studio.text.vocabulary import GENRE_WORDS

STYLE = Style(genre="synthwave", moods=("dreamy",), valence=0.3, arousal=-0.4)


def _small(style: Style, *, title: str = "Night Drive", seed: int = 1, size_px: int = 128) -> NDArray[np.uint8]:
    return paint_cover(style, title=title, artist="Ada", seed=seed, size_px=size_px).pixels


def test_default_size_and_type() -> None:
    pixels = paint_cover(STYLE, title="Night Drive", artist="Ada", seed=1).pixels
    assert pixels.shape == (1024, 1024, 3)
    assert pixels.dtype == np.uint8


def test_same_arguments_same_pixels() -> None:
    assert np.array_equal(_small(STYLE), _small(STYLE))


def test_seeds_and_titles_change_the_picture() -> None:
    first = _small(STYLE).astype(int)
    for other in (_small(STYLE, seed=2), _small(STYLE, title="Sea of Glass")):
        assert np.abs(first - other).mean() > 4


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_every_scene_is_a_picture(scene: str) -> None:
    """Each scene, found by trying seeds: many colours, neither black nor white, and not the same twice."""
    for seed in range(400):
        genre = sorted(GENRE_WORDS)[seed % len(GENRE_WORDS)]
        style = Style(genre=genre, valence=(seed % 5 - 2) / 3, arousal=(seed % 3 - 1) / 2)
        rng = generator("cover", seed, style.genre, "", "Untold")
        choose_palette(style, rng)
        if choose_scene(style, "Untold", rng) == scene:
            break
    else:
        pytest.fail(f"no seed paints {scene}")
    pixels = _small(style, title="Untold", seed=seed)
    assert 12 < pixels.mean() < 235
    assert pixels.std() > 14
    assert len(np.unique(pixels.reshape(-1, 3) // 16, axis=0)) > 40


@settings(max_examples=25)
@given(
    seed=st.integers(min_value=0, max_value=2**31 - 1),
    genre=st.sampled_from(sorted(GENRE_WORDS)),
    valence=st.sampled_from((-0.8, 0.0, 0.8)),
    arousal=st.sampled_from((-0.7, 0.0, 0.8)),
)
def test_title_can_be_read(seed: int, genre: str, valence: float, arousal: float) -> None:
    """Inside the frame of the title, letters and ground differ by at least 4.5:1."""
    style = Style(genre=genre, valence=valence, arousal=arousal)
    pixels = _small(style, title="Mmm Hhh", seed=seed, size_px=512)
    faces = [set_title("Mmm Hhh", "Ada", face=face, capitals=c) for face in (SANS, SERIF) for c in (True, False)]
    bottom = min(block.lines[0].bottom for block in faces)
    top = max(block.lines[0].top for block in faces)
    rows = slice(round(top * 0.512) + 6, round(bottom * 0.512) - 4)
    region = pixels[rows, round(MARGIN * 0.512) : 400].reshape(-1, 3)
    brightness = region @ np.array([0.2126, 0.7152, 0.0722])
    letters = region[brightness >= np.percentile(brightness, 95)].mean(axis=0)
    ground = region[brightness <= np.percentile(brightness, 45)].mean(axis=0)
    assert contrast(_colour(letters), _colour(ground)) >= 4.5


def _colour(mean: NDArray[np.float64]) -> tuple[int, int, int]:
    return (int(mean[0]), int(mean[1]), int(mean[2]))


@settings(max_examples=20)
@given(title=st.text(max_size=120), artist=st.text(max_size=60))
def test_any_text_can_be_set(title: str, artist: str) -> None:
    picture = paint_cover(STYLE, title=title, artist=artist, seed=1, size_px=64)
    assert picture.pixels.shape == (64, 64, 3)
    frame = set_title(title, artist, face=SANS, capitals=False).frame
    if frame is not None:
        assert frame[0] >= MARGIN - 12
        assert frame[1] > 400
        assert frame[2] <= 1000 - MARGIN + 12
        assert frame[3] <= 1000 - MARGIN + 40


def test_sizes_show_the_same_picture() -> None:
    large = _small(STYLE, size_px=512).reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    small = _small(STYLE, size_px=128).astype(float)
    assert np.abs(large - small).mean() < 6


def test_a_word_of_the_title_tells_the_scene() -> None:
    told = [choose_scene(STYLE, "Harbor of Glass", generator("test", seed)) for seed in range(60)]
    assert told.count("ocean") > 40


def test_twenty_seeds_give_many_scenes() -> None:
    scenes = {choose_scene(Style(genre="pop"), "Untold", generator("test", seed)) for seed in range(60)}
    assert len(scenes) >= 6
