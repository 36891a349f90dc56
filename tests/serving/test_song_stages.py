"""The planner's stage: what the person left open is planned, what the engine cannot take is left out."""

from dataclasses import replace

import pytest

from serving import catalogue, song_stages
from serving.contract import TakeFailure, TakeResult
from studio.words.brief import Brief, Controls
from studio.words.take import Plan, Words

BRIEF = Brief(prompt="folk", engine="tiny-ace-step-turbo", controls=Controls(seed=1, tempo_bpm=90))


@pytest.fixture(autouse=True)
def _planned_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with a planner, a model for songs and the built-in composer."""
    applications = {"songs": ("tiny-ace-step-turbo", "builtin-song"), "planner": ("tiny-planner",)}
    served = catalogue.known().served_by(applications)
    monkeypatch.setattr(catalogue, "catalogue", lambda: served)


def answer(**plan: object) -> list[TakeResult]:
    words = Words(plan=Plan(**plan))
    return [TakeResult(kind="words", engine="tiny-planner", engine_version="1", seed=1, words=words)]


def test_a_planner_is_asked_for_what_a_model_takes_and_the_person_left_open():
    assert song_stages.needs_plan(BRIEF)
    whole = replace(BRIEF, controls=Controls(seed=1, tempo_bpm=90, duration_s=60, key="A minor"))
    assert not song_stages.needs_plan(whole)
    assert not song_stages.needs_plan(replace(BRIEF, engine="builtin-song"))


def test_the_plan_fills_what_was_left_open_and_nothing_else():
    planned = song_stages.with_plan(BRIEF, answer(tempo_bpm=120, duration_s=75.0, key="C major", language="de"))
    assert planned.controls == Controls(seed=1, tempo_bpm=90, duration_s=75.0, key="C major")
    assert planned.language == "de"


def test_a_number_that_the_engine_does_not_take_is_left_out_alone():
    planned = song_stages.with_plan(BRIEF, answer(duration_s=5000.0, key="C major"))
    assert planned.controls == Controls(seed=1, tempo_bpm=90, key="C major")


def test_without_an_answer_the_brief_stays():
    failure = TakeFailure(index=0, code="no_words", sentence="It said nothing.")
    assert song_stages.with_plan(BRIEF, [failure]) == song_stages.with_plan(BRIEF, ()) == BRIEF
