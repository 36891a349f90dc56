"""Letters over any picture: they can be read, and nothing else changes without them."""

import numpy as np
import pytest

from studio.art.lettering import letter_picture
from studio.text.style import Style
from studio.words.take import Picture

FOLK = Style(genre="folk")


def picture(value: int, side: int = 128) -> Picture:
    return Picture(pixels=np.full((side, side, 3), value, np.uint8))


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2.2)."""
    linear = np.where(pixels <= 10.31, pixels / 255 / 12.92, ((pixels / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("side", [64, 512, 1024, 1536])
def test_the_result_has_the_size_asked_for(side):
    lettered = letter_picture(picture(90, side), style=FOLK, title="Home", artist="ada", seed=1, size_px=512)
    assert lettered.pixels.shape == (512, 512, 3)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("style", [FOLK, Style(genre="house")])
def test_letters_can_be_read_on_any_ground(value, style):
    pixels = letter_picture(picture(value), style=style, title="Walking Home", artist="ada", seed=3).pixels
    lower = luminance(pixels[700:].astype(float))
    letters, ground = np.percentile(lower, 99.5), np.median(lower[lower < 0.5])
    assert (letters + 0.05) / (ground + 0.05) >= 4.5
    assert (pixels[:300] == value).all(), "the upper part stays as it is"


def test_without_words_only_the_size_changes():
    bare = letter_picture(picture(255), style=FOLK, title="", artist="", seed=1, size_px=256)
    assert (bare.pixels == 255).all()


def test_same_arguments_same_pixels_and_another_title_others():
    one, again, other = (
        letter_picture(picture(90), style=FOLK, title=title, artist="ada", seed=5, size_px=256).pixels
        for title in ("Home", "Home", "Away")
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_enlarging_keeps_what_is_painted_where_it_is():
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 200
    large = letter_picture(Picture(pixels=halves), style=FOLK, title="", artist="", seed=1, size_px=256).pixels
    assert large[:, :110].max() <= 8
    assert large[:, 146:].min() >= 192
