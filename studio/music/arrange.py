"""The band: bass, keys, pad, arpeggio and answering lead, louder and thicker as the song asks for it."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from studio.music.chance import generator, weighted
from studio.music.genres import genre_of
from studio.music.grooves import ARPEGGIO_STYLE, ARPEGGIOS, BASS, KEYS
from studio.music.harmony import ChordTrack, Sketch, Slot
from studio.music.rhythm import Draft
from studio.music.score import Part
from studio.music.theory import pitches_of

_STEP = 0.25
_STEPS = 16
_RING_BEATS = 40.0
"""Longer than any final chord: `performed` cuts it at the end of the song."""
_BASS_LOW, _BASS_HIGH = 28, 47
_STRUMMED = {"guitar", "powerguitar"}


class _Stroke(NamedTuple):
    """One mark of a pattern: its start and length in beats, and the mark."""

    start_beats: float
    length_beats: float
    mark: str


def _strokes(pattern: str, bar: int) -> list[_Stroke]:
    """The marks of a pattern that sound, each lasting to the next mark or rest."""
    found: list[_Stroke] = []
    for step, mark in enumerate(pattern):
        if mark in ".-":
            continue
        end = next((at for at in range(step + 1, _STEPS) if pattern[at] != "."), _STEPS)
        found.append(_Stroke(bar * 4.0 + step * _STEP, (end - step) * _STEP, mark))
    return found


def _table(tables: Mapping[str, tuple[tuple[str, str], ...]], sketch: Sketch, rng: random.Random) -> tuple[str, str]:
    """A (quiet, full) pair of patterns, now and then from a neighbour genre when guidance is low."""
    borrowed = rng.random() < 0.4 * sketch.temperature
    source = rng.choice(genre_of(sketch.genre).neighbours) if borrowed else sketch.genre
    pairs = tables.get(source, tables["pop"])
    return weighted(rng, [(pair, 1.0 / (1 + 0.3 * at)) for at, pair in enumerate(pairs)], sketch.temperature)


def play_bass(sketch: Sketch) -> list[Draft]:
    """The bass: roots under the kick, octaves and fifths, a step towards each new root."""
    rng = generator("bass", sketch.seed, sketch.genre)
    quiet, full = _table(BASS, sketch, rng)
    drafts: list[Draft] = []
    for passage in sketch.passages:
        bars = sketch.played_bars(passage)
        if passage.name == "intro" and passage.bars >= 4 and not genre_of(sketch.genre).low_keys:
            bars = bars[len(bars) // 2 :]
        pattern = full if passage.energy >= 0.66 else quiet
        for bar in bars:
            drafts += _bass_bar(bar, pattern, sketch.chords, passage.energy, rng)
        if passage.final:
            start = bars.stop * 4.0
            drafts.append(Draft(Part.BASS, start, _RING_BEATS, _root_pitch(sketch.chords.at(start)), 0.75))
    return drafts


def _bass_bar(bar: int, pattern: str, chords: ChordTrack, energy: float, rng: random.Random) -> list[Draft]:
    if pattern == "W":
        return _walked(bar, chords, energy, rng)
    drafts: list[Draft] = []
    strokes = _strokes(pattern, bar)
    second = chords.at(bar * 4.0 + 2)
    if second is not chords.at(bar * 4.0) and not any(s.start_beats == bar * 4.0 + 2 for s in strokes):
        strokes = [s for s in strokes if s.start_beats < bar * 4.0 + 2] + _strokes("........R.......", bar)
    for stroke in strokes:
        slot = chords.at(stroke.start_beats)
        root = _root_pitch(slot)
        pitch = {"O": root + 12, "F": _fifth_pitch(slot, root), "A": _approach(slot, chords, stroke, root)}.get(
            stroke.mark, root
        )
        length = min(stroke.length_beats, slot.end_beats - stroke.start_beats)
        accent = 0.06 if stroke.start_beats % 2 == 0 else 0.0
        drafts.append(Draft(Part.BASS, stroke.start_beats, length * 0.94, pitch, 0.62 + 0.2 * energy + accent))
    return drafts


def _walked(bar: int, chords: ChordTrack, energy: float, rng: random.Random) -> list[Draft]:
    """A walking line: the root, two notes of chord or scale, and a semitone or step into the next root."""
    drafts: list[Draft] = []
    came = _root_pitch(chords.at(bar * 4.0))
    target = _root_pitch(chords.at(bar * 4.0 + 4))
    for beat in range(4):
        slot = chords.at(bar * 4.0 + beat)
        if beat == 0 or slot is not chords.at(bar * 4.0 + beat - 1):
            pitch = _root_pitch(slot)
        elif beat == 3:
            pitch = target + rng.choice((-1, 1, 2, -2) if target < _BASS_HIGH - 2 else (-1, -2))
        else:
            options = [p for p in pitches_of(slot.harmony.tones, _BASS_LOW, _BASS_HIGH + 2) if 0 < abs(p - came) <= 7]
            heading = min(options, key=lambda p: abs(p - target) + rng.random() * 6, default=came)
            pitch = heading
        came = pitch
        drafts.append(Draft(Part.BASS, bar * 4.0 + beat, 0.92, pitch, 0.62 + 0.2 * energy + 0.05 * (beat % 2)))
    return drafts


def _root_pitch(slot: Slot) -> int:
    """The chord's lowest note in the bass register, B0-D2 raised where a small speaker would lose it."""
    pitch = 24 + slot.harmony.bass
    return pitch + 12 if pitch < 31 else pitch


def _fifth_pitch(slot: Slot, root: int) -> int:
    fifth = slot.harmony.tones[2]
    up = root + (fifth - root) % 12
    return up if up <= _BASS_HIGH else up - 12


def _approach(slot: Slot, chords: ChordTrack, stroke: _Stroke, root: int) -> int:
    """A note of the scale one step from the next root, on the near side."""
    target = _root_pitch(chords.at(stroke.start_beats + stroke.length_beats))
    if target == root:
        return _fifth_pitch(slot, root)
    near = pitches_of(slot.harmony.scale, target - 2, target - 1) if target > root else ()
    above = pitches_of(slot.harmony.scale, target + 1, target + 2)
    return near[-1] if near else above[0] if above else root


def play_keys(sketch: Sketch, patch: str) -> list[Draft]:
    """Chords in the genre's manner; folk, ambient and ballads keep a low root so that nothing sounds hollow."""
    rng = generator("keys", sketch.seed, sketch.genre)
    quiet, full = _table(KEYS, sketch, rng)
    low = genre_of(sketch.genre).low_keys
    chords = sketch.chords
    drafts: list[Draft] = []
    for passage in sketch.passages:
        pattern = full if passage.energy >= 0.66 else quiet
        for bar in sketch.played_bars(passage):
            for stroke in _cut_at_chords(_strokes(pattern, bar), chords):
                drafts += _keys_stroke(stroke, chords.at(stroke.start_beats), patch, passage.energy, low=low)
        if passage.final:
            start = sketch.played_bars(passage).stop * 4.0
            drafts += _keys_stroke(_Stroke(start, _RING_BEATS, "D"), chords.at(start), patch, 0.6, low=low)
    return drafts


def _cut_at_chords(strokes: Sequence[_Stroke], chords: ChordTrack) -> list[_Stroke]:
    """Strokes none of which sounds over a change of chord: what is left of it is struck anew."""
    cut: list[_Stroke] = []
    for stroke in strokes:
        change = chords.at(stroke.start_beats).end_beats
        end = stroke.start_beats + stroke.length_beats
        if change < end - 1e-6:
            cut.append(stroke._replace(length_beats=change - stroke.start_beats))
            cut.append(_Stroke(change, end - change, stroke.mark))
        else:
            cut.append(stroke)
    return cut


def _keys_stroke(stroke: _Stroke, slot: Slot, patch: str, energy: float, *, low: bool) -> list[Draft]:
    pitches = _struck(stroke.mark, slot, patch, low=low)
    spread_s = 0.012 if patch in _STRUMMED else 0.004
    soft = 0.72 if stroke.mark in "cU234" else 1.0
    accent = 1.0 if stroke.start_beats % 2 == 0 else 0.88
    velocity = (0.42 + 0.4 * energy) * soft * accent
    upstroke = patch in _STRUMMED and stroke.mark == "U"
    ordered = sorted(pitches, reverse=upstroke)
    length = stroke.length_beats * 0.96
    return [Draft(Part.KEYS, stroke.start_beats, length, p, velocity, at * spread_s) for at, p in enumerate(ordered)]


def _struck(mark: str, slot: Slot, patch: str, *, low: bool) -> list[int]:
    """The pitches of one mark of a keys pattern."""
    upper = list(slot.pitches)
    root = 36 + slot.harmony.bass
    root = root if root <= 47 else root - 12
    deep = [root + 12 if root < 41 else root] if low else [root]
    if patch == "powerguitar" or mark == "P":
        fifth = root + (slot.harmony.tones[2] - root) % 12
        return [root, fifth if fifth > root else fifth + 12, root + 12]
    if mark.isdigit():
        return [_nth(upper, int(mark) - 1)]
    if mark == "B":
        return [root, *deep] if low and deep[0] != root else [root]
    if mark == "D":
        fifth = deep[0] + (slot.harmony.tones[2] - deep[0]) % 12
        body = [fifth] if low and fifth < upper[0] - 2 else []
        return sorted({root, *deep, *body, *upper})
    return upper[1:] if mark == "U" and len(upper) > 3 else upper


def _nth(pitches: Sequence[int], index: int) -> int:
    """The index-th note of a chord that goes on upwards by octaves."""
    octave, place = divmod(index, len(pitches))
    return pitches[place] + 12 * octave


def play_pad(sketch: Sketch) -> list[Draft]:
    """Long chords under everything but the sparsest verses; with a low fifth where the genre is thin."""
    low = genre_of(sketch.genre).low_keys
    drafts: list[Draft] = []
    for passage in sketch.passages:
        if passage.energy < 0.5 and not low and passage.name == "verse":
            continue
        first, last = 4.0 * passage.start_bar, 4.0 * passage.end_bar
        velocity = 0.3 + 0.3 * passage.energy
        for slot in sketch.chords.within(first, last):
            ring = _RING_BEATS if passage.final and slot.end_beats >= last else 0.0
            start = max(slot.start_beats, first)
            length = min(slot.end_beats, last) - start + ring
            body = _pad_pitches(slot, low=low)
            drafts += [Draft(Part.PAD, start, length * 1.01, pitch, velocity) for pitch in body]
    return drafts


def _pad_pitches(slot: Slot, *, low: bool) -> list[int]:
    if not low:
        return list(slot.pitches)
    root = 36 + slot.harmony.bass
    root = root + 12 if root < 42 else root
    return sorted({root, *slot.pitches})


def play_arpeggio(sketch: Sketch, patch: str) -> list[Draft]:
    """Broken chords in the lively sections, and in the openings of the genres that live on them."""
    rng = generator("arpeggio", sketch.seed, sketch.genre)
    style = ARPEGGIO_STYLE.get(sketch.genre, "open")
    main, quiet = rng.choice(ARPEGGIOS[style]), rng.choice(ARPEGGIOS["open" if style == "dense" else "sparse"])
    lift = 12 if patch in {"bell", "pluck", "arp"} else 0
    drafts: list[Draft] = []
    for passage in sketch.passages:
        opening = passage.name in {"intro", "outro", "break"} and style in {"dense", "sparse"}
        if passage.energy < 0.62 and not opening:
            continue
        pattern = main if passage.energy >= 0.8 or opening else quiet
        for bar in sketch.played_bars(passage):
            for stroke in _strokes(pattern, bar):
                pitch = _nth(sketch.chords.at(stroke.start_beats).pitches, int(stroke.mark) - 1) + lift
                accent = 0.1 if stroke.start_beats % 1 == 0 else 0.0
                velocity = 0.28 + 0.26 * passage.energy + accent
                drafts.append(Draft(Part.ARP, stroke.start_beats, stroke.length_beats * 1.1, pitch, velocity))
    return drafts


def answer_voice(sketch: Sketch, sung: Sequence[Draft]) -> list[Draft]:
    """Short answers of the lead in the rests of later choruses and verses: call and response."""
    rng = generator("answers", sketch.seed)
    drafts: list[Draft] = []
    for passage in sketch.passages:
        if not passage.lines or (passage.name == "verse" and passage.turn == 0):
            continue
        first, last = 4.0 * passage.start_bar, 4.0 * passage.end_bar
        inside = [d for d in sung if first - 1 <= d.start_beats < last]
        for now, following in itertools.pairwise(inside):
            gap_from = round((now.start_beats + now.length_beats) * 2 + 0.5) / 2
            room = following.start_beats - gap_from
            if room * sketch.beat_s >= 0.8 and rng.random() < 0.6:
                drafts += _answer(gap_from, min(3, int(room / 0.5)), sketch.chords, passage.energy, rng)
    return drafts


def _answer(start: float, count: int, chords: ChordTrack, energy: float, rng: random.Random) -> list[Draft]:
    ladder = pitches_of(chords.at(start).harmony.tones, 67, 84)
    at = rng.randrange(1, len(ladder) - 1)
    heading = rng.choice((-1, 1))
    drafts = []
    for n in range(count):
        slot = chords.at(start + n * 0.5)
        own = pitches_of(slot.harmony.tones, 67, 84)
        pitch = own[min(max(at + heading * n, 0), len(own) - 1)]
        length = 0.9 if n == count - 1 else 0.45
        drafts.append(Draft(Part.LEAD, start + n * 0.5, length, pitch, 0.36 + 0.15 * energy))
    return drafts
