"""The laws of the simulator, on random loads; and the paper's table, by its orders of magnitude."""

import math
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.scenario import (
    DAY_S,
    GPUS,
    Gpu,
    Policy,
    PolicyKind,
    Scenario,
    UnfitScenario,
    days_for,
    policy_of,
    rate_per_s,
)
from serving.scenario import arrivals as arrivals_of
from serving.simulate import Outcome, Run, simulate

POLICIES = st.sampled_from(["to-zero", "one-warm", "per-job", "fixed:1", "fixed:3"]).map(policy_of)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """An hour or so of anything from no song to far more than the cards can make."""
    gpu = Gpu(
        name="card",
        label="card",
        seconds_per_song=draw(st.floats(0.5, 60)),
        price_per_hour=draw(st.floats(0, 9)),
        source="a test",
    )
    return Scenario(
        songs_per_day=draw(st.floats(1, 4000)),
        gpu=gpu,
        policy=draw(POLICIES),
        days=draw(st.floats(0.01, 0.06)),
        seed=draw(st.integers(0, 2**32)),
        songs_per_account=draw(st.sampled_from([1.0, 50.0, 5000.0])),
        cold_start_s=draw(st.sampled_from([0.0, 7.0, 90.0])),
        downscale_delay_s=draw(st.sampled_from([0.0, 30.0])),
        to_zero_delay_s=draw(st.sampled_from([0.0, 60.0])),
        most_gpus=draw(st.integers(3, 12)),
    )


@given(scenarios())
def test_every_song_is_served_once_in_its_time(scenario: Scenario) -> None:
    run = simulate(scenario)
    asked = {song.number: song for song in arrivals_of(scenario)}
    assert sorted(song.number for song in run.songs) == sorted(asked)
    for song in run.songs:
        assert song.asked_s == asked[song.number].asked_s
        assert song.asked_s <= song.ready_s <= song.begun_s
        assert song.ended_s == pytest.approx(song.begun_s + song.service_s)
        replica = run.replicas[song.replica]
        assert replica.ready_s <= song.begun_s <= replica.leaving_s
        assert song.ended_s <= replica.gone_s


@given(scenarios())
def test_one_song_at_a_time_per_account_and_per_replica(scenario: Scenario) -> None:
    run = simulate(scenario)
    for who in ("account", "replica"):
        busy = defaultdict(list)
        for song in sorted(run.songs, key=lambda song: song.begun_s):
            busy[getattr(song, who)].append(song)
        for songs in busy.values():
            assert all(before.ended_s <= after.begun_s for before, after in pairwise(songs))
            if who == "account":
                assert [song.number for song in songs] == sorted(song.number for song in songs)


@given(scenarios())
def test_no_card_rests_while_somebody_could_be_served(scenario: Scenario) -> None:
    """Work conservation: between becoming ready and beginning, every replica that takes songs has one."""
    run = simulate(scenario)
    rests = list(rests_of(run))
    for song in run.songs:
        for begins_s, ends_s in rests:
            overlap_s = min(song.begun_s, ends_s) - max(song.ready_s, begins_s)
            assert overlap_s <= 1e-6


def rests_of(run: Run) -> list[tuple[float, float]]:
    """When a replica was up and had nothing to do."""
    found = []
    for replica in run.replicas:
        free_s = replica.ready_s
        for song in sorted((one for one in run.songs if one.replica == replica.number), key=lambda one: one.begun_s):
            found.append((free_s, song.begun_s))
            free_s = song.ended_s
        found.append((free_s, min(replica.leaving_s, replica.gone_s)))
    return [(begins_s, ends_s) for begins_s, ends_s in found if ends_s > begins_s]


@given(scenarios())
def test_the_bill_is_gpu_time_times_price(scenario: Scenario) -> None:
    run = simulate(scenario)
    outcome = run.outcome()
    gpu_s = sum(replica.gone_s - replica.asked_s for replica in run.replicas)
    cost = gpu_s / 3600 * scenario.gpu.price_per_hour
    assert outcome.gpu_hours == pytest.approx(gpu_s / 3600)
    assert outcome.cost_per_day * outcome.days == pytest.approx(cost)
    assert outcome.cost_per_song * outcome.songs == pytest.approx(cost if run.songs else 0)
    assert sum(song.service_s for song in run.songs) <= gpu_s + 1e-6
    assert outcome.gpus_average * run.ended_s == pytest.approx(gpu_s)
    assert outcome.gpus_peak == most_at_once(run)


def most_at_once(run: Run) -> int:
    steps = [(replica.asked_s, 1) for replica in run.replicas] + [(replica.gone_s, -1) for replica in run.replicas]
    most = now = 0
    # what begins and what ends at one moment: the one that leaves is there until it has left
    for _, step in sorted(steps, key=lambda step: (step[0], -step[1])):
        now += step
        most = max(most, now)
    return most


@given(scenarios())
def test_the_same_seed_gives_the_same_days(scenario: Scenario) -> None:
    assert simulate(scenario) == simulate(scenario)


def test_another_seed_gives_other_days() -> None:
    one, other = (simulate(Scenario(songs_per_day=500, gpu=GPUS["a100"], days=1, seed=seed)) for seed in (1, 2))
    assert [song.asked_s for song in one.songs] != [song.asked_s for song in other.songs]


@given(scenarios(), st.sampled_from(["one-warm", "fixed:3", "per-job"]))
def test_policies_are_compared_by_the_same_requests(scenario: Scenario, other: str) -> None:
    asked = [(song.asked_s, song.account, song.service_s) for song in arrivals_of(scenario)]
    changed = Scenario(**{name: getattr(scenario, name) for name in scenario.__slots__} | {"policy": policy_of(other)})
    assert [(song.asked_s, song.account, song.service_s) for song in arrivals_of(changed)] == asked


def test_the_evening_is_three_times_as_busy_as_the_mean() -> None:
    scenario = Scenario(songs_per_day=86_400, gpu=GPUS["a100"], days=1)
    rates = [rate_per_s(scenario, minute * 60) for minute in range(24 * 60)]
    assert mean(rates) == pytest.approx(1, rel=1e-3)
    assert max(rates) == pytest.approx(3, rel=1e-3)
    assert rates.index(max(rates)) == 20 * 60
    asked = Counter(int(song.asked_s // 3600) for song in arrivals_of(scenario))
    assert asked.total() == pytest.approx(86_400, rel=0.02)
    for hour, number in asked.items():
        expected = mean(rates[hour * 60 : hour * 60 + 60]) * 3600
        assert abs(number - expected) < 5 * math.sqrt(expected)


def test_a_lone_song_waits_for_the_tick_and_the_cold_start() -> None:
    run = simulate(Scenario(songs_per_day=10, gpu=GPUS["a100"], days=20, cold_start_s=90, songs_per_account=1))
    waits_s = [song.wait_s for song in run.songs]
    assert max(waits_s) <= 95 + 1e-6
    assert sum(wait_s >= 90 for wait_s in waits_s) == run.outcome().cold_starts > 100


def test_a_hog_keeps_one_card_and_lets_a_newcomer_in_at_once() -> None:
    """All songs of one account: the policy counts accounts, not songs."""
    scenario = Scenario(songs_per_day=4000, gpu=GPUS["rtx3090"], days=0.1, songs_per_account=10**6)
    outcome = simulate(scenario).outcome()
    assert outcome.songs > 100
    assert outcome.gpus_peak == 1


@given(scenarios(), st.sampled_from(["to-zero", "one-warm"]))
def test_songs_of_one_account_never_keep_a_second_card(scenario: Scenario, policy: str) -> None:
    """However fast they follow one another."""
    alone = replace(scenario, policy=policy_of(policy), songs_per_account=1e9)
    assert simulate(alone).outcome().gpus_peak <= 1


PAPER = [
    # songs a day, card, policy, days, average GPUs, cost a day, cost a song, longest p95 s
    (10, "a100", "to-zero", 30, 0.04, 1.44, 0.153, 96),
    (10, "a100", "one-warm", 5, 1, 36, 3.82, 1),
    (10, "rtx3090", "to-zero", 30, 0.04, 0.35, 0.037, 96),
    (1_000, "a100", "to-zero", 6, 0.67, 24, 0.025, 91),
    (1_000, "a100", "one-warm", 6, 1.0, 36, 0.037, 12),
    (1_000, "rtx3090", "one-warm", 6, 1.6, 13, 0.014, 48),
    (100_000, "a100", "to-zero", 1, 11.3, 406, 0.0040, 60),
    (100_000, "a100", "per-job", 1, 18.7, 674, 0.0067, 60),
    (100_000, "rtx3090", "to-zero", 1, 37.5, 315, 0.0031, 60),
    (100_000, "a100", "fixed:26", 1, 26, 936, 0.0094, 3),
]
"""The table of the design's paper simulation (1 s ticks, jobs independent, drain term only), other random numbers."""


@pytest.mark.parametrize("row", PAPER, ids=lambda row: "-".join(str(part) for part in row[:3]))
def test_figures_are_of_the_papers_size(row: tuple[int, str, str, int, float, float, float, float]) -> None:
    load, card, policy, days, gpus, per_day, per_song, p95_s = row
    outcome = of_the_paper(load, card, policy, days)
    assert gpus / 1.5 <= outcome.gpus_average <= gpus * 1.5
    assert per_day / 1.5 <= outcome.cost_per_day <= per_day * 1.5
    assert per_song / 1.5 <= outcome.cost_per_song <= per_song * 1.5
    assert outcome.wait_p95_s <= p95_s


def of_the_paper(load: int, card: str, policy: str, days: int) -> Outcome:
    return simulate(
        Scenario(
            songs_per_day=load,
            gpu=GPUS[card],
            policy=policy_of(policy),
            days=days,
            to_zero_delay_s=300,
            songs_per_account=1,
            most_gpus=48 if policy == "per-job" else 200,
        )
    ).outcome()


@pytest.mark.parametrize("text", ["", "fixed", "fixed:", "fixed:0", "fixed:-1", "to-zero:1", "two-warm", "fixed:½"])
def test_an_unknown_policy_is_refused(text: str) -> None:
    with pytest.raises(UnfitScenario, match="to-zero, one-warm, per-job or fixed:N"):
        policy_of(text)


@pytest.mark.parametrize("text", ["to-zero", "one-warm", "per-job", "fixed:7"])
def test_a_policy_is_written_as_it_is_read(text: str) -> None:
    assert str(policy_of(text)) == text


@pytest.mark.parametrize(
    "wrong",
    [
        {"songs_per_day": 0},
        {"songs_per_day": math.nan},
        {"songs_per_day": math.inf},
        {"songs_per_day": 1e8},
        {"days": -1},
        {"cold_start_s": -1},
        {"cold_start_s": 2 * DAY_S},
        {"most_gpus": 0},
        {"songs_per_account": 0},
        {"policy": Policy(kind=PolicyKind.FIXED, replicas=300)},
        {"gpu": Gpu(name="x", label="x", seconds_per_song=0, price_per_hour=1, source="")},
        {"gpu": Gpu(name="x", label="x", seconds_per_song=500, price_per_hour=1, source="")},
        {"gpu": Gpu(name="x", label="x", seconds_per_song=5, price_per_hour=-1, source="")},
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UnfitScenario):
        Scenario(**{"songs_per_day": 100, "gpu": GPUS["a100"], **wrong})  # type: ignore[arg-type]


def test_days_without_a_song_cost_nothing_to_zero() -> None:
    outcome = simulate(Scenario(songs_per_day=1e-6, gpu=GPUS["a100"], days=1)).outcome()
    assert (outcome.songs, outcome.gpus_peak, outcome.cost_per_day, outcome.wait_p99_s) == (0, 0, 0, 0)


@pytest.mark.parametrize(("load", "days"), [(1, 60), (10, 60), (1_000, 6), (100_000, 2)])
def test_small_loads_are_watched_for_longer(load: int, days: float) -> None:
    assert days_for(load) == days
