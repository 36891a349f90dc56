"""Covers: a square picture for every song, painted from its mood, its genre and its title."""

import random
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import skia

from studio.art import scenes_abstract, scenes_land, scenes_night
from studio.art.brush import SIDE, Easel, around
from studio.art.lettering import Pixels, pixels_of, title_block, write
from studio.art.palette import choose_palette
from studio.music.chance import generator, weighted
from studio.text.style import Style
from studio.words.take import Picture

Scene = Callable[[Easel], None]

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
    block = title_block(style, title=title, artist=artist, rng=rng)
    write(surface, block, deep=palette.deep, light=palette.light)
    return Picture(pixels=_grained(pixels_of(surface), np.random.default_rng(rng.getrandbits(64))))


def choose_scene(style: Style, title: str, rng: random.Random) -> str:
    """A key of `SCENES`: mostly what a word of the title shows, else one that suits the genre."""
    words = re.findall(r"[a-z]+", title.lower())
    told = [scene for word in words for scene, keys in _BY_WORD if word in keys.split()]
    if told and rng.random() < 0.85:
        return told[0] if rng.random() < 0.7 else rng.choice(told)
    usual = _BY_GENRE.get(style.genre, _BY_GENRE["pop"]).split(", ")
    return weighted(rng, [(scene, 1.0 / (1 + 0.15 * at)) for at, scene in enumerate(usual)])


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


def _grained(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Film grain, which also hides the steps of the gradients."""
    grain = rng.standard_normal(pixels.shape[:2], dtype=np.float32)[..., None] * 3.6
    grained: Pixels = np.clip(pixels + grain + 0.5, 0, 255).astype(np.uint8)
    return grained
