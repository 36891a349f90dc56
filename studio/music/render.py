"""Rendering: a Score becomes a mixed Clip, part by part."""

import math
from typing import Final

import numpy as np

from studio.errors import MelodeonError
from studio.music import mixing
from studio.music.instruments import play
from studio.music.patches import PATCHES
from studio.music.score import FormSection, Note, Part, Score, Syllable
from studio.music.voice import sing
from studio.sound.clip import Clip, Samples
from studio.sound.master import master
from studio.sound.mix import Console
from studio.units import RATE_HZ
from studio.words.take import OnProgress, Progress

_ORDER: Final = (
    Part.DRUMS,
    Part.BASS,
    Part.KEYS,
    Part.PAD,
    Part.ARP,
    Part.LEAD,
    Part.HARMONY,
    Part.VOCAL,
)
"""The lead voice comes last: it is set against everything else."""

_SUNG: Final = (Part.VOCAL, Part.HARMONY)
_PLAYING_SHARE: Final = 0.9
"""Share of the progress that playing takes; the rest is the mix."""


class EmptyScore(MelodeonError):
    """There is nothing to play."""

    code = "empty_score"

    def __init__(self, score: Score) -> None:
        super().__init__(f"The {score.genre} score of {score.duration_s:.0f} s has no notes to play.")


def render(score: Score, *, on_progress: OnProgress) -> Clip:
    """Play, sing and mix a Score: stereo at 48 kHz, ``duration_s`` long to the frame, before mastering.

    The same Score gives the same bits on the same machine and version. ``on_progress`` is told between notes and
    parts; what it raises (`Cancelled`) passes through. Raises `EmptyScore` without notes inside the duration,
    `UnknownPatch`, `UnknownDrum`, `UnknownVoice` or `UnknownPhone` for what nobody can play.
    """
    frames = round(score.duration_s * RATE_HZ)
    parts = [part for part in _ORDER if score.of_part(part)]
    if not any(score.seconds(note.start_beats) < score.duration_s for note in score.notes):
        raise EmptyScore(score)
    desk = Console(frames, echo_s=mixing.echo_s(score), ride=mixing.ride(score), pump=mixing.pump(score))
    stem = np.zeros((2, frames), np.float32)
    for index, part in enumerate(parts):
        stem[:] = 0
        _perform(score, part, stem, on_progress, index=index, parts=len(parts))
        if part is Part.VOCAL:
            desk.add_voice(
                stem,
                mixing.strip(score, part),
                over_backing_db=mixing.VOICE_OVER_BACKING_DB,
                duck_db=mixing.VOICE_DUCK_DB,
            )
        else:
            desk.add(stem, mixing.strip(score, part))
    del stem
    for fraction in desk.finish(mixing.room(score), mixing.tone(score)):
        on_progress(Progress(fraction=_PLAYING_SHARE + (1 - _PLAYING_SHARE) * fraction, message="mixing"))
    _end(desk.mix, score)
    return Clip(samples=desk.mix)


def warm_up() -> None:
    """Compile or load every sample loop: each patch plays one note, a syllable is sung, all is mastered."""
    syllable = Syllable(text="la", phones=("L", "AA1"))
    la = Note(part=Part.VOCAL, start_beats=0.2, length_beats=0.5, pitch=60, velocity=0.8, syllable=syllable)
    clip = render(_one_note(Part.DRUMS, "acoustic", la), on_progress=_unwatched)
    for name in PATCHES:
        clip = render(_one_note(Part.KEYS, name), on_progress=_unwatched)
    master(clip)


def _one_note(part: Part, name: str, *more: Note) -> Score:
    """A second of music that uses the pumping, the ride and the named instrument."""
    return Score(
        genre="house",
        tempo_bpm=120.0,
        key="A minor",
        duration_s=1.0,
        sections=(FormSection(name="verse", start_bar=0, bars=1, energy=1.0),),
        chords=(),
        notes=(Note(part=part, start_beats=0.0, length_beats=0.5, pitch=38, velocity=0.8), *more),
        instruments={part: name},
    )


def _unwatched(_: Progress) -> None:
    """Warming up, nobody waits for progress."""


def _perform(score: Score, part: Part, stem: Samples, on_progress: OnProgress, *, index: int, parts: int) -> None:
    doing, perform = ("singing", sing) if part in _SUNG else ("playing", play)
    for fraction in perform(score, part, stem):
        done = (index + fraction) / parts
        on_progress(Progress(fraction=_PLAYING_SHARE * done, message=f"{doing} {part.value}"))


def _end(samples: Samples, score: Score) -> None:
    """Fade in over 5 ms and out over what follows the last note's start, between 0.4 and 3 s."""
    starts = [s for note in score.notes if (s := score.seconds(note.start_beats)) < score.duration_s]
    fade_s = min(max(score.duration_s - max(starts), 0.4), 3.0, score.duration_s)
    fade = round(fade_s * RATE_HZ)
    samples[:, -fade:] *= np.cos(np.linspace(0, math.pi / 2, fade, dtype=np.float32))
    soft = min(240, samples.shape[1])
    samples[:, :soft] *= np.linspace(0, 1, soft, dtype=np.float32)
