"""The brush: the few strokes that all scenes are painted with, on a canvas of 1000 x 1000 units."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import skia

from studio.art.palette import Colour, Palette

SIDE: Final = 1000.0
"""Width and height of every canvas in its own units, whatever its pixels."""


Field = np.ndarray[Any, np.dtype[np.float32]]
"""Numbers over the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Easel:
    """What a scene paints on and with.

    Attributes:
        canvas: a ``skia.Canvas`` scaled to 1000 x 1000 units.
        palette: the five colours.
        rng: decides everything that varies.
    """

    canvas: Any
    palette: Palette
    rng: random.Random

    def noise(self) -> np.random.Generator:
        """A numpy generator that follows from the scene's own."""
        return np.random.default_rng(self.rng.getrandbits(64))


def ink(colour: Colour, alpha: float = 1.0) -> int:
    """A skia colour; ``alpha`` 0-1."""
    return int(skia.Color(*colour, max(0, min(255, round(255 * alpha)))))


def fill(colour: Colour, alpha: float = 1.0, *, blur: float = 0.0, mode: Any = None) -> Any:
    """An antialiased fill; ``blur`` is a Gaussian's sigma in units."""
    paint = skia.Paint(AntiAlias=True, Color=ink(colour, alpha))
    return _softened(paint, blur, mode)


def stroke(colour: Colour, width: float, alpha: float = 1.0, *, blur: float = 0.0) -> Any:
    """An antialiased line with round ends."""
    paint = skia.Paint(
        AntiAlias=True,
        Color=ink(colour, alpha),
        Style=skia.Paint.kStroke_Style,
        StrokeWidth=width,
        StrokeCap=skia.Paint.kRound_Cap,
        StrokeJoin=skia.Paint.kRound_Join,
    )
    return _softened(paint, blur, None)


Stops = Sequence[tuple[float, Colour, float]]
"""Gradient stops: position 0-1, colour, alpha 0-1."""


def down(top: float, bottom: float, stops: Stops) -> Any:
    """A vertical gradient from ``top`` to ``bottom``."""
    return across((0.0, top), (0.0, bottom), stops)


def across(start: tuple[float, float], end: tuple[float, float], stops: Stops, *, blur: float = 0.0) -> Any:
    """A linear gradient between two points."""
    shader = skia.GradientShader.MakeLinear(
        [skia.Point(*start), skia.Point(*end)], [ink(c, a) for _, c, a in stops], [p for p, _, _ in stops]
    )
    return _softened(skia.Paint(AntiAlias=True, Shader=shader, Dither=True), blur, None)


def around(centre: tuple[float, float], radius: float, stops: Stops, *, mode: Any = None) -> Any:
    """A radial gradient."""
    shader = skia.GradientShader.MakeRadial(
        skia.Point(*centre), radius, [ink(c, a) for _, c, a in stops], [p for p, _, _ in stops]
    )
    return _softened(skia.Paint(AntiAlias=True, Shader=shader, Dither=True), 0.0, mode)


def _softened(paint: Any, blur: float, mode: Any) -> Any:
    if blur > 0:
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    if mode is not None:
        paint.setBlendMode(mode)
    return paint


def glow(easel: Easel, centre: tuple[float, float], radius: float, colour: Colour, alpha: float) -> None:
    """Light around a point that fades to nothing at ``radius``."""
    stops = [(k / 8, colour, alpha * (1 - k / 8) ** 2.6) for k in range(9)]
    easel.canvas.drawCircle(*centre, radius, around(centre, radius, stops, mode=skia.BlendMode.kScreen))


def ridge(rng: random.Random, base: float, height: float, roughness: float) -> list[float]:
    """A skyline of 257 heights across the canvas by midpoint displacement (Fournier, Fussell and Carpenter, 1982)."""
    count = 256
    offsets = [0.0] * (count + 1)
    offsets[0], offsets[count] = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)
    step, size = count, 1.0
    while step > 1:
        half = step // 2
        for at in range(half, count, step):
            offsets[at] = (offsets[at - half] + offsets[at + half]) / 2 + rng.uniform(-size, size)
        step, size = half, size * roughness
    return [base - height * offset for offset in offsets]


def hills(rng: random.Random, base: float, height: float, waves: int = 3) -> list[float]:
    """A smooth skyline of 257 heights: a few sines."""
    parts = [(rng.uniform(0.5, 1.6) * (k + 1), rng.uniform(0, math.tau), 1 / (k + 1) ** 1.3) for k in range(waves)]
    return [base - height * sum(a * math.sin(f * math.pi * i / 256 + p) for f, p, a in parts) / 1.6 for i in range(257)]


def ground(skyline: Sequence[float], bottom: float = SIDE + 10) -> Any:
    """The closed shape below a skyline that spans the canvas."""
    path = skia.Path()
    path.moveTo(-10, bottom)
    last = len(skyline) - 1
    for at, y in enumerate(skyline):
        path.lineTo(-10 + (SIDE + 20) * at / last, y)
    path.lineTo(SIDE + 10, bottom)
    path.close()
    return path


def polygon(points: Sequence[tuple[float, float]]) -> Any:
    """A closed shape."""
    path = skia.Path()
    path.addPoly([skia.Point(*point) for point in points], True)  # noqa: FBT003 - skia takes it by position only
    return path


def rect(x: float, y: float, width: float, height: float) -> Any:
    """A rectangle by its upper left corner."""
    return skia.Rect.MakeXYWH(x, y, width, height)


def oval(x: float, y: float, width: float, height: float) -> Any:
    """The frame of an ellipse by its centre."""
    return rect(x - width / 2, y - height / 2, width, height)


def stars(easel: Easel, bottom: float, count: int) -> None:
    """Small stars above ``bottom``, fewer and fainter towards it."""
    rng = easel.rng
    for _ in range(count):
        x, y = rng.uniform(0, SIDE), bottom * rng.random() ** 1.6
        size = 0.6 + 1.6 * rng.random() ** 4
        alpha = (0.25 + 0.75 * rng.random()) * (1 - 0.8 * y / bottom)
        easel.canvas.drawCircle(x, y, size, fill(easel.palette.light, alpha))


def draw_pixels(easel: Easel, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    """Paint uint8 ``[height, width, 4]`` RGBA (not premultiplied) over the whole canvas, smoothly enlarged."""
    image = skia.Image.fromarray(np.ascontiguousarray(pixels), colorType=skia.kRGBA_8888_ColorType, copy=True)
    sampling = skia.SamplingOptions(skia.CubicResampler.Mitchell())
    easel.canvas.drawImageRect(image, skia.Rect.MakeWH(SIDE, SIDE), sampling, skia.Paint())


def fractal_noise(rng: np.random.Generator, size: int, base: int, octaves: int) -> Field:
    """Smooth noise ``[size, size]`` scaled to 0-1: enlarged random grids, each twice as fine and half as high."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = base * 2**octave
        grid = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
        total += _enlarged(grid, size, cells) * 0.5**octave
    total -= total.min()
    return np.asarray(total / max(float(total.max()), 1e-6), np.float32)


def _enlarged(grid: Field, size: int, cells: int) -> Field:
    """A grid of values smoothly enlarged (cubic B-spline, so without any visible lattice)."""
    place = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    left = np.floor(place).astype(np.int64)
    t = (place - left).astype(np.float32)
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    rows = sum(weights[k][:, None] * grid[np.minimum(left + k, cells + 2)] for k in range(4))
    columns = sum(weights[k][None, :] * np.asarray(rows)[:, np.minimum(left + k, cells + 2)] for k in range(4))
    return np.asarray(columns, np.float32)


def ramp_colours(palette: Palette, values: Field) -> Field:
    """Values 0-1 ``[h, w]`` to colours ``[h, w, 3]`` 0-255 along the palette, dark to light."""
    knots = np.linspace(0, 1, 5)
    ramp = np.array(palette.ramp, np.float32)
    return np.stack([np.interp(values, knots, ramp[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)
