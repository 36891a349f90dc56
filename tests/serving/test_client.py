"""The client before a gateway that answers whatever a test wants, word for word."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client import Busy, DeadlineExceeded, GatewayClient, ModelRejected, ReplicaLost, Unavailable
from serving.contract import (
    CallContext,
    DoneEvent,
    Event,
    FailedEvent,
    MakeRequest,
    ProgressEvent,
    TakeEvent,
    TakeFailedEvent,
    TakeFailure,
    TakeResult,
    event_line,
    is_last,
    read_event,
)
from studio.errors import MelodeonError
from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief, Controls
from studio.words.take import Section, TimedLine

TAKE = TakeResult(
    kind="sound",
    engine="builtin-song",
    engine_version="1",
    seed=3,
    settings={"tempo_bpm": 100, "instruments": {"bass": "sub"}},
    assets={AssetRole.WAV: Asset(key="a/0.wav", sha256="0" * 64, media_type="audio/wav", size_bytes=7)},
    duration_s=10.0,
    sections=(Section(name="verse", start_s=0, end_s=10),),
    lines=(TimedLine(start_s=1, end_s=2, text="Ça va"),),
)
PROGRESS = event_line(ProgressEvent(fraction=0.5, message="Halfway"))
DONE = event_line(DoneEvent())

texts = st.text() | st.just('\n{"event":"done"}\n')
events = st.one_of(
    st.builds(ProgressEvent, fraction=st.just(0.5), message=texts, text=texts),
    st.builds(TakeFailedEvent, index=st.just(0), code=texts, sentence=texts),
    st.builds(FailedEvent, code=texts, sentence=texts, retryable=st.booleans()),
    st.just(DoneEvent()),
)

AnswerWith = Callable[..., GatewayClient]


@pytest.fixture
def answer_with() -> Iterator[AnswerWith]:
    """Starts a server that answers every request with this status, these headers and these bytes, then hangs up."""
    servers: list[ThreadingHTTPServer] = []

    def start(
        status: int, content: bytes, *, timeout_s: float = 5, hold: bool = False, **headers: str
    ) -> GatewayClient:
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()
                if hold:
                    release.wait(60)

            do_GET = do_POST  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return GatewayClient(f"http://127.0.0.1:{server.server_port}", "key", timeout_s)

    release = threading.Event()
    yield start
    release.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def request_of(*, takes: int = 1) -> MakeRequest:
    call = CallContext(job_id="job_1", attempt=1, deadline_s=20, key_prefix="songs/a/1")
    return MakeRequest(call=call, brief=Brief(description="x", takes=takes, controls=Controls(seed=3)), artist="ada")


def make(client: GatewayClient, *, takes: int = 1) -> list[TakeResult | TakeFailure]:
    return asyncio.run(client.make(request_of(takes=takes), lambda _: None))


def test_every_event_survives_the_wire():
    for event in (
        ProgressEvent(fraction=0.25, message="Singing"),
        TakeEvent(index=1, take=TAKE),
        TakeFailedEvent(index=0, code="gate_silent", sentence="The sound is silent."),
        DoneEvent(),
        FailedEvent(code="x", sentence="No.", retryable=True),
    ):
        assert read_event(event_line(event)) == event


@given(st.lists(events, min_size=1))
def test_the_last_word_is_known_among_lines(told: list[Event]):
    last = isinstance(told[-1], DoneEvent | FailedEvent)
    assert is_last(b"".join(map(event_line, told))) == last


def test_a_request_survives_the_wire():
    request = request_of(takes=2)
    assert MakeRequest.model_validate_json(request.model_dump_json()) == request


def test_text_with_unusual_line_ends_stays_in_its_line(answer_with: AnswerWith):
    unusual = "one\u2028two\u2029three\x85four\x0bfive\x1esix\rseven\neight"
    take = TAKE.model_copy(update={"settings": {"prompt": unusual}})
    told: list[Event] = []
    content = event_line(ProgressEvent(fraction=0.5, text=unusual)) + event_line(TakeEvent(index=0, take=take)) + DONE
    assert asyncio.run(answer_with(200, content).make(request_of(), told.append)) == [take]
    assert isinstance(told[0], ProgressEvent)
    assert told[0].text == unusual


def test_takes_come_in_order_whatever_the_order_of_their_events(answer_with: AnswerWith):
    failed = event_line(TakeFailedEvent(index=0, code="gate_silent", sentence="Silent."))
    client = answer_with(200, PROGRESS + event_line(TakeEvent(index=1, take=TAKE)) + failed + DONE)
    assert make(client, takes=2) == [TakeFailure(index=0, code="gate_silent", sentence="Silent."), TAKE]


@pytest.mark.parametrize(
    ("status", "content", "error", "code"),
    [
        (429, b"{}", Busy, "busy"),
        (503, b'{"sentence": "songs is starting."}', Unavailable, "unavailable"),
        (502, b"<html>", Unavailable, "unavailable"),
        (401, b"{}", Unavailable, "unavailable"),
        (500, b"Internal Server Error", ReplicaLost, "replica_lost"),
        (422, b'{"sentence": "Too long."}', ModelRejected, "bad_request"),
        (404, b"Path '/' not found.", Unavailable, "unavailable"),
        (200, b"", ReplicaLost, "replica_lost"),
        (200, PROGRESS, ReplicaLost, "replica_lost"),
        (200, PROGRESS + DONE, ReplicaLost, "replica_lost"),
        (200, PROGRESS + b'{"event": "applause"}\n', ReplicaLost, "replica_lost"),
        (
            200,
            event_line(FailedEvent(code="engine_error", sentence="It failed.", retryable=True)),
            ModelRejected,
            "engine_error",
        ),
        (
            200,
            event_line(FailedEvent(code="replica_lost", sentence="Gone.", retryable=True)),
            ReplicaLost,
            "replica_lost",
        ),
        (
            200,
            event_line(FailedEvent(code="deadline", sentence="Late.", retryable=False)),
            DeadlineExceeded,
            "deadline",
        ),
    ],
)
def test_every_bad_ending_has_its_error(
    answer_with: AnswerWith, status: int, content: bytes, error: type[MelodeonError], code: str
):
    with pytest.raises(error) as caught:
        make(answer_with(status, content))
    assert caught.value.code == code
    assert caught.value.sentence


@pytest.mark.parametrize(("told", "pause_s"), [("7", 7.0), ("0", 0.1), ("Wed, 21 Oct 2026 07:28:00 GMT", 2.0)])
def test_busy_carries_the_pause_the_gateway_asks_for(answer_with: AnswerWith, told: str, pause_s: float):
    with pytest.raises(Busy) as caught:
        make(answer_with(429, b"{}", Retry_After=told))
    assert caught.value.retry_after_s == pause_s


@pytest.mark.parametrize("retryable", [True, False])
def test_a_rejection_says_whether_another_attempt_makes_sense(answer_with: AnswerWith, retryable: bool):
    content = event_line(FailedEvent(code="x", sentence="No.", retryable=retryable))
    with pytest.raises(ModelRejected, match="No") as caught:
        make(answer_with(200, content))
    assert caught.value.retryable is retryable


def test_a_stream_that_breaks_in_the_middle_of_a_line_is_a_lost_replica(answer_with: AnswerWith):
    with pytest.raises(ReplicaLost, match="the connection to the gateway broke"):
        make(answer_with(200, PROGRESS + b'{"event": "pro', Content_Length="100000"))


def test_the_clients_own_bound_holds_when_the_gateway_keeps_silent(answer_with: AnswerWith):
    with pytest.raises(DeadlineExceeded):
        make(answer_with(200, PROGRESS, timeout_s=0.3, hold=True))


def test_calls_use_one_connection_while_it_is_kept_open():
    connections, calls = [], []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                calls.append(head)
                content = PROGRESS + event_line(TakeEvent(index=0, take=TAKE)) + DONE
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))
        writer.close()
        await writer.wait_closed()

    async def many() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            client = GatewayClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key", 5)
            async with client.kept_open():
                for _ in range(3):
                    assert await client.make(request_of(), lambda _: None) == [TAKE]
            assert await client.make(request_of(), lambda _: None) == [TAKE]
            await asyncio.gather(*connections)

    asyncio.run(many())
    assert (len(calls), len(connections)) == (4, 2)


def test_a_stream_that_hangs_after_its_last_word_holds_nobody_up(answer_with: AnswerWith):
    client = answer_with(200, event_line(TakeEvent(index=0, take=TAKE)) + DONE, hold=True)
    assert make(client) == [TAKE]


def test_nobody_listening_is_unavailable():
    with pytest.raises(Unavailable, match="cannot be reached"):
        make(GatewayClient("http://127.0.0.1:9", "key", 5))
    with pytest.raises(Unavailable, match="cannot be reached"):
        GatewayClient("http://127.0.0.1:9", "key", 5).health()


def test_a_health_answer_of_another_version_is_unavailable(answer_with: AnswerWith):
    with pytest.raises(Unavailable, match="is of another version"):
        answer_with(200, b'{"mood": "fine"}').health()


def test_the_key_is_not_shown_by_the_client():
    assert "secret-key" not in repr(GatewayClient("http://127.0.0.1:9", "secret-key", 5))
