"""What one Brief asks of ACE-Step: checked sounds, whole latents, effective numbers. No torch here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from serving.engines.length import length_s
from studio.errors import MelodeonError
from studio.sound.clip import Clip, Samples
from studio.sound.resample import resampled, stereo
from studio.text.reading import read_style
from studio.units import RATE_HZ
from studio.words.brief import Brief, MusicTask, UnfitBrief
from studio.words.engine_spec import EngineSpec, NumberControl
from studio.words.take import Sources

LATENT_FRAMES: Final = 1_920
"""Frames of sound in one latent: 25 latents a second at 48 kHz."""

FADE_FRAMES: Final = RATE_HZ // 50
"""Frames of one crossfade between source and new sound: 20 ms, always inside the window."""

SHIFT: Final = 3.0
"""Timestep shift: the turbo checkpoints are distilled for 1, 2 and 3; the pipeline's own default."""

_SLACK_S: Final = 0.05
"""A window may reach this far beyond what the source holds: lengths are rounded on their way through a page."""

_SHORTEST_S: Final = 1.0
_INSTRUMENTAL: Final = "[Instrumental]"
_ANY_LANGUAGE: Final = "unknown"
"""The model's own word for a language that nobody named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Frames ``first`` … ``end`` - 1 of a sound."""

    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One Brief as numbers and sounds.

    Attributes:
        task: of the Brief.
        caption, lyrics, language: the texts, before the tokenizer's limits.
        frames: length of the result at 48 kHz.
        source: float32 ``[2, frames or fewer]`` at 48 kHz, as it came; None for a task without.
        reference: float32 ``[2, n]`` at 48 kHz, or None.
        window: what `repaint` and `extend` make anew; None: everything is made.
        strength: how much of the source a cover keeps, 0-1.
        tempo_bpm, key, metre, tracks, adapter: of the Brief.
        steps: of the diffusion.
        shift: of its timesteps.
        guidances: of each take, the effective value: 1 where the checkpoint follows none.
        seeds: of each take.
        note: a sentence for the person when something asked for has no effect.
    """

    task: MusicTask
    caption: str
    lyrics: str
    language: str
    frames: int
    source: Samples | None
    reference: Samples | None
    window: Span | None
    strength: float
    tempo_bpm: int | None
    key: str | None
    metre: str
    tracks: tuple[str, ...]
    adapter: str
    steps: int
    shift: float
    guidances: tuple[float, ...]
    seeds: tuple[int, ...]
    note: str = ""

    @property
    def duration_s(self) -> float:
        """Length of the result in seconds."""
        return self.frames / RATE_HZ

    @property
    def latents(self) -> int:
        """Length of the result in whole latents."""
        return -(-self.frames // LATENT_FRAMES)


class LostSound(MelodeonError):
    """The Brief names a sound that did not come with it."""

    code = "lost_sound"

    def __init__(self, what: str, key: str) -> None:
        super().__init__(f"The {what} “{key}” could not be fetched for the engine; please choose it again.")


def ask_of(brief: Brief, spec: EngineSpec, sources: Sources, options: Mapping[str, Any]) -> Ask:
    """``brief``, already fitted to ``spec``, as an `Ask`.

    Raises:
        LostSound: it names a source or reference that is not among ``sources``.
        UnfitBrief: a sound that cannot be worked on, or a window that does not lie where its task needs it.
    """
    source = _sound("source", brief.source, sources.source)
    frames, window = _extent(brief, spec, source)
    steps = spec.control("steps")
    usual = steps.default if isinstance(steps, NumberControl) and steps.default else 50 if spec.uses_guidance else 8
    takes = range(brief.takes)
    return Ask(
        task=brief.task,
        caption=_plain(brief.prompt) or _plain(brief.description),
        lyrics=_INSTRUMENTAL if brief.instrumental else _plain(brief.lyrics) or _INSTRUMENTAL,
        language=_ANY_LANGUAGE if brief.instrumental else brief.language or _ANY_LANGUAGE,
        frames=frames,
        source=source,
        reference=_sound("reference", brief.reference, sources.reference),
        window=window,
        strength=1.0 if brief.strength is None else brief.strength,
        tempo_bpm=brief.controls.tempo_bpm,
        key=brief.controls.key,
        metre=brief.metre,
        tracks=brief.tracks,
        adapter=brief.adapter,
        steps=int(brief.controls.steps or usual),
        shift=float(options.get("shift", SHIFT)),
        guidances=tuple(brief.take_guidance(index) if spec.uses_guidance else 1.0 for index in takes),
        seeds=tuple(brief.take_seed(index) for index in takes),
        note=_note(brief, frames),
    )


def _plain(text: str) -> str:
    """Text only: what looks like one of the tokenizer's control tokens would end the prompt where it stands."""
    return text.replace("<|", "< |").strip()


def _note(brief: Brief, frames: int) -> str:
    wanted_s, made_s = brief.controls.duration_s, frames / RATE_HZ
    if wanted_s is None or abs(wanted_s - made_s) < _SLACK_S:
        return ""
    return f"Made from a source, it is {made_s:.1f} s long, whatever length was chosen."


def _sound(what: str, key: str, clip: Clip | None) -> Samples | None:
    if not key:
        return None
    if clip is None:
        raise LostSound(what, key)
    if not np.isfinite(clip.samples).all():
        raise UnfitBrief(what, f"The {what} holds values that are no numbers; please export it again.")
    if clip.duration_s < _SHORTEST_S:
        raise UnfitBrief(what, f"The {what} is {clip.duration_s:.2f} s long; it must have at least {_SHORTEST_S:g} s.")
    return stereo(resampled(clip)).samples


def _extent(brief: Brief, spec: EngineSpec, source: Samples | None) -> tuple[int, Span | None]:
    """How long the result is, in frames, and which of them are made anew.

    Everything made from a source is as long as the source; an extension is as long as its window says.
    """
    if source is None:
        return round(length_s(brief, read_style(brief.music_text), spec) * RATE_HZ), None
    frames = source.shape[1]
    window = None
    if brief.window is not None:
        window = _window(brief.task, *brief.window, frames)
        frames = max(frames, window.end)
    _check_length(spec, frames)
    return frames, window


def _check_length(spec: EngineSpec, frames: int) -> None:
    control = spec.control("duration_s")
    if isinstance(control, NumberControl) and frames > (control.most + _SLACK_S) * RATE_HZ:
        raise UnfitBrief(
            "source",
            f"The result would be {frames / RATE_HZ:.0f} s long; {spec.label} makes at most {control.most:g} s.",
        )


def _window(task: MusicTask, start_s: float, end_s: float, held: int) -> Span:
    held_s = held / RATE_HZ
    if task is MusicTask.EXTEND:
        if start_s > held_s + _SLACK_S:
            raise UnfitBrief("window", f"The source ends at {held_s:.2f} s; what follows must begin there or before.")
        if end_s <= held_s + _SLACK_S:
            raise UnfitBrief("window", f"The source is already {held_s:.2f} s long; extend it beyond that.")
        # the crossfade needs some source to come from
        return Span(first=max(0, min(round(start_s * RATE_HZ), held - FADE_FRAMES)), end=round(end_s * RATE_HZ))
    if end_s > held_s + _SLACK_S:
        raise UnfitBrief("window", f"The source ends at {held_s:.2f} s; the window must lie inside it.")
    if math.isclose(start_s, end_s, abs_tol=2 * FADE_FRAMES / RATE_HZ):
        raise UnfitBrief("window", "The window is too short to be heard; make it longer than 0.04 s.")
    return Span(first=round(start_s * RATE_HZ), end=min(round(end_s * RATE_HZ), held))
