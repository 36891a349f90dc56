"""The stages of a song: which Brief each one sends, and what the Job makes of the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from data.repositories.job_songs import LostTake, MadeTake
from serving import catalogue
from serving.contract import TakeFailure, TakeResult
from studio.words.brief import Brief, BriefKind, BriefMode, Controls, MusicTask, UnfitBrief
from studio.words.engine_spec import EngineSpec

Takes = Sequence[TakeResult | TakeFailure]

_TAKES: TypeAdapter[list[TakeResult | TakeFailure]] = TypeAdapter(list[TakeResult | TakeFailure])
_ALWAYS: Final = ("seed",)
_PLANNED: Final = ("duration_s", "tempo_bpm", "key")
_NO_COVER: Final = "The song has no cover: the painter could not make one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the stages made, music and covers in the order of the takes. ``covers`` may be empty and ``tags`` too."""

    music: Takes
    covers: Takes
    tags: tuple[str, ...]


def saved(takes: Takes) -> dict[str, Any]:
    """A stage's answer as JSON values, to be kept with the Job."""
    return {"takes": _TAKES.dump_python(list(takes), mode="json")}


def read_saved(result: Mapping[str, Any]) -> Takes | None:
    """What `saved` kept; None when another version kept it in words of its own, so that it must be made anew."""
    try:
        return _TAKES.validate_python(result["takes"])
    except (ValidationError, KeyError):
        return None


def calls(brief: Brief, open_takes: Sequence[int]) -> tuple[Brief, ...]:
    """The calls that make these takes of the brief, in their order: one for all, or one each when some are made.

    A take made alone gets the seed and the guidance that it has among the others.
    """
    if tuple(open_takes) == tuple(range(brief.takes)):
        return (brief,)
    return tuple(_alone(brief, index) for index in open_takes)


def needs_text(brief: Brief) -> bool:
    """Whether title, style or lyrics are still to be written."""
    has_lyrics = brief.instrumental or bool(brief.lyrics.strip())
    return not (brief.title.strip() and brief.prompt.strip() and has_lyrics)


def text_brief(brief: Brief) -> Brief:
    """Asks the words engine for what is missing."""
    return _for_engine(brief, BriefKind.LYRICS, takes=1)


def with_text(brief: Brief, takes: Takes) -> Brief:
    """The brief with its words complete: what the person wrote stays, the rest is the engine's."""
    take = takes[0]
    if isinstance(take, TakeFailure) or take.words is None:
        return brief
    words = take.words
    lyrics = "" if brief.instrumental else brief.lyrics or words.lyrics
    return replace(
        brief,
        mode=BriefMode.LYRICS,
        prompt=brief.prompt or words.prompt or brief.description,
        title=brief.title or words.title,
        lyrics=lyrics,
    )


def needs_plan(brief: Brief) -> bool:
    """Whether a planner runs here, the engine is a model that takes its numbers, and the person left some open."""
    if not catalogue.catalogue().makes(BriefKind.PLAN):
        return False
    spec = catalogue.spec_of(brief.engine)
    open_controls = [name for name in _PLANNED if spec.control(name) and getattr(brief.controls, name) is None]
    return spec.card is not None and brief.task is MusicTask.TEXT2MUSIC and bool(open_controls)


def plan_brief(brief: Brief) -> Brief:
    """Asks the planner for the numbers that the person left open."""
    return _for_engine(brief, BriefKind.PLAN, takes=1)


def with_plan(brief: Brief, takes: Takes) -> Brief:
    """The brief with the planner's numbers where the person gave none and the engine takes them."""
    plan = next((take.words.plan for take in takes if isinstance(take, TakeResult) and take.words), None)
    if plan is None:
        return brief
    spec, controls = catalogue.spec_of(brief.engine), brief.controls
    for name in _PLANNED:
        value = getattr(plan, name)
        planned = replace(controls, **{name: value}) if getattr(controls, name) is None else controls
        if value is not None and spec.control(name) and _fits(spec, replace(brief, controls=planned)):
            controls = planned
    return replace(brief, controls=controls, metre=brief.metre or plan.metre, language=brief.language or plan.language)


def _fits(spec: EngineSpec, brief: Brief) -> bool:
    try:
        spec.fit(brief)
    except UnfitBrief:
        return False
    return True


def cover_calls(music: Sequence[Brief]) -> tuple[Brief, ...]:
    """Ask for one cover a take of these calls; none where no engine paints."""
    if not catalogue.catalogue().makes(BriefKind.COVER):
        return ()
    return tuple(_for_engine(call, BriefKind.COVER, takes=call.takes) for call in music)


def tags_calls(brief: Brief) -> tuple[Brief, ...]:
    """Ask for the tags, the same for every take; nothing where no engine finds any."""
    return (_for_engine(brief, BriefKind.TAGS, takes=1),) if catalogue.catalogue().makes(BriefKind.TAGS) else ()


def tags_of(takes: Takes) -> tuple[str, ...]:
    """The tags in the answer of the tags stage."""
    return tuple(tag for take in takes if isinstance(take, TakeResult) and take.words for tag in take.words.tags)


def outcomes(brief: Brief, open_takes: Sequence[int], answers: Answers) -> list[MadeTake | LostTake]:
    """What became of each of these takes."""
    covers = dict(zip(open_takes, answers.covers, strict=False))
    made = zip(open_takes, answers.music, strict=True)
    return [_outcome(brief, index, take, covers.get(index), answers.tags) for index, take in made]


def _alone(brief: Brief, index: int) -> Brief:
    controls = replace(brief.controls, seed=brief.take_seed(index))
    if catalogue.spec_of(brief.engine).control("guidance_scale"):
        controls = replace(controls, guidance_scale=brief.take_guidance(index))
    return replace(brief, takes=1, controls=controls)


def _for_engine(brief: Brief, kind: BriefKind, *, takes: int) -> Brief:
    engine = catalogue.default_engine(kind)
    controls = _known_controls(brief.controls, catalogue.spec_of(engine))
    return replace(
        brief,
        kind=kind,
        engine=engine,
        takes=takes,
        controls=controls,
        # what belongs to the music alone
        task=MusicTask.TEXT2MUSIC,
        source="",
        reference="",
        window=None,
        strength=None,
        tracks=(),
        adapter="",
    )


def _known_controls(controls: Controls, spec: EngineSpec) -> Controls:
    """Only what this engine honours: the person set the numbers for the music, not for its words and pictures."""
    names = [field.name for field in fields(Controls)]
    known = {name: getattr(controls, name) for name in names if name in _ALWAYS or spec.control(name)}
    return Controls(**known)


def _outcome(
    brief: Brief,
    index: int,
    take: TakeResult | TakeFailure,
    cover: TakeResult | TakeFailure | None,
    tags: tuple[str, ...],
) -> MadeTake | LostTake:
    if isinstance(take, TakeFailure):
        return LostTake(index=index, sentence=take.sentence)
    assets, provenance = dict(take.assets), {"music": _provenance(take)}
    if isinstance(cover, TakeResult):
        assets |= cover.assets
        provenance["cover"] = _provenance(cover)
    notes = (take.note, cover.note if isinstance(cover, TakeResult) else _NO_COVER)
    return MadeTake(
        index=index,
        assets=assets,
        title=brief.title,
        prompt=brief.prompt,
        lyrics=brief.lyrics,
        engine=take.engine,
        engine_version=take.engine_version,
        seed=take.seed,
        steps=_whole(take.settings.get("steps")),
        guidance_scale=_number(take.settings.get("guidance_scale")),
        duration_s=take.duration_s,
        tempo_bpm=take.tempo_bpm,
        key=take.key,
        loudness_lufs=take.loudness_lufs,
        true_peak_dbtp=take.true_peak_dbtp,
        sections=take.sections,
        lines=take.lines,
        tags=tags,
        provenance=provenance,
        note=" ".join(note for note in notes if note),
    )


def _provenance(take: TakeResult) -> dict[str, Any]:
    names = {"engine", "engine_version", "seed", "settings", "seconds", "note"}
    return take.model_dump(mode="json", include=names)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
