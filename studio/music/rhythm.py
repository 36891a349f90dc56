"""Rhythm: the feel of a genre, and the places of syllables in their line."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from studio.music.budget import Budget
from studio.music.chance import generator
from studio.music.genres import genre_of
from studio.music.score import Note, Part, Syllable

_JITTER_S: Final = {Part.DRUMS: 0.0035, Part.BASS: 0.004, Part.PAD: 0.006, Part.VOCAL: 0.006, Part.HARMONY: 0.008}
_LAZY: Final = {38, 37, 39}
"""Percussion that may lie behind the beat: snare, rim and clap."""


class Draft(NamedTuple):
    """A note as it is written: straight composing time, before swing and human timing.

    ``delay_s`` is a deliberate delay (a strummed string); ``syllable`` is for the voices.
    """

    part: Part
    start_beats: float
    length_beats: float
    pitch: int
    velocity: float
    delay_s: float = 0.0
    syllable: Syllable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feel:
    """How written time becomes played time.

    ``swing`` is where the middle of each pair of ``swing_beats`` falls, 0.5 straight; ``laziness_s`` is the delay of
    the back beat.
    """

    swing: float
    swing_beats: float
    laziness_s: float

    def swung(self, beats: float) -> float:
        """Played time of a written time; rising, and equal to it on every pair."""
        pair, place = divmod(beats / self.swing_beats, 1.0)
        played = place * 2 * self.swing if place < 0.5 else self.swing + (place - 0.5) * 2 * (1 - self.swing)
        return (pair + played) * self.swing_beats


def feel_of(genre: str, budget: Budget) -> Feel:
    """The genre's feel. Fast music swings less (Friberg and Sundström, 2002)."""
    tables = genre_of(genre)
    beat_s = budget.bar_s / 4
    strength = min(1.0, beat_s / 0.42)
    return Feel(
        swing=0.5 + (tables.swing - 0.5) * strength,
        swing_beats=tables.swing_beats,
        laziness_s=tables.laziness_s,
    )


def performed(drafts: Sequence[Draft], feel: Feel, budget: Budget, seed: int) -> tuple[Note, ...]:
    """The notes as played: swung, a few ms early or late, in the time of the score, cut at the end of the song.

    A voice sings one note at a time: where two of the voice's notes would overlap, the first gives way.
    """
    beat_s = budget.bar_s / 4
    end_beats = budget.duration_s / beat_s
    generators = {part: generator("timing", seed, part) for part in Part}
    played = [_played(draft, feel, beat_s, end_beats, generators[draft.part]) for draft in drafts]
    played.sort(key=lambda draft: (draft.start_beats, draft.part, draft.pitch))
    return tuple(_note(draft, budget.factor) for draft in _one_voice_at_a_time(played))


def _played(draft: Draft, feel: Feel, beat_s: float, end_beats: float, rng: random.Random) -> Draft:
    spread = _JITTER_S.get(draft.part, 0.005)
    late_s = draft.delay_s + max(-2 * spread, min(2 * spread, rng.gauss(0.0, spread)))
    if draft.pitch in _LAZY if draft.part is Part.DRUMS else draft.part is Part.KEYS:
        late_s += feel.laziness_s
    start = min(max(0.0, feel.swung(draft.start_beats) + late_s / beat_s), end_beats - 0.1)
    end = min(feel.swung(draft.start_beats + draft.length_beats) + late_s / beat_s, end_beats)
    velocity = min(1.0, max(0.04, draft.velocity * (1 + rng.gauss(0.0, 0.05))))
    return draft._replace(start_beats=start, length_beats=max(0.06, end - start), velocity=velocity)


def _one_voice_at_a_time(drafts: Sequence[Draft]) -> list[Draft]:
    """Drafts in order, each vocal or harmony note ending before the next of its part begins."""
    upcoming: dict[Part, float] = {}
    kept: list[Draft] = []
    for draft in reversed(drafts):
        if draft.syllable is not None:
            limit = upcoming.get(draft.part, math.inf)
            upcoming[draft.part] = draft.start_beats
            kept.append(draft._replace(length_beats=max(0.02, min(draft.length_beats, limit - draft.start_beats))))
        else:
            kept.append(draft)
    kept.reverse()
    return kept


def _note(draft: Draft, factor: float) -> Note:
    return Note(
        part=draft.part,
        start_beats=draft.start_beats * factor,
        length_beats=draft.length_beats * factor,
        pitch=draft.pitch,
        velocity=draft.velocity,
        syllable=draft.syllable,
    )


def place_syllables(
    stressed: Sequence[bool], length_beats: float, beat_s: float, taste: Sequence[float], *, pickup: bool
) -> tuple[float, ...]:
    """Onsets in beats, one per syllable, rising, within a line of ``length_beats``.

    Dynamic programming over a grid of eighths (sixteenths where the line is dense): stressed syllables want beats,
    unstressed ones the places between, steps want to be even, and ``taste`` (one bonus for each eighth of two bars)
    gives a section its own rhythm. With ``pickup`` an unstressed first syllable may come before the bar line, as a
    negative onset.
    """
    count = len(stressed)
    step = _grid_step(count, length_beats, beat_s)
    first = -0.5 if pickup and not stressed[0] and count > 2 else 0.0
    last = length_beats - max(1.0, 0.5 / beat_s)
    slots = [first + step * at for at in range(int((last - first) / step) + 1)]
    if len(slots) < count:
        return tuple(last * at / max(1, count) for at in range(count))
    pace = min(1.0, max(step, _pace(count, length_beats, beat_s)))
    return _best_onsets(stressed, slots, pace, taste)


def _grid_step(count: int, length_beats: float, beat_s: float) -> float:
    """Eighths if they are enough for the line, else sixteenths."""
    room = length_beats - max(1.0, 0.5 / beat_s)
    return 0.5 if count <= room / 0.5 * 0.8 else 0.25


def _pace(count: int, length_beats: float, beat_s: float) -> float:
    """The usual step between syllables: as in speech, about 0.32 s, but no slower than the line asks for."""
    return min(0.34 / beat_s, (length_beats - 1.0) / count)


def _best_onsets(
    stressed: Sequence[bool], slots: Sequence[float], pace: float, taste: Sequence[float]
) -> tuple[float, ...]:
    count, size = len(stressed), len(slots)
    reach = max(6, math.ceil(size / count) * 2)
    value = [[-math.inf] * size for _ in range(count)]
    came_from = [[0] * size for _ in range(count)]
    for at in range(size - count + 1):
        value[0][at] = _place_value(slots[at], stressed[0], taste) - 0.35 * abs(slots[at])
    for n in range(1, count):
        final = n == count - 1
        for at in range(n, size - (count - 1 - n)):
            options = range(max(n - 1, at - reach), at)
            best = max(options, key=lambda k: value[n - 1][k] - _step_cost(slots[at] - slots[k], pace), default=None)
            if best is None or value[n - 1][best] == -math.inf:
                continue
            bonus = (0.8 if slots[at] % 2 == 0 else 0.0) if final else 0.0
            value[n][at] = (
                value[n - 1][best]
                - _step_cost(slots[at] - slots[best], pace)
                + _place_value(slots[at], stressed[n], taste)
                + bonus
            )
            came_from[n][at] = best
    return _walked_back(value[-1], came_from, slots)


def _walked_back(
    last: Sequence[float], came_from: Sequence[Sequence[int]], slots: Sequence[float]
) -> tuple[float, ...]:
    at = max(range(len(last)), key=last.__getitem__)
    onsets = [slots[at]]
    for row in reversed(came_from[1:]):
        at = row[at]
        onsets.append(slots[at])
    return tuple(reversed(onsets))


def _place_value(beats: float, stressed: bool, taste: Sequence[float]) -> float:  # noqa: FBT001
    """How well a syllable stands at ``beats``: by the weight of the place in the bar and the section's taste."""
    personal = taste[int(beats * 2) % len(taste)] if beats * 2 == int(beats * 2) else -0.1
    if beats % 2 == 0:
        return personal + (1.3 if stressed else -0.8)
    if beats % 1 == 0:
        return personal + (1.0 if stressed else -0.6)
    if beats % 0.5 == 0:
        return personal + (0.15 if stressed else 0.7)
    return personal + (-0.7 if stressed else 0.2)


def _step_cost(step: float, pace: float) -> float:
    """Uneven steps cost; halves and doubles of the pace cost least."""
    return 0.8 * abs(math.log2(step / pace))
