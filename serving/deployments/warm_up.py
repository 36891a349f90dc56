"""Warming up: a small request that makes a model choose its kernels and fill its caches before a person waits."""

from typing import Final

from studio.words.brief import Brief, BriefKind, Controls
from studio.words.engine_spec import EngineSpec, NumberControl

_CHEAPEST_FIRST: Final = (BriefKind.TAGS, BriefKind.PLAN, BriefKind.PROMPT, BriefKind.COVER, BriefKind.SONG)


def warm_up_brief(spec: EngineSpec) -> Brief | None:
    """The least that this engine can be asked for; None for an engine without weights, which needs no warming up."""
    if spec.card is None:
        return None
    kind = next((kind for kind in _CHEAPEST_FIRST if kind in spec.kinds), spec.kinds[0])
    length, steps = spec.control("duration_s"), spec.control("steps")
    controls = Controls(
        seed=0,
        duration_s=length.least if isinstance(length, NumberControl) else None,
        steps=int(steps.least) if isinstance(steps, NumberControl) else None,
    )
    return Brief(
        kind=kind,
        description="a quiet folk song about the morning",
        prompt="quiet folk, 90 bpm",
        lyrics="[verse]\nThe morning comes",
        title="Morning",
        takes=1,
        engine=spec.name,
        controls=controls,
    )
