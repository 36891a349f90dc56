"""The drummer: grooves that grow with the song, ghost notes, fills where sections meet."""

import random

from studio.music.chance import generator, weighted
from studio.music.form import Passage
from studio.music.genres import genre_of
from studio.music.grooves import CLAP, CRASH, DRUMS, HAT, KICK, OPEN, PEDAL, RIDE, RIM, SHAKER, SNARE, TOMS, Rows
from studio.music.harmony import Sketch
from studio.music.rhythm import Draft
from studio.music.score import Part

_STEP = 0.25
_TIMEKEEPERS = {HAT, RIDE, SHAKER, PEDAL, OPEN}


def play_drums(sketch: Sketch) -> list[Draft]:
    """The drum part. It depends on the genre, the seed and the form, not on the words."""
    genre, passages = sketch.genre, sketch.passages
    rng = generator("drums", sketch.seed, genre)
    source = rng.choice(genre_of(genre).neighbours) if rng.random() < 0.4 * sketch.temperature else genre
    grooves = DRUMS.get(source, DRUMS["pop"])
    verse, chorus = weighted(rng, [(pair, 1.0 / (1 + 0.3 * at)) for at, pair in enumerate(grooves)], sketch.temperature)
    drafts: list[Draft] = []
    for at, passage in enumerate(passages):
        following = passages[at + 1] if at + 1 < len(passages) else None
        own = generator("drum fills", sketch.seed, genre, passage.name, passage.turn)
        rows = chorus if passage.energy >= 0.74 else verse
        drafts += _passage(passage, following, sketch, rows, own, soft=genre in {"ambient", "jazz", "folk"})
    return drafts


def _passage(
    passage: Passage, following: Passage | None, sketch: Sketch, rows: Rows, rng: random.Random, *, soft: bool
) -> list[Draft]:
    drafts: list[Draft] = []
    last = sketch.played_bars(passage).stop
    if passage.energy > 0.8 and not soft:
        drafts.append(_hit(passage.start_bar * 4.0, CRASH, 0.7, 1.5))
    pickup = rng.choice((None, 7, 11, 15))
    for bar in range(passage.start_bar, last):
        turn = bar == last - 1 and passage.bars >= 4 and following is not None
        fill_from = _fill_start(passage, following, soft=soft) if turn else 16
        drafts += _bar(bar, passage, rows, fill_from, rng)
        if pickup is not None and (bar - passage.start_bar) % 4 == 3 and fill_from > pickup and KICK in rows:
            drafts.append(_hit(bar * 4.0 + pickup * _STEP, KICK, 0.5))
        if fill_from < 16:
            rising = following is not None and following.energy > passage.energy
            drafts += _fill(bar, fill_from, rng, rising=rising)
    if passage.final:
        start = last * 4.0
        drafts.append(_hit(start, KICK, 0.5 if soft else 0.8))
        drafts.append(_hit(start, RIDE if soft else CRASH, 0.4 if soft else 0.6, 2.0))
    return drafts


def _fill_start(passage: Passage, following: Passage | None, *, soft: bool) -> int:
    """The step at which the fill begins: earlier before a lift, none in the quiet genres' quiet parts."""
    if following is None or (soft and passage.energy < 0.7):
        return 16
    if following.energy > passage.energy + 0.25:
        return 8
    return 12


def _bar(bar: int, passage: Passage, rows: Rows, fill_from: int, rng: random.Random) -> list[Draft]:
    """One bar of the groove, thinned out while the song is quiet."""
    drafts: list[Draft] = []
    place = bar - passage.start_bar
    sparse = passage.name in {"intro", "break"} and place < passage.bars / 2
    loud = 0.6 + 0.4 * passage.energy
    for key, steps in rows.items():
        if sparse and key not in _TIMEKEEPERS:
            continue
        played = RIM if key == SNARE and passage.energy < 0.46 else key
        for step, mark in enumerate(steps):
            if mark == "." or (step >= fill_from and key not in {KICK}) or (step >= fill_from and step % 4):
                continue
            accent = int(mark) / 9 * loud * (0.6 if sparse else 1.0)
            drafts.append(_hit(bar * 4.0 + step * _STEP, played, accent, 0.5 if key == OPEN else 0.2))
    if passage.energy > 0.6 and SNARE in rows and fill_from == 16 and rng.random() < 0.45:
        drafts.append(_hit(bar * 4.0 + rng.choice((7, 9, 15)) * _STEP, SNARE, 0.15))
    return drafts


def _fill(bar: int, fill_from: int, rng: random.Random, *, rising: bool) -> list[Draft]:
    """A run over snare and toms that grows into the next section."""
    kind = rng.choice(("toms", "snare", "both", "breath"))
    steps = [step for step in range(fill_from, 16) if step >= 12 or step % 2 == 0]
    if kind == "breath":
        return [_hit(bar * 4.0 + 15 * _STEP, OPEN, 0.55), _hit(bar * 4.0 + 12 * _STEP, SNARE, 0.7)]
    drafts: list[Draft] = []
    for n, step in enumerate(steps):
        place = n / max(1, len(steps) - 1)
        key = SNARE if kind == "snare" or (kind == "both" and place < 0.5) else TOMS[min(3, int(place * 4))]
        drafts.append(_hit(bar * 4.0 + step * _STEP, key, 0.42 + 0.4 * place))
    if rising:
        drafts += [_hit(bar * 4.0 + (step + 0.5) * _STEP, SNARE, 0.45) for step in (14, 15) if kind == "snare"]
        drafts.append(_hit(bar * 4.0 + 15 * _STEP, CLAP if kind == "snare" else SNARE, 0.6))
    return drafts


def _hit(beats: float, key: int, velocity: float, length_beats: float = 0.2) -> Draft:
    return Draft(Part.DRUMS, beats, length_beats, key, velocity)
