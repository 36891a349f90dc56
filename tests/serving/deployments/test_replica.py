"""Replicas as Serve makes them, without Ray around them: opened from arguments, at work, recycled."""

import asyncio
import logging
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from configs.settings import ModelsSettings, Settings, load, settings
from serving import models
from serving.catalogue import known
from serving.contract import DoneEvent, MakeRequest, ProgressEvent, is_last, read_event
from serving.deployments.arguments import EngineArgs, RecycleArgs
from serving.deployments.call import Call
from serving.deployments.host import EngineHost, Order
from serving.deployments.opening import open_hosts, refuse_what_cannot_start
from studio.words.asset import AssetRole
from studio.words.brief import BriefKind, UnfitBrief
from studio.words.take import Cancelled, Sources

with warnings.catch_warnings():
    # Ray's own configuration classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from serving.deployments.replica import CannotStart, Replica, Unhealthy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TINY = EngineArgs(engine="tiny-sdxl", device="cpu", options={"batch": 4})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one real checkpoint, fetched as the command does it."""
    folder = tmp_path_factory.mktemp("models")
    models.fetch(known().spec_of("tiny-sdxl"), folder, offline=True, say=lambda _: None)
    return folder


@pytest.fixture
def here(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """This machine's settings, with those weights."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_MODELS__FOLDER", str(tiny))
    handlers = logging.getLogger().handlers[:]
    settings.cache_clear()
    configure = structlog.configure
    # a logger that keeps what a replica configured would be deaf to `capture_logs` in every later test
    monkeypatch.setattr(
        structlog, "configure", lambda **words: configure(**words | {"cache_logger_on_first_use": False})
    )
    yield settings()
    monkeypatch.undo()
    settings.cache_clear()
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
def cover(ask) -> MakeRequest:
    return ask(kind=BriefKind.COVER, title="Walking Home", engine="tiny-sdxl")


def lines(replica: Replica, request: MakeRequest) -> list:
    async def listen() -> list:
        answer = replica.make(request.model_dump_json().encode())
        return [read_event(line) async for lines in answer for line in lines.splitlines()]

    return asyncio.run(listen())


def test_a_replica_loads_checks_and_warms_its_engine_then_makes(here, cover):
    replica = Replica(TINY)
    assert replica.figures()["load_s"] > 0
    assert replica.figures()["warm_up_s"] > 0
    events = lines(replica, cover)
    assert isinstance(events[-1], DoneEvent)
    take = events[-2].take
    assert (take.engine, take.seed) == ("tiny-sdxl", 7)
    assert set(take.assets) == {AssetRole.COVER, AssetRole.COVER_512, AssetRole.COVER_128}
    replica.check_health()


def test_a_replica_that_has_done_its_share_asks_to_be_replaced_when_idle(here, ask):
    replica = Replica(EngineArgs(engine="builtin-words", recycle=RecycleArgs(after_songs=4)))
    lyrics = ask(kind=BriefKind.LYRICS, takes=2)

    for _ in range(2):
        replica.check_health()
        assert isinstance(lines(replica, lyrics)[-1], DoneEvent)

    async def work() -> None:
        with pytest.raises(Unhealthy, match="made 4 takes, 4 are its share"):
            replica.check_health()
        call = replica.make(lyrics.model_dump_json().encode())
        beginning = asyncio.create_task(anext(call))
        await asyncio.sleep(0)
        replica.check_health()
        told = [await beginning, *[more async for more in call]]
        assert is_last(told[-1]), "it still works until it is replaced"
        await asyncio.sleep(0.05)
        with pytest.raises(Unhealthy, match="made 6 takes, 4 are its share"):
            replica.check_health()

    asyncio.run(work())
    [refused] = lines(replica, lyrics)
    assert (refused.code, refused.retryable) == ("recycling", True)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"engine": "suno"}, "There is no engine “suno” here"),
        ({"engine": "sdxl-turbo"}, "may not be used commercially"),
        ({"engine": "tiny-qwen"}, "melodeon models fetch tiny-qwen"),
        ({"engine": "tiny-sdxl", "device": "cuda"}, "cannot be used here"),
        ({"engine": "tiny-sdxl", "options": {"colour": "red"}}, "colour"),
        ({"engines": ["builtin-song", "tiny-qwen"]}, "melodeon models fetch tiny-qwen"),
    ],
)
def test_what_cannot_start_says_why_in_one_sentence(here, args, sentence):
    with pytest.raises(CannotStart, match=sentence):
        Replica(EngineArgs.model_validate(args))


def test_a_broken_checkpoint_is_refused_before_and_at_the_start(here, tiny, tmp_path):
    spec = known().spec_of("tiny-sdxl")
    broken = load(models=ModelsSettings(folder=tmp_path / "broken"))
    models.fetch(spec, broken.models_folder, offline=True, say=lambda _: None)
    refuse_what_cannot_start(TINY, broken)
    weights = broken.models_folder / "tiny-sdxl" / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(models.BadCheckpoint, match="diffusion_pytorch_model"):
        refuse_what_cannot_start(TINY, broken)
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(models.BadCheckpoint, match="diffusion_pytorch_model"):
        open_hosts(TINY, broken, meter=None, note_made=lambda _: None)


def test_non_commercial_engines_start_where_the_settings_allow_it(here):
    args = EngineArgs(engine="sdxl-turbo")
    with pytest.raises(models.ForbiddenModel):
        refuse_what_cannot_start(args, here)
    refuse_what_cannot_start(args, here.model_copy(update={"models": ModelsSettings(non_commercial=True)}))


def test_errors_that_ray_carries_survive_the_journey(here):
    for error in (CannotStart("No."), Unhealthy("No.")):
        assert pickle.loads(pickle.dumps(error)).sentence == "No."


def test_engines_of_one_process_take_turns(here, ask, tally):
    args = EngineArgs(engines=("builtin-words", "tiny-sdxl"), device="cpu")
    hosts = open_hosts(args, here, meter=tally, note_made=lambda _: None)
    assert [host.load_s is not None for host in hosts.values()] == [True, False], "only the first is loaded at once"

    async def listen(request: MakeRequest) -> list:
        return [event async for events in hosts[request.brief.engine].make(request) for event in events]

    made = asyncio.run(listen(ask(kind=BriefKind.COVER, engine="tiny-sdxl")))
    assert isinstance(made[-1], DoneEvent)
    assert "Warming up the engine" in [event.message for event in made if isinstance(event, ProgressEvent)]
    assert hosts["tiny-sdxl"].load_s is not None
    assert isinstance(asyncio.run(listen(ask(kind=BriefKind.LYRICS, engine="builtin-words")))[-1], DoneEvent)


@pytest.fixture
def covers(here, tally) -> EngineHost:
    return open_hosts(TINY, here, meter=tally, note_made=lambda _: None)["tiny-sdxl"]


def order(request: MakeRequest, **brief: object) -> Order:
    return Order(call=Call(request), brief=replace(request.brief, **brief), sources=Sources(), ready_at=0.0)


def test_orders_of_several_requests_are_made_together_and_fail_alone(covers, cover, tally):
    async def together() -> list:
        left = order(cover)
        left.call.stop()
        return await covers.make_together([order(cover, title="One"), left, order(cover, kind=BriefKind.SONG)])

    made, left, unfit = asyncio.run(together())
    assert made[0].settings["prompt"].startswith("One")
    assert isinstance(left, Cancelled)
    assert isinstance(unfit, UnfitBrief)
    assert tally.told.count(("made", "tiny-sdxl")) == 3


def test_a_host_whose_orders_are_gathered_answers_each_caller(covers, cover, answers):
    async def gathered(order: Order) -> object:
        [answer] = await covers.make_together([order])
        return answer

    covers.together = gathered
    assert isinstance(answers(covers, cover)[-1], DoneEvent)

    async def broken(_: Order) -> object:
        return RuntimeError("CUDA error: secret")

    covers.together = broken
    last = answers(covers, cover)[-1]
    assert (last.code, last.retryable) == ("engine_error", True)
    assert "secret" not in last.sentence
