"""The engine behind OpenAI's protocol, against a small server that speaks it over real HTTP, well and badly."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serving.catalogue import known
from serving.engines.openai_server import (
    BadServerOptions,
    WordsServerAway,
    WordsServerBusy,
    WordsServerFailed,
    WordsServerRefused,
)
from serving.engines.openai_words import OpenaiWords
from serving.engines.setup import Setup
from serving.engines.song_words_text import UnusableAnswer
from studio.errors import MelodeonError
from studio.words.brief import Brief, BriefKind, Controls
from studio.words.take import Cancelled, Progress, Words

SPEC = known().spec_of("openai-words")
KEY = "the-key-of-a-test"
MODEL = "Qwen/Qwen3.5-4B"
LYRICS = "[Verse]\nWalking home — “späť” 🌙\n\n[Chorus]\nOh the night is ours"
ANSWER = {"prompt": "warm folk, guitar", "title": "Walking Home", "lyrics": LYRICS}
BRIEF = Brief(kind=BriefKind.LYRICS, description="a folk song", takes=1, controls=Controls(seed=7, duration_s=30.0))


class Door(BaseHTTPRequestHandler):
    """One request; how it is answered is up to the server's ``play``."""

    server: "Server"
    body: dict[str, Any]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers), {}))
        models = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]}
        self.answer(self.server.listing, models)

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), self.body))
        self.server.play(self)

    def answer(self, status: int, body: object, **headers: str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, *events: object, done: bool = True) -> None:
        """Server-sent events, one a line pair; a text goes out as it is."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            line = event if isinstance(event, str) else f"data: {json.dumps(event)}"
            self.wfile.write(f"{line}\n\n".encode())
            self.wfile.flush()
        if done:
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    play: Callable[[Door], None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.models = ["other", MODEL]
        self.listing = 200

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.play = written
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def chunk(content: str | None = None, reason: str | None = None, **delta: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {**({"content": content} if content else {}), **delta}, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def pieces(text: str, size: int = 5) -> list[dict[str, object]]:
    return [chunk(text[at : at + size]) for at in range(0, len(text), size)]


def written(door: Door, answer: object = ANSWER) -> None:
    """As vLLM streams: a role, an empty thought, pieces, a reason, the usage, a comment of a proxy."""
    text = json.dumps(answer)
    usage = {"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 9}}
    thought = chunk(reasoning_content="hm")
    door.stream(chunk(role="assistant"), thought, ": ping", *pieces(text), chunk(reason="stop"), usage)


def whole(door: Door, *, content: object = None, reason: str = "stop", **message: object) -> None:
    """As a server that does not stream."""
    text = json.dumps(ANSWER) if content is None else content
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
    door.answer(200, {"object": "chat.completion", "choices": [choice]})


_key_files: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _key_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("secrets") / "key"
    path.write_text(KEY + "\n")
    _key_files[:] = [str(path)]


def engine(server: Server, **options: object) -> OpenaiWords:
    return OpenaiWords(
        Setup(spec=SPEC, options={"url": server.url, "model": MODEL, "key_file": _key_files[0], **options})
    )


def words(the_engine: OpenaiWords, brief: Brief = BRIEF) -> list[Words]:
    return [take.result for take in the_engine.make(brief, lambda _: None)]


def test_it_asks_as_the_protocol_wants(server):
    engine(server, body={"chat_template_kwargs": {"enable_thinking": False}, "top_p": None}).make(BRIEF, lambda _: None)
    path, headers, body = server.asked[-1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["seed"], body["stream"]) == (MODEL, 7, True)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    schema = body["response_format"]["json_schema"]
    assert body["response_format"]["type"] == "json_schema"
    assert schema["strict"] is True
    assert set(schema["schema"]["properties"]) == {"prompt", "title", "lyrics"}
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "top_p" not in body


def test_a_stream_becomes_words_and_its_lyrics_are_told_as_they_come(server):
    told: list[Progress] = []
    (take,) = engine(server).make(BRIEF, told.append)
    assert take.result == Words(prompt="warm folk, guitar", title="Walking Home", lyrics=LYRICS)
    assert "".join(progress.text for progress in told) == LYRICS
    assert sum(bool(progress.text) for progress in told) > 5
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert take.settings["model"] == MODEL


def test_a_server_that_does_not_stream_is_understood_too(server):
    server.play = whole
    told: list[Progress] = []
    (take,) = engine(server).make(BRIEF, told.append)
    assert take.result.lyrics == LYRICS
    assert "".join(progress.text for progress in told) == LYRICS


def test_takes_are_asked_for_with_seeds_of_their_own(server):
    server.play = lambda door: written(door, {**ANSWER, "title": f"Song {door.body['seed']}"})
    made = words(engine(server), replace(BRIEF, takes=3))
    assert [one.title for one in made] == ["Song 7", "Song 8", "Song 9"]


def test_every_kind_gets_its_answer(server):
    answers = {
        BriefKind.PROMPT: ({"prompt": "slow jazz"}, Words(prompt="slow jazz")),
        BriefKind.REFINE: ({"lyrics": LYRICS}, Words(lyrics=LYRICS)),
        BriefKind.TAGS: (
            {"genre": "folk", "mood": "warm", "voice": "male vocals", "tempo": "slow", "details": []},
            Words(tags=("folk", "warm", "male vocals", "slow")),
        ),
        BriefKind.MODERATION: ({"reasons": ["hate"]}, Words(tags=("hate",))),
    }
    for kind, (answer, expected) in answers.items():
        server.play = lambda door, answer=answer: written(door, answer)
        assert words(engine(server), replace(BRIEF, kind=kind, lyrics=LYRICS)) == [expected]


def test_nothing_is_asked_when_nothing_is_missing(server):
    brief = replace(BRIEF, prompt="folk", title="Home", lyrics=LYRICS)
    assert words(engine(server), brief) == [Words(prompt="folk", title="Home", lyrics=LYRICS)]
    assert server.asked == []


FAULTS: dict[str, tuple[Callable[[Door], None], type[MelodeonError], str]] = {
    "401": (lambda door: door.answer(401, {"error": {"message": f"bad key {KEY}"}}), WordsServerRefused, "our key"),
    "403": (lambda door: door.answer(403, "no"), WordsServerRefused, "our key"),
    "404": (
        lambda door: door.answer(404, {"error": {"message": f"no model for {KEY}."}}),
        WordsServerRefused,
        r"no model for … \(404\)",
    ),
    "400": (lambda door: door.answer(400, "<html>"), WordsServerRefused, r"no reason \(400\)"),
    "429": (lambda door: door.answer(429, {}, Retry_After="9"), WordsServerBusy, "in 9 s"),
    "429 without a time": (lambda door: door.answer(429, {}, Retry_After="soon"), WordsServerBusy, "in 5 s"),
    "503": (lambda door: door.answer(503, {}), WordsServerAway, "503"),
    "500": (lambda door: door.answer(500, {"error": "boom"}), WordsServerFailed, "500"),
    "half a stream": (lambda door: door.stream(*pieces('{"prompt": "x'), done=False), WordsServerFailed, "middle"),
    "a stream without a reason": (lambda door: door.stream(*pieces("{}")), WordsServerFailed, "middle"),
    "no JSON in the stream": (lambda door: door.stream("data: {oops"), WordsServerFailed, "no JSON"),
    "an error in the stream": (lambda door: door.stream({"error": {"message": "OOM"}}), WordsServerFailed, "its own"),
    "a list": (lambda door: door.answer(200, []), WordsServerFailed, "no answer"),
    "no choices": (lambda door: door.answer(200, {"choices": "none"}), WordsServerFailed, "no answer"),
    "no JSON": (lambda door: door.answer(200, "hello"), WordsServerFailed, "no JSON"),
    "half a body": (
        lambda door: door.answer(200, "{}", Content_Length="900", Connection="close"),
        WordsServerFailed,
        "broke",
    ),
    "malformed words": (lambda door: whole(door, content='{"prompt": "x", '), UnusableAnswer, "middle"),
    "no words": (lambda door: whole(door, content=[1]), UnusableAnswer, "form"),
    "cut off": (lambda door: whole(door, reason="length"), UnusableAnswer, "end"),
    "filtered": (lambda door: whole(door, reason="content_filter"), UnusableAnswer, "filter"),
    "declined": (lambda door: whole(door, content="", refusal="I cannot"), UnusableAnswer, "declined"),
    "endless": (lambda door: door.stream(*[chunk("x" * 50_000)] * 5), WordsServerFailed, "does not stop"),
    "silent": (lambda door: door.connection.recv(1), WordsServerFailed, "too long"),  # until the client hangs up
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_becomes_a_sentence_without_the_key(server, name):
    server.play, kind, pattern = FAULTS[name]
    with pytest.raises(kind, match=pattern) as caught:
        engine(server, silence_s=0.6 if name == "silent" else 60).make(BRIEF, lambda _: None)
    assert KEY not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__!r}"
    assert getattr(caught.value, "retryable", False) == (kind is not WordsServerRefused)
    assert caught.value.sentence.endswith(".")


def test_a_slow_answer_ends_at_its_deadline(server):
    def slowly(door: Door) -> None:
        door.send_response(200)
        door.send_header("Content-Type", "text/event-stream")
        door.end_headers()
        for _ in range(40):
            door.wfile.write(b": still here\n\n")
            door.wfile.flush()
            time.sleep(0.1)

    server.play = slowly
    with pytest.raises(WordsServerFailed, match="too long"):
        engine(server, deadline_s=0.5).make(BRIEF, lambda _: None)


def test_nobody_there_is_told_and_may_be_tried_again():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        lonely = OpenaiWords(Setup(spec=SPEC, options={"url": url, "model": MODEL}))
        for call in (lonely.load, lambda: lonely.make(BRIEF, lambda _: None)):
            with pytest.raises(WordsServerAway, match="cannot be reached") as caught:
                call()
            assert caught.value.retry_after_s > 0


def test_cancelled_while_the_server_thinks_it_hangs_up_at_once(server):
    hung_up = threading.Event()

    def think(door: Door) -> None:
        door.connection.settimeout(20)
        # the client closing its side ends this read
        if door.connection.recv(1) == b"":
            hung_up.set()

    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:
            raise Cancelled

    server.play = think
    with pytest.raises(Cancelled):
        engine(server).make(BRIEF, stop)
    assert hung_up.wait(60)
    assert len(told) == 2


def test_loading_sees_whether_the_server_has_the_model(server):
    engine(server).load()
    server.models = ["llama"]
    with pytest.raises(WordsServerRefused, match="only: llama"):
        engine(server).load()
    server.listing = 401
    with pytest.raises(WordsServerRefused, match="our key"):
        engine(server).load()
    server.listing = 404
    engine(server).load()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"model": MODEL}, "url"),
        ({"url": "ftp://x", "model": MODEL}, "url"),
        ({"url": "http://x/v1"}, "model"),
        ({"url": "http://x/v1", "model": MODEL, "key": KEY}, "key"),
        ({"url": "http://x/v1", "model": MODEL, "key_file": "/no/such/file"}, "key_file"),
        ({"url": "http://x/v1", "model": MODEL, "deadline_s": 0}, "deadline_s"),
        ({"url": "http://x/v1", "model": MODEL, "token": KEY}, "token"),
    ],
)
def test_wrong_options_are_named_without_their_value(options, name):
    with pytest.raises(BadServerOptions, match=f"“{name}”") as caught:
        OpenaiWords(Setup(spec=SPEC, options=options))
    assert KEY not in str(caught.value)


def test_the_key_is_in_no_representation(server):
    the_engine = engine(server)
    assert KEY not in f"{the_engine!r} {the_engine._server!r} {the_engine._options!r}"
