"""Scenes of the night: the synthwave sun, a city, lights out of focus, the moon above clouds."""

import math

import numpy as np
import skia

from studio.art.brush import (
    SIDE,
    Easel,
    around,
    down,
    draw_pixels,
    fill,
    fractal_noise,
    glow,
    ground,
    oval,
    polygon,
    rect,
    ridge,
    stars,
    stroke,
)
from studio.art.palette import Colour, blend


def retro_sun(easel: Easel) -> None:
    """A striped sun behind black hills above a glowing grid."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    horizon = rng.uniform(560, 620)
    c.drawPaint(
        down(0, horizon, [(0, p.deep, 1), (0.5, p.dusk, 1), (0.86, p.mid, 1), (1, blend(p.mid, p.glow, 0.7), 1)])
    )
    stars(easel, horizon * 0.75, 190)
    x, radius = rng.choice((500.0, 500.0, rng.uniform(380, 620))), rng.uniform(190, 235)
    y = horizon - radius * rng.uniform(0.62, 0.9)
    glow(easel, (x, y), radius * 2.3, p.mid, 0.8)
    _striped_sun(easel, x, y, radius)
    for k in range(2):
        skyline = ridge(rng, horizon - 14 - 26 * (1 - k), 46 - 14 * k, 0.55)
        c.drawPath(ground(skyline, horizon + 1), fill(blend(p.dusk, p.deep, 0.35 + 0.6 * k)))
    _grid(easel, x, horizon)


def _striped_sun(easel: Easel, x: float, y: float, radius: float) -> None:
    """The disc from light to the accent, cut by dark stripes that widen downwards."""
    c, p = easel.canvas, easel.palette
    c.save()
    stripes = skia.Path()
    count = 7
    for k in range(count):
        t = k / (count - 1)
        stripes.addRect(rect(x - radius, y + radius * (0.04 + 0.9 * t), 2 * radius, 3 + 19 * t))
    c.clipPath(stripes, skia.ClipOp.kDifference, doAntiAlias=True)
    shades = [(0, p.light, 1.0), (0.45, p.glow, 1.0), (1, p.mid, 1.0)]
    c.drawCircle(x, y, radius, down(y - radius, y + radius, shades))
    c.restore()


def _grid(easel: Easel, x: float, horizon: float) -> None:
    """The floor in perspective: lines to the vanishing point and rows that gather at the horizon."""
    c, p = easel.canvas, easel.palette
    c.drawRect(
        rect(0, horizon, SIDE, SIDE),
        down(horizon, SIDE, [(0, blend(p.dusk, p.mid, 0.3), 1), (0.5, p.deep, 1), (1, p.deep, 1)]),
    )
    line = blend(p.mid, p.glow, 0.55)
    c.save()
    c.clipRect(rect(0, horizon, SIDE, SIDE - horizon))
    for width, alpha, blur in ((6.0, 0.35, 5.0), (1.7, 0.95, 0.0)):
        for k in range(-24, 25):
            c.drawLine(x + 14 * k, horizon, x + 210 * k, SIDE + 100, stroke(line, width, alpha, blur=blur))
        for k in range(1, 22):
            y = horizon + 5.0 * 1.235**k
            c.drawLine(0, y, SIDE, y, stroke(line, width * min(1.0, 0.4 + k / 18), alpha, blur=blur))
    c.drawRect(rect(0, horizon, SIDE, 90), down(horizon, horizon + 90, [(0, p.glow, 0.55), (1, p.mid, 0)]))
    c.restore()


def city(easel: Easel) -> None:
    """Rows of towers with lit windows before a large moon, and their haze."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(down(0, 780, [(0, p.deep, 1), (0.45, p.dusk, 1), (0.8, p.mid, 1), (1, blend(p.mid, p.glow, 0.8), 1)]))
    stars(easel, 380, 110)
    moon = (rng.uniform(280, 720), rng.uniform(250, 370))
    radius = rng.uniform(100, 165)
    glow(easel, moon, radius * 2.8, p.glow, 0.6)
    c.drawCircle(*moon, radius, down(moon[1] - radius, moon[1] + radius, [(0, p.light, 1), (1, p.glow, 1)]))
    rows = 4
    for k in range(rows):
        t = k / (rows - 1)
        colour = blend(blend(p.mid, p.dusk, 0.55), p.deep, t**0.8)
        _towers(
            easel, ground_y=720 + 60 * k, tallest=390 - 45 * k, width=48 + 26 * k, colour=colour, lit=0.1 + 0.26 * t
        )
        haze = blend(p.mid, p.glow, 0.35)
        c.drawRect(rect(0, 480, SIDE, 520), down(520, 860, [(0, haze, 0), (1, haze, 0.28 * (1 - t))]))
    c.drawRect(rect(0, 880, SIDE, 120), fill(p.deep))


def _towers(easel: Easel, *, ground_y: float, tallest: float, width: float, colour: Colour, lit: float) -> None:
    c, p, rng = easel.canvas, easel.palette, easel.rng
    x = -rng.uniform(0, width)
    while x < SIDE:
        w = width * rng.uniform(0.7, 1.7)
        middle = 1 - 0.45 * abs((x + w / 2) / SIDE - 0.5)
        h = tallest * rng.uniform(0.3, 1.0) * middle
        top = ground_y - h
        c.drawRect(rect(x, top, w, SIDE - top), fill(colour))
        if rng.random() < 0.3:
            c.drawRect(rect(x + w * 0.2, top - 16, w * 0.6, 17), fill(colour))
        if rng.random() < 0.25:
            c.drawLine(x + w / 2, top, x + w / 2, top - rng.uniform(25, 60), stroke(colour, 2.4))
        step = width / 5.2
        for row in range(int(h / (step * 1.35)) + 4):
            for column in range(int((w - step * 0.8) / step)):
                if rng.random() < lit:
                    tint = p.light if rng.random() < 0.4 else p.glow
                    pane = rect(x + step * (0.7 + column), top + step * (0.9 + 1.35 * row), step * 0.48, step * 0.72)
                    c.drawRect(pane, fill(tint, rng.uniform(0.35, 0.95)))
        x += w + rng.choice((0, 0, width * 0.12))


def bokeh(easel: Easel) -> None:
    """Lights of a street out of focus, seen through a wet window."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(down(0, SIDE, [(0, p.deep, 1), (0.55, blend(p.deep, p.dusk, 0.85), 1), (1, p.deep, 1)]))
    for _ in range(9):
        at = (rng.uniform(-50, 1050), rng.uniform(150, 700))
        glow(easel, at, rng.uniform(200, 420), rng.choice((p.dusk, p.mid, p.mid)), 0.55)
    tints = (p.mid, p.glow, p.glow, p.light, blend(p.mid, p.glow, 0.5))
    for count, least, most, strength, blur in (
        (13, 60, 125, 0.15, 7.0),
        (26, 26, 64, 0.3, 2.2),
        (34, 7, 22, 0.55, 0.8),
    ):
        for _ in range(count):
            x, y = rng.uniform(-20, 1020), min(920.0, max(20.0, rng.gauss(430, 190)))
            r, tint = rng.uniform(least, most), rng.choice(tints)
            c.drawCircle(x, y, r, fill(tint, strength * rng.uniform(0.55, 1.1), blur=blur, mode=skia.BlendMode.kScreen))
            rim = stroke(blend(tint, p.light, 0.5), max(1.0, r * 0.045), strength * 0.75, blur=blur / 2)
            c.drawCircle(x, y, r * 0.97, rim)
    for _ in range(rng.choice((0, 110, 150))):
        _drop(easel, rng.uniform(0, SIDE), rng.uniform(0, SIDE), 1.5 + 5.5 * rng.random() ** 3)


def _drop(easel: Easel, x: float, y: float, size: float) -> None:
    """A drop on the pane: dark above, lit below, and sometimes its trail."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    if size > 4.5:
        trail = down(y - 60 * size / 5, y, [(0, p.light, 0), (1, p.light, 0.13)])
        c.drawRect(rect(x - size * 0.3, y - 60 * size / 5, size * 0.6, 60 * size / 5), trail)
    c.drawOval(oval(x, y, size * 1.7, size * 2), fill(p.deep, 0.35))
    c.drawOval(oval(x, y + size * 0.35, size * 1.1, size), fill(p.light, 0.35 + 0.2 * rng.random()))


def moon_clouds(easel: Easel) -> None:
    """A large moon with its seas, above banks of cloud."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    c.drawPaint(down(0, SIDE, [(0, p.deep, 1), (0.5, p.dusk, 1), (1, blend(p.dusk, p.mid, 0.7), 1)]))
    stars(easel, 760, 240)
    centre = (rng.uniform(340, 660), rng.uniform(300, 380))
    radius = rng.uniform(150, 205)
    glow(easel, centre, radius * 2.9, blend(p.glow, p.light, 0.4), 0.6)
    _moon(easel, centre, radius)
    noise = easel.noise()
    size = 300
    field = fractal_noise(noise, size, 3, 6)
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    for k in range(3):
        shifted = np.roll(field, 67 * k, axis=1) if k % 2 else field[:, ::-1]
        level = 0.60 + 0.13 * k
        density = np.clip((shifted - 0.47) * 3.0 + (y - level) * 5.5, 0, 1)
        tint = np.array(blend(blend(p.mid, p.glow, 0.35), p.deep, (0.1, 0.48, 0.85)[k]), np.float32)
        bright = np.array(blend(p.light, p.glow, 0.5), np.float32)
        rim = (np.clip(1 - abs(density - 0.35) / 0.35, 0, 1) * (0.55 - 0.17 * k))[..., None]
        pixels = np.empty((size, size, 4), np.uint8)
        pixels[..., :3] = tint * (1 - rim) + bright * rim
        pixels[..., 3] = 255 * density**0.8
        draw_pixels(easel, pixels)


def _moon(easel: Easel, centre: tuple[float, float], radius: float) -> None:
    c, p, rng = easel.canvas, easel.palette, easel.rng
    x, y = centre
    c.save()
    disc = skia.Path()
    disc.addCircle(x, y, radius)
    c.clipPath(disc, skia.ClipOp.kIntersect, doAntiAlias=True)
    c.drawCircle(x, y, radius, down(y - radius, y + radius, [(0, p.light, 1), (1, blend(p.light, p.glow, 0.75), 1)]))
    sea = blend(p.glow, p.mid, 0.35)
    for _ in range(13):
        angle, far = rng.uniform(0, math.tau), radius * math.sqrt(rng.random()) * 0.85
        r = radius * rng.uniform(0.07, 0.3)
        c.drawOval(
            oval(x + far * math.cos(angle), y + far * math.sin(angle), 2 * r, 1.7 * r),
            fill(sea, 0.28, blur=radius * 0.05),
        )
    side = rng.choice((-1, 1))
    c.drawCircle(
        x + side * radius * 0.55, y + radius * 0.2, radius * 1.25, stroke(p.deep, radius * 0.8, 0.16, blur=radius * 0.3)
    )
    c.restore()


def burst(easel: Easel) -> None:
    """Blades of light from one bright point, fading outwards."""
    c, p, rng = easel.canvas, easel.palette, easel.rng
    centre = (rng.uniform(380, 620), rng.uniform(330, 430))
    c.drawPaint(down(0, SIDE, [(0, blend(p.deep, p.dusk, 0.8), 1), (1, p.deep, 1)]))
    glow(easel, centre, 760, p.mid, 0.9)
    count = rng.randint(34, 46)
    for k in range(count):
        angle = math.tau * k / count + rng.uniform(-0.1, 0.1)
        spread, length = rng.uniform(0.02, 0.13), rng.uniform(300, 900)
        tint = rng.choice((p.mid, p.mid, p.glow, p.glow, p.light))
        ends = [
            (centre[0] + reach * math.cos(angle + turn), centre[1] + reach * math.sin(angle + turn))
            for reach, turn in ((length, -spread), (length * rng.uniform(0.7, 1.0), spread))
        ]
        alpha = rng.uniform(0.35, 0.95)
        fade = [(0, tint, alpha), (0.5, tint, alpha * 0.7), (1, blend(tint, p.dusk, 0.5), alpha * 0.12)]
        c.drawPath(polygon([centre, *ends]), around(centre, length, fade, mode=skia.BlendMode.kScreen))
    for _ in range(70):
        angle, far = rng.uniform(0, math.tau), 60 + 620 * rng.random() ** 1.5
        spark = (centre[0] + far * math.cos(angle), centre[1] + far * math.sin(angle))
        c.drawCircle(*spark, rng.uniform(1.2, 4.2), fill(p.light, rng.uniform(0.3, 0.95), blur=0.8))
    glow(easel, centre, 300, p.light, 1.0)
