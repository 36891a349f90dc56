"""The client of the gateway: the only way the worker and the pages reach a model.

A call is one HTTP request with a stream of events. Leaving the call (cancelling the task, an error in ``on_event``,
the deadline) closes the stream, and the replica stops at its next step.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

import httpx
from pydantic import ValidationError

from serving.contract import (
    HEALTH_PATH,
    KEY_HEADER,
    MAKE_PATH,
    CallContext,
    DoneEvent,
    Event,
    FailedEvent,
    HealthAnswer,
    MakeRequest,
    ProgressEvent,
    TakeEvent,
    TakeFailedEvent,
    TakeFailure,
    TakeResult,
    lines_of,
    read_event,
)
from studio.errors import MelodeonError
from studio.words.brief import Brief
from studio.words.take import Words

CONNECT_S: Final = 5.0
HEALTH_S: Final = 5.0
SILENCE_S: Final = 30.0
"""The host shows a sign of life every few seconds; after this long without any the stream counts as broken."""
END_S: Final = 0.1
"""The gateway ends a stream with its last word; for an end that comes later no call waits longer than this."""
KEEP_S: Final = 30.0
"""A connection that rests longer is closed by us, before the gateway does it."""

_NOTHING_BEGUN: Final = frozenset({"busy", "not_ready"})
"""Last words of a call that waited for an engine to warm up and met none: no attempt was made."""


class Busy(MelodeonError):
    """Every replica has its hands full. Not a failure: come back later."""

    code = "busy"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"The engines are busy; trying again in {retry_after_s:g} s.")
        self.retry_after_s = retry_after_s


class Unavailable(MelodeonError):
    """The gateway or the engine behind it cannot be reached or is not ready. Not a failure of the request."""

    code = "unavailable"

    def __init__(self, why: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(f"The engines are not available: {why}")
        self.retry_after_s = retry_after_s


class ReplicaLost(MelodeonError):
    """The work had begun and was lost: a replica died or the stream broke. The same request may be tried again."""

    code = "replica_lost"

    def __init__(self, why: str) -> None:
        super().__init__(f"The engine was lost while it worked: {why}")


class ModelRejected(MelodeonError):
    """The engine refused the request or could not make it. ``retryable``: another attempt may succeed."""

    def __init__(self, code: str, sentence: str, *, retryable: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.retryable = retryable


class DeadlineExceeded(MelodeonError):
    """The call was not answered in its time."""

    code = "deadline"

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"The engine was not ready within {deadline_s:g} s.")


OnEvent = Callable[[Event], None]
"""Told of every event as it arrives; an exception from it ends the call and is passed on."""


class GatewayClient:
    """Speaks to one gateway.

    Args:
        base_url: ``http://127.0.0.1:8610``.
        key: the gateway's key.
        timeout_s: upper bound of any call, whatever its own deadline says.
    """

    def __init__(self, base_url: str, key: str, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {KEY_HEADER: key, "Content-Type": "application/json"}
        self._timeout_s = timeout_s
        # reading all root certificates takes some 30 ms: once, not once a call
        self._tls = httpx.create_ssl_context()
        self._kept: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def kept_open(self) -> AsyncIterator[None]:
        """Meanwhile calls use each other's connections; they must all be made in this event loop."""
        async with self._http() as http:
            self._kept = http
            try:
                yield
            finally:
                self._kept = None

    async def make(self, request: MakeRequest, on_event: OnEvent) -> list[TakeResult | TakeFailure]:
        """Have one Brief made; answers one result or failure per take, in order.

        Raises:
            Busy, Unavailable: nothing was begun.
            ReplicaLost: something was begun and lost.
            ModelRejected: the engine said no.
            DeadlineExceeded: the request's deadline, or this client's own bound, passed.
        """
        deadline_s = min(request.call.deadline_s, self._timeout_s)
        takes: dict[int, TakeResult | TakeFailure] = {}
        try:
            async with asyncio.timeout(deadline_s), self._stream(request) as events:
                async for event in events:
                    _collect(event, takes, deadline_s)
                    on_event(event)
                    if isinstance(event, DoneEvent):
                        await _ended(events)
                        return _complete(takes, request.brief.takes)
        except TimeoutError:
            raise DeadlineExceeded(deadline_s) from None
        raise ReplicaLost("the stream ended before its last word.")

    def write(self, brief: Brief, on_text: Callable[[str], None], *, deadline_s: float) -> Words:
        """Have words written for a page that waits; ``on_text`` gets them piece by piece as they are written.

        Raises as `make` does.
        """
        call = CallContext(
            job_id=f"page_{uuid4().hex}", attempt=1, deadline_s=deadline_s, key_prefix="pages", trace_id=uuid4().hex
        )

        def hear(event: Event) -> None:
            if isinstance(event, ProgressEvent) and event.text:
                on_text(event.text)

        take = asyncio.run(self.make(MakeRequest(call=call, brief=brief), hear))[0]
        if isinstance(take, TakeFailure):
            raise ModelRejected(take.code, take.sentence)
        if take.words is None:
            raise ModelRejected("no_words", "The engine answered without words.")
        return take.words

    def health(self) -> HealthAnswer:
        """How each application is. Raises `Unavailable`."""
        try:
            response = httpx.get(
                self._base_url + HEALTH_PATH, headers=self._headers, timeout=HEALTH_S, verify=self._tls
            )
            response.raise_for_status()
            return HealthAnswer.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise Unavailable(_words(error)) from error

    @asynccontextmanager
    async def _stream(self, request: MakeRequest) -> AsyncIterator[AsyncIterator[Event]]:
        begun = False
        try:
            async with (
                self._connections() as http,
                http.stream("POST", MAKE_PATH, content=request.model_dump_json().encode()) as response,
            ):
                await _refuse(response)
                begun = True
                yield _events(response)
        except httpx.HTTPError as error:
            if begun:
                raise ReplicaLost(_words(error)) from error
            raise Unavailable(_words(error)) from error

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[httpx.AsyncClient]:
        if self._kept is not None:
            yield self._kept
        else:
            async with self._http() as http:
                yield http

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._base_url,
            headers=self._headers,
            timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEP_S),
            verify=self._tls,
        )


async def _ended(events: AsyncIterator[Event]) -> None:
    """Read the end of a stream whose last word was heard, so that its connection may be used again."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(END_S):
            async for _ in events:
                return


async def _refuse(response: httpx.Response) -> None:
    """Raise what a status other than 200 means."""
    status = response.status_code
    if status == 200:
        return
    retry_after_s = _retry_after_s(response)
    if status == 429:
        raise Busy(retry_after_s)
    sentence = await _sentence(response)
    if status in (401, 403):
        raise Unavailable("the gateway refused our key; start it with the same secrets.", retry_after_s=60.0)
    if status in (404, 502, 503, 504):
        # 404: Ray Serve's proxy stands, but the gateway behind it is not there yet
        raise Unavailable(sentence, retry_after_s=retry_after_s)
    if status >= 500:
        raise ReplicaLost(sentence)
    raise ModelRejected("bad_request", sentence)


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return max(0.1, float(response.headers.get("Retry-After", "2")))
    except ValueError:
        return 2.0


async def _sentence(response: httpx.Response) -> str:
    await response.aread()
    try:
        return str(response.json()["sentence"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {response.status_code}."


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    async for line in lines_of(response.aiter_bytes()):
        if line.strip():
            try:
                yield read_event(line)
            except ValidationError as error:
                raise ReplicaLost("the stream holds a line of another version.") from error


def _collect(event: Event, takes: dict[int, TakeResult | TakeFailure], deadline_s: float) -> None:
    if isinstance(event, TakeEvent):
        takes[event.index] = event.take
    elif isinstance(event, TakeFailedEvent):
        takes[event.index] = TakeFailure(index=event.index, code=event.code, sentence=event.sentence)
    elif isinstance(event, FailedEvent):
        if event.code == DeadlineExceeded.code:
            raise DeadlineExceeded(deadline_s)
        if event.code == ReplicaLost.code:
            raise ReplicaLost(event.sentence)
        if event.code in _NOTHING_BEGUN:
            raise Unavailable(event.sentence)
        raise ModelRejected(event.code, event.sentence, retryable=event.retryable)


def _complete(takes: dict[int, TakeResult | TakeFailure], asked: int) -> list[TakeResult | TakeFailure]:
    if sorted(takes) != list(range(asked)):
        raise ReplicaLost(f"{len(takes)} of {asked} takes were answered.")
    return [takes[index] for index in range(asked)]


def _words(error: httpx.HTTPError | ValidationError) -> str:
    """What went wrong, for people; the library's own words stay with the cause."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "the gateway cannot be reached."
    if isinstance(error, httpx.TimeoutException):
        return "the gateway has fallen silent."
    if isinstance(error, httpx.HTTPStatusError):
        return f"the gateway answered {error.response.status_code}."
    if isinstance(error, ValidationError):
        return "the gateway is of another version."
    return "the connection to the gateway broke."
