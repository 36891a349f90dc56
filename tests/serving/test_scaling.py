"""The laws of scaling by runnable accounts."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serving.scaling import Cause, Demand, ScalingRule, decide

seconds = st.floats(min_value=0.01, max_value=1e4)
demands = st.builds(
    Demand,
    running=st.integers(0, 500),
    ready_accounts=st.integers(0, 5_000),
    seconds_per_song=st.none() | seconds,
    arrivals_per_s=st.floats(0, 50),
    arriving_accounts=st.integers(0, 5_000),
    age_s=st.floats(0, 30),
)
rules = st.builds(
    ScalingRule,
    drain_s=seconds,
    utilisation=st.floats(0.05, 1.0),
    per_replica=st.integers(1, 8),
    assumed_s=seconds,
)
bounds = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted)


def demand(**changed: float | None) -> Demand:
    quiet = {"running": 0, "ready_accounts": 0, "seconds_per_song": 10.0}
    quiet |= {"arrivals_per_s": 0.0, "arriving_accounts": 100}
    return Demand(**{**quiet, **changed})


def wanted(asked: Demand, current: int = 0, *, least: int = 0, most: int = 10_000_000, **rule: float) -> int:
    return decide(asked, current, ScalingRule(**rule), least=least, most=most).replicas


@given(demands, rules, bounds, st.integers(0, 100))
def test_a_decision_is_within_its_bounds_and_says_why(asked, rule, between, current) -> None:
    least, most = between
    for seen in (asked, None):
        decision = decide(seen, current, rule, least=least, most=most)
        assert least <= decision.replicas <= most
        assert decision.reason.endswith(".")
        assert (decision.cause is Cause.NO_DATA) == (seen is None)


@given(demands, rules, st.integers(0, 100), st.integers(0, 100))
def test_fresh_data_decide_alone_whatever_the_present_target(asked, rule, one, other) -> None:
    assert decide(asked, one, rule, least=0, most=40) == decide(asked, other, rule, least=0, most=40)


@given(demands, rules, st.integers(0, 50), st.integers(0, 50), st.floats(0, 10), st.integers(0, 50), st.floats(1, 10))
def test_more_to_do_never_asks_for_fewer(asked, rule, running, ready, arrivals, accounts, slower) -> None:
    assume(asked.seconds_per_song is not None)
    before = decide(asked, 0, rule, least=0, most=10**9).replicas
    larger = Demand(
        running=asked.running + running,
        ready_accounts=asked.ready_accounts + ready,
        seconds_per_song=asked.seconds_per_song * slower,
        arrivals_per_s=asked.arrivals_per_s + arrivals,
        arriving_accounts=asked.arriving_accounts + accounts,
    )
    assert decide(larger, 0, rule, least=0, most=10**9).replicas >= before


@given(demands, rules, st.integers(1, 50))
def test_never_zero_with_work(asked, rule, most) -> None:
    assume(asked.runnable)
    assert decide(asked, 0, rule, least=0, most=most).replicas >= 1


@given(demands, rules, st.integers(0, 50), st.floats(30.001, 1e6))
def test_stale_or_missing_data_change_nothing(asked, rule, current, age_s) -> None:
    old = replace(asked, age_s=age_s)
    assert decide(old, current, rule, least=0, most=50).replicas == current
    assert decide(old, current, rule, least=0, most=50).cause is Cause.STALE
    assert decide(None, current, rule, least=0, most=50).replicas == current


@given(demands, rules)
def test_the_line_never_asks_for_more_replicas_than_accounts(asked, rule) -> None:
    still = replace(asked, arrivals_per_s=0.0)
    most_useful = math.ceil(still.runnable / rule.per_replica)
    assert decide(still, 0, rule, least=0, most=10**9).replicas <= most_useful


@given(demands, rules)
def test_nothing_asks_for_more_replicas_than_accounts(asked, rule) -> None:
    most_useful = math.ceil(max(asked.runnable, asked.arriving_accounts) / rule.per_replica)
    assert decide(asked, 0, rule, least=0, most=10**9).replicas <= most_useful


@given(demands, rules, st.sampled_from([(1, 0), (0, 1), (0, 0)]))
def test_one_account_never_gets_more_than_one_replica(asked, rule, where) -> None:
    running, ready = where
    alone = replace(asked, running=running, ready_accounts=ready, arriving_accounts=1)
    assert decide(alone, 0, rule, least=0, most=10**9).replicas <= 1


@pytest.mark.parametrize(
    ("asked", "replicas", "cause"),
    [
        (demand(ready_accounts=1), 1, Cause.DRAIN),
        (demand(running=40, ready_accounts=60), 34, Cause.DRAIN),  # 100 accounts × 10 s / 30 s
        (demand(ready_accounts=4, seconds_per_song=120.0), 4, Cause.DRAIN),  # one Job at a time each
        (demand(ready_accounts=4, seconds_per_song=None), 4, Cause.DRAIN),  # nothing measured: 30 s assumed
        (demand(running=1, arrivals_per_s=0.4), 5, Cause.ARRIVALS),  # 0.4 × 10 / 0.8
        (demand(arrivals_per_s=0.2), 2, Cause.ARRIVALS),  # 2.5 busy: two whole ones stay
        (demand(running=1, arrivals_per_s=0.1, arriving_accounts=1), 1, Cause.DRAIN),  # 1.25 busy with one account
        (demand(arrivals_per_s=0.1, arriving_accounts=1), 1, Cause.ARRIVALS),  # between two of its songs
        (demand(running=1, arrivals_per_s=0.4, arriving_accounts=3), 3, Cause.ARRIVALS),
        (demand(arrivals_per_s=0.05), 0, Cause.IDLE),
        (demand(), 0, Cause.IDLE),
    ],
)
def test_worked_examples(asked, replicas, cause) -> None:
    decision = decide(asked, 7, ScalingRule(), least=0, most=100)
    assert (decision.replicas, decision.cause) == (replicas, cause)


def test_bounds_are_named_in_the_reason() -> None:
    crowd = decide(demand(ready_accounts=300), 1, ScalingRule(), least=0, most=8)
    assert (crowd.replicas, crowd.cause) == (8, Cause.MOST)
    assert "That takes 100 replicas; at most 8 are allowed." in crowd.reason
    quiet = decide(demand(), 1, ScalingRule(), least=2, most=8)
    assert (quiet.replicas, quiet.cause) == (2, Cause.LEAST)


def test_a_replica_that_works_side_by_side_counts_as_often() -> None:
    assert wanted(demand(ready_accounts=12, seconds_per_song=30.0), per_replica=4) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"running": -1}, {"arrivals_per_s": math.nan}, {"seconds_per_song": 0.0}, {"seconds_per_song": math.inf}],
)
def test_nonsense_is_no_demand(wrong) -> None:
    with pytest.raises(ValueError, match="finite"):
        demand(**wrong)


@pytest.mark.parametrize("wrong", [{"drain_s": 0.0}, {"utilisation": 1.1}, {"per_replica": 0}, {"stale_s": math.nan}])
def test_nonsense_is_no_rule(wrong) -> None:
    with pytest.raises(ValueError, match="must be"):
        ScalingRule(**wrong)


def test_crossed_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="make no sense"):
        decide(demand(), 0, ScalingRule(), least=3, most=2)
