"""Scenes of land and water: mountains, ocean, forest, dunes."""

import math

import skia

from studio.art.brush import (
    SIDE,
    Easel,
    across,
    down,
    fill,
    glow,
    ground,
    hills,
    oval,
    polygon,
    rect,
    ridge,
    stars,
    stroke,
)
from studio.art.palette import blend


def mountains(easel: Easel) -> None:
    """Layered ridges with mist between them under a low sun."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    night = rng.random() < 0.35
    horizon = blend(p.mid, p.glow, 0.6) if night else blend(p.glow, p.light, 0.75)
    top = p.deep if night else blend(p.mid, p.dusk, 0.45)
    middle = p.dusk if night else blend(p.mid, p.glow, 0.7)
    c.drawPaint(down(0, 620, [(0, top, 1), (0.5, middle, 1), (1, horizon, 1)]))
    if night:
        stars(easel, 520, 170)
    sun = (rng.uniform(260, 740), rng.uniform(230, 370))
    radius = rng.uniform(58, 100)
    glow(easel, sun, radius * 5.5, p.light, 0.7)
    face = [(0, p.light, 1.0), (1, blend(p.light, p.glow, 0.45), 1.0)]
    c.drawCircle(*sun, radius, down(sun[1] - radius, sun[1] + radius, face))
    shades = (blend(horizon, p.mid, 0.42), p.mid, blend(p.mid, p.dusk, 0.6), p.dusk, blend(p.dusk, p.deep, 0.6), p.deep)
    for k, colour in enumerate(shades):
        base = 440 + 82 * k
        skyline = ridge(rng, base, 100 - 8 * k, 0.5)
        mist = blend(colour, horizon, 0.5 * (1 - k / 5))
        c.drawPath(ground(skyline), down(min(skyline), base + 170, [(0, colour, 1), (1, mist, 1)]))
    _birds(easel, sun)


def _birds(easel: Easel, sun: tuple[float, float]) -> None:
    """A few birds beside the sun, each two short arcs."""
    rng = easel.rng
    side = 1 if sun[0] < 500 else -1
    x, y = sun[0] + side * rng.uniform(190, 300), sun[1] + rng.uniform(-90, 10)
    for _ in range(rng.choice((0, 3, 5))):
        bx, by, s = x + rng.uniform(-80, 80), y + rng.uniform(-35, 35), rng.uniform(8, 15)
        for wing in (-1, 1):
            path = skia.Path()
            path.moveTo(bx, by)
            path.quadTo(bx + wing * s * 0.45, by - s * 0.6, bx + wing * s, by - s * 0.15)
            easel.canvas.drawPath(path, stroke(easel.palette.deep, 2.1, 0.7))


def ocean(easel: Easel) -> None:
    """A sun or moon over the sea and its path of light on the waves."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    horizon = rng.uniform(520, 580)
    c.drawPaint(
        down(0, horizon, [(0, p.deep, 1), (0.45, p.dusk, 1), (0.8, p.mid, 1), (1, blend(p.mid, p.glow, 0.75), 1)])
    )
    stars(easel, horizon * 0.6, 90)
    x, radius = rng.uniform(330, 670), rng.uniform(85, 135)
    y = horizon - rng.uniform(-0.25, 1.5) * radius
    for k in range(7):
        cy = rng.uniform(0.25, 0.95) * horizon
        width, tint = rng.uniform(180, 520), blend(p.glow, p.light, rng.random())
        c.drawOval(oval(rng.uniform(0, SIDE), cy, width, rng.uniform(3, 10)), fill(tint, 0.16 + 0.05 * (k % 3), blur=9))
    glow(easel, (x, y), radius * 4.2, p.glow, 0.6)
    c.save()
    c.clipRect(rect(0, 0, SIDE, horizon))
    c.drawCircle(x, y, radius, down(y - radius, y + radius, [(0, p.light, 1), (1, blend(p.light, p.glow, 0.8), 1)]))
    c.restore()
    sea = [(0, blend(p.mid, p.dusk, 0.35), 1), (0.25, p.dusk, 1), (1, p.deep, 1)]
    c.drawRect(rect(0, horizon, SIDE, SIDE - horizon), down(horizon, SIDE, sea))
    _light_path(easel, x, horizon, radius)


def _light_path(easel: Easel, x: float, horizon: float, radius: float) -> None:
    """Strokes of light on the water, wider and sparser towards the shore, and darker ripples beside them."""
    rng, p = easel.rng, easel.palette
    for k in range(300):
        t = rng.random() ** 1.5
        y = horizon + 3 + t * (SIDE - horizon)
        spread = radius * (0.55 + 1.1 * t)
        dx = rng.gauss(0, 0.5) * spread
        length = (14 + 70 * t) * rng.uniform(0.5, 1.3)
        alpha = 0.75 * math.exp(-((dx / spread) ** 2) * 2.2) * (1 - 0.55 * t)
        colour = p.light if k % 3 else p.glow
        easel.canvas.drawOval(oval(x + dx, y, length, 1.2 + 3.6 * t), fill(colour, alpha))
    for _ in range(120):
        t = rng.random()
        y = horizon + 4 + t * (SIDE - horizon)
        easel.canvas.drawOval(oval(rng.uniform(0, SIDE), y, 40 + 130 * t, 1 + 2.4 * t), fill(p.deep, 0.22))


def forest(easel: Easel) -> None:
    """Rows of firs that fade into the mist, with light falling from above."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    pale = blend(p.light, p.glow, 0.25)
    c.drawPaint(
        down(
            0,
            SIDE,
            [(0, blend(p.mid, p.dusk, 0.4), 1), (0.42, pale, 1), (0.7, blend(pale, p.mid, 0.6), 1), (1, p.dusk, 1)],
        )
    )
    sun = (rng.uniform(250, 750), rng.uniform(230, 340))
    glow(easel, sun, 420, p.light, 0.85)
    c.drawCircle(*sun, 62, fill(p.light, 0.95, blur=3))
    rows = 5
    for k in range(rows):
        t = k / (rows - 1)
        base = 500 + 112 * k
        colour = blend(blend(p.mid, pale, 0.62), p.deep, t**0.9)
        skyline = hills(rng, base, 26)
        size = 110 + 210 * t
        x = rng.uniform(-60, 0)
        while x < SIDE + 60:
            at = min(256, max(0, round(256 * x / SIDE)))
            _fir(easel, x, skyline[at] + 12, size * rng.uniform(0.55, 1.15), colour)
            x += size * rng.uniform(0.16, 0.42)
        c.drawPath(ground(skyline), fill(colour))
        c.drawRect(
            rect(0, base - 20, SIDE, 170), down(base - 20, base + 150, [(0, pale, 0), (1, pale, 0.30 * (1 - t))])
        )
    _shafts(easel, sun)


def _fir(easel: Easel, x: float, foot: float, height: float, colour: tuple[int, int, int]) -> None:
    """One fir: tiers of drooping branches, drawn as a jagged triangle."""
    rng = easel.rng
    tiers = 9
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    for k in range(tiers):
        t = (k + 1) / tiers
        y = foot - height * (1 - t)
        half = 0.17 * height * t**0.9 * rng.uniform(0.82, 1.12)
        left += [(x - half, y + 0.03 * height), (x - half * 0.5, y)]
        right += [(x + half, y + 0.03 * height), (x + half * 0.5, y)]
    easel.canvas.drawPath(polygon([(x, foot - height), *right, *reversed(left)]), fill(colour))


def _shafts(easel: Easel, sun: tuple[float, float]) -> None:
    """Beams of light from the sun through the trees."""
    rng, p = easel.rng, easel.palette
    for _ in range(7):
        angle = rng.uniform(0.2, math.pi - 0.2)
        length, width = rng.uniform(450, 800), rng.uniform(0.02, 0.06)
        ends = [(sun[0] + length * math.cos(angle + w), sun[1] + length * math.sin(angle + w)) for w in (-width, width)]
        tip = (sun[0] + length * math.cos(angle), sun[1] + length * math.sin(angle))
        paint = across(sun, tip, [(0, p.light, 0.20), (1, p.light, 0)], blur=8)
        easel.canvas.drawPath(polygon([sun, *ends]), paint)


def dunes(easel: Easel) -> None:
    """Smooth dunes, each with a lit and a shaded slope, under a wide sky."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(down(0, 600, [(0, blend(p.mid, p.dusk, 0.3), 1), (0.6, p.glow, 1), (1, p.light, 1)]))
    sun = (rng.uniform(200, 800), rng.uniform(180, 330))
    radius = rng.uniform(60, 120)
    glow(easel, sun, radius * 4, p.light, 0.5)
    c.drawCircle(*sun, radius, fill(p.light, 0.96))
    count = 5
    for k in range(count):
        t = k / (count - 1)
        base = 500 + 105 * k
        crest = hills(rng, base, 62, waves=2)
        lit = blend(blend(p.glow, p.light, 0.3), p.dusk, 0.15 + 0.75 * t)
        shade = blend(blend(p.mid, p.glow, 0.25), p.deep, 0.2 + 0.75 * t)
        c.drawPath(ground(crest), down(min(crest), base + 260, [(0, lit, 1), (1, shade, 1)]))
        swing, phase = rng.uniform(50, 120), rng.uniform(0, math.tau)
        slope = [y + max(0.0, swing * math.sin(math.pi * i / 110 + phase)) + 3 for i, y in enumerate(crest)]
        c.drawPath(ground(slope), down(min(crest), base + 300, [(0, shade, 0.85), (1, blend(shade, p.deep, 0.4), 0.6)]))
