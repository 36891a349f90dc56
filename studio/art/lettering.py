"""Lettering: title and artist over a picture, wherever it came from, so that both can be read."""

import random
from typing import Any, Final

import numpy as np
import skia

from studio.art.brush import SIDE, down, fill
from studio.art.palette import Colour, blend, contrast
from studio.art.typography import SANS, SERIF, TitleBlock, set_title
from studio.music.chance import generator
from studio.text.style import Style
from studio.words.take import Picture

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_SERIF_GENRES: Final = frozenset({"folk", "jazz", "ballad", "ambient", "rnb", "lofi"})
_LEAST_CONTRAST: Final = 5.0
"""A little more than the 4.5:1 of WCAG 2.2 level AA, since grain may be added later."""
_WHITE: Final = (255, 255, 255)


def letter_picture(
    picture: Picture, *, style: Style, title: str, artist: str, seed: int, size_px: int = 1024
) -> Picture:
    """``picture`` enlarged or reduced to ``size_px`` square (Mitchell-Netravali, 1988), with title and artist on it.

    The shade behind the letters is taken from the picture's own colours. With neither title nor artist nothing is
    written. The same arguments give the same pixels.
    """
    rng = generator("lettering", seed, style.genre, title)
    surface = skia.Surface(size_px, size_px)
    canvas = surface.getCanvas()
    canvas.drawImageRect(_image(picture), skia.Rect.MakeWH(size_px, size_px), _RESAMPLING)
    canvas.scale(size_px / SIDE, size_px / SIDE)
    write(surface, title_block(style, title=title, artist=artist, rng=rng), deep=_mean(picture), light=_WHITE)
    return Picture(pixels=pixels_of(surface))


def title_block(style: Style, *, title: str, artist: str, rng: random.Random) -> TitleBlock:
    """Title and artist set in the face and case that suit the genre."""
    serif = style.genre in _SERIF_GENRES
    face = SERIF if serif and rng.random() < 0.85 else SANS
    return set_title(title, artist, face=face, capitals=not serif)


def write(surface: Any, block: TitleBlock, *, deep: Colour, light: Colour) -> None:
    """Darken what is behind the text until it can be read, then write. The canvas has `SIDE` units a side."""
    frame = block.frame
    if frame is None:
        return
    canvas = surface.getCanvas()
    shade = blend(deep, (0, 0, 0), 0.35)
    bright = blend(light, _WHITE, 0.35)
    top = frame[1]
    veil = [(0.0, shade, 0.0), (0.55, shade, 0.5), (1.0, shade, 0.8)]
    canvas.drawRect(skia.Rect.MakeLTRB(0, top - 260, SIDE, SIDE), down(top - 260, SIDE, veil))
    for _ in range(12):
        if contrast(_brightest(surface, frame), bright) >= _LEAST_CONTRAST:
            break
        more = [(0.0, shade, 0.0), (1.0, shade, 0.3)]
        canvas.drawRect(skia.Rect.MakeLTRB(0, top - 160, SIDE, SIDE), down(top - 160, top, more))
    for line in block.lines:
        canvas.drawPath(line.path, fill(shade, 0.55, blur=9))
        canvas.drawPath(line.path, fill(bright))
    if block.artist is not None:
        canvas.drawPath(block.artist.path, fill(bright))


def pixels_of(surface: Any) -> Pixels:
    """What is painted: uint8 ``[height, width, 3]``."""
    image = surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)
    return np.asarray(image[..., :3], np.uint8)


_RESAMPLING: Final = skia.SamplingOptions(skia.CubicResampler.Mitchell())


def _image(picture: Picture) -> Any:
    opaque = np.full((*picture.pixels.shape[:2], 1), 255, np.uint8)
    rgba = np.ascontiguousarray(np.concatenate([picture.pixels, opaque], axis=2))
    return skia.Image.fromarray(rgba, colorType=skia.kRGBA_8888_ColorType)


def _mean(picture: Picture) -> Colour:
    """The mean colour of the lower half, where the letters stand, darkened by half."""
    lower = picture.pixels[picture.pixels.shape[0] // 2 :].reshape(-1, 3)
    r, g, b = lower.mean(axis=0) / 2
    return (int(r), int(g), int(b))


def _brightest(surface: Any, frame: tuple[float, float, float, float]) -> Colour:
    """The colour that all but 2 % of the pixels within ``frame`` are darker than, channel by channel."""
    scale = surface.width() / SIDE
    left, top, right, bottom = (max(0, round(edge * scale)) for edge in frame)
    region = pixels_of(surface)[top : max(bottom, top + 1), left : max(right, left + 1)]
    r, g, b = np.percentile(region.reshape(-1, 3), 98, axis=0)
    return (int(r), int(g), int(b))
