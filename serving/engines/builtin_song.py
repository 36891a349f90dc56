"""The built-in song engine: composes with the studio's own composer and renders on the processor."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from serving.catalogue import known
from serving.engines.length import length_s
from serving.engines.protocol import NO_SOURCES
from studio.music.compose import compose, lines_left_out, lines_sung, sections_in_seconds, timed_lines
from studio.music.render import render, warm_up
from studio.music.score import Score
from studio.text.phonetics import is_pronounceable
from studio.text.reading import read_style
from studio.text.style import Style
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import Cancelled, OnProgress, Progress, Sound, Sources, Take

SIDE_BY_SIDE: Final = 2
"""Takes rendered at once: the sample loops run without Python's lock, and more would need too much memory."""

LONG_S: Final = 150.0
"""Longer takes are rendered one after the other, for the same reason."""


class BuiltinSong:
    """Songs from tables, rules and oscillators: no weights, no network, no GPU."""

    def __init__(self) -> None:
        self._loaded = False

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return known().spec_of("builtin-song")

    def load(self) -> None:
        """Compile the sample loops."""
        if not self._loaded:
            warm_up()
            self._loaded = True

    def unload(self) -> None:
        """Nothing to give back."""

    def make(
        self,
        brief: Brief,
        on_progress: OnProgress,
        sources: Sources = NO_SOURCES,  # noqa: ARG002 - its spec has no task that needs any
    ) -> tuple[Take, ...]:
        """Compose and render every take: two at a time, long ones one after the other."""
        self.spec.fit(brief)
        together = _Together(on_progress, brief.takes)
        length = length_s(brief, read_style(brief.music_text), self.spec)
        with ThreadPoolExecutor(1 if length > LONG_S else SIDE_BY_SIDE, thread_name_prefix="take") as pool:
            futures = [pool.submit(self._take, brief, index, together) for index in range(brief.takes)]
            wait(futures)
        if together.error is not None:
            raise together.error
        return tuple(future.result() for future in futures)

    def _take(self, brief: Brief, index: int, together: "_Together") -> Take:
        try:
            return self._render(brief, index, together)
        except BaseException as error:
            together.stop(error)
            raise

    def _render(self, brief: Brief, index: int, together: "_Together") -> Take:
        begun = time.perf_counter()
        together.tell(index, Progress(fraction=0.0, message="Composing"))
        style = read_style(brief.music_text)
        score = self._compose(brief, index, style)
        clip = render(score, on_progress=lambda progress: together.tell(index, progress))
        sound = Sound(
            clip=clip,
            tempo_bpm=score.tempo_bpm,
            key=score.key,
            sections=sections_in_seconds(score),
            lines=timed_lines(score),
        )
        return Take(
            result=sound,
            engine=self.spec.name,
            engine_version=self.spec.version,
            seed=brief.take_seed(index),
            settings=_settings(brief, index, style, score),
            seconds=time.perf_counter() - begun,
        )

    def _compose(self, brief: Brief, index: int, style: Style) -> Score:
        controls = brief.controls
        return compose(
            style,
            lyrics="" if brief.instrumental else brief.lyrics,
            tempo_bpm=controls.tempo_bpm,
            key=controls.key,
            duration_s=length_s(brief, style, self.spec),
            seed=brief.take_seed(index),
            guidance=brief.take_guidance(index),
            instrumental=brief.instrumental or style.instrumental,
        )


class _Together:
    """One progress of several takes under way. When one stops, all do; ``error`` says why the first did."""

    def __init__(self, on_progress: OnProgress, takes: int) -> None:
        self._on_progress = on_progress
        self._fractions = [0.0] * takes
        self.error: BaseException | None = None
        self._lock = threading.Lock()

    def tell(self, index: int, progress: Progress) -> None:
        """Take ``index`` is so far. From its own thread."""
        with self._lock:
            if self.error is not None:
                raise Cancelled
            self._fractions[index] = max(self._fractions[index], progress.fraction)
            fraction = sum(self._fractions) / len(self._fractions)
            try:
                self._on_progress(Progress(fraction=fraction, message=progress.message.capitalize()))
            except BaseException as error:
                # before the lock is let go, so that nobody is told anything after having said stop
                self.error = error
                raise

    def stop(self, error: BaseException) -> None:
        """A take ended with this error: the others need not go on."""
        with self._lock:
            self.error = self.error or error


def _settings(brief: Brief, index: int, style: Style, score: Score) -> dict[str, object]:
    """Every effective parameter, and a note when not every line is sung as it is written."""
    settings: dict[str, object] = {
        "genre": score.genre,
        "moods": list(style.moods),
        "tempo_bpm": score.tempo_bpm,
        "key": score.key,
        "duration_s": score.duration_s,
        "guidance_scale": brief.take_guidance(index),
        "instrumental": brief.instrumental or style.instrumental,
        "voice": score.voice,
        "instruments": {part.value: patch for part, patch in score.instruments.items()},
    }
    note = _note(brief, score) if not settings["instrumental"] else ""
    return {**settings, "note": note} if note else settings


def _note(brief: Brief, score: Score) -> str:
    return " ".join(sentence for sentence in (_left_out(brief, score), _vocalised(score)) if sentence)


def _left_out(brief: Brief, score: Score) -> str:
    missing = lines_left_out(brief.lyrics, score)
    if not missing:
        return ""
    what = "1 lyric line" if missing == 1 else f"{missing} lyric lines"
    return f"{what} did not fit into {score.duration_s:.0f} s and cannot be heard; a longer song has room."


def _vocalised(score: Score) -> str:
    lines = lines_sung(score)
    strange = sum(not is_pronounceable(line) for line in lines)
    if not strange:
        return ""
    which = "The lyrics are" if strange == len(lines) else "Some lines are"
    return f"{which} in a script this voice cannot pronounce; it sings them on “ah” and “oo”."
