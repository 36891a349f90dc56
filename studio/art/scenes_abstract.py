"""Scenes without a place: liquid colour, a geometric poster, rings of a record, ribbons."""

import math
from collections.abc import Callable

import numpy as np
import skia

from studio.art.brush import SIDE, Easel, across, around, down, draw_pixels, fill, glow, ramp_colours, rect, stroke
from studio.art.palette import Colour, blend


def liquid(easel: Easel) -> None:
    """Colours that flow into each other: sines that bend each other's coordinates, lit from one side."""
    rng = easel.rng
    size = 420
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size * rng.uniform(2.6, 4.0)
    tilt = rng.uniform(0, math.tau)
    u, v = x * math.cos(tilt) - y * math.sin(tilt), x * math.sin(tilt) + y * math.cos(tilt)
    for k in range(1, 6):
        a, b = rng.uniform(0, math.tau), rng.uniform(0, math.tau)
        u, v = u + rng.uniform(0.7, 1.05) / k * np.sin(k * v + a), v + rng.uniform(0.7, 1.05) / k * np.cos(k * u + b)
    height = (0.5 + 0.5 * np.sin(u * 1.25 + 0.6 * np.cos(v))).astype(np.float32)
    slope_y, slope_x = np.gradient(height)
    light = np.clip((slope_x - slope_y) * 9.0, -0.28, 0.42)[..., None]
    colours = ramp_colours(easel.palette, (0.04 + 0.9 * height**1.25).astype(np.float32))
    lit = colours * (1 + np.minimum(light, 0)) + (255 - colours) * np.maximum(light, 0)
    pixels = np.full((size, size, 4), 255, np.uint8)
    pixels[..., :3] = np.clip(lit, 0, 255)
    draw_pixels(easel, pixels)


def poster(easel: Easel) -> None:
    """A grid of quarter circles, discs and bars in flat colours, as on a mid-century record sleeve."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    paper = blend(p.light, p.glow, 0.08)
    c.drawPaint(fill(paper))
    cells = rng.choice((4, 5))
    side = SIDE / cells
    tints = (p.deep, p.dusk, p.mid, p.glow, paper)
    before: Colour = paper
    for row in range(cells):
        for column in range(cells):
            back = rng.choice([tint for tint in tints if tint != before])
            front = rng.choice([tint for tint in tints if tint != back])
            before = back
            c.save()
            c.translate(column * side, row * side)
            c.clipRect(rect(0, 0, side, side))
            c.drawRect(rect(0, 0, side + 1, side + 1), fill(back))
            c.rotate(90 * rng.randrange(4), side / 2, side / 2)
            rng.choice(_TILES)(easel, side, front, rng.choice(tints))
            c.restore()


def _quarter(easel: Easel, side: float, front: Colour, second: Colour) -> None:
    easel.canvas.drawCircle(0, 0, side, fill(front))
    if second != front:
        easel.canvas.drawCircle(0, 0, side * 0.5, fill(second))


def _disc(easel: Easel, side: float, front: Colour, second: Colour) -> None:
    easel.canvas.drawCircle(side / 2, side / 2, side * 0.36, fill(front))
    easel.canvas.drawCircle(side / 2, side / 2, side * 0.13, fill(second))


def _halves(easel: Easel, side: float, front: Colour, second: Colour) -> None:
    easel.canvas.drawCircle(0, side / 2, side / 2, fill(front))
    easel.canvas.drawCircle(side, side / 2, side / 2, fill(second))


def _bars(easel: Easel, side: float, front: Colour, second: Colour) -> None:
    for k in range(4):
        easel.canvas.drawRect(rect(0, side * (0.06 + 0.25 * k), side, side * 0.125), fill(front if k % 2 else second))


def _leaf(easel: Easel, side: float, front: Colour, second: Colour) -> None:
    path = skia.Path()
    path.moveTo(0, 0)
    path.arcTo(side, side, 0, skia.Path.kSmall_ArcSize, skia.PathDirection.kCW, side, side)
    path.arcTo(side, side, 0, skia.Path.kSmall_ArcSize, skia.PathDirection.kCW, 0, 0)
    easel.canvas.drawPath(path, fill(front))
    easel.canvas.drawCircle(side * 0.5, side * 0.5, side * 0.1, fill(second))


_TILES: tuple[Callable[[Easel, float, Colour, Colour], None], ...] = (_quarter, _quarter, _disc, _halves, _bars, _leaf)


def rings(easel: Easel) -> None:
    """Concentric rings around a point off the middle: a record, a ripple, a sound."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(down(0, SIDE, [(0, blend(p.deep, p.dusk, 0.75), 1), (1, p.deep, 1)]))
    centre = (rng.uniform(330, 670), rng.uniform(300, 440))
    glow(easel, centre, 700, p.mid, 0.55)
    radius = rng.uniform(420, 520)
    while radius > 92:
        width = rng.choice((3.0, 5.0, 9.0, 16.0, 26.0))
        tint = rng.choice((p.dusk, p.mid, p.mid, p.glow, p.light))
        start, sweep = rng.uniform(0, 360), rng.choice((360.0, 360.0, rng.uniform(120, 330)))
        frame = rect(centre[0] - radius, centre[1] - radius, 2 * radius, 2 * radius)
        paint = stroke(tint, width, rng.uniform(0.55, 1.0))
        shade = blend(tint, p.deep, 0.55)
        turn = math.radians(start)
        far = (centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn))
        near = (2 * centre[0] - far[0], 2 * centre[1] - far[1])
        paint.setShader(across(far, near, [(0, tint, 1), (1, shade, 1)]).getShader())
        c.drawArc(frame, start, sweep, False, paint)  # noqa: FBT003 - skia takes it by position only
        radius -= width + rng.choice((6.0, 10.0, 18.0))
    c.drawCircle(
        *centre, 74, around(centre, 74, [(0, p.light, 1), (0.55, p.glow, 1), (1, blend(p.glow, p.mid, 0.5), 1)])
    )
    c.drawCircle(*centre, 11, fill(p.deep))


def ribbons(easel: Easel) -> None:
    """Many fine lines that swing together, like silk or like strings."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(across((0, 0), (SIDE, SIDE), [(0, blend(p.deep, p.dusk, 0.55), 1), (0.6, p.deep, 1), (1, p.deep, 1)]))
    glow(easel, (rng.uniform(250, 750), rng.uniform(250, 500)), 560, p.dusk, 0.9)
    for _ in range(3):
        phases = [rng.uniform(0, math.tau) for _ in range(4)]
        base, swing = rng.uniform(300, 520), rng.uniform(110, 210)
        first, second = rng.choice(((p.mid, p.glow), (p.glow, p.light), (p.dusk, p.mid), (p.mid, p.light)))
        lines = 58
        for k in range(lines):
            t = k / (lines - 1)
            path = skia.Path()
            for i in range(0, 101, 2):
                s = i / 100
                wave = math.sin(math.tau * (0.75 * s) + phases[0] + 1.5 * t) + 0.5 * math.sin(
                    math.tau * (1.6 * s) + phases[1] + 2.6 * t
                )
                pinch = 0.35 + 0.65 * abs(math.sin(math.pi * s * 1.1 + phases[2] + 0.8 * t))
                point = (-20 + 1040 * s, base + swing * wave * 0.7 + (t - 0.5) * 330 * pinch)
                path.lineTo(*point) if i else path.moveTo(*point)
            paint = stroke(blend(first, second, t), 1.9, 0.2 + 0.6 * math.sin(math.pi * t))
            paint.setBlendMode(skia.BlendMode.kScreen)
            c.drawPath(path, paint)


def sunrise(easel: Easel) -> None:
    """Broad bands of colour that rise around a half sun: a poster of arcs."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(fill(blend(p.light, p.glow, 0.12)))
    centre = (rng.choice((500.0, rng.uniform(250, 750))), rng.uniform(610, 690))
    bands = [p.dusk, blend(p.dusk, p.mid, 0.5), p.mid, blend(p.mid, p.glow, 0.5), p.glow, blend(p.glow, p.light, 0.6)]
    step = rng.uniform(68, 88)
    for k, tint in enumerate(bands):
        radius = step * (len(bands) - k) + 36
        c.drawCircle(*centre, radius, fill(tint))
        c.drawCircle(*centre, radius, stroke(blend(tint, p.light, 0.35), 2.0, 0.5))
    c.drawCircle(*centre, 62, fill(p.light))
    for k in range(4):
        y = centre[1] + 6 + 88 * k
        path = skia.Path()
        path.moveTo(-10, SIDE + 10)
        phase = rng.uniform(0, math.tau)
        for i in range(101):
            path.lineTo(-10 + 10.2 * i, y + 15 * math.sin(math.tau * i / 50 + phase))
        path.lineTo(SIDE + 10, SIDE + 10)
        path.close()
        c.drawPath(path, fill(blend(p.dusk, p.deep, 0.25 + 0.25 * k)))
