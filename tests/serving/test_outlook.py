"""Estimates: the pace of past Jobs, and when those in line will be done."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.outlook import Pace, outlooks_of, pace_of
from studio.words.brief import Brief, BriefKind, Controls
from studio.words.ids import AccountId, JobId
from studio.words.job import Job, JobState

PACE = Pace(fixed_s=4.0, per_second=0.1, typical_length_s=60.0)
LENGTHS = st.lists(st.sampled_from([10.0, 30.0, 60.0, 240.0]), min_size=1, max_size=20)


def job(name: str, *, length_s: float | None = None, progress: float | None = None) -> Job:
    return Job(
        id=JobId(name),
        account_id=AccountId("acc"),
        brief=Brief(controls=Controls(duration_s=length_s)),
        state=JobState.QUEUED if progress is None else JobState.PROCESSING,
        progress=progress or 0.0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def outlooks(*line: Job, pace: Pace | None = PACE, ahead: int = 0, side_by_side: int = 1) -> list[tuple[int, object]]:
    found = outlooks_of(line, {BriefKind.SONG: pace}, ahead=ahead, side_by_side=side_by_side)
    return [found[job.id] for job in line]


def test_without_a_past_nobody_knows() -> None:
    assert pace_of([]) is None
    assert outlooks(job("a"), job("b"), pace=None, ahead=2) == [(2, None), (5, None)]


@given(LENGTHS, st.floats(0, 30), st.floats(0, 2))
def test_fixed_part_and_growth_are_found_when_lengths_differ(lengths, fixed_s, per_second) -> None:
    pace = pace_of([(fixed_s + per_second * length_s, length_s) for length_s in lengths])
    for length_s in lengths:
        assert pace.seconds(length_s) == pytest.approx(fixed_s + per_second * length_s)
    if len(set(lengths)) > 1:
        assert pace.seconds(120.0) == pytest.approx(fixed_s + per_second * 120.0)


def test_songs_of_one_length_are_scaled() -> None:
    pace = pace_of([(6.0, 30.0), (6.2, 30.1), (5.8, 29.9)])
    assert pace.seconds(240.0) == pytest.approx(48.0, rel=0.01)
    assert pace.seconds(None) == pytest.approx(6.0)


@given(LENGTHS, st.lists(st.floats(0, 3600), max_size=4))
def test_an_estimate_is_never_below_nought(lengths, delays_s) -> None:
    pace = pace_of([(5.0, length_s) for length_s in lengths] + [(delay_s, 10.0) for delay_s in delays_s])
    assert pace.seconds(1.0) >= 0
    assert pace.seconds(600.0) >= pace.seconds(10.0)


def test_a_job_that_stood_still_does_not_bend_the_estimate() -> None:
    times = [(4.0 + 0.1 * length_s, length_s) for length_s in (10.0, 30.0, 60.0, 120.0, 240.0)] * 3
    assert pace_of([*times, (900.0, 30.0)]).seconds(240.0) == pytest.approx(28.0, rel=0.05)


def test_own_jobs_go_one_after_the_other_and_what_runs_is_nearly_done() -> None:
    line = (job("a", length_s=60.0, progress=0.75), job("b", length_s=240.0), job("c"))
    assert outlooks(*line) == [(0, 2.5), (1, 2.5 + 28.0), (2, 2.5 + 28.0 + 10.0)]


def test_what_runs_goes_before_what_was_asked_for_earlier() -> None:
    assert outlooks(job("a"), job("b", progress=0.5)) == [(1, 15.0), (0, 5.0)]


def test_every_lane_ahead_has_a_turn_before_each_start() -> None:
    assert outlooks(job("a"), job("b"), ahead=2) == [(2, 30.0), (5, 60.0)]
    assert outlooks(job("a"), job("b"), ahead=2, side_by_side=2) == [(2, 20.0), (5, 40.0)]
