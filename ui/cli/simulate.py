"""``melodeon simulate``: what a load would need, before a card is rented."""

import json
from dataclasses import asdict, replace

import click

from serving.scenario import GPUS, Gpu, Scenario, UnfitScenario, days_for, policy_of
from serving.simulate import Outcome
from serving.simulate import simulate as simulated


@click.command()
@click.option("--songs-per-day", type=float, default=1000.0, show_default=True, help="Requests, two takes each.")
@click.option("--gpu", "name", default="a100", show_default=True, help=f"Card: {', '.join(GPUS)}, or one of your own.")
@click.option("--policy", "words", default="to-zero", show_default=True, help="to-zero, one-warm, fixed:N or per-job.")
@click.option("--days", type=float, help="How long; without it, long enough for some 6,000 songs (2 to 60 days).")
@click.option(
    "--cold-start-s", type=float, default=90.0, show_default=True, help="From the decision to the first song."
)
@click.option("--seconds-per-song", type=float, help="How long the card works for one; without it, what is assumed.")
@click.option("--price-per-hour", type=float, help="Of one card; without it, what is assumed.")
@click.option("--most-gpus", type=int, default=200, show_default=True, help="More are never started.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed asks for the same songs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(  # noqa: PLR0917 - click passes every option
    songs_per_day: float,
    name: str,
    words: str,
    days: float | None,
    cold_start_s: float,
    seconds_per_song: float | None,
    price_per_hour: float | None,
    most_gpus: int,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate days of a load: waits, GPUs and cost, with the cluster's own scaling policy.

    People come as in a day with an evening three times as busy as its mean. What a card can do and costs is assumed;
    the assumptions are told with the figures, and measured values can be given instead.
    """
    scenario = Scenario(
        songs_per_day=songs_per_day,
        gpu=_gpu(name, seconds_per_song, price_per_hour),
        policy=policy_of(words),
        days=days if days is not None else days_for(songs_per_day),
        cold_start_s=cold_start_s,
        most_gpus=most_gpus,
        seed=seed,
    )
    outcome = simulated(scenario).outcome()
    if as_json:
        told = {**asdict(scenario), "policy": str(scenario.policy)}
        click.echo(json.dumps({"scenario": told, "outcome": asdict(outcome)}, indent=2))
    else:
        click.echo(_page(scenario, outcome))


def _gpu(name: str, seconds_per_song: float | None, price_per_hour: float | None) -> Gpu:
    """The card as assumed, with what the caller knows better; a card that is not listed needs both numbers."""
    given = "given on the command line"
    if name not in GPUS:
        if seconds_per_song is None or price_per_hour is None:
            raise UnfitScenario(
                f"Nothing is known of the card “{name}”: choose {' or '.join(GPUS)}, or give --seconds-per-song and "
                "--price-per-hour."
            )
        return Gpu(
            name=name, label=name, seconds_per_song=seconds_per_song, price_per_hour=price_per_hour, source=given
        )
    gpu = GPUS[name]
    if seconds_per_song is not None:
        gpu = replace(gpu, seconds_per_song=seconds_per_song, source=f"seconds per song {given}; else {gpu.source}")
    if price_per_hour is not None:
        gpu = replace(gpu, price_per_hour=price_per_hour, source=f"price {given}; else {gpu.source}")
    return gpu


def _page(scenario: Scenario, outcome: Outcome) -> str:
    gpu, policy = scenario.gpu, scenario.policy
    waits = (outcome.wait_p50_s, outcome.wait_p95_s, outcome.wait_p99_s)
    lines = {
        "load": f"{scenario.songs_per_day:,.0f} songs a day, {outcome.songs:,} songs in {outcome.days:.1f} days",
        "card": f"{gpu.label}, {gpu.seconds_per_song:g} s a song, {gpu.price_per_hour:g} an hour",
        "policy": f"{policy}, cold start {scenario.cold_start_s:g} s, at most {scenario.most_gpus} GPUs",
        "wait p50 / p95 / p99": " / ".join(f"{wait_s:,.1f}" for wait_s in waits) + " s",
        "GPUs on average / at most": f"{outcome.gpus_average:,.2f} / {outcome.gpus_peak:,}",
        "GPU hours": f"{outcome.gpu_hours:,.1f}, busy for {outcome.busy_share:.0%} of them",
        "cold starts": f"{outcome.cold_starts:,}",
        "cost a day": f"{outcome.cost_per_day:,.2f}",
        "cost a song": f"{outcome.cost_per_song:,.4f}",
    }
    table = "\n".join(f"{name:<26} {value}" for name, value in lines.items())
    return f"{table}\n\nAssumed: {gpu.source}. Storage and traffic are not included."
