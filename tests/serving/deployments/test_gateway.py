"""The gateway over real HTTP, before hosts in this process: who may call, what is refused, how streams end."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from serving.catalogue import UnknownEngine, catalogue, known
from serving.client import DeadlineExceeded, GatewayClient, ModelRejected, Unavailable
from serving.contract import (
    KEY_HEADER,
    MAKE_PATH,
    REQUEST_BYTES_MAX,
    FailedEvent,
    ProgressEvent,
    TakeFailure,
    TakeResult,
    event_line,
)
from serving.deployments.canaries import Canary
from serving.deployments.gateway import make_gateway
from serving.deployments.host import EngineHost
from studio.sound.clip import Clip
from studio.words.brief import BriefKind, Controls
from studio.words.take import Sound, Words

KEY = "the key of tests"


@dataclass
class Running:
    """A gateway that listens, and what stands behind it."""

    url: str
    hosts: dict[str, EngineHost]
    words: object
    songs: object

    def client(self, *, key: str = KEY) -> GatewayClient:
        return GatewayClient(self.url, key, 30)

    def post(self, content: bytes, **headers: str) -> httpx.Response:
        return httpx.post(self.url + MAKE_PATH, content=content, headers={KEY_HEADER: KEY, **headers}, timeout=60)


@pytest.fixture
def gateway(host_of, step_engine, sound, local_router) -> Iterator[Running]:
    words = step_engine((Words(title="Home"),), name="builtin-words")
    songs = step_engine((sound(10.0), sound(10.0)))
    hosts = {"words": host_of(words), "songs": host_of(songs)}
    with listening(make_gateway(local_router(hosts, starting=("covers",)), catalogue, key=KEY)) as url:
        yield Running(url, hosts, words, songs)


@contextmanager
def listening(app: object) -> Iterator[str]:
    """The address at which this application answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def body(ask: Callable[..., object], **changes: object) -> bytes:
    return ask(kind=BriefKind.LYRICS, **changes).model_dump_json().encode()


def test_a_call_streams_events_and_answers_its_takes(gateway, ask):
    told = []
    gateway.words.results = (Words(title="One"), Words(title="Two"))
    takes = asyncio.run(gateway.client().make(ask(takes=2, kind=BriefKind.LYRICS), told.append))
    assert [take.words.title for take in takes] == ["One", "Two"]
    assert isinstance(told[0], ProgressEvent)
    assert [event.event for event in told if event.event != "progress"] == ["take", "take", "done"]


def test_a_failed_take_is_answered_beside_the_others(gateway, ask, sound, silent):
    gateway.songs.results = (sound(10.0), silent)
    takes = asyncio.run(gateway.client().make(ask(takes=2), lambda _: None))
    assert isinstance(takes[0], TakeResult)
    assert isinstance(takes[1], TakeFailure)
    assert takes[1].sentence


@pytest.fixture
def silent(sound) -> Sound:
    return Sound(clip=Clip(samples=sound(10.0).clip.samples * 0))


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", "the key of testé"])
def test_a_stranger_is_refused_everywhere(gateway, ask, key):
    for method, path in (("POST", "/v1/make"), ("GET", "/v1/health"), ("GET", "/v1/engines"), ("GET", "/docs")):
        answer = httpx.request(method, gateway.url + path, content=body(ask), headers={KEY_HEADER: key.encode()})
        assert answer.status_code == 401
    assert not gateway.words.ended.is_set()


def test_a_wrong_key_is_told_to_the_operator_not_blamed_on_the_song(gateway, ask):
    with pytest.raises(Unavailable, match="refused our key"):
        asyncio.run(gateway.client(key="wrong").make(ask(), lambda _: None))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda b: b.update(surprise=1), "bad_request"),
        (lambda b: b["brief"].update(surprise=1), "bad_request"),
        (lambda b: b["brief"]["controls"].update(surprise=1), "bad_request"),
        (lambda b: b["call"].update(key_prefix="../etc"), "bad_request"),
        (lambda b: b["call"].update(deadline_s=0), "bad_request"),
        (lambda b: b.pop("call"), "bad_request"),
        (lambda b: b["brief"].update(takes=9), "unfit_brief"),
        (lambda b: b["brief"].update(title="x" * 101), "unfit_brief"),
        (lambda b: b["brief"]["controls"].update(steps=3), "unfit_brief"),
        (lambda b: b["brief"].update(engine="suno"), "unknown_engine"),
    ],
)
def test_a_body_that_is_not_the_contract_is_refused_with_a_sentence(gateway, ask, change, code):
    wrong = json.loads(body(ask))
    change(wrong)
    answer = gateway.post(json.dumps(wrong).encode(), **{"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert answer.json()["sentence"].endswith(".")
    assert not gateway.words.ended.is_set()


def test_a_body_that_is_no_json_is_refused(gateway):
    assert gateway.post(b"{", **{"Content-Type": "application/json"}).status_code == 422


def test_too_large_a_body_is_refused_unread(gateway):
    assert gateway.post(b"x" * (REQUEST_BYTES_MAX + 1)).status_code == 413


def test_a_body_of_unknown_length_is_refused(gateway):
    answer = httpx.post(gateway.url + MAKE_PATH, content=iter([b"{}"]), headers={KEY_HEADER: KEY})
    assert answer.status_code == 411


def test_an_application_that_is_not_ready_answers_503_at_once(gateway, ask):
    request = ask(kind=BriefKind.COVER)
    answer = gateway.post(request.model_dump_json().encode(), **{"Content-Type": "application/json"})
    assert answer.status_code == 503
    assert float(answer.headers["Retry-After"]) > 0
    with pytest.raises(Unavailable) as caught:
        asyncio.run(gateway.client().make(request, lambda _: None))
    assert caught.value.retry_after_s == 5


def test_an_unfit_brief_is_rejected_for_good(gateway, ask):
    with pytest.raises(ModelRejected, match="Length must be from 10 to 240") as caught:
        asyncio.run(gateway.client().make(ask(controls=Controls(duration_s=5, seed=1)), lambda _: None))
    assert not caught.value.retryable


def test_leaving_the_call_stops_the_engine(gateway, ask):
    # half a minute's work, in which the listener's leaving is heard
    gateway.songs.steps, gateway.songs.before_step = 600, lambda _: time.sleep(0.05)

    async def leave() -> None:
        heard = asyncio.Event()
        call = asyncio.create_task(gateway.client().make(ask(), lambda _: heard.set()))
        async with asyncio.timeout(120):
            await heard.wait()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert await asyncio.to_thread(gateway.songs.ended.wait, 60)

    asyncio.run(leave())
    assert gateway.songs.steps_done < 600


def test_an_error_of_the_listener_ends_the_call_and_is_passed_on(gateway, ask):
    def burst(_: object) -> None:
        raise KeyError("mine")

    gateway.songs.steps, gateway.songs.before_step = 600, lambda _: time.sleep(0.05)
    with pytest.raises(KeyError, match="mine"):
        asyncio.run(gateway.client().make(ask(), burst))
    assert gateway.songs.ended.wait(60)
    assert gateway.songs.steps_done < 600


def test_a_deadline_is_told_as_such(gateway, ask):
    told = threading.Event()
    gateway.songs.before_step = lambda _: told.wait(60)
    with pytest.raises(DeadlineExceeded):
        # long enough that the engine is at work by then
        asyncio.run(gateway.client().make(ask(deadline_s=4), lambda _: None))
    told.set()
    assert gateway.songs.ended.wait(60)
    assert gateway.songs.steps_done == 0


def test_health_and_engines_are_told(gateway):
    health = gateway.client().health()
    assert not health.ready
    assert {name: seen.ready for name, seen in health.applications.items()} == {
        "words": True,
        "songs": True,
        "covers": False,
    }
    engines = httpx.get(gateway.url + "/v1/engines", headers={KEY_HEADER: KEY}).json()
    assert {engine["name"] for engine in engines} == {"builtin-song", "builtin-words", "builtin-cover"}


def test_the_engine_that_really_made_it_is_named(gateway, ask):
    [take] = asyncio.run(gateway.client().make(ask(kind=BriefKind.LYRICS), lambda _: None))
    assert take.engine == "builtin-words"


def test_a_canary_makes_its_share_under_its_own_name(host_of, step_engine, local_router, ask):
    served = known().served_by({"words": ("builtin-words",), "next": ("tiny-qwen",)})
    hosts = {
        served.application_of(name): host_of(step_engine((Words(title=name),), name=name)) for name in served.entries
    }
    half = Canary(of="builtin-words", engine="tiny-qwen", share=0.5)

    def makers(url: str) -> list[str]:
        made = []
        for number in range(12):
            asked = ask(kind=BriefKind.LYRICS)
            asked = asked.model_copy(update={"call": asked.call.model_copy(update={"job_id": f"job_{number}"})})
            [take] = asyncio.run(GatewayClient(url, KEY, 30).make(asked, lambda _: None))
            assert take.words.title == take.engine, "who made it is told as it is"
            made.append(take.engine)
        return made

    with listening(make_gateway(local_router(hosts), lambda: served, key=KEY, canaries=[half])) as url:
        first = makers(url)
        assert first == makers(url), "a second attempt meets the same engine"
    assert set(first) == {"builtin-words", "tiny-qwen"}


@pytest.mark.parametrize("unknown", ["of", "engine"])
def test_a_canary_that_nothing_here_runs_is_refused_before_any_request(local_router, unknown):
    names = {"of": "builtin-words", "engine": "builtin-song", unknown: "tiny-qwen"}
    with pytest.raises(UnknownEngine, match="tiny-qwen"):
        make_gateway(local_router({}), catalogue, key=KEY, canaries=[Canary(share=0.1, **names)])


def test_an_engine_that_the_serve_file_names_since_is_reached_by_the_same_gateway(
    host_of, step_engine, local_router, ask
):
    served = [known().served_by({"words": ("builtin-words",)})]
    hosts = {
        app: host_of(step_engine((Words(title=name),), name=name))
        for app, name in (("words", "builtin-words"), ("next", "tiny-qwen"))
    }

    def maker(url: str) -> str:
        asked = ask(kind=BriefKind.LYRICS, engine="tiny-qwen")
        [take] = asyncio.run(GatewayClient(url, KEY, 30).make(asked, lambda _: None))
        return take.engine

    with listening(make_gateway(local_router(hosts), lambda: served[0], key=KEY)) as url:
        with pytest.raises(ModelRejected, match="no engine “tiny-qwen”"):
            maker(url)
        served[0] = known().served_by({"words": ("builtin-words",), "next": ("tiny-qwen",)})
        assert maker(url) == "tiny-qwen"
        engines = httpx.get(url + "/v1/engines", headers={KEY_HEADER: KEY}).json()
    assert {engine["name"]: engine["application"] for engine in engines} == {
        "builtin-words": "words",
        "tiny-qwen": "next",
    }


def test_every_log_line_of_a_call_carries_its_trace_id(gateway, ask):
    asked = ask(kind=BriefKind.LYRICS)
    with capture_logs(processors=[merge_contextvars]) as lines:
        asyncio.run(gateway.client().make(asked, lambda _: None))
    told = {line["event"]: line.get("trace_id") for line in lines}
    assert told == dict.fromkeys(["call.routed", "make.begun", "make.done"], asked.call.trace_id)


@pytest.mark.parametrize("code", ["busy", "not_ready"])
def test_a_call_that_waited_in_vain_for_an_engine_was_no_attempt(ask, code):
    """The last word of a stream whose first lines said that an engine warms up."""

    async def door(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for event in (ProgressEvent(fraction=0, message="Warming up the engine"),
                      FailedEvent(code=code, sentence="Come back later.", retryable=True)):  # fmt: skip
            await send({"type": "http.response.body", "body": event_line(event), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    with listening(door) as url, pytest.raises(Unavailable, match="Come back later"):
        asyncio.run(GatewayClient(url, KEY, 30).make(ask(), lambda _: None))
