"""Words with their provenance, the same for every engine that writes."""

from collections.abc import Mapping, Sequence

from serving.engines.length import length_s
from studio.text.reading import read_style
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import Take, Words


def words_takes(
    brief: Brief, spec: EngineSpec, words: Sequence[Words], *, settings: Mapping[str, object], seconds: float
) -> tuple[Take, ...]:
    """One take for each of ``words``, in order. ``settings`` come on top of the brief's own controls."""
    controls: dict[str, object] = {control.name: getattr(brief.controls, control.name) for control in spec.controls}
    if spec.control("duration_s"):
        controls["duration_s"] = length_s(brief, read_style(brief.music_text), spec)
    return tuple(
        Take(
            result=each,
            engine=spec.name,
            engine_version=spec.version,
            seed=brief.take_seed(index),
            settings={**controls, **settings},
            seconds=seconds,
        )
        for index, each in enumerate(words)
    )
