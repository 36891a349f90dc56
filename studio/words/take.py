"""Take: one raw result of an Engine with its provenance."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.errors import MelodeonError
from studio.sound.clip import Clip


class Cancelled(MelodeonError):
    """The work was stopped because nobody waits for it any more."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("The work was cancelled.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an Engine is: ``fraction`` 0-1 of the call, a word or two for the person, and for words that are being
    written the ``text`` that came since the last Progress."""

    fraction: float
    message: str = ""
    text: str = ""


OnProgress = Callable[[Progress], None]
"""Told by the engine at least every few hundred ms; raises `Cancelled` when the engine should stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedLine:
    """One sung line and when its first syllable starts, in seconds from the start of the Clip."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the form ("verse", "chorus", …) in seconds."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A Clip and what the engine knows about it."""

    clip: Clip
    tempo_bpm: float | None = None
    key: str | None = None
    sections: tuple[Section, ...] = ()
    lines: tuple[TimedLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sounds that a Brief names by their keys, 48 kHz stereo; None where it names none."""

    source: Clip | None = None
    reference: Clip | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a song will be, as numbers and words; None or empty where the planner had nothing to say."""

    tempo_bpm: int | None = None
    key: str | None = None
    metre: str = ""
    language: str = ""
    duration_s: float | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Texts: whichever of them the Brief asked for; the others are empty. ``tags`` of a moderation are its reasons."""

    prompt: str = ""
    title: str = ""
    lyrics: str = ""
    tags: tuple[str, ...] = ()
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A square picture: uint8 ``[height, width, 3]``, sRGB."""

    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(f"A picture is uint8 [height, width, 3], not {self.pixels.dtype} {self.pixels.shape}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One result and how to make it again.

    Attributes:
        result: the sound, the words or the picture.
        engine, engine_version: who made it.
        seed: the effective seed.
        settings: every effective parameter (JSON values only).
        seconds: wall time spent making it.
    """

    result: Sound | Words | Picture
    engine: str
    engine_version: str
    seed: int
    settings: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
