"""Harmony: which chord sounds when, and how it is voiced."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from studio.music.budget import Budget
from studio.music.chance import generator, weighted
from studio.music.form import Passage
from studio.music.genres import genre_of
from studio.music.progressions import ADDED, COLOUR, NINTHS, PROGRESSIONS, SEVENTHS
from studio.music.theory import Harmony, Key, harmony

_ROLE: Final = {
    "intro": "verse",
    "verse": "verse",
    "pre-chorus": "lift",
    "chorus": "chorus",
    "bridge": "bridge",
    "solo": "chorus",
    "instrumental": "verse",
    "break": "bridge",
    "outro": "verse",
}
_HALF_BAR: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One chord in composing time.

    Attributes:
        start_beats, length_beats: where it sounds.
        harmony: what it is made of.
        pitches: its voicing around middle C, three to five MIDI pitches, rising.
    """

    start_beats: float
    length_beats: float
    harmony: Harmony
    pitches: tuple[int, ...]

    @property
    def end_beats(self) -> float:
        """When the next chord begins."""
        return self.start_beats + self.length_beats


class ChordTrack:
    """The chords of a song, found by time."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self._by_half_bar: list[Slot] = [
            slot for slot in self.slots for _ in range(max(1, round(slot.length_beats / _HALF_BAR)))
        ]

    def at(self, beats: float) -> Slot:
        """The chord that sounds at ``beats``; beyond either end the nearest one."""
        index = int(beats // _HALF_BAR)
        return self._by_half_bar[min(max(index, 0), len(self._by_half_bar) - 1)]

    def within(self, start_beats: float, end_beats: float) -> tuple[Slot, ...]:
        """The chords that sound between two times."""
        found = [self.at(start_beats)]
        while found[-1].end_beats < end_beats - 1e-6 and found[-1] is not self.slots[-1]:
            found.append(self.at(found[-1].end_beats))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What every player reads: the genre, the form and the chords.

    ``temperature`` (0-1) is how freely to choose from the genre's tables, ``seed`` that of the whole song.
    """

    genre: str
    budget: Budget
    passages: tuple[Passage, ...]
    chords: ChordTrack
    seed: int
    temperature: float

    @property
    def beat_s(self) -> float:
        """Seconds of one composing beat."""
        return self.budget.bar_s / 4

    def played_bars(self, passage: Passage) -> range:
        """The bars of a passage before the final chord."""
        return range(passage.start_bar, passage.end_bar - (self.budget.tail if passage.final else 0))


def plan_harmony(
    genre: str, key: Key, passages: Sequence[Passage], budget: Budget, *, seed: int, temperature: float
) -> ChordTrack:
    """Chords for every bar: one progression for each kind of section, cadences where sections meet, a tonic end."""
    rng = generator("harmony", seed, genre, key.minor)
    plans = _draw_progressions(genre, key, rng, temperature)
    numerals: list[str] = []
    for at, passage in enumerate(passages):
        following = passages[at + 1] if at + 1 < len(passages) else None
        numerals += _bars_of(passage, following, plans, key, rng)
    _resolve(numerals, passages, budget, key, genre)
    keys = [key.transposed(passage.lift) for passage in passages for _ in range(passage.bars)]
    return ChordTrack(_voiced(numerals, keys, genre))


def _draw_progressions(genre: str, key: Key, rng: random.Random, temperature: float) -> dict[str, tuple[str, ...]]:
    """One progression for each role, the chorus different from the verse; some bars substituted."""
    mode = "minor" if key.minor else "major"
    source = genre
    if rng.random() < 0.5 * temperature:
        source = rng.choice(genre_of(genre).neighbours)
    table = PROGRESSIONS.get(source, PROGRESSIONS["pop"])[mode]
    drawn: dict[str, tuple[str, ...]] = {}
    for role in ("verse", "chorus", "lift", "bridge"):
        written = table[role].split(";")
        choices = [(text, 1.0 / (1 + 0.35 * at)) for at, text in enumerate(written)]
        choices = [choice for choice in choices if tuple(choice[0].split()) not in drawn.values()]
        drawn[role] = _substituted(tuple(weighted(rng, choices, temperature).split()), mode, rng)
    second = weighted(rng, [(text, 1.0) for text in table["verse"].split(";")], temperature)
    drawn["second half"] = drawn["verse"][:2] + tuple(second.split())[2:]
    return drawn


def _substituted(bars: tuple[str, ...], mode: str, rng: random.Random) -> tuple[str, ...]:
    """Now and then an inner bar takes a relative of its chord, which shares two of its three notes."""
    relatives: Mapping[str, Sequence[str]] = {
        "major": {"IV": "ii", "I": "vi", "vi": "IV", "V": "iii", "ii": "IV"},
        "minor": {"VI": "iv", "III": "i", "iv": "VI", "VII": "v", "i": "VI"},
    }[mode]
    if rng.random() > 0.4 or len(bars) < 4:
        return bars
    at = rng.choice((1, 2))
    new = relatives.get(bars[at])
    neighbours = (bars[at - 1], bars[at + 1])
    return bars if new is None or new in neighbours else (*bars[:at], str(new), *bars[at + 1 :])


def _bars_of(
    passage: Passage,
    following: Passage | None,
    plans: Mapping[str, tuple[str, ...]],
    key: Key,
    rng: random.Random,
) -> list[str]:
    """The numerals of one section, bar by bar."""
    role = _ROLE.get(passage.name, "verse")
    plan = plans[role]
    bars = [plan[bar % len(plan)] for bar in range(passage.bars)]
    if role == "verse" and passage.bars >= 8 and passage.turn > 0:
        half = plans["second half"]
        bars[4:8] = [half[bar % len(half)] for bar in range(4)]
    turning = following is not None and following.name == "chorus" and passage.bars >= 4
    if turning and passage.name != "chorus":
        bars[-1] = _dominant(bars[-1], key, rng)
    return bars


def _dominant(last: str, key: Key, rng: random.Random) -> str:
    """The bar before a chorus leans forward: a dominant, perhaps suspended first."""
    if key.minor:
        return rng.choice(("V", "VII", "Vsus4,V", last))
    return rng.choice(("V", "Vsus4,V", "V", last))


def _resolve(numerals: list[str], passages: Sequence[Passage], budget: Budget, key: Key, genre: str) -> None:
    """The final chord is the tonic, reached by a cadence; the last sung section also comes home in its last bar."""
    # "im" is a plain minor triad; both keep the tonic free of the seventh that a genre may add to its chords.
    home = "im" if key.minor else "I" if COLOUR.get(genre, "triad") == "triad" else "Iadd9"
    numerals[-budget.tail :] = [home] * budget.tail
    if len(numerals) > budget.tail + 3:
        numerals[-budget.tail - 1] = "VII" if key.minor and "V" not in numerals else "V"
    sung = [passage for passage in passages if passage.lines]
    if sung and not sung[-1].final:
        numerals[sung[-1].end_bar - 1] = home
    elif sung:
        numerals[sung[-1].lines[-1].start_bar + sung[-1].lines[-1].bars - 1] = home


def _dressed(numeral: str, key: Key, genre: str, at: int) -> str:
    """The numeral in the genre's colour; every second or third bar of a plain genre stays plain."""
    mode = "minor" if key.minor else "major"
    colour = COLOUR.get(genre, "triad")
    if colour == "triad":
        return numeral
    if colour == "added":
        return ADDED[mode].get(numeral, numeral) if at % 4 in (1, 2) and numeral != "V" else numeral
    ninth = NINTHS[mode].get(numeral) if at % 4 in (0, 3) else None
    return ninth or SEVENTHS[mode].get(numeral, numeral)


def _voiced(numerals: Sequence[str], keys: Sequence[Key], genre: str) -> list[Slot]:
    slots: list[Slot] = []
    previous: tuple[int, ...] = ()
    for bar, (text, key) in enumerate(zip(numerals, keys, strict=True)):
        parts = text.split(",")
        for at, numeral in enumerate(parts):
            chord = harmony(key, _dressed(numeral, key, genre, bar))
            previous = _voicing(chord, previous)
            length = 4.0 / len(parts)
            slots.append(
                Slot(start_beats=4.0 * bar + at * length, length_beats=length, harmony=chord, pitches=previous)
            )
    return slots


def _voicing(chord: Harmony, previous: tuple[int, ...]) -> tuple[int, ...]:
    """The close position around C4 that moves least from the chord before (after Tymoczko, 2006)."""
    tones = chord.tones if len(chord.tones) <= 4 else chord.tones[1:]

    def cost(pitches: tuple[int, ...]) -> float:
        middle = sum(pitches) / len(pitches)
        motion = sum(min(abs(a - b) for b in previous) for a in pitches) if previous else 0
        rub = 2.0 if pitches[-1] - pitches[-2] == 1 else 0.0
        return 0.6 * abs(middle - 60.5) + motion + rub

    positions = (tuple(sorted(base + (tone - base) % 12 for tone in tones)) for base in range(52, 64))
    return min(positions, key=cost)
