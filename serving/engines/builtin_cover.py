"""The built-in cover engine: paints with the studio's own painter."""

import time
from typing import Final

from serving.catalogue import known
from serving.engines.protocol import NO_SOURCES
from studio.art.cover import paint_cover
from studio.text.reading import read_style
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Progress, Sources, Take

SIZE_PX: Final = 1024


class BuiltinCover:
    """Square pictures from shapes, palettes and letters: no image model."""

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return known().spec_of("builtin-cover")

    def load(self) -> None:
        """Nothing to get ready."""

    def unload(self) -> None:
        """Nothing to give back."""

    def make(
        self,
        brief: Brief,
        on_progress: OnProgress,
        sources: Sources = NO_SOURCES,  # noqa: ARG002 - its spec has no task that needs any
    ) -> tuple[Take, ...]:
        """Paint every take, one after the other."""
        self.spec.fit(brief)
        takes = []
        for index in range(brief.takes):
            on_progress(Progress(fraction=index / brief.takes, message="Painting the cover"))
            takes.append(self._take(brief, index))
        on_progress(Progress(fraction=1.0, message="Painted"))
        return tuple(takes)

    def _take(self, brief: Brief, index: int) -> Take:
        begun = time.perf_counter()
        style = read_style(brief.music_text)
        seed = brief.take_seed(index)
        picture = paint_cover(style, title=brief.title, artist=brief.artist, seed=seed, size_px=SIZE_PX)
        return Take(
            result=picture,
            engine=self.spec.name,
            engine_version=self.spec.version,
            seed=seed,
            settings={"title": brief.title, "artist": brief.artist, "genre": style.genre, "size_px": SIZE_PX},
            seconds=time.perf_counter() - begun,
        )
