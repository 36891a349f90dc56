"""Canaries: an engine is tried out on a share of the requests for another one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from serving.catalogue import Catalogue, UnknownEngine
from studio.words.brief import Brief, UnfitBrief


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """``engine`` makes ``share`` (0-1) of the requests for the engine ``of``."""

    of: str
    engine: str
    share: float


def refuse_unknown(canaries: Sequence[Canary], catalogue: Catalogue) -> None:
    """Raise `UnknownEngine` for a canary that names one that nothing here runs: its share would be lost."""
    for canary in canaries:
        catalogue.spec_of(canary.of)
        catalogue.spec_of(canary.engine)


def engine_for(brief: Brief, job_id: str, catalogue: Catalogue, canaries: Sequence[Canary]) -> str:
    """The engine that makes this request: the one asked for, or one that is tried out in its place.

    The choice depends on the job alone, so that a second attempt meets the same engine. A request that the other
    engine could not make stays where it is.

    Raises:
        UnknownEngine, NoEngine: nothing here makes it.
    """
    wanted = brief.engine or catalogue.default_engine(brief.kind)
    place = _place(job_id, wanted)
    for canary in canaries:
        if canary.of == wanted:
            if place < canary.share and _fits(brief, canary.engine, catalogue):
                return canary.engine
            place -= canary.share
            if place < 0:
                return wanted
    return wanted


def _place(job_id: str, engine: str) -> float:
    """Where the job stands among all of this engine's, evenly spread over 0 … 1."""
    digest = hashlib.sha256(f"{engine}\0{job_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def _fits(brief: Brief, engine: str, catalogue: Catalogue) -> bool:
    try:
        catalogue.spec_of(engine).fit(brief)
    except (UnfitBrief, UnknownEngine):
        # an engine may have left the Serve file since the gateway started
        return False
    return True
