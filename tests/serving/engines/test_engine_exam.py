"""The entrance test of every engine in the catalogue: what the house expects of whoever makes Takes.

A model takes it with tiny random weights of its real classes; engines that need a server have tests of their own.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from serving.catalogue import known
from serving.engines.protocol import Engine
from serving.engines.registry import NoBody, body_of
from studio.units import RATE_HZ
from studio.words.brief import Brief, BriefKind, Controls, UnfitBrief
from studio.words.engine_spec import EngineSpec, NumberControl
from studio.words.take import Cancelled, Picture, Progress, Sound, Take, Words

LYRICS = "[verse]\nWalking home beneath the moon\nHumming half a simple tune\n[chorus]\nOh the night is ours\n"
CODES = "".join(f"<|audio_code_{number}|>" for number in range(50))
BUILT_IN = [spec for spec in known().engines() if spec.name.startswith("builtin-")]
TINY = [spec for spec in known().engines() if spec.card is not None and spec.card.source.startswith("tiny:")]
CASES = [(spec.name, kind) for spec in (*BUILT_IN, *TINY) for kind in spec.kinds]
SAME_FOR_ALL_TAKES = (BriefKind.TAGS, BriefKind.MODERATION, BriefKind.PLAN, BriefKind.UNDERSTAND)
_folders: dict[str, Path] = {}


@pytest.fixture(scope="module", autouse=True)
def _checkpoints(tiny_models: Path) -> None:
    _folders.update({spec.name: tiny_models / spec.name for spec in TINY})


def spec_of(name: str) -> EngineSpec:
    return known().spec_of(name)


def brief_for(name: str, kind: BriefKind) -> Brief:
    """A short, ordinary brief of this kind that sets only what the engine offers."""
    wanted = {"duration_s": 10.0, "tempo_bpm": 100, "key": "A minor", "guidance_scale": 7.5}
    steps = spec_of(name).control("steps")
    if isinstance(steps, NumberControl):
        wanted["steps"] = max(2, int(steps.least))
    offered = {field: value for field, value in wanted.items() if spec_of(name).control(field)}
    return Brief(
        kind=kind,
        engine=name,
        description=CODES if kind is BriefKind.UNDERSTAND else "a warm indie folk song about walking home at night",
        lyrics=LYRICS if kind is not BriefKind.LYRICS else "",
        title="Walking Home" if kind is not BriefKind.LYRICS else "",
        artist="somebody",
        takes=2,
        controls=Controls(seed=11, **offered),
    )


@cache
def engine_of(name: str) -> Engine:
    engine = body_of(name, folder=_folders.get(name), device="cpu")
    engine.load()
    return engine


@cache
def made(name: str, kind: BriefKind) -> tuple[tuple[Take, ...], tuple[Progress, ...]]:
    """One ordinary call and all that was told meanwhile."""
    told: list[Progress] = []
    takes = engine_of(name).make(brief_for(name, kind), told.append)
    return takes, tuple(told)


def same(one: Take, other: Take) -> bool:
    if isinstance(one.result, Sound) and isinstance(other.result, Sound):
        return np.array_equal(one.result.clip.samples, other.result.clip.samples)
    if isinstance(one.result, Picture) and isinstance(other.result, Picture):
        return np.array_equal(one.result.pixels, other.result.pixels)
    return one.result == other.result


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].value}")
def case(request: pytest.FixtureRequest) -> tuple[str, BriefKind]:
    return request.param


def test_its_declaration_is_the_catalogues_and_complete(case):
    spec = engine_of(case[0]).spec
    assert spec == spec_of(case[0])
    assert all([spec.label, spec.version, spec.kinds, spec.licence, spec.note])


def test_it_makes_as_many_takes_as_asked_of_the_right_sort(case):
    name, kind = case
    takes, _ = made(name, kind)
    sort = {BriefKind.SONG: Sound, BriefKind.COVER: Picture}.get(kind, Words)
    assert len(takes) == 2
    assert all(isinstance(take.result, sort) for take in takes)


def test_progress_starts_at_0_never_falls_and_ends_at_1(case):
    _, told = made(*case)
    fractions = [progress.fraction for progress in told]
    assert fractions[0] == 0
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert all(progress.message for progress in told)


def test_the_same_brief_gives_the_same_takes(case):
    name, kind = case
    again = engine_of(name).make(brief_for(name, kind), lambda _: None)
    assert all(same(one, other) for one, other in zip(made(name, kind)[0], again, strict=True))


def test_a_take_can_be_made_again_alone_from_its_seed(case):
    name, kind = case
    second = made(name, kind)[0][1]
    brief = brief_for(name, kind)
    alone = replace(brief, takes=1, controls=replace(brief.controls, seed=second.seed))
    assert same(engine_of(name).make(alone, lambda _: None)[0], second)


def test_takes_of_one_brief_differ(case):
    if case[1] in SAME_FOR_ALL_TAKES:
        pytest.skip("what is said of one song may be the same for all its takes")
    first, second = made(*case)[0]
    assert not same(first, second)


def test_every_take_says_how_it_was_made(case):
    name, kind = case
    brief = brief_for(name, kind)
    for index, take in enumerate(made(name, kind)[0]):
        assert (take.engine, take.engine_version) == (name, spec_of(name).version)
        assert take.seed == brief.take_seed(index)
        assert take.seconds > 0
        assert json.loads(json.dumps(take.settings)) == take.settings
        for control in spec_of(name).controls:
            assert take.settings[control.name] == getattr(brief.controls, control.name)


@pytest.mark.parametrize("at", [1, 2])
def test_it_stops_within_one_step_when_told_so(case, at: int):
    name, kind = case
    told: list[float] = []

    def stop(progress: Progress) -> None:
        told.append(progress.fraction)
        if len(told) >= at:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine_of(name).make(brief_for(name, kind), stop)
    assert len(told) == at


def test_it_refuses_a_kind_it_does_not_make(case):
    name, kind = case
    other = next(kind for kind in BriefKind if kind not in spec_of(name).kinds)
    with pytest.raises(UnfitBrief, match="choose another engine"):
        engine_of(name).make(replace(brief_for(name, kind), kind=other), lambda _: None)


def test_it_refuses_what_it_has_no_control_for(case):
    name, kind = case
    brief = brief_for(name, kind)
    fields = ("steps", "guidance_scale", "tempo_bpm")
    strange = next((field for field in fields if spec_of(name).control(field) is None), None)
    if strange is None:
        pytest.skip("it has every control")
    with pytest.raises(UnfitBrief) as caught:
        engine_of(name).make(replace(brief, controls=replace(brief.controls, **{strange: 20})), lambda _: None)
    assert caught.value.field_name == strange
    assert caught.value.sentence.endswith(".")


def test_it_refuses_numbers_beyond_its_controls(case):
    name, kind = case
    brief = brief_for(name, kind)
    for control in spec_of(name).controls:
        if isinstance(control, NumberControl):
            beyond = replace(brief.controls, **{control.name: control.most + 1})
            with pytest.raises(UnfitBrief, match=control.label):
                engine_of(name).make(replace(brief, controls=beyond), lambda _: None)


def test_loading_again_changes_nothing(case):
    name, kind = case
    engine = engine_of(name)
    engine.load()
    again = engine.make(replace(brief_for(name, kind), takes=1), lambda _: None)
    assert same(again[0], made(name, kind)[0][0])


def test_sound_is_stereo_at_48_khz_and_as_long_as_asked(case):
    for take in made(*case)[0]:
        if isinstance(take.result, Sound):
            assert take.result.clip.rate_hz == RATE_HZ
            assert take.result.clip.samples.shape == (2, 10 * RATE_HZ)
            assert take.result.sections[-1].end_s == pytest.approx(10)


def test_an_engine_whose_class_is_missing_is_refused_with_a_sentence(tmp_path):
    from serving.catalogue import read_catalogue

    path = tmp_path / "engines.toml"
    path.write_text('[ghost]\nbody = "serving.engines.ghost:Ghost"\nlabel = "Ghost"\nversion = "1"\nkinds = ["song"]\n')
    with pytest.raises(NoBody, match="ghost"):
        body_of("ghost", among=read_catalogue(path))
