"""Palettes: five colours each, picked by hand from dark to light, and how to choose one for a mood."""

import random
from dataclasses import dataclass
from typing import Final

from studio.text.style import Style

Colour = tuple[int, int, int]
"""sRGB, each 0-255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Five colours that go together, and where they belong.

    Attributes:
        deep, dusk, mid, glow, light: from the darkest to the lightest; ``glow`` is the accent.
        valence, arousal: the mood of the palette, each -1 … 1.
        genres: genre keys it suits best.
    """

    name: str
    deep: Colour
    dusk: Colour
    mid: Colour
    glow: Colour
    light: Colour
    valence: float
    arousal: float
    genres: frozenset[str]

    @property
    def ramp(self) -> tuple[Colour, Colour, Colour, Colour, Colour]:
        """The five colours, dark to light."""
        return (self.deep, self.dusk, self.mid, self.glow, self.light)


_TABLE: Final = """
neon dusk      120428 4a0e6b d61c7e ff9a3c ffe9a8   0.3  0.5  synthwave pop
miami          0b0f33 2f2a86 8a3fd1 ff5fa2 c9f6ff   0.4  0.5  synthwave house pop
electric lagoon 03131f 0a3a52 0f7c8f 22e3c4 e4fff4  0.3  0.6  house synthwave ambient
ember          160a0a 4a1512 a52a1a ff6a2b ffe0b0  -0.3  0.8  rock hiphop
blood moon     0c0a10 2b1420 6e1b2f d43d4f f6d9c8  -0.7  0.4  rock hiphop ballad
golden hour    2b1a2e 7a3b4f d9785a ffb56b fff0d0   0.4 -0.1  folk pop ballad lofi
meadow         12241d 2d5545 6f9a6a e0cf82 fbf5dc   0.6 -0.1  folk ambient
alpine mist    152532 38566b 7fa0ad c9dbdc fbf6ec   0.2 -0.7  ambient folk ballad
lavender       1d1836 4a3f7a 8c7cc0 d7b5e0 fdeef4   0.1 -0.4  ambient lofi ballad rnb
rose tea       2a1420 6d2f46 c06c7c f0b0a0 fff1e4   0.4 -0.3  rnb ballad pop
midnight blue  060b1d 122a54 2f5f9e 8fb8e8 f2f6ff  -0.5 -0.4  ballad ambient jazz
rain slate     0f1418 2a363f 58707c a9bcbd f2f0e6  -0.7 -0.4  ballad lofi folk
citrus         2a0f4f a81f6c ff6b4a ffc93d fff6d6   0.9  0.7  pop house
bubblegum      2b1055 6f3ad6 ff6fb5 ffb8cc fff3f0   0.9  0.6  pop rnb
lagoon         062a3a 0d5c75 1ca3a3 8be6c6 fdf7d9   0.7  0.2  pop folk house
coffee         1a120d 46301f 8a6239 d9a86a f8ead2   0.1 -0.4  lofi jazz folk
jazz club      0e0d18 27254a 8a3b52 e2a04e f7e8c8  -0.1  0.1  jazz rnb
gold noir      0b0a0c 2a241c 75602f dcb352 fbf0cf  -0.1  0.3  hiphop jazz house
violet street  0d0b1a 2f1d66 6d35d9 d86bf2 f9e6ff  -0.1  0.3  hiphop rnb synthwave house
forest night   07130f 14352c 2f6b55 8fc59a f0f7df  -0.1 -0.4  ambient folk lofi
terracotta     2a1714 7d3c2a cc7348 eec08a faf1df   0.4  0.1  folk rock jazz
paper sun      1b2a38 2d6269 e4572e f3b52f f6f0df   0.6  0.4  jazz pop rock folk
sakura         2b2440 6b5b95 d98cb3 ffc8dd fff5f8   0.5 -0.4  lofi rnb pop ambient
storm rose     14121f 3a3350 7a5470 d98b8b f7e3d6  -0.4 -0.1  ballad rnb rock
"""


def _colour(text: str) -> Colour:
    return (int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16))


def _palette(row: str) -> Palette:
    words = row.split()
    first = next(at for at, word in enumerate(words) if len(word) == 6 and set(word) <= set("0123456789abcdef"))
    deep, dusk, mid, glow, light = (_colour(word) for word in words[first : first + 5])
    valence, arousal = (float(word) for word in words[first + 5 : first + 7])
    return Palette(
        name=" ".join(words[:first]),
        deep=deep,
        dusk=dusk,
        mid=mid,
        glow=glow,
        light=light,
        valence=valence,
        arousal=arousal,
        genres=frozenset(words[first + 7 :]),
    )


PALETTES: Final = tuple(_palette(row) for row in _TABLE.strip().splitlines())


def choose_palette(style: Style, rng: random.Random) -> Palette:
    """One of the five palettes nearest to the style's mood; those of its genre are drawn nearer."""

    def distance(palette: Palette) -> float:
        apart = (palette.valence - style.valence) ** 2 + (palette.arousal - style.arousal) ** 2
        return apart - (0.7 if style.genre in palette.genres else 0.0)

    return rng.choice(sorted(PALETTES, key=distance)[:5])


def blend(first: Colour, second: Colour, amount: float) -> Colour:
    """``first`` at 0 … ``second`` at 1, in sRGB."""
    r, g, b = (round(a + (z - a) * amount) for a, z in zip(first, second, strict=True))
    return (r, g, b)


def luminance(colour: Colour) -> float:
    """Relative luminance 0-1 (WCAG 2.2)."""
    linear = [c / 255 / 12.92 if c <= 10.31475 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Colour, second: Colour) -> float:
    """Contrast ratio 1-21 (WCAG 2.2)."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
