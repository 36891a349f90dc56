"""What a host does around the engine's turn: sources before it, text during it, figures and health besides."""

import asyncio
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import pytest

from data.audio_files import encode_wav
from data.object_store import FolderStore
from data.provenance import Labels
from serving.catalogue import known
from serving.contract import DoneEvent, ProgressEvent, TakeEvent
from serving.deployments import sources
from serving.deployments.turns import SharedTurn
from serving.deployments.warm_up import warm_up_brief
from serving.engines.device import DeadDevice, Device, OutOfMemory
from studio.errors import MelodeonError
from studio.words.brief import BriefKind, MusicTask
from studio.words.engine_spec import EngineSpec
from studio.words.take import Progress, Words

REPAINT = {"task": MusicTask.REPAINT, "window": (2.0, 4.0), "engine": "tiny-ace-step-turbo"}
"""A brief that needs a source."""


@pytest.fixture
def repainter(step_engine, sound):
    """An engine whose spec lets sources through."""

    @dataclass
    class Repainter(step_engine):
        @property
        def spec(self) -> EngineSpec:
            return known().spec_of("tiny-ace-step-turbo")

    return Repainter((sound(10.0),), name="tiny-ace-step-turbo")


@pytest.fixture
def stored(store: FolderStore, tmp_path, sound) -> str:
    """The key of a stored sound of ten seconds."""
    path = tmp_path / "source.wav"
    encode_wav(sound(10.0).clip, path, Labels(title="", artist="", comment="", software="", date=""))
    store.put("uploads/acc_1/source.wav", path, media_type="audio/wav")
    return "uploads/acc_1/source.wav"


def test_sources_are_fetched_decoded_and_handed_over(host_of, repainter, ask, answers, stored, scratch, tally):
    host = host_of(repainter)
    events = answers(host, ask(source=stored, reference=stored, **REPAINT))
    assert isinstance(events[-1], DoneEvent)
    heard = repainter.heard[-1]
    for clip in (heard.source, heard.reference):
        assert (clip.rate_hz, clip.samples.shape) == (48_000, (2, 480_000))
    assert ("spent", "tiny-ace-step-turbo", "sources") in tally.told
    assert list(scratch.iterdir()) == []


def test_mono_at_another_rate_arrives_as_48_khz_stereo(host_of, repainter, ask, answers, store, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "phone.flac", np.sin(np.arange(44_100) / 20) * 0.1, 22_050)
    store.put("uploads/acc_1/phone.flac", tmp_path / "phone.flac", media_type="audio/flac")
    answers(host_of(repainter), ask(source="uploads/acc_1/phone.flac", **REPAINT))
    assert repainter.heard[-1].source.samples.shape == (2, 96_000)
    assert repainter.heard[-1].source.samples.max() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("key", "content", "code", "sentence"),
    [
        ("uploads/gone.wav", None, "missing_source", "The source sound is no longer there; choose another one"),
        ("../etc/passwd", None, "missing_source", "no longer there"),
        ("uploads/text.wav", b"no sound at all", "unreadable_audio", "the source sound is not a sound file"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_for_good(
    host_of, repainter, ask, answers, store, key, content, code, sentence
):
    if content:
        store.put(key, content, media_type="audio/wav")
    host = host_of(repainter)
    repainter.heard.clear()
    last = answers(host, ask(source=key, **REPAINT))[-1]
    assert (last.code, last.retryable) == (code, False)
    assert sentence in last.sentence
    assert not repainter.heard


def test_the_next_calls_sources_are_fetched_while_the_engine_works(host_of, repainter, ask, stored, tally):
    going = threading.Event()
    host = host_of(repainter)
    repainter.before_step = lambda _: going.wait(60)

    async def two() -> None:
        async with (
            aclosing(host.make(ask(source=stored, **REPAINT))) as one,
            aclosing(host.make(ask(source=stored, **REPAINT))) as other,
        ):
            await anext(one)
            await anext(other)
            async with asyncio.timeout(60):
                while tally.told.count(("spent", "tiny-ace-step-turbo", "sources")) < 2:
                    await asyncio.sleep(0.01)
            assert tally.told.count(("made", "tiny-ace-step-turbo")) == 0
            going.set()
            assert [events[-1] async for events in one][-1] == DoneEvent()
            assert [events[-1] async for events in other][-1] == DoneEvent()

    asyncio.run(two())


@pytest.fixture
def writer(step_engine):
    """An engine that tells what it writes, letter by letter, faster than a person can read."""

    class Writer(step_engine):
        def make(self, brief, on_progress, sources=None):
            for letter in "Walking home":
                on_progress(Progress(fraction=0.5, message="Writing", text=letter))
            return super().make(brief, on_progress)

    return Writer((Words(title="Home"),), name="builtin-words")


def test_text_arrives_whole_once_and_before_the_take(host_of, writer, ask, answers):
    events = answers(host_of(writer), ask(kind=BriefKind.LYRICS))
    texts = [event.text for event in events if isinstance(event, ProgressEvent)]
    assert "".join(texts) == "Walking home"
    assert len(texts) < len("Walking home"), "not more often than a person can see"
    take_at = next(index for index, event in enumerate(events) if isinstance(event, TakeEvent))
    assert "".join(event.text for event in events[:take_at] if isinstance(event, ProgressEvent)) == "Walking home"


def test_what_happened_is_measured(host_of, step_engine, sound, ask, answers, tally):
    engine = step_engine((sound(10.0), sound(1.0)))
    answers(host_of(engine), ask(takes=2))
    name = "builtin-song"
    assert tally.told == [
        ("loaded", name),
        ("waited", name),
        ("made", name),
        ("spent", name, "finish"),
        ("took", name, "made"),
        ("spent", name, "finish"),
        ("took", name, "failed"),
    ]


class Retryable(MelodeonError):
    code = "engine_unavailable"
    retryable = True


@pytest.mark.parametrize(
    ("error", "code", "retryable", "counted"),
    [
        (OutOfMemory(), "out_of_memory", True, 1),
        (MemoryError(), "out_of_memory", True, 1),
        (DeadDevice(Device(kind="cpu", dtype_name="float32"), RuntimeError("gone")), "dead_device", True, 0),
        (Retryable("later"), "engine_unavailable", True, 0),
        (MelodeonError("no"), "error", False, 0),
    ],
)
def test_errors_say_whether_another_attempt_may_help(
    host_of, step_engine, ask, answers, tally, error, code, retryable, counted
):
    def fail(_: int) -> None:
        raise error

    last = answers(host_of(step_engine(before_step=fail)), ask())[-1]
    assert (last.code, last.retryable) == (code, retryable)
    assert tally.told.count(("out_of_memory", "builtin-song")) == counted


def test_made_takes_are_counted_towards_the_replicas_share(host_of, step_engine, ask, answers):
    made: list[int] = []
    engine = step_engine((Words(), Words()), name="builtin-words")
    answers(host_of(engine, note_made=made.append), ask(takes=2, kind=BriefKind.LYRICS))
    assert made == [2]


def test_a_dead_device_makes_an_idle_replica_unhealthy(host_of, step_engine, ask):
    alive = True

    def look() -> None:
        if not alive:
            raise DeadDevice(Device(kind="cuda", dtype_name="bfloat16"), RuntimeError("an illegal memory access"))

    going = threading.Event()
    host = host_of(step_engine(before_step=lambda _: going.wait(60)), alive=look)
    host.check_health()
    alive = False

    async def busy() -> None:
        async with aclosing(host.make(ask())) as events:
            await anext(events)
            await asyncio.sleep(0.1)
            host.check_health()
            going.set()

    asyncio.run(busy())
    time.sleep(0.05)
    with pytest.raises(DeadDevice, match="illegal memory access"):
        host.check_health()


def test_a_device_at_work_for_another_engine_is_not_asked(host_of, step_engine, sound, ask):
    def full() -> None:
        raise DeadDevice(Device(kind="cuda", dtype_name="bfloat16"), OutOfMemory())

    going = threading.Event()
    turn = SharedTurn(lambda _: True)
    idle = host_of(step_engine(name="builtin-words"), turn=turn, alive=full)
    idle.load()
    busy = host_of(step_engine((sound(10.0),), before_step=lambda _: going.wait(60)), turn=turn)

    async def work() -> None:
        async with aclosing(busy.make(ask())) as events:
            await anext(events)
            idle.check_health()
            going.set()

    asyncio.run(work())


def test_unloading_lets_go_and_loading_comes_back(host_of, step_engine):
    engine = step_engine()
    host = host_of(engine)
    host.load()
    assert (engine.loads, engine.unloads) == (1, 0)
    host.unload()
    host.load()
    assert (engine.loads, engine.unloads) == (2, 1)


@pytest.mark.parametrize("name", list(known().entries))
def test_warming_up_asks_for_something_that_the_engine_makes(name):
    spec = known().spec_of(name)
    brief = warm_up_brief(spec)
    if spec.card is None:
        assert brief is None
    else:
        spec.fit(brief)
        assert brief.takes == 1


def test_an_engine_that_could_not_warm_up_gives_its_memory_back(host_of, step_engine):
    def no_room(_step: int) -> None:
        raise OutOfMemory

    engine = step_engine((Words(title="Home"),), name="tiny-qwen", before_step=no_room)
    with pytest.raises(OutOfMemory):
        host_of(engine)
    assert (engine.loads, engine.unloads) == (1, 1)


def test_the_engine_is_told_for_whom_it_works(host_of, step_engine, ask, answers):
    artists: list[str] = []

    class Curious(step_engine):
        def make(self, brief, *more):
            artists.append(brief.artist)
            return super().make(brief, *more)

    answers(host_of(Curious((Words(title="Home"),), name="builtin-words")), ask(kind=BriefKind.LYRICS))
    assert artists == ["ada"]


def test_a_source_larger_than_any_song_is_refused_before_it_is_all_there(
    host_of, repainter, ask, answers, store, monkeypatch
):
    monkeypatch.setattr(sources, "LARGEST_BYTES", 2_000_000)
    store.put("uploads/long.wav", bytes(3_000_000), media_type="audio/wav")
    last = answers(host_of(repainter), ask(source="uploads/long.wav", **REPAINT))[-1]
    assert (last.code, last.retryable) == ("source_too_large", False)
    assert last.sentence == "The source sound is too large; choose one of at most 2 MB."
