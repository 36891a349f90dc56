"""Cold starts: what is measured and what the person is told."""

import pytest

from serving.deployments.cold_starts import KEPT, ColdStarts


def test_without_a_measurement_there_is_no_number():
    assert ColdStarts().sentence("songs") == "Warming up the engine"


@pytest.mark.parametrize(("seconds", "told"), [(0.2, 1), (7.4, 7), (23.0, 25), (47.0, 45), (94.0, 90), (130.0, 130)])
def test_the_measured_wait_is_told_roundly(seconds, told):
    seen = ColdStarts()
    seen.begins("songs", 100.0)
    assert seen.ends("songs", 100.0 + seconds) == pytest.approx(seconds)
    assert seen.sentence("songs") == f"Warming up the engine, about {told} s"
    assert seen.sentence("covers") == "Warming up the engine"


def test_the_first_of_several_waiting_calls_counts_and_a_warm_answer_counts_nothing():
    seen = ColdStarts()
    seen.begins("songs", 0.0)
    seen.begins("songs", 20.0)
    assert seen.ends("songs", 30.0) == 30.0
    assert seen.ends("songs", 500.0) is None
    assert seen.usual_s("songs") == 30.0


def test_a_wait_that_was_given_up_is_no_measurement():
    seen = ColdStarts()
    seen.begins("songs", 0.0)
    seen.forget("songs")
    seen.begins("songs", 1000.0)
    assert seen.ends("songs", 1010.0) == 10.0


def test_the_middle_of_the_last_waits_counts():
    seen = ColdStarts()
    for wait_s in (900.0, *range(1, KEPT + 1)):
        seen.begins("songs", 0.0)
        seen.ends("songs", wait_s)
    assert seen.usual_s("songs") == 3
