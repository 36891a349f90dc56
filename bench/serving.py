"""The way to the models: the gateway's own time, the first sign of progress, cancelling, scaling, changes under load.

    python bench/serving.py [--quick] [--json] [--csv FILE]

The whole product with the laptop profile and the built-in engines, changed in three things: one song replica instead
of one or two, and every application takes as many calls at once as the bench has songs. "A call without a model" is
one for tags by the product's own client, over connections kept open as the worker's are, from its begin to its end,
less the seconds that the engine says it took; "gateway overhead" is what it takes longer than Ray Serve alone over the
same hops (`bare_serve.py`): client, gateway, router and host. "Cancel → the engine works on the next song" contains
the next call's own way to the engine. The last cases change the Serve file as an engineer does, through Ray's door,
while songs of the queue are made. ``--quick`` takes fewer calls and songs.
"""

import asyncio
import random
import secrets
import sys
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import bare_serve
import yaml
from harness import row, run
from report import percentile
from sqlalchemy import text

from billing import ledger
from configs.settings import ServeSettings
from data.repositories import accounts
from serving import jobs
from serving.client import GatewayClient
from serving.contract import CallContext, Event, MakeRequest, ProgressEvent, TakeResult
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.brief import Brief, BriefKind, BriefMode, Controls
from studio.words.ids import JobId
from ui.testing import Stack, until, whole_stack

LAPTOP: Final = ServeSettings().config
CLUSTER: Final = LAPTOP.with_name("cluster.yaml")
PATIENCE_S: Final = 600.0
LOOK_EVERY_S: Final = 0.02
WARM_UP: Final = 20
REST_S: Final = 1.2
"""After this, what the gateway knows of the applications is more than a second old."""
SEED: Final = 7

Config = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. ``running`` songs are under way when the Serve file is changed."""

    calls: int
    first_events: int
    cancels: int
    running: int
    from_zero: int


FULL: Final = Size(calls=1000, first_events=100, cancels=20, running=50, from_zero=10)
QUICK: Final = Size(calls=100, first_events=10, cancels=3, running=8, from_zero=1)
MORE: Final = 1.2
"""So many times the wanted number are asked for, because the first ones end before the last ones have begun."""


class Enough(MelodeonError):
    """Raised from inside a call that has shown what was to be seen."""


def measure(size: Size) -> list[dict[str, object]]:
    """Every figure, one row each, on a stack of its own."""
    most = int(size.running * MORE)
    with tempfile.TemporaryDirectory(prefix="melodeon-bench-") as folder:
        # Ray's processes may run under this file for as long as the stack lives
        path = Path(folder) / "bench.yaml"
        path.write_text(yaml.safe_dump(laptop(most)))
        settings = {"MELODEON_SERVE__CONFIG": str(path), "MELODEON_WORKER__CONCURRENCY": str(max(4, most))}
        bare_ms = bare_serve.times_ms(size.calls)
        with whole_stack(settings) as stack:
            bench = Bench(stack, size)
            return [
                *bench.gateway_overhead(bare_ms),
                *bench.first_progress(),
                *bench.cancelling(),
                *bench.changes_under_load(),
                *bench.from_zero(),
            ]


def laptop(most: int) -> Config:
    """The laptop profile with one song replica, and room for so many calls at once everywhere."""
    config: Config = yaml.safe_load(LAPTOP.read_text())
    for application in config["applications"]:
        for deployment in application["deployments"]:
            deployment["max_ongoing_requests"] = 8 * most
            deployment["max_queued_requests"] = 8 * most
    songs = songs_of(config)
    songs.pop("autoscaling_config", None)
    songs["num_replicas"] = 1
    return config


def songs_of(config: Config) -> Config:
    """The deployment that makes songs, in this Serve file."""
    application = next(one for one in config["applications"] if one["name"] == "songs")
    deployment: Config = application["deployments"][0]
    return deployment


def policy_of_the_cluster() -> Config:
    """The scaling policy of song replicas as `configs/serve/cluster.yaml` has it."""
    policy: Config = songs_of(yaml.safe_load(CLUSTER.read_text()))["autoscaling_config"]["policy"]
    return policy


class Bench:
    """One running stack and what the cases do with it."""

    def __init__(self, stack: Stack, size: Size) -> None:
        self._stack = stack
        self._size = size
        self._client: GatewayClient = stack.services.gateway
        self._chance = random.Random(SEED)
        self._config = laptop(int(size.running * MORE))
        self._config["http_options"]["port"] = stack.services.settings.serve.http_port

    def gateway_overhead(self, bare_ms: list[float]) -> list[dict[str, object]]:
        """Calls for tags, one after the other, beside those of Ray Serve alone."""
        brief = Brief(kind=BriefKind.TAGS, description="warm folk about rain on a tin roof", takes=1)

        async def calls(number: int, *, pause_s: float = 0.0) -> list[float]:
            times_ms = []
            async with self._client.kept_open():
                for _ in range(number):
                    await asyncio.sleep(pause_s)
                    times_ms.append(await self._overhead_ms(brief))
            return times_ms

        asyncio.run(calls(WARM_UP))
        times_ms = asyncio.run(calls(self._size.calls))
        rested_ms = asyncio.run(calls(self._size.first_events, pause_s=REST_S))
        return [
            row("a call without a model, p50", percentile(times_ms, 0.5), "ms", None),
            row("a call without a model, p99", percentile(times_ms, 0.99), "ms", None),
            row("of it Ray Serve alone over the same hops, p50", percentile(bare_ms, 0.5), "ms", None),
            row("of it Ray Serve alone over the same hops, p99", percentile(bare_ms, 0.99), "ms", None),
            row("gateway overhead, p50", percentile(times_ms, 0.5) - percentile(bare_ms, 0.5), "ms", 10),
            row("gateway overhead, p99", percentile(times_ms, 0.99) - percentile(bare_ms, 0.99), "ms", 50),
            row(f"the same after {REST_S:g} s of rest, p50", percentile(rested_ms, 0.5), "ms", None),
        ]

    async def _overhead_ms(self, brief: Brief) -> float:
        begun = time.perf_counter()
        (take,) = await self._client.make(self._request(brief), lambda _: None)
        taken_s = time.perf_counter() - begun
        if not isinstance(take, TakeResult):
            raise SystemExit(f"The tags could not be made: {take.sentence}")
        return (taken_s - take.seconds) * 1000

    def first_progress(self) -> list[dict[str, object]]:
        """Songs that are begun, seen to be begun, and left."""
        brief = song_brief(30.0)
        first_ms, engine_ms = [], []
        for _ in range(self._size.first_events):
            begun = time.perf_counter()
            seen = asyncio.run(self._until_at_work(brief))
            first_ms.append((seen.first - begun) * 1000)
            engine_ms.append((seen.at_work - begun) * 1000)
        return [
            row("first progress event, p50", percentile(first_ms, 0.5), "ms", None),
            row("first progress event, p99", percentile(first_ms, 0.99), "ms", 200),
            row("first progress of the engine itself, p50", percentile(engine_ms, 0.5), "ms", None),
        ]

    async def _until_at_work(self, brief: Brief) -> "Seen":
        """Make a call, and leave it as soon as its engine works."""
        seen = Seen()

        def on_event(event: Event) -> None:
            seen.note(event)
            if seen.at_work:
                raise Enough("The engine is at work.")

        try:
            await self._client.make(self._request(brief), on_event)
        except Enough:
            return seen
        raise SystemExit("A song was made without any progress.")

    def cancelling(self) -> list[dict[str, object]]:
        """A long song is left at any moment of its making; the only replica then begins another."""
        times_s = [asyncio.run(self._cancel_s()) for _ in range(self._size.cancels)]
        return [
            row("cancel → the engine works on the next song, median", percentile(times_s, 0.5), "s", None),
            row("cancel → the engine works on the next song, longest", max(times_s), "s", 3),
        ]

    async def _cancel_s(self) -> float:
        seen = Seen()
        call = asyncio.create_task(self._client.make(self._request(song_brief(120.0)), seen.note))
        while not seen.at_work:
            await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.sleep(self._chance.uniform(0, 2))
        if call.done():
            raise SystemExit("The long song was made too quickly to be cancelled.")
        cancelled = time.perf_counter()
        call.cancel()
        await asyncio.wait([call])
        following = await self._until_at_work(song_brief(30.0))
        return following.at_work - cancelled

    def changes_under_load(self) -> list[dict[str, object]]:
        """Songs of as many accounts are made by two replicas; then one leaves; then all are replaced."""
        self._apply(num_replicas=2)
        until(lambda: len(self._stack.replicas("songs")) == 2, "two replicas run", within_s=PATIENCE_S)
        asked = [self._ask(song_brief(10.0)) for _ in range(int(self._size.running * MORE))]
        most = self._most_running(asked)
        self._apply(num_replicas=1)
        until(lambda: self._ended(asked) >= len(asked) // 4, "a quarter is made", within_s=PATIENCE_S)
        at_change = self._number(_PROCESSING, asked)
        self._apply(num_replicas=1, ray_actor_options={"num_cpus": 0.4})
        self._until_made(asked)
        self._settled()
        return [
            row("songs running when a replica is taken away", most, "songs", None),
            row("songs running when the replica is replaced", at_change, "songs", None),
            row("songs failed in the scale-down and the rolling change", self._number(_FAILED, asked), "songs", 0),
            row("songs cut in the scale-down and the rolling change", self._number(_CUT, asked), "songs", None),
        ]

    def _most_running(self, asked: list[JobId]) -> float:
        """Wait until as many songs run as are wanted; answers how many do."""
        until(
            lambda: self._number(_PROCESSING, asked) >= self._size.running or self._ended(asked) > len(asked) // 2,
            "the songs are begun",
            within_s=PATIENCE_S,
            every_s=LOOK_EVERY_S,
        )
        return self._number(_PROCESSING, asked)

    def from_zero(self) -> list[dict[str, object]]:
        """With the cluster's policy and nobody there: from a song asked for to the decision for a replica."""
        songs = {"min_replicas": 0, "max_replicas": 2, "upscale_delay_s": 0, "downscale_delay_s": 1}
        autoscaling = {**songs, "downscale_to_zero_delay_s": 1, "policy": policy_of_the_cluster()}
        self._apply(autoscaling_config=autoscaling)
        decided_s, made_s = [], []
        for _ in range(self._size.from_zero):
            until(lambda: self._target() == 0 and not self._stack.replicas("songs"), "no replica is left", within_s=300)
            begun = time.perf_counter()
            asked = [self._ask(song_brief(10.0))]
            until(lambda: self._target() > 0, "a replica is wanted", every_s=LOOK_EVERY_S)
            decided_s.append(time.perf_counter() - begun)
            self._until_made(asked)
            made_s.append(time.perf_counter() - begun)
        return [
            row("from zero: asked → a replica is decided on, median", percentile(decided_s, 0.5), "s", None),
            row("from zero: asked → a replica is decided on, longest", max(decided_s), "s", 5),
            row("from zero: asked → song made, median", percentile(made_s, 0.5), "s", None),
        ]

    def _apply(self, **songs: object) -> None:
        """Change the song deployment of the Serve file and apply it; waits until Serve has taken it up."""
        config = deepcopy(self._config)
        deployment = songs_of(config)
        if "autoscaling_config" in songs:
            deployment.pop("num_replicas")
        deployment.update(songs)
        self._stack.serve_door(config)

    def _settled(self) -> None:
        """Until every application runs again, so that the next case begins from rest."""

        def running() -> bool:
            applications = self._stack.serve_door()["applications"].values()
            return all(application["status"] == "RUNNING" for application in applications)

        until(running, "every application runs", within_s=PATIENCE_S)

    def _target(self) -> int:
        """How many song replicas Serve means to have."""
        deployments = self._stack.serve_door()["applications"]["songs"]["deployments"]
        return sum(int(deployment["target_num_replicas"]) for deployment in deployments.values())

    def _request(self, brief: Brief) -> MakeRequest:
        name = secrets.token_hex(8)
        call = CallContext(job_id=f"bench_{name}", attempt=1, deadline_s=PATIENCE_S, key_prefix=f"bench/{name}")
        return MakeRequest(call=call, brief=brief)

    def _ask(self, brief: Brief) -> JobId:
        """Ask the queue for a song, as a new account."""
        with self._stack.services.database.transaction() as session:
            account = new_account(session)
            key = secrets.token_hex(8)
            job = jobs.request(session, account, brief, key=key, now=datetime.now(UTC), draw_seed=lambda: SEED)
        return job.id

    def _until_made(self, asked: list[JobId]) -> None:
        until(lambda: self._ended(asked) == len(asked), "all are made", within_s=PATIENCE_S, every_s=LOOK_EVERY_S)

    def _ended(self, asked: list[JobId]) -> float:
        return self._number(_ENDED, asked)

    def _number(self, sql: str, asked: list[JobId]) -> float:
        with self._stack.services.database.transaction() as session:
            return float(session.execute(text(sql), {"asked": asked}).scalar_one())


class Seen:
    """When a call's first event came and when its engine first told progress; 0 until then (`time.perf_counter`)."""

    def __init__(self) -> None:
        self.first = 0.0
        self.at_work = 0.0

    def note(self, event: Event) -> None:
        """One event of the call."""
        self.first = self.first or time.perf_counter()
        if isinstance(event, ProgressEvent) and event.fraction > 0:
            self.at_work = self.at_work or time.perf_counter()


def song_brief(duration_s: float) -> Brief:
    """One take of a song whose words are all there, different each time."""
    return Brief(
        mode=BriefMode.LYRICS,
        title="Rain",
        prompt="warm folk, 96 bpm",
        lyrics=f"[verse]\nRain on the roof number {secrets.randbelow(10**6)}\nand nobody minds\n",
        takes=1,
        controls=Controls(duration_s=duration_s, seed=SEED),
    )


def new_account(session: Any) -> Account:
    """Somebody with credits."""
    name = f"p{secrets.token_hex(6)}"
    account = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
    ledger.open_with_signup_grant(session, account.id, amount=10, now=datetime.now(UTC))
    return account


_OF: Final = " FROM job WHERE id = ANY(:asked)"
_ENDED: Final = "SELECT count(*)" + _OF + " AND state NOT IN ('queued', 'processing')"
_PROCESSING: Final = "SELECT count(*)" + _OF + " AND state = 'processing'"
_FAILED: Final = "SELECT count(*)" + _OF + " AND state NOT IN ('queued', 'processing', 'processed')"
_CUT: Final = "SELECT count(*)" + _OF + " AND failures > 0"


if __name__ == "__main__":
    sys.exit(run("serving", __doc__, measure, full=FULL, quick=QUICK, smaller="fewer calls and songs"))
