"""Melody: motifs, and the line of pitches that fits words, chords and range best."""

import itertools
import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from studio.music.chance import generator
from studio.music.form import Passage
from studio.music.harmony import ChordTrack, Sketch, Slot
from studio.music.rhythm import Draft, place_syllables
from studio.music.score import Part, Syllable
from studio.music.theory import pitches_of
from studio.text.phonetics import line_syllables, stresses

VOICE_RANGE: Final[Mapping[str, tuple[int, int]]] = {"female": (53, 69), "male": (45, 64)}
"""Lowest and highest sung pitch: F3-A4 and A2-E4. Above it the synthetic vowels become hard to tell apart."""
LEAD_RANGE: Final = (62, 84)
HELD_S: Final = 0.3
"""A note at least this long is heard against its chord."""

_HEIGHT: Final = {"verse": 0.38, "pre-chorus": 0.52, "chorus": 0.64, "bridge": 0.5, "solo": 0.6}
_ROLE: Final = {"instrumental": "verse", "break": "bridge", "intro": "chorus", "outro": "chorus"}
_STEPS: Final = ((0, 1.2), (1, 3.4), (-1, 3.4), (2, 1.5), (-2, 1.5), (3, 0.5), (-3, 0.35))
_MOTIF_NOTES: Final = 16
_LEAD_BARS: Final = 2
_LEAPS: Final = (0.8, 0.0, 0.0, 0.25, 0.25, 0.8, 1.6, 1.6, 8.0)
"""Cost of a move by its size in semitones; a note that only repeats the one before needs the motif's consent."""
_GRIP: Final = {"chorus": 1.5}
"""How hard the motif holds the line against the pull of chords and range; 1.25 in sections that are not named."""
_SYNCOPATION: Final = {
    "pop": 1.3, "rnb": 1.3, "hiphop": 1.4, "house": 1.2, "synthwave": 1.1, "jazz": 1.4, "lofi": 1.0, "rock": 0.8,
}  # fmt: skip
"""How far a section's own rhythm may pull syllables off the beat; 0.5 in genres that are not named."""
_PUSHES: Final = {
    "pop": (1, 2), "rnb": (1, 2), "hiphop": (1, 2, 2), "house": (1,), "synthwave": (1,), "jazz": (1, 2),
    "lofi": (0, 1, 1), "rock": (1,), "ballad": (0, 0, 1), "folk": (0, 0, 1),
}  # fmt: skip
"""How many strong beats of two bars are sung an eighth early, one of these by chance; none in other genres."""
_OTHER_TUNE: Final = 2.0
"""Cost of leaving the tune that the words had before: a hook returns as it was, unless the chord forbids it."""
_PUSHED_BEATS: Final = (2, 4, 6)
_PUSH: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Motif:
    """The idea of a section.

    Attributes:
        steps: from note to note, in steps of the scale.
        answer: the steps of contrasting lines.
        varied: the steps with their second half mirrored, for a verse that returns.
        taste: a bonus for each eighth of two bars, see `place_syllables`.
    """

    steps: tuple[int, ...]
    answer: tuple[int, ...]
    varied: tuple[int, ...]
    taste: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phrase:
    """What one line of melody is made from; ``known`` is the tune that the same words had before, if they had one."""

    onsets: tuple[float, ...]
    lengths: tuple[float, ...]
    steps: tuple[int, ...]
    centre: float
    low: int
    high: int
    came: int | None = None
    known: tuple[int, ...] = ()
    grip: float = 1.25
    ending: str = "chord"


def draw_motifs(seed: int, genre: str) -> dict[str, Motif]:
    """One motif for each kind of section. They depend on seed and genre only, so new words keep the tune."""
    rng = generator("melody", seed, genre)
    pull = _SYNCOPATION.get(genre, 0.5)
    motifs: dict[str, Motif] = {}
    for role in ("verse", "pre-chorus", "chorus", "bridge", "solo"):
        steps = _draw_steps(rng, rising=role in {"pre-chorus", "bridge"}, calm=role == "verse", bold=role == "chorus")
        half = len(steps) // 2
        motifs[role] = Motif(
            steps=steps,
            answer=_draw_steps(rng, rising=True, calm=False, bold=False),
            varied=(*steps[:half], *(-step for step in steps[half:])),
            taste=_draw_taste(rng, pull, rng.choice(_PUSHES.get(genre, (0,)))),
        )
    return motifs


def _draw_taste(rng: random.Random, pull: float, pushes: int) -> tuple[float, ...]:
    """A bonus for each eighth of two bars; each push gives the rank of a strong beat to the eighth before it."""
    taste = [rng.uniform(-pull, pull) for _ in range(16)]
    for beat in rng.sample(_PUSHED_BEATS, pushes):
        taste[2 * beat - 1] += _PUSH
        taste[2 * beat] -= _PUSH
    return tuple(taste)


def _draw_steps(rng: random.Random, *, rising: bool, calm: bool, bold: bool) -> tuple[int, ...]:
    """A cell of three or four steps, stated, restated and then turned, kept within a sixth; a bold one leaps."""
    size = rng.choice((3, 4, 4))
    cell = [rng.choices([s for s, _ in _STEPS], [w for _, w in _STEPS])[0] for _ in range(size)]
    if calm:
        cell = [max(-2, min(2, step)) for step in cell]
    if sum(step != 0 for step in cell) < 2:
        cell[:2] = [1, -2]
    if bold and max(map(abs, cell)) < 2:
        cell[rng.randrange(size)] = rng.choice((2, 3, -3))
    if rising and sum(cell) < 0:
        cell = [-step for step in cell]
    turned = [-step for step in cell]
    steps: list[int] = []
    height = 0
    for part in (cell, cell, turned, cell, turned):
        for wanted in part:
            step = -wanted if abs(height + wanted) > 5 else wanted
            height += step
            steps.append(step)
    return tuple(steps[:_MOTIF_NOTES])


def sing(sketch: Sketch, motifs: Mapping[str, Motif], voice: str) -> list[Draft]:
    """The vocal: every line of every passage, one note for each syllable."""
    drafts: list[Draft] = []
    tunes: dict[tuple[str, str], list[int]] = {}
    final_line = next((p.lines[-1] for p in reversed(sketch.passages) if p.lines), None)
    for passage in sketch.passages:
        for at, line in enumerate(passage.lines):
            closing = at == len(passage.lines) - 1
            ending = "last" if line is final_line else _ending(at, closing=closing, name=passage.name)
            free_from = drafts[-1].start_beats + drafts[-1].length_beats if drafts else 0.0
            phrase = _line_phrase(sketch, passage, at, motifs, _voice_range(voice), free_from=free_from)
            came = drafts[-1].pitch if drafts else None
            words = (passage.name, line.text.casefold())
            known = tuple(pitch + passage.lift for pitch in tunes.get(words, ()))
            phrase = replace(phrase, ending=ending, came=came, known=known)
            drafts += _sung(sketch, phrase, line.text, passage.energy)
            own = drafts[-len(phrase.onsets) :]
            tunes.setdefault(words, [draft.pitch - passage.lift for draft in own])
    return drafts


def _voice_range(voice: str) -> tuple[int, int]:
    return VOICE_RANGE.get(voice, VOICE_RANGE["female"])


def _ending(at: int, *, closing: bool, name: str) -> str:
    """How a line ends: "open" after a question, "home" at the end of a period, else "chord"."""
    if closing and name in {"chorus", "verse"}:
        return "home"
    return ("chord", "open", "chord", "home")[at % 4]


def _line_phrase(
    sketch: Sketch,
    passage: Passage,
    at: int,
    motifs: Mapping[str, Motif],
    span: tuple[int, int],
    *,
    free_from: float,
) -> _Phrase:
    """The rhythm and the wishes of the at-th line of a passage; it may begin early where the voice is free."""
    line = passage.lines[at]
    motif = motifs[_role(passage.name)]
    start, length = 4.0 * line.start_bar, 4.0 * line.bars
    early = start - 0.6 > free_from
    onsets = place_syllables(stresses(line.text), length, sketch.beat_s, motif.taste, pickup=early)
    return _Phrase(
        onsets=tuple(start + onset for onset in onsets),
        lengths=_note_lengths(onsets, length, sketch.beat_s, passage.name),
        steps=_sung_steps(motif, passage, at),
        centre=_centre(passage, at, span),
        low=span[0],
        high=span[1],
        grip=_GRIP.get(passage.name, 1.25),
    )


def _sung(sketch: Sketch, phrase: _Phrase, text: str, energy: float) -> list[Draft]:
    sounds = [sound for word in line_syllables(text) for sound in word]
    marks = stresses(text)
    loud = 0.58 + 0.28 * energy
    return [
        Draft(
            part=Part.VOCAL,
            start_beats=phrase.onsets[n],
            length_beats=phrase.lengths[n],
            pitch=pitch,
            velocity=min(1.0, loud + (0.08 if marks[n] else -0.03)),
            syllable=Syllable(text=sounds[n].text, phones=sounds[n].phones, starts_line=n == 0),
        )
        for n, pitch in enumerate(_best_pitches(phrase, sketch.chords, sketch.beat_s))
    ]


def _role(name: str) -> str:
    role = _ROLE.get(name, name)
    return role if role in _HEIGHT else "verse"


def _sung_steps(motif: Motif, passage: Passage, at: int) -> tuple[int, ...]:
    """The motif of the at-th line: A B A B' where the words of the first line return in the third, else A A' B A''."""
    place = at % 4
    if place % 2 == 1 if _hooked(passage, at) else place == 2:
        return motif.answer
    return motif.varied if passage.name == "verse" and passage.turn % 2 and place == 1 else motif.steps


def _hooked(passage: Passage, at: int) -> bool:
    """Whether the third of the four lines around the at-th has the words of the first."""
    four = [line.text.casefold() for line in passage.lines[at - at % 4 :][:4]]
    return len(four) > 2 and four[0] == four[2]


def _centre(passage: Passage, at: int, span: tuple[int, int]) -> float:
    """Where the line lies in the range: choruses high, verses low, the line that contrasts a little higher."""
    height = _HEIGHT[_role(passage.name)] + (0.1 if at % 4 == (3 if _hooked(passage, at) else 2) else 0.0)
    return span[0] + (span[1] - span[0]) * min(0.75, height) + passage.lift


def _note_lengths(onsets: Sequence[float], length_beats: float, beat_s: float, name: str) -> tuple[float, ...]:
    """Each note to the next onset; long steps breathe, and the last note is held, longer in choruses."""
    longest = (2.4 if name == "chorus" else 1.6) / beat_s
    lengths = [min(b - a, 1.5 / beat_s) * 0.96 for a, b in itertools.pairwise(onsets)]
    room = length_beats - onsets[-1] - max(0.5, 0.3 / beat_s)
    return (*lengths, max(0.25, min(room, longest)))


def _best_pitches(phrase: _Phrase, chords: ChordTrack, beat_s: float) -> list[int]:
    """The cheapest path through the allowed pitches (Viterbi, 1967)."""
    costs: dict[int, float] = {}
    trails: list[dict[int, int]] = []
    for n, onset in enumerate(phrase.onsets):
        slots = _heard_against(chords, onset, phrase.lengths[n])
        ladder = pitches_of(slots[0].harmony.scale, phrase.low, phrase.high)
        own = _pitch_costs(ladder, n, phrase, slots, beat_s)
        if not costs:
            costs = {pitch: cost + _entry_cost(pitch, phrase.came) for pitch, cost in own.items()}
            continue
        wanted = phrase.steps[(n - 1) % len(phrase.steps)]
        places = {came: bisect_left(ladder, came) for came in costs}
        current: dict[int, float] = {}
        trail: dict[int, int] = {}
        for place, pitch in enumerate(ladder):
            cost, trail[pitch] = min(
                (earlier + _move_cost(pitch - came, place - places[came] - wanted, phrase.grip), came)
                for came, earlier in costs.items()
            )
            current[pitch] = cost + own[pitch]
        costs = current
        trails.append(trail)
    path = [min(costs, key=costs.__getitem__)]
    for trail in reversed(trails):
        path.append(trail[path[-1]])
    path.reverse()
    return path


def _heard_against(chords: ChordTrack, onset: float, length: float) -> tuple[Slot, ...]:
    """The chords a note sounds with. One that comes an eighth early and stays belongs to the chord it anticipates."""
    slots = chords.within(onset, onset + length)
    early = slots[0].end_beats - onset
    return slots[1:] if len(slots) > 1 and early <= 0.5 and length >= 1.0 else slots


def _entry_cost(pitch: int, came: int | None) -> float:
    """Cost of a first note far from where the line before ended."""
    return 0.0 if came is None or abs(pitch - came) <= 7 else 4.0


def _move_cost(semitones: int, off_motif: int, grip: float) -> float:
    """Cost of a move: by its size, and by how many steps of the scale it is from the motif's."""
    return _LEAPS[min(abs(semitones), len(_LEAPS) - 1)] + grip * min(4, abs(off_motif))


def _pitch_costs(
    ladder: Sequence[int], n: int, phrase: _Phrase, slots: Sequence[Slot], beat_s: float
) -> dict[int, float]:
    """Cost of each pitch at its place: against the chords it is heard with, the centre and the end of the line."""
    onset, length = phrase.onsets[n], phrase.lengths[n]
    held = length * beat_s >= 0.75 * HELD_S  # swing lengthens the notes on the beat by as much
    strong = onset % 2 == 0
    final = n == len(phrase.onsets) - 1
    foreign = 6.0 if strong or final else 1.2 if held else 0.3
    heard = [
        slot
        for at, slot in enumerate(slots)
        if at == 0 or (min(onset + length, slot.end_beats) - slot.start_beats) * beat_s >= 0.12
    ]
    rubbing = _rubbing_classes(heard) if held or strong else frozenset()
    tones = slots[0].harmony.tones
    costs: dict[int, float] = {}
    for pitch in ladder:
        cost = 0.09 * abs(pitch - phrase.centre)
        if pitch % 12 not in tones:
            cost += foreign
        if pitch % 12 in rubbing:
            cost += 9.0
        if phrase.known and pitch != phrase.known[n]:
            cost += _OTHER_TUNE
        costs[pitch] = cost + (_ending_cost(pitch, phrase.ending, slots[-1]) if final else 0.0)
    return costs


def _rubbing_classes(slots: Sequence[Slot]) -> frozenset[int]:
    """Pitch classes a semitone away from a note of one of the chords: minor seconds and ninths, major sevenths."""
    return frozenset((tone + by) % 12 for slot in slots for tone in slot.harmony.tones for by in (1, -1))


def _ending_cost(pitch: int, ending: str, slot: Slot) -> float:
    root = slot.harmony.root
    if ending == "last":
        return 0.0 if pitch % 12 == root else 30.0
    if ending == "home":
        return 0.0 if pitch % 12 == root else 2.0
    if ending == "open":
        return 1.5 if pitch % 12 == root else 0.0
    return 0.0


def play_lead(sketch: Sketch, passage: Passage, motifs: Mapping[str, Motif], rng: random.Random) -> list[Draft]:
    """An instrumental melody over a passage: phrases of two bars, A A' B A'', from the motif of its kind."""
    motif = motifs[_role(passage.name)]
    statement = rng.choice((6, 7, 8, 9))
    bars = sketch.played_bars(passage)
    drafts: list[Draft] = []
    for at, bar in enumerate(bars[: len(bars) // _LEAD_BARS * _LEAD_BARS : _LEAD_BARS]):
        count = statement - 2 * (at % 2)
        marks = tuple(n % 2 == 0 for n in range(count))
        onsets = place_syllables(marks, 4.0 * _LEAD_BARS, sketch.beat_s, motif.taste, pickup=False)
        phrase = _Phrase(
            onsets=tuple(4.0 * bar + onset for onset in onsets),
            lengths=_note_lengths(onsets, 4.0 * _LEAD_BARS, sketch.beat_s, passage.name),
            steps=motif.answer if at % 4 == 2 else motif.steps,
            centre=_centre(passage, at, LEAD_RANGE),
            low=LEAD_RANGE[0],
            high=LEAD_RANGE[1],
            ending=_ending(at, closing=bar + 2 * _LEAD_BARS > bars.stop, name=passage.name),
        )
        drafts += [
            Draft(Part.LEAD, onset, phrase.lengths[n], pitch, 0.5 + 0.25 * passage.energy + 0.06 * marks[n])
            for n, (onset, pitch) in enumerate(
                zip(phrase.onsets, _best_pitches(phrase, sketch.chords, sketch.beat_s), strict=True)
            )
        ]
    return drafts


def harmonise(sketch: Sketch, sung: Sequence[Draft], voice: str) -> list[Draft]:
    """A second voice under the first: held notes on the chord tone a third to a sixth below, others a third below."""
    low = _voice_range(voice)[0] - 5
    voices: list[Draft] = []
    for draft in sung:
        slot = _heard_against(sketch.chords, draft.start_beats, draft.length_beats)[0]
        held = draft.length_beats * sketch.beat_s >= HELD_S
        classes = slot.harmony.tones if held else slot.harmony.scale
        span = pitches_of(classes, max(low, draft.pitch - 9), draft.pitch - 3)
        rubbing = _rubbing_classes([slot])
        below = [pitch for pitch in span if pitch % 12 not in rubbing]
        pitch = below[-1] if below else draft.pitch
        voices.append(draft._replace(part=Part.HARMONY, pitch=pitch, velocity=draft.velocity * 0.6))
    return voices
