"""One Brief on its way through an ACE-Step API server: into the queue, through it, and back as sound."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.audio_files import UnreadableAudio, encode_wav, read, read_duration_s
from data.provenance import Labels
from serving.engines.acestep_client import AceStepServer, BadAnswer, Made, ServerBusy, ServerUnavailable, TaskState
from serving.engines.acestep_text import estimated_sections
from serving.engines.length import length_s
from studio.errors import MelodeonError
from studio.music.theory import KEYS
from studio.sound.clip import Clip
from studio.text.reading import read_style
from studio.units import RATE_HZ
from studio.words.brief import Brief, MusicTask
from studio.words.engine_spec import EngineSpec, NumberControl
from studio.words.take import Progress, Sound, Sources, Take

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
BACK_OFF: Final = 1.5
LENGTH_OFF_S: Final = 1.0
"""How much longer or shorter than asked a sound may be; it is then cut or filled with silence."""

TURBO_STEPS: Final = 8
BASE_STEPS: Final = 50
_WAV_SECOND_BYTES: Final = RATE_HZ * 2 * 4
_HEADER_BYTES: Final = 1 << 20


class TaskFailed(MelodeonError):
    """The server tried and could not make the song."""

    code = "engine_failed"

    def __init__(self, why: str) -> None:
        hint = " Ask for a shorter song." if "out of memory" in why.lower() else ""
        super().__init__(f"The ACE-Step server could not make the song: {why}{hint}")


class TaskLost(ServerUnavailable):
    """The server no longer knows the song: its queue lives in its memory, and it was restarted."""

    code = "replica_lost"

    def __init__(self) -> None:
        super().__init__("it no longer knows the song it was making; it was restarted meanwhile.")


class AceStepApiOptions(BaseModel):
    """What ``[NAME.options]`` of the catalogue and the Serve file may say.

    Attributes:
        url: of the server, ``http://127.0.0.1:8001``, without a key or a query in it.
        key_file: a file with the server's key; the key itself stands in no configuration.
        model: one of the server's models; empty: its default.
        thinking: whether the server's language model plans the song first; its plans are not reproducible.
        deadline_s: longest time for one request, its time in the server's queue included.
        patience_s: how long the server may be away in the middle before the song counts as lost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    key_file: Path | None = None
    model: str = ""
    thinking: bool = False
    deadline_s: Annotated[float, Field(gt=0)] = 600.0
    patience_s: Annotated[float, Field(ge=0)] = 15.0


class Order:
    """One Brief on its way through the server."""

    def __init__(self, brief: Brief, spec: EngineSpec, options: AceStepApiOptions, sources: Sources) -> None:
        self._brief = brief
        self._spec = spec
        self._options = options
        self._sources = sources
        self._length_s = _length_s(brief, spec, sources)
        self.progress = Progress(fraction=0.0, message="Asking the ACE-Step server")

    async def made(self, server: AceStepServer, folder: Path) -> list[Made]:
        """Put the takes into the queue and wait until each is made."""
        files = await asyncio.to_thread(_written, self._sources, folder)
        tasks = [await self._released(server, index, files) for index in range(self._brief.takes)]
        away_since: float | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * BACK_OFF, LONGEST_PAUSE_S)
            try:
                states = await _known(server, tasks)
            except (ServerUnavailable, BadAnswer):
                # it may be back at the next question: what it has begun is worth waiting a little for
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since >= self._options.patience_s:
                    raise
                continue
            away_since = None
            self._tell(states)
            if all(state.state == "made" for state in states):
                return [state.made for state in states if state.made is not None]

    async def _released(self, server: AceStepServer, index: int, files: Mapping[str, Path]) -> str:
        """Enter one take, again and again while the queue is full, as long as the patience lasts."""
        begun = time.monotonic()
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await server.release(self._fields(index), files)
            except ServerBusy:
                if time.monotonic() - begun >= self._options.patience_s:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * BACK_OFF, LONGEST_PAUSE_S)

    def _tell(self, states: list[TaskState]) -> None:
        for state in states:
            if state.state == "failed":
                raise TaskFailed(state.error)
        share = sum(state.progress for state in states) / len(states)
        message = "Making the music" if share else "Waiting for the ACE-Step server"
        self.progress = Progress(fraction=max(self.progress.fraction, 0.9 * share), message=message)

    async def fetched(self, server: AceStepServer, result: Made, folder: Path) -> Clip:
        """Load one sound, 48 kHz stereo and as long as asked."""
        self.progress = Progress(fraction=max(self.progress.fraction, 0.9), message="Fetching the sound")
        path = folder / "take.audio"
        most_s = self._length_s + LENGTH_OFF_S
        await server.fetch(result.file, path, most_bytes=int(most_s * _WAV_SECOND_BYTES) + _HEADER_BYTES)
        return await asyncio.to_thread(_clip, path, self._length_s)

    def take(self, index: int, clip: Clip, result: Made, seconds: float) -> Take:
        """The take with all that is known about it."""
        controls = self._brief.controls
        tempo_bpm = controls.tempo_bpm or _tempo_bpm(result.metas.get("bpm"))
        key = controls.key or _key(result.metas.get("keyscale"))
        sections = estimated_sections("" if self._brief.instrumental else self._brief.lyrics, self._length_s)
        return Take(
            result=Sound(clip=clip, tempo_bpm=tempo_bpm, key=key, sections=sections),
            engine=self._spec.name,
            engine_version=self._spec.version,
            seed=self._brief.take_seed(index),
            seconds=seconds,
            settings={**self._settings(index), "tempo_bpm": tempo_bpm, "key": key, "model": result.dit_model[:100]},
        )

    def _settings(self, index: int) -> dict[str, object]:
        settings: dict[str, object] = {
            "task": self._brief.task.value,
            "duration_s": self._length_s,
            "steps": _steps(self._brief, self._spec),
            "thinking": self._options.thinking,
            "instrumental": self._brief.instrumental,
        }
        if self._spec.uses_guidance:
            settings["guidance_scale"] = self._brief.take_guidance(index)
        return settings

    def _fields(self, index: int) -> dict[str, Any]:
        """The words of ``/release_task`` for one take. Whatever the server would invent is switched off."""
        brief = self._brief
        fields: dict[str, Any] = {
            "prompt": brief.prompt or brief.description,
            "lyrics": "[Instrumental]" if brief.instrumental else brief.lyrics,
            "vocal_language": brief.language or "unknown",
            "task_type": "repaint" if brief.task is MusicTask.EXTEND else brief.task.value,
            "audio_duration": self._length_s,
            "inference_steps": _steps(brief, self._spec),
            "seed": brief.take_seed(index),
            "use_random_seed": False,
            "batch_size": 1,
            "audio_format": "wav",
            "thinking": self._options.thinking,
            "use_cot_caption": False,
            "use_cot_language": False,
        }
        if self._spec.uses_guidance:
            fields["guidance_scale"] = brief.take_guidance(index)
        optional = {
            "model": self._options.model,
            "bpm": brief.controls.tempo_bpm,
            "key_scale": brief.controls.key,
            "time_signature": brief.metre,
            "audio_cover_strength": brief.strength,
            **_task_fields(brief),
        }
        return fields | {name: value for name, value in optional.items() if value not in (None, "")}


def _task_fields(brief: Brief) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if brief.window is not None:
        fields["repainting_start"], fields["repainting_end"] = brief.window
    if brief.task is MusicTask.COMPLETE:
        # a form carries one text; the server joins several classes with this very sign
        fields["track_classes"] = " | ".join(brief.tracks)
    elif brief.tracks:
        fields["track_name"] = brief.tracks[0]
    return fields


async def _known(server: AceStepServer, tasks: list[str]) -> list[TaskState]:
    states = await server.query(tasks)
    if any(state.state == "unknown" for state in states.values()):
        raise TaskLost
    return [states[task] for task in tasks]


def _written(sources: Sources, folder: Path) -> dict[str, Path]:
    """The sounds as WAV files, under the names of the form's fields."""
    sounds = {"src_audio": sources.source, "reference_audio": sources.reference}
    files = {}
    for name, clip in sounds.items():
        if clip is not None:
            files[name] = folder / f"{name}.wav"
            encode_wav(clip, files[name], Labels(title="", artist=""))
    return files


def _clip(path: Path, wanted_s: float) -> Clip:
    """Decode what was fetched; its length is looked at before it is read into memory."""
    try:
        found_s = read_duration_s(path)
        if abs(found_s - wanted_s) > LENGTH_OFF_S:
            raise BadAnswer(f"its sound is {found_s:.1f} s long instead of {wanted_s:.1f} s")
        clip = read(path)
    except UnreadableAudio:
        raise BadAnswer("its sound is no sound file that can be read here") from None
    if clip.rate_hz != RATE_HZ or len(clip.samples) != 2:
        raise BadAnswer(f"its sound has {len(clip.samples)} channels at {clip.rate_hz} Hz instead of 2 at {RATE_HZ}")
    if not np.isfinite(clip.samples).all():
        raise BadAnswer("its sound has samples that are no numbers")
    frames = round(wanted_s * RATE_HZ)
    missing = max(0, frames - clip.samples.shape[1])
    return Clip(samples=np.pad(clip.samples[:, :frames], ((0, 0), (0, missing))))


def _length_s(brief: Brief, spec: EngineSpec, sources: Sources) -> float:
    """A task on a source is as long as the source; an extension ends where its window does."""
    if brief.task is MusicTask.EXTEND and brief.window is not None:
        return brief.window[1]
    if sources.source is not None:
        return sources.source.duration_s
    return length_s(brief, read_style(brief.music_text), spec)


def _steps(brief: Brief, spec: EngineSpec) -> int:
    control = spec.control("steps")
    usual = control.default if isinstance(control, NumberControl) else None
    return int(brief.controls.steps or usual or (BASE_STEPS if spec.uses_guidance else TURBO_STEPS))


def _tempo_bpm(told: object) -> float | None:
    return float(told) if isinstance(told, int | float) and 30 <= told <= 300 else None


def _key(told: object) -> str | None:
    name = told.strip().lower() if isinstance(told, str) else ""
    return next((key for key in KEYS if key.lower() == name), None)
