"""Brief: what is asked for."""

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from studio.errors import MelodeonError
from studio.units import SEED_MAX

_LANGUAGE: Final = re.compile(r"|[a-z]{2,3}")
_ADAPTER: Final = re.compile(r"|[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

DESCRIPTION_MAX: Final = 2_000
LYRICS_MAX: Final = 10_000
TITLE_MAX: Final = 100
GUIDANCE_PAIR: Final = (7.5, 15.0)
"""Guidance of the two takes of a request when the person chose none."""


class BriefKind(StrEnum):
    """What a Brief asks an Engine to make. Later kinds (stems, master, …) only add.

    ``lyrics`` writes whichever of style, title and lyrics is missing; ``prompt`` makes a style of a description;
    ``refine`` rewrites the lyrics as the description says; ``moderation`` judges prompt and lyrics; ``plan`` finds
    tempo, key, metre, language and length; ``understand`` describes a sound.
    """

    SONG = "song"
    LYRICS = "lyrics"
    TAGS = "tags"
    COVER = "cover"
    PROMPT = "prompt"
    REFINE = "refine"
    MODERATION = "moderation"
    PLAN = "plan"
    UNDERSTAND = "understand"


class MusicTask(StrEnum):
    """How a song is made: from nothing, or from another sound (the words of ACE-Step 1.5).

    ``cover`` plays a source in another style; ``repaint`` makes a window of it anew; ``extend`` goes on beyond its
    end; ``extract`` takes one track out of it, ``lego`` adds one, ``complete`` adds several.
    """

    TEXT2MUSIC = "text2music"
    COVER = "cover"
    REPAINT = "repaint"
    EXTEND = "extend"
    EXTRACT = "extract"
    LEGO = "lego"
    COMPLETE = "complete"

    @property
    def needs_window(self) -> bool:
        """Whether the Brief must say which seconds are to be made."""
        return self in (MusicTask.REPAINT, MusicTask.EXTEND)

    @property
    def needs_tracks(self) -> bool:
        """Whether the Brief must name tracks."""
        return self in (MusicTask.EXTRACT, MusicTask.LEGO, MusicTask.COMPLETE)


TRACKS: Final = (
    "vocals",
    "backing_vocals",
    "drums",
    "bass",
    "guitar",
    "keyboard",
    "percussion",
    "strings",
    "synth",
    "fx",
    "brass",
    "woodwinds",
)
"""The tracks that ``extract``, ``lego`` and ``complete`` know."""

METRES: Final = ("2", "3", "4", "6")


class BriefMode(StrEnum):
    """Which text the person gave; the job writes the rest."""

    DESCRIPTION = "description"
    LYRICS = "lyrics"
    DESCRIBED_LYRICS = "described_lyrics"


class UnfitBrief(MelodeonError):
    """The Brief asks for something that is not allowed or that its engine cannot do."""

    code = "unfit_brief"

    def __init__(self, field_name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field_name = field_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The numbers a person may set. ``None`` means: let the engine choose.

    Attributes:
        duration_s: length of the finished song in seconds, finite and > 0; the engine's spec narrows it.
        tempo_bpm: quarter notes per minute, 30-300.
        key: ``"A minor"``, ``"F# major"``; see ``studio.music.theory``.
        seed: 0 … 2**31 - 1. Drawn at the door when absent, so that every result can be made again.
        steps: diffusion steps; only engines that have them offer it.
        guidance_scale: one value for both takes; absent: ``GUIDANCE_PAIR``.
    """

    duration_s: float | None = None
    tempo_bpm: int | None = None
    key: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None

    def __post_init__(self) -> None:
        for name in ("duration_s", "tempo_bpm", "seed", "steps", "guidance_scale"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise UnfitBrief(name, f"{name} must be a finite number.")
        if self.seed is not None and not 0 <= self.seed <= SEED_MAX:
            raise UnfitBrief("seed", f"The seed must be a whole number from 0 to {SEED_MAX}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """One request, as the person made it or as a later stage of its Job refined it.

    Attributes:
        kind: what is to be made.
        mode: which text the person gave.
        description: free description of the whole song (mode ``description``).
        prompt: the musical style ("dreamy synthwave, 100 bpm"); written by the text stage when empty.
        lyrics: with ``[verse]``-like section tags; written by the text stage unless given or instrumental.
        described_lyrics: what the lyrics should tell (mode ``described_lyrics``).
        title: at most 100 characters; written by the text stage when empty.
        instrumental: no voice, no lyrics.
        takes: how many different results, 1-4; a song request asks for two.
        engine: name of the engine, a key of ``configs/engines.toml``.
        artist: name written on a cover; filled in by whoever hosts the engine, never by a form.
        controls: the numbers.
        task: how a song is made; every other than ``text2music`` needs a ``source``.
        source: object-store key of the sound that the task works on.
        reference: object-store key of a sound whose timbre is wanted.
        window: first and last second that ``repaint`` or ``extend`` makes.
        strength: 0-1, how much of the source a ``cover`` keeps.
        tracks: of `TRACKS`: one for ``extract`` and ``lego``, one or more for ``complete``.
        adapter: name of a LoRA adapter of the engine.
        language: of the voice, ISO 639-1; empty: the engine decides.
        metre: beats in a bar, one of `METRES`; empty: the engine decides.
    """

    kind: BriefKind = BriefKind.SONG
    mode: BriefMode = BriefMode.DESCRIPTION
    description: str = ""
    prompt: str = ""
    lyrics: str = ""
    described_lyrics: str = ""
    title: str = ""
    instrumental: bool = False
    takes: int = 2
    engine: str = ""
    artist: str = ""
    controls: Controls = field(default_factory=Controls)
    task: MusicTask = MusicTask.TEXT2MUSIC
    source: str = ""
    reference: str = ""
    window: tuple[float, float] | None = None
    strength: float | None = None
    tracks: tuple[str, ...] = ()
    adapter: str = ""
    language: str = ""
    metre: str = ""

    def __post_init__(self) -> None:
        limits = {
            "description": DESCRIPTION_MAX,
            "prompt": DESCRIPTION_MAX,
            "described_lyrics": DESCRIPTION_MAX,
            "lyrics": LYRICS_MAX,
            "title": TITLE_MAX,
        }
        for name, most in limits.items():
            length = len(getattr(self, name))
            if length > most:
                label = name.replace("_", " ")
                raise UnfitBrief(
                    name,
                    f"The {label} has {length:,} characters; at most {most:,} are allowed. Please shorten it.",
                )
        if not 1 <= self.takes <= 4:
            raise UnfitBrief("takes", "A request makes 1 to 4 takes.")
        self._check_numbers()
        self._check_names()

    def _check_numbers(self) -> None:
        if self.window is not None and not 0 <= self.window[0] < self.window[1] < math.inf:
            raise UnfitBrief("window", "The window must begin at 0 s or later and end after its beginning.")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise UnfitBrief("strength", "The strength must be from 0 to 1.")

    def _check_names(self) -> None:
        strange = [track for track in self.tracks if track not in TRACKS]
        if strange or len(set(self.tracks)) < len(self.tracks):
            raise UnfitBrief("tracks", f"Each track must be named once and be one of: {', '.join(TRACKS)}.")
        if self.metre and self.metre not in METRES:
            raise UnfitBrief("metre", f"The metre must be one of: {', '.join(METRES)}.")
        if not _LANGUAGE.fullmatch(self.language):
            raise UnfitBrief("language", "The language is a code of two or three letters, for example “en”.")
        if not _ADAPTER.fullmatch(self.adapter):
            raise UnfitBrief("adapter", "An adapter's name has at most 64 letters, digits, dashes and dots.")

    @property
    def music_text(self) -> str:
        """All that it says about the music, for whoever reads a style out of it."""
        return "\n".join(text for text in (self.prompt, self.description) if text)

    def check_texts(self) -> None:
        """Raise `UnfitBrief` unless the text that the mode needs is there."""
        if self.mode is BriefMode.DESCRIPTION and not self.description.strip():
            raise UnfitBrief("description", "Describe your song in a few words first.")
        if self.mode is not BriefMode.DESCRIPTION and not self.prompt.strip():
            raise UnfitBrief("prompt", "Say in which style the song should be, for example “warm indie folk, 96 bpm”.")
        if self.mode is BriefMode.LYRICS and not self.instrumental and not self.lyrics.strip():
            raise UnfitBrief("lyrics", "Write some lyrics, or switch Instrumental on.")
        if self.mode is BriefMode.DESCRIBED_LYRICS and not self.instrumental and not self.described_lyrics.strip():
            raise UnfitBrief("described_lyrics", "Say what the lyrics should be about, or switch Instrumental on.")

    def take_seed(self, index: int) -> int:
        """The seed of take ``index`` (0-based): takes differ by seed, whatever the engine makes of guidance."""
        return ((self.controls.seed or 0) + index) % (SEED_MAX + 1)

    def take_guidance(self, index: int) -> float:
        """The guidance scale of take ``index`` (0-based)."""
        if self.controls.guidance_scale is not None:
            return self.controls.guidance_scale
        return GUIDANCE_PAIR[index % len(GUIDANCE_PAIR)]
