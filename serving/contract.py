"""The wire between whoever asks for a model's work and the gateway: one request, a stream of events, one line each.

The words (`Brief`, `Asset`, `Section`, …) travel as they are: pydantic builds the frozen dataclasses themselves, so
their own checks run on both sides and no field is written twice. Unknown fields are refused everywhere.
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief
from studio.words.take import Section, TimedLine, Words

KEY_HEADER = "X-Melodeon-Key"
"""The HTTP header that carries the gateway's key."""

MAKE_PATH = "/v1/make"
HEALTH_PATH = "/v1/health"
ENGINES_PATH = "/v1/engines"

REQUEST_BYTES_MAX = 256 * 1024
"""A request is text only; more than this is refused before it is read."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CallContext(_Body):
    """Who asks, and until when.

    Attributes:
        attempt: number of the job's claim; stands in ``key_prefix`` too.
        deadline_s: seconds from the arrival of the request after which nobody waits any more.
        key_prefix: object-store prefix of this attempt; the host writes ``{key_prefix}/{index}.wav`` and the like.
        trace_id: stands on every log line of the call.
    """

    job_id: str = Field(min_length=1, max_length=64)
    attempt: int = Field(ge=1)
    deadline_s: float = Field(gt=0, le=24 * 3600)
    key_prefix: str = Field(pattern=r"^[a-z0-9][a-z0-9/_.-]{0,200}$")
    trace_id: str = Field(default="", max_length=64)


class MakeRequest(_Body):
    """One call of one engine. ``artist`` is written on covers and into the files."""

    call: CallContext
    brief: Brief
    artist: str = Field(default="", max_length=100)


class TakeResult(_Body):
    """One stored take: where its files lie, what was measured and how to make it again.

    Attributes:
        assets: sound: ``wav``, ``stream``, ``peaks``; picture: ``cover``, ``cover_512``, ``cover_128``; words: none.
        settings: every effective parameter of the engine.
        seconds: wall time of the engine.
        duration_s, loudness_lufs, true_peak_dbtp: measured on the mastered sound.
        words: of a text take, else None.
        note: one sentence for the person ("two lines did not fit"), or empty.
    """

    kind: Literal["sound", "words", "picture"]
    engine: str
    engine_version: str
    seed: int
    settings: dict[str, object] = Field(default_factory=dict)
    seconds: float = 0.0
    assets: dict[AssetRole, Asset] = Field(default_factory=dict)
    duration_s: float | None = None
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    tempo_bpm: float | None = None
    key: str | None = None
    sections: tuple[Section, ...] = ()
    lines: tuple[TimedLine, ...] = ()
    words: Words | None = None
    note: str = ""


class TakeFailure(_Body):
    """One take that could not be made, while others may be fine."""

    index: int = Field(ge=0)
    code: str
    sentence: str


class ProgressEvent(_Body):
    """How far the call is, 0-1. Repeated every few seconds even when nothing changed, as a sign of life.

    ``text``: what an engine for words has written since the last progress; empty for all others.
    """

    event: Literal["progress"] = "progress"
    fraction: float = Field(ge=0, le=1)
    message: str = ""
    text: str = ""


class TakeEvent(_Body):
    """Take ``index`` (0-based) is stored."""

    event: Literal["take"] = "take"
    index: int = Field(ge=0)
    take: TakeResult


class TakeFailedEvent(TakeFailure):
    """Take ``index`` failed."""

    event: Literal["take_failed"] = "take_failed"


class DoneEvent(_Body):
    """Every take was answered; nothing follows."""

    event: Literal["done"] = "done"


class FailedEvent(_Body):
    """The whole call failed; nothing follows. ``retryable``: the same request may succeed later."""

    event: Literal["failed"] = "failed"
    code: str
    sentence: str
    retryable: bool


Event = ProgressEvent | TakeEvent | TakeFailedEvent | DoneEvent | FailedEvent

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])

_LAST_WORDS = (b'{"event":"done"', b'{"event":"failed"')


def event_line(event: Event) -> bytes:
    """One event as a line of JSON with its newline."""
    return event.model_dump_json().encode() + b"\n"


def is_last(lines: bytes) -> bool:
    """Whether the last of these event lines is the last word of its call."""
    return lines[lines.rfind(b"\n", 0, -1) + 1 :].startswith(_LAST_WORDS)


def read_event(line: str | bytes) -> Event:
    """The event on this line.

    Raises:
        pydantic.ValidationError: when the line is no event of this version.
    """
    return _EVENTS.validate_json(line)


async def lines_of(blocks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream of bytes, without their newlines.

    Only a newline ends a line: HTTP libraries also cut at the likes of U+2028, which people's texts may hold.
    """
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    yield rest


class ApplicationHealth(_Body):
    """How one application is.

    Attributes:
        ready: it takes calls now.
        status: Serve's own word.
        replicas: those running.
        calls: calls in this gateway's hands.
        load_s, warm_up_s: how long a replica took to load its engines and to warm them up; None: not known yet.
        cold_start_s: how long a call waited when no replica was running, from former times; None: never seen.
    """

    ready: bool
    status: str
    replicas: int = 0
    calls: int = 0
    load_s: float | None = None
    warm_up_s: float | None = None
    cold_start_s: float | None = None


class HealthAnswer(_Body):
    """``ready`` when every application is."""

    ready: bool
    applications: dict[str, ApplicationHealth]
