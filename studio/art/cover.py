"""Covers: a square picture for every song, painted from its mood, its genre and its title."""

import random
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import skia

from studio.art import scenes_abstract, scenes_land, scenes_night
from studio.art.brush import SIDE, Easel, around, down, fill
from studio.art.palette import Colour, Palette, blend, choose_palette, contrast
from studio.art.typography import SANS, SERIF, TitleBlock, set_title
from studio.music.chance import generator, weighted
from studio.text.style import Style
from studio.words.take import Picture

Scene = Callable[[Easel], None]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]

SCENES: Final[Mapping[str, Scene]] = {
    "mountains": scenes_land.mountains,
    "ocean": scenes_land.ocean,
    "forest": scenes_land.forest,
    "dunes": scenes_land.dunes,
    "retro sun": scenes_night.retro_sun,
    "city": scenes_night.city,
    "bokeh": scenes_night.bokeh,
    "moon": scenes_night.moon_clouds,
    "burst": scenes_night.burst,
    "liquid": scenes_abstract.liquid,
    "poster": scenes_abstract.poster,
    "rings": scenes_abstract.rings,
    "ribbons": scenes_abstract.ribbons,
    "sunrise": scenes_abstract.sunrise,
}
_BY_GENRE: Final[Mapping[str, str]] = {
    "pop": "liquid, sunrise, burst, ribbons, poster, bokeh, ocean",
    "synthwave": "retro sun, retro sun, city, burst, mountains, ocean",
    "lofi": "bokeh, city, moon, sunrise, rings, mountains",
    "house": "liquid, rings, burst, ribbons, poster, retro sun",
    "rock": "burst, liquid, dunes, mountains, ribbons, city, poster",
    "folk": "mountains, forest, dunes, sunrise, ocean",
    "hiphop": "city, rings, liquid, bokeh, poster, ribbons",
    "jazz": "poster, rings, bokeh, city, sunrise, ribbons",
    "ambient": "forest, mountains, moon, ocean, ribbons, dunes",
    "rnb": "liquid, bokeh, ribbons, ocean, rings, city",
    "ballad": "moon, ocean, bokeh, mountains, forest, ribbons",
}
_BY_WORD: Final = (
    ("ocean", "sea ocean wave waves tide beach shore sail sailing island harbor lighthouse water river blue summer"),
    ("city", "city town street streets downtown skyline rooftop rooftops urban subway train"),
    ("forest", "forest tree trees wood woods pine pines garden leaf leaves autumn"),
    ("mountains", "mountain mountains hill hills valley higher snow winter peak cold"),
    ("dunes", "desert dune dunes sand sahara dust west cowboy"),
    ("moon", "moon moonlight night midnight star stars sleep lullaby dream dreams dreaming sky cloud clouds space"),
    ("bokeh", "rain rainy lights light window umbrella tears neon"),
    ("retro sun", "drive driving highway road racing outrun arcade headlights"),
    ("sunrise", "sun sunrise morning dawn sunshine sunday july golden begin"),
    ("burst", "diamond diamonds fire burn burning shine spark glitter gold thunder lightning"),
)
_SERIF_GENRES: Final = frozenset({"folk", "jazz", "ballad", "ambient", "rnb", "lofi"})
_LEAST_CONTRAST: Final = 5.0
"""A little more than the 4.5:1 of WCAG 2.2 level AA, since grain is added later."""


def paint_cover(style: Style, *, title: str, artist: str, seed: int, size_px: int = 1024) -> Picture:
    """The cover of a song: ``size_px`` (64-4096) square.

    The mood and genre of ``style`` choose palette and scene, words of the title may choose the scene. Title and artist
    are set with a contrast of at least 4.5:1 on a darkened lower third; what the typefaces cannot show is left out.
    The same arguments give the same pixels.
    """
    rng = generator("cover", seed, style.genre, ",".join(style.moods), title)
    palette = choose_palette(style, rng)
    scene = choose_scene(style, title, rng)
    surface = skia.Surface(size_px, size_px)
    canvas = surface.getCanvas()
    canvas.scale(size_px / SIDE, size_px / SIDE)
    SCENES[scene](Easel(canvas=canvas, palette=palette, rng=rng))
    _bloom(surface)
    canvas.drawPaint(around((500, 440), 800, [(0, palette.deep, 0), (0.55, palette.deep, 0), (1, palette.deep, 0.42)]))
    block = set_title(title, artist, face=_face(style, rng), capitals=style.genre not in _SERIF_GENRES)
    _write(surface, block, palette)
    return Picture(pixels=_grained(_pixels(surface), np.random.default_rng(rng.getrandbits(64))))


def choose_scene(style: Style, title: str, rng: random.Random) -> str:
    """A key of `SCENES`: mostly what a word of the title shows, else one that suits the genre."""
    words = re.findall(r"[a-z]+", title.lower())
    told = [scene for word in words for scene, keys in _BY_WORD if word in keys.split()]
    if told and rng.random() < 0.85:
        return told[0] if rng.random() < 0.7 else rng.choice(told)
    usual = _BY_GENRE.get(style.genre, _BY_GENRE["pop"]).split(", ")
    return weighted(rng, [(scene, 1.0 / (1 + 0.15 * at)) for at, scene in enumerate(usual)])


def _face(style: Style, rng: random.Random) -> str:
    serif = style.genre in _SERIF_GENRES
    return SERIF if serif and rng.random() < 0.85 else SANS


def _bloom(surface: Any) -> None:
    """Bright places shine over their surroundings: a blurred copy, screened."""
    image = surface.makeImageSnapshot()
    sigma = surface.width() * 0.022
    blurred = skia.Paint(
        ImageFilter=skia.ImageFilters.Blur(sigma, sigma, skia.TileMode.kClamp),
        BlendMode=skia.BlendMode.kScreen,
        Alphaf=0.2,
    )
    canvas = surface.getCanvas()
    canvas.save()
    canvas.resetMatrix()
    canvas.drawImage(image, 0, 0, skia.SamplingOptions(), blurred)
    canvas.restore()


def _write(surface: Any, block: TitleBlock, palette: Palette) -> None:
    """Darken what is behind the text until it can be read, then write."""
    frame = block.frame
    if frame is None:
        return
    canvas = surface.getCanvas()
    shade = blend(palette.deep, (0, 0, 0), 0.35)
    light = blend(palette.light, (255, 255, 255), 0.35)
    top = frame[1]
    veil = [(0.0, shade, 0.0), (0.55, shade, 0.5), (1.0, shade, 0.8)]
    canvas.drawRect(skia.Rect.MakeLTRB(0, top - 260, SIDE, SIDE), down(top - 260, SIDE, veil))
    for _ in range(12):
        if contrast(_brightest(surface, frame), light) >= _LEAST_CONTRAST:
            break
        more = [(0.0, shade, 0.0), (1.0, shade, 0.3)]
        canvas.drawRect(skia.Rect.MakeLTRB(0, top - 160, SIDE, SIDE), down(top - 160, top, more))
    for line in block.lines:
        canvas.drawPath(line.path, fill(shade, 0.55, blur=9))
        canvas.drawPath(line.path, fill(light))
    if block.artist is not None:
        canvas.drawPath(block.artist.path, fill(light))


def _brightest(surface: Any, frame: tuple[float, float, float, float]) -> Colour:
    """The colour that all but 2 % of the pixels within ``frame`` are darker than, channel by channel."""
    scale = surface.width() / SIDE
    left, top, right, bottom = (max(0, round(edge * scale)) for edge in frame)
    region = _pixels(surface)[top : max(bottom, top + 1), left : max(right, left + 1)]
    r, g, b = np.percentile(region.reshape(-1, 3), 98, axis=0)
    return (int(r), int(g), int(b))


def _pixels(surface: Any) -> Pixels:
    image = surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)
    return np.asarray(image[..., :3], np.uint8)


def _grained(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Film grain, which also hides the steps of the gradients."""
    grain = rng.standard_normal(pixels.shape[:2], dtype=np.float32)[..., None] * 3.6
    grained: Pixels = np.clip(pixels + grain + 0.5, 0, 255).astype(np.uint8)
    return grained
