"""``melodeon simulate`` as a person and as a program read it."""

import json

import pytest
from click.testing import CliRunner, Result

from serving.scenario import GPUS, UnfitScenario
from ui.cli.simulate import simulate


def run(*words: str) -> Result:
    return CliRunner().invoke(simulate, words)


def test_the_figures_come_with_their_assumptions() -> None:
    done = run("--songs-per-day", "200", "--days", "1")
    assert done.exit_code == 0, done.output
    assert "not measured here" in done.output
    assert "wait p50 / p95 / p99" in done.output
    assert "6.5 s a song, 1.5 an hour" in done.output


def test_json_says_what_was_simulated_and_what_came_out() -> None:
    done = run("--songs-per-day", "200", "--days", "1", "--policy", "fixed:2", "--gpu", "rtx3090", "--json")
    told = json.loads(done.output)
    assert told["scenario"]["policy"] == "fixed:2"
    assert told["scenario"]["gpu"]["source"] == GPUS["rtx3090"].source
    assert told["outcome"]["gpus_average"] == pytest.approx(2)
    assert told["outcome"]["cost_per_day"] == pytest.approx(2 * 24 * 0.35)
    assert told["outcome"]["songs"] > 100


def test_without_options_it_answers_for_a_thousand_songs_a_day() -> None:
    told = json.loads(run("--json").output)
    assert told["scenario"]["songs_per_day"] == 1000
    assert told["scenario"]["days"] == 6


def test_a_card_of_ones_own_needs_both_numbers() -> None:
    done = run("--gpu", "b300", "--seconds-per-song", "2")
    assert isinstance(done.exception, UnfitScenario)
    assert "--price-per-hour" in done.exception.sentence
    both = run("--gpu", "b300", "--seconds-per-song", "2", "--price-per-hour", "4", "--days", "1", "--json")
    gpu = json.loads(both.output)["scenario"]["gpu"]
    assert (gpu["label"], gpu["seconds_per_song"], gpu["price_per_hour"]) == ("b300", 2, 4)
    assert gpu["source"] == "given on the command line"


def test_what_was_measured_replaces_what_is_assumed() -> None:
    told = json.loads(run("--seconds-per-song", "3.25", "--days", "1", "--json").output)["scenario"]["gpu"]
    assert told["seconds_per_song"] == 3.25
    assert told["price_per_hour"] == GPUS["a100"].price_per_hour
    assert told["source"].startswith("seconds per song given on the command line; else paper values")


@pytest.mark.parametrize("words", [("--policy", "often"), ("--songs-per-day", "0"), ("--policy", "fixed:500")])
def test_nonsense_is_refused_with_a_sentence(words: tuple[str, ...]) -> None:
    assert isinstance(run(*words).exception, UnfitScenario)
