"""The built-in words engine: prompts, titles, lyrics and tags from rules and word lists."""

import time
from dataclasses import replace

from serving.catalogue import known
from serving.engines.length import length_s
from serving.engines.protocol import NO_SOURCES
from studio.music.genres import usual_tempo
from studio.text.lyrics import write_lyrics
from studio.text.prompts import style_prompt
from studio.text.reading import read_style
from studio.text.style import Style
from studio.text.tags import tags_of
from studio.text.titles import title_of
from studio.words.brief import Brief, BriefKind
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Progress, Sources, Take, Words


class BuiltinWords:
    """Texts from rules and word lists: no language model. What the Brief already has is kept as it is."""

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return known().spec_of("builtin-words")

    def load(self) -> None:
        """Read the pronouncing dictionary, so that the first request need not."""
        write_lyrics("", Style(), seed=0, duration_s=60.0, tempo_bpm=100.0)

    def unload(self) -> None:
        """Nothing to give back."""

    def make(
        self,
        brief: Brief,
        on_progress: OnProgress,
        sources: Sources = NO_SOURCES,  # noqa: ARG002 - its spec has no task that needs any
    ) -> tuple[Take, ...]:
        """Write every take, one after the other."""
        self.spec.fit(brief)
        takes = []
        for index in range(brief.takes):
            on_progress(Progress(fraction=index / brief.takes, message="Writing"))
            takes.append(self._take(brief, index))
        on_progress(Progress(fraction=1.0, message="Written"))
        return tuple(takes)

    def _take(self, brief: Brief, index: int) -> Take:
        begun = time.perf_counter()
        seed = brief.take_seed(index)
        style = _style(brief)
        duration_s = length_s(brief, style, self.spec)
        words = _words(brief, style, seed, duration_s)
        return Take(
            result=words,
            engine=self.spec.name,
            engine_version=self.spec.version,
            seed=seed,
            settings={
                "genre": style.genre,
                "instrumental": style.instrumental,
                "duration_s": duration_s,
                "tempo_bpm": style.tempo_bpm,
                "key": style.key,
            },
            seconds=time.perf_counter() - begun,
        )


def _style(brief: Brief) -> Style:
    """What the texts say about the music; the controls have the last word."""
    style = read_style(brief.music_text)
    return replace(
        style,
        tempo_bpm=brief.controls.tempo_bpm or style.tempo_bpm,
        key=brief.controls.key or style.key,
        instrumental=brief.instrumental or style.instrumental,
    )


def _words(brief: Brief, style: Style, seed: int, duration_s: float) -> Words:
    match brief.kind:
        case BriefKind.TAGS:
            return _tags(brief, style)
        case BriefKind.PROMPT:
            return Words(prompt=style_prompt(brief.description, style, seed=seed))
        case _:
            return _texts(brief, style, seed, duration_s)


def _texts(brief: Brief, style: Style, seed: int, duration_s: float) -> Words:
    """Prompt, title and lyrics, each unless it is given."""
    subject = brief.described_lyrics or brief.description or brief.prompt
    lyrics = "" if style.instrumental else brief.lyrics or _lyrics(style, subject, seed, duration_s)
    return Words(
        prompt=brief.prompt or style_prompt(brief.description, style, seed=seed),
        title=brief.title or title_of(subject, lyrics=lyrics, seed=seed),
        lyrics=lyrics,
    )


def _lyrics(style: Style, subject: str, seed: int, duration_s: float) -> str:
    tempo_bpm = style.tempo_bpm or usual_tempo(style, seed)
    return write_lyrics(subject, style, seed=seed, duration_s=duration_s, tempo_bpm=tempo_bpm)


def _tags(brief: Brief, style: Style) -> Words:
    text = "\n".join([brief.music_text, brief.title])
    return Words(tags=tags_of(style, text, instrumental=style.instrumental, tempo_bpm=style.tempo_bpm))
