"""Playing one part: notes in beats become a stem in frames. Equal notes are made once."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from studio.music.drums import hit, kit
from studio.music.patches import Tone, patch
from studio.music.score import Note, Part, Score
from studio.sound.clip import Samples
from studio.sound.effects import drive
from studio.sound.filters import equalise
from studio.units import RATE_HZ

CACHE_BYTES: Final = 48 * 2**20
_NOISE_SIZE: Final = 1 << 18
_VELOCITIES: Final = 10
_STROKES: Final = 4
"""So many different strokes of each drum take turns."""

_FADE_FRAMES: Final = 240


class NoteCache:
    """Sounds by key, the least recently used dropped when they outgrow ``most_bytes``."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._sounds: OrderedDict[tuple[int, ...], Samples] = OrderedDict()
        self._most_bytes = most_bytes
        self.bytes = 0

    def get(self, key: tuple[int, ...], make: Callable[[], Samples]) -> Samples:
        """The sound under ``key``, made on first use."""
        if key in self._sounds:
            self._sounds.move_to_end(key)
            return self._sounds[key]
        sound = self._sounds[key] = make()
        self.bytes += sound.nbytes
        while self.bytes > self._most_bytes and len(self._sounds) > 1:
            self.bytes -= self._sounds.popitem(last=False)[1].nbytes
        return sound


def part_rng(score: Score, part: Part) -> np.random.Generator:
    """The generator of one part of one Score; parts never share draws."""
    return np.random.default_rng([score.seed, list(Part).index(part)])


def play(score: Score, part: Part, stem: Samples) -> Iterator[float]:
    """Add the instrument of ``part`` onto ``stem`` (silent ``[2, frames]``), yielding 0-1 as it goes.

    The generator lets the caller report progress or stop between notes. Raises `UnknownPatch` (or `UnknownDrum`)
    before the first note when the Score names an instrument that does not exist.
    """
    notes = score.of_part(part)
    name = score.instruments.get(part, "")
    make = _drummer(score, name) if part is Part.DRUMS else _player(score, part, name)
    for count, note in enumerate(notes):
        _place(stem, make(note, count), score.seconds(note.start_beats))
        if count % 8 == 0:
            yield count / len(notes)
    if part is not Part.DRUMS:
        settings = patch(name)
        if settings.drive_db:
            drive(stem, gain_db=settings.drive_db)
        equalise(stem, settings.body)
    yield 1.0


def _player(score: Score, part: Part, name: str) -> Callable[[Note, int], Samples]:
    settings = patch(name)
    noise = part_rng(score, part).standard_normal(_NOISE_SIZE).astype(np.float32)
    cache = NoteCache()

    def make(note: Note, _count: int) -> Samples:
        length = _length_steps(score.seconds(note.length_beats))
        strength = max(1, round(note.velocity * _VELOCITIES))
        offset = (note.pitch * 7_919 + strength * 104_729 + length * 31) % (_NOISE_SIZE // 2)
        tone = Tone(
            pitch=note.pitch, velocity=strength / _VELOCITIES, length_s=length / 100, noise=noise, offset=offset
        )
        return cache.get((note.pitch, strength, length), lambda: _ended(settings.sound(tone)))

    return make


def _drummer(score: Score, name: str) -> Callable[[Note, int], Samples]:
    drums = kit(name)
    cache = NoteCache()

    def make(note: Note, count: int) -> Samples:
        strength = max(1, round(note.velocity * 2 * _VELOCITIES))
        stroke = count % _STROKES
        rng = np.random.default_rng([score.seed, note.pitch, stroke])
        return cache.get(
            (note.pitch, strength, stroke), lambda: hit(drums, note.pitch, strength / (2 * _VELOCITIES), rng)
        )

    return make


def _length_steps(length_s: float) -> int:
    """Hundredths of a second, coarser for long notes, so that humanised notes can share one sound."""
    if length_s < 0.5:
        return max(2, 2 * round(length_s * 50))
    return 5 * round(length_s * 20)


def _ended(sound: Samples) -> Samples:
    fade = min(_FADE_FRAMES, sound.shape[1])
    sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound


def _place(stem: Samples, sound: Samples, start_s: float) -> None:
    start = round(start_s * RATE_HZ)
    length = min(sound.shape[1], stem.shape[1] - start)
    if length > 0:
        stem[:, start : start + length] += sound[:, :length]
