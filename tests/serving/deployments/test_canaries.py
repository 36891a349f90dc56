"""Canaries: a share of the requests goes to another engine, and always the same ones."""

import warnings
from dataclasses import replace

import pytest

from serving.catalogue import known
from serving.deployments.arguments import EngineArgs, GatewayArgs
from serving.deployments.canaries import Canary, engine_for
from studio.words.brief import Brief, BriefKind, Controls

SERVED = known().served_by(
    {
        "songs": ("tiny-ace-step-turbo",),
        "next": ("tiny-ace-step-base",),
        "composer": ("builtin-song",),
        "covers": ("tiny-sdxl",),
    }
)
TENTH = Canary(of="tiny-ace-step-turbo", engine="tiny-ace-step-base", share=0.1)
THIRD = Canary(of="tiny-ace-step-turbo", engine="builtin-song", share=0.3)
BRIEF = Brief(prompt="folk", controls=Controls(seed=1))


def engines(canaries: tuple[Canary, ...], brief: Brief = BRIEF, jobs: int = 4000) -> list[str]:
    return [engine_for(brief, f"job_{number}", SERVED, canaries) for number in range(jobs)]


@pytest.mark.parametrize("asked", ["", "tiny-ace-step-turbo"])
def test_the_share_is_kept_for_the_default_and_for_the_engine_by_name(asked):
    chosen = engines((TENTH, THIRD), replace(BRIEF, engine=asked))
    assert chosen.count("tiny-ace-step-base") / len(chosen) == pytest.approx(0.1, abs=0.02)
    assert chosen.count("builtin-song") / len(chosen) == pytest.approx(0.3, abs=0.03)
    assert chosen.count("tiny-ace-step-turbo") / len(chosen) == pytest.approx(0.6, abs=0.03)


def test_a_job_meets_the_same_engine_again_and_a_larger_share_keeps_those_it_had():
    small, large = engines((TENTH,)), engines((replace(TENTH, share=0.4),))
    assert small == engines((TENTH,))
    assert all(one == "tiny-ace-step-turbo" or one == other for one, other in zip(small, large, strict=True))


def test_other_engines_and_kinds_are_left_alone():
    assert set(engines((TENTH,), replace(BRIEF, engine="builtin-song"), jobs=50)) == {"builtin-song"}
    assert set(engines((TENTH,), replace(BRIEF, kind=BriefKind.COVER), jobs=50)) == {"tiny-sdxl"}


def test_a_request_that_the_other_engine_could_not_make_stays():
    steps = replace(BRIEF, controls=Controls(seed=1, steps=8))
    whole = replace(THIRD, share=1.0)
    assert set(engines((whole,), jobs=50)) == {"builtin-song"}
    assert set(engines((whole,), steps, jobs=50)) == {"tiny-ace-step-turbo"}


def test_a_canary_whose_engine_has_left_the_serve_file_takes_nothing():
    left = replace(THIRD, engine="tiny-ace-step-xl", share=1.0)
    assert set(engines((left,), jobs=50)) == {"tiny-ace-step-turbo"}


@pytest.mark.parametrize("unknown", ["of", "engine"])
def test_the_gateways_builder_refuses_a_canary_that_nothing_here_runs(unknown):
    """Before a replica of the present gateway is replaced; by a sentence that Ray shows."""
    with warnings.catch_warnings():
        # Ray's own configuration classes
        warnings.simplefilter("ignore", DeprecationWarning)
        from serving.deployments.builders import gateway
        from serving.deployments.replica import CannotStart
    canary = {"of": "builtin-song", "engine": "builtin-words", "share": 0.1}
    gateway(GatewayArgs.model_validate({"canaries": [canary]}))
    with pytest.raises(CannotStart, match="no engine “my-turbo”"):
        gateway(GatewayArgs.model_validate({"canaries": [{**canary, unknown: "my-turbo"}]}))


def test_shares_beyond_the_whole_are_refused():
    canaries = [{"of": "a", "engine": "b", "share": 0.7}, {"of": "a", "engine": "c", "share": 0.4}]
    with pytest.raises(ValueError, match="more than the whole"):
        GatewayArgs.model_validate({"canaries": canaries})


@pytest.mark.parametrize(
    "args", [{}, {"engine": "a", "engines": ["b"]}, {"engines": ["a"], "options": {"b": {}}}, {"engin": "a"}]
)
def test_an_application_names_one_engine_or_several(args):
    with pytest.raises(ValueError, match="engin"):
        EngineArgs.model_validate(args)


def test_options_of_several_engines_are_told_by_name():
    several = EngineArgs.model_validate({"engines": ["a", "b"], "options": {"b": {"steps": 2}}})
    assert (several.names, several.options_of("a"), several.options_of("b")) == (("a", "b"), {}, {"steps": 2})
    one = EngineArgs.model_validate({"engine": "a", "options": {"steps": 2}})
    assert (one.names, one.options_of("a")) == (("a",), {"steps": 2})
