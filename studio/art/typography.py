"""Typography: the two bundled typefaces, and setting a title so that it fits and can be read.

Montserrat and Fraunces are under the SIL Open Font License 1.1; the licence texts stand beside the fonts. Both were
cut down to Latin (Montserrat: and Cyrillic) and carry their kerning as a ``kern`` table.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import skia

SANS: Final = "Montserrat-Bold"
SERIF: Final = "Fraunces-SemiBold"
MARGIN: Final = 76.0
"""Free space left and right of the text, in canvas units of 1000."""
_WIDEST: Final = 1000.0 - 2 * MARGIN
_LARGEST: Final = 124.0
_SMALLEST: Final = 40.0
_ARTIST_SIZE: Final = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLine:
    """One line of type: its outline as a ``skia.Path``, and its frame in canvas units."""

    text: str
    path: Any
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleBlock:
    """The text of a cover, placed. ``lines`` are the title's; ``artist`` may be missing."""

    lines: tuple[SetLine, ...]
    artist: SetLine | None

    @property
    def frame(self) -> tuple[float, float, float, float] | None:
        """Left, top, right and bottom of all that is written, None if nothing is."""
        written = [*self.lines, *([self.artist] if self.artist else [])]
        if not written:
            return None
        return (
            min(line.left for line in written),
            min(line.top for line in written),
            max(line.right for line in written),
            max(line.bottom for line in written),
        )


@lru_cache(maxsize=2)
def _typeface(name: str) -> Any:
    data = resources.files("studio.art").joinpath("resources", f"{name}.ttf").read_bytes()
    return skia.Typeface.MakeFromData(skia.Data.MakeWithCopy(data))


def printable(text: str, face: str) -> str:
    """``text`` with only what the typeface can show; other characters are left out."""
    kept = "".join(letter if letter == " " or _has(face, letter) else " " for letter in text)
    return " ".join(word for word in kept.split() if any(letter.isalnum() for letter in word) or word == "&")


def _has(face: str, letter: str) -> bool:
    return letter.isprintable() and _typeface(face).unicharToGlyph(ord(letter)) != 0


def set_title(title: str, artist: str, *, face: str, capitals: bool) -> TitleBlock:
    """Title and artist set flush left above the lower edge, as large as they fit, in one to three lines.

    Characters that ``face`` lacks are looked for in the sans (which has Cyrillic) and otherwise left out; if nothing
    can be shown, the block has no lines.
    """
    if len(printable(title, SANS)) > len(printable(title, face)):
        face = SANS
    text = printable(title.upper() if capitals else title, face)
    name = printable(artist.upper(), SANS)
    artist_line = _outline(_fitted_name(name), SANS, _ARTIST_SIZE, 0.2, 1000 - MARGIN) if name else None
    bottom = 1000 - MARGIN - (58 if artist_line else 0)
    lines: list[SetLine] = []
    rows, size = _best_rows(text.split(), face)
    for at, row in enumerate(reversed(rows)):
        lines.insert(0, _outline(row, face, size, 0.01 if capitals else -0.005, bottom - at * size * 1.06))
    return TitleBlock(lines=tuple(lines), artist=artist_line)


def _fitted_name(name: str) -> str:
    while _width(name, SANS, _ARTIST_SIZE, 0.2) > _WIDEST:
        name = name[:-2].rstrip() + "…" if not name.endswith("…") else name[:-3].rstrip() + "…"
    return name


def _best_rows(words: list[str], face: str) -> tuple[list[str], float]:
    """The rows that allow the largest type, fewer rows being worth a little; the last word is cut if nothing fits."""
    if not words:
        return [], _SMALLEST
    choices = []
    for count in range(1, min(3, len(words)) + 1):
        rows = _balanced(words, count, face)
        widest = max(_width(row, face, 100.0, 0.01) for row in rows)
        size = min(_LARGEST - 14 * (count - 1), 100.0 * _WIDEST / widest)
        choices.append((size * (1.0, 0.86, 0.7)[count - 1], size, rows))
    _, size, rows = max(choices, key=lambda choice: choice[0])
    if size < _SMALLEST:
        rows = [_cut(row, face) for row in rows]
        size = _SMALLEST
    return rows, size


def _cut(row: str, face: str) -> str:
    if _width(row, face, _SMALLEST, 0.01) <= _WIDEST:
        return row
    while row and _width(row + "…", face, _SMALLEST, 0.01) > _WIDEST:
        row = row[:-1]
    return row.rstrip() + "…"


def _balanced(words: list[str], count: int, face: str) -> list[str]:
    """The words in ``count`` rows whose widest is as narrow as possible."""
    if count == 1:
        return [" ".join(words)]
    best: tuple[float, list[str]] | None = None
    for cut in range(1, len(words) - count + 2):
        rows = [" ".join(words[:cut]), *_balanced(words[cut:], count - 1, face)]
        widest = max(_width(row, face, 100.0, 0.01) for row in rows)
        if best is None or widest < best[0]:
            best = (widest, rows)
    return best[1] if best else [" ".join(words)]


def _advances(text: str, face: str, size: float, tracking: float) -> tuple[Any, list[int], list[float]]:
    """Font, glyphs and the x of each glyph, kerned; the last x is the width."""
    typeface = _typeface(face)
    font = skia.Font(typeface, size)
    font.setSubpixel(True)
    font.setHinting(skia.FontHinting.kNone)
    glyphs = [int(glyph) for glyph in typeface.unicharsToGlyphs([ord(letter) for letter in text])]
    kerning = [*typeface.getKerningPairAdjustments(glyphs), 0] if len(glyphs) > 1 else [0]
    x = 0.0
    places = [0.0]
    for width, kern in zip(font.getWidths(glyphs), kerning, strict=False):
        x += width + kern * size / typeface.getUnitsPerEm() + tracking * size
        places.append(x)
    return font, glyphs, places


def _width(text: str, face: str, size: float, tracking: float) -> float:
    return _advances(text, face, size, tracking)[2][-1] if text else 0.0


def _outline(text: str, face: str, size: float, tracking: float, baseline: float) -> SetLine:
    font, glyphs, places = _advances(text, face, size, tracking)
    path = skia.Path()
    for glyph, x in zip(glyphs, places, strict=False):
        shape = font.getPath(glyph)
        if shape is not None:
            path.addPath(shape, MARGIN + x, baseline)
    box = path.computeTightBounds()
    return SetLine(text=text, path=path, left=box.left(), top=box.top(), right=box.right(), bottom=box.bottom())
