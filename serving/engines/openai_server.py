"""The chat door of a server that speaks OpenAI's protocol: vLLM, ``ray.serve.llm``, llama.cpp or a hosted one.

Follows the published contract of ``POST /chat/completions`` (streamed as server-sent events or whole) and
``GET /models``. Trying again is not done here: whoever asked decides that by the error.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.contract import lines_of
from serving.engines.song_words_text import UnusableAnswer, clean_line
from studio.errors import MelodeonError

T = TypeVar("T")

_BEAT_S: Final = 0.25
_CONNECT_S: Final = 5.0
_LONGEST_ANSWER: Final = 200_000
_AWAY: Final = frozenset({502, 503, 504})


class WordsServerAway(MelodeonError):
    """Nobody answers there, or it is not ready. The same request may succeed later."""

    code = "words_server_away"
    retryable = True

    def __init__(self, why: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(f"The language model server is not available: {why}.")
        self.retry_after_s = retry_after_s


class WordsServerBusy(MelodeonError):
    """It has too much to do. The same request may succeed later."""

    code = "words_server_busy"
    retryable = True

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"The language model server is busy; try again in {retry_after_s:g} s.")
        self.retry_after_s = retry_after_s


class WordsServerFailed(MelodeonError):
    """It began and did not come to an end, or said what is no part of the protocol. Another attempt may succeed."""

    code = "words_server_failed"
    retryable = True

    def __init__(self, why: str) -> None:
        super().__init__(f"The language model server did not finish its answer: {why}.")


class WordsServerRefused(MelodeonError):
    """It will not do this however often it is asked: key, model name or request are wrong."""

    code = "words_server_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"The language model server refused the request: {why}")


class BadServerOptions(MelodeonError):
    """The engine's options do not say where its server is."""

    code = "bad_server_options"

    def __init__(self, engine: str, name: str, problem: str) -> None:
        super().__init__(f"The option “{name}” of the engine “{engine}” is not usable: {problem}. See the Serve file.")


class ServerOptions(BaseModel):
    """Where the server is and how it wants to be asked.

    Attributes:
        url: up to and with the version: ``http://127.0.0.1:8000/v1``.
        model: as the server names it.
        key_file: a file with the key that is sent as a bearer token; the key itself stands in no configuration,
            because Ray shows and keeps it.
        silence_s: after so long without any sign the answer counts as lost.
        deadline_s: for one answer as a whole.
        body: further members of every request, over ours; a null leaves a member out. For Qwen3 and later on vLLM:
            ``{chat_template_kwargs: {enable_thinking: false}}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=r"^https?://[^\s]+$")
    model: str = Field(min_length=1)
    key_file: Path | None = None
    silence_s: float = Field(default=60.0, gt=0)
    deadline_s: float = Field(default=300.0, gt=0)
    body: dict[str, Any] = Field(default_factory=dict)


def read_options(engine: str, options: Mapping[str, Any]) -> ServerOptions:
    """The options of this engine. Raises `BadServerOptions`."""
    try:
        return ServerOptions.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise BadServerOptions(engine, ".".join(map(str, first["loc"])), first["msg"]) from None


def read_key(engine: str, options: ServerOptions) -> str:
    """The server's key; empty when none is set. Raises `BadServerOptions`."""
    if options.key_file is None:
        return ""
    try:
        return options.key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadServerOptions(engine, "key_file", type(error).__name__) from None


class ChatServer:
    """One server.

    Args:
        options: where it is.
        key: sent as a bearer token; empty: none.
    """

    def __init__(self, options: ServerOptions, *, key: str) -> None:
        self._options = options
        self._key = key
        self._base = options.url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._tls = httpx.create_ssl_context()

    async def check(self) -> None:
        """Ask which models it has.

        Raises:
            WordsServerAway, WordsServerBusy, WordsServerFailed, WordsServerRefused: also when ours is not among them.
        """
        with _told():
            async with self._client() as client:
                answer = await client.get(f"{self._base}/models", headers=self._headers)
                if answer.status_code == httpx.codes.NOT_FOUND:
                    # not every server lists its models
                    return
                await self._check_status(answer)
        names = _names(answer)
        if names and self._options.model not in names:
            raise WordsServerRefused(f"it has no model “{self._options.model}”, only: {', '.join(names[:5])}.")

    async def chat(
        self, body: Mapping[str, Any], *, on_piece: Callable[[str], None], on_wait: Callable[[], None]
    ) -> str:
        """The whole answer to one request.

        Args:
            body: of the request, without model and stream.
            on_piece: told of every piece of the answer as it comes.
            on_wait: called several times a second while nothing comes; an exception of either closes the connection,
                upon which servers stop computing.

        Raises:
            WordsServerAway, WordsServerBusy, WordsServerFailed, WordsServerRefused.
            UnusableAnswer: it was cut off by its length or its filter.
        """
        ours = {**body, "model": self._options.model, "stream": True, **self._options.body}
        ours = {name: value for name, value in ours.items() if value is not None}
        with _told():
            async with asyncio.timeout(self._options.deadline_s), self._client() as client:
                request = client.build_request(
                    "POST", f"{self._base}/chat/completions", json=ours, headers=self._headers
                )
                answer = await _attended(client.send(request, stream=True), on_wait)
                async with _closed_after(answer):
                    await self._check_status(answer)
                    if "text/event-stream" in answer.headers.get("content-type", ""):
                        return await _streamed(answer, on_piece, on_wait)
                    await _attended(answer.aread(), on_wait)
        text = _whole(answer)
        on_piece(text)
        return text

    def _client(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(self._options.silence_s, connect=_CONNECT_S)
        # no proxy or certificate from the environment: what is not in the options does not count
        return httpx.AsyncClient(timeout=timeout, verify=self._tls, trust_env=False)

    async def _check_status(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise WordsServerBusy(_retry_after_s(answer))
        if status in _AWAY:
            raise WordsServerAway(f"it answers {status}", retry_after_s=_retry_after_s(answer))
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            # their message may repeat the key
            raise WordsServerRefused(
                f"it does not accept our key ({status}); check the file that the option “key_file” names."
            )
        if httpx.codes.is_client_error(status):
            await answer.aread()
            raise WordsServerRefused(f"{self._without_key(_message(answer))} ({status}).")
        raise WordsServerFailed(f"it answers {status}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


class _told:  # noqa: N801 - used like a function
    """Turns what httpx raises into errors of ours."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise WordsServerAway("it cannot be reached") from None
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            raise WordsServerFailed("it took too long") from None
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            raise WordsServerFailed("the connection broke") from None


@asynccontextmanager
async def _closed_after(answer: httpx.Response) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await answer.aclose()


async def _attended(work: Coroutine[Any, Any, T], on_wait: Callable[[], None]) -> T:
    """The result of ``work``, with ``on_wait`` called until it is there; what that raises cancels the work."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_BEAT_S))[0]:
            on_wait()
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _streamed(answer: httpx.Response, on_piece: Callable[[str], None], on_wait: Callable[[], None]) -> str:
    """The text of a stream of events (HTML standard, section 9.2: here only ``data`` fields of one line)."""
    pieces: list[str] = []
    letters = 0
    reason: str | None = None
    lines = lines_of(answer.aiter_bytes())
    while (line := await _attended(_next(lines), on_wait)) is not None:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            break
        choice = _choice(_json(data))
        piece = _text_of(choice.get("delta"))
        reason = choice.get("finish_reason") or reason
        letters += len(piece)
        if letters > _LONGEST_ANSWER:
            raise WordsServerFailed("it does not stop")
        if piece:
            pieces.append(piece)
            on_piece(piece)
    if reason is None:
        raise WordsServerFailed("its stream ended in the middle")
    _check_reason(reason)
    return "".join(pieces)


async def _next(lines: AsyncIterator[bytes]) -> str | None:
    line = await anext(lines, None)
    return None if line is None else line.decode("utf-8", "replace")


def _whole(answer: httpx.Response) -> str:
    choice = _choice(_json(answer.text))
    text = _text_of(choice.get("message"))
    _check_reason(choice.get("finish_reason") or "stop")
    return text


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise WordsServerFailed("it sent what is no JSON") from None
    if not isinstance(found, dict):
        raise WordsServerFailed("it sent what is no answer")
    return found


def _choice(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice of a chunk or an answer; empty for a chunk that only counts tokens."""
    if found.get("error"):
        raise WordsServerFailed("it reported an error of its own")
    choices = found.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise WordsServerFailed("it sent what is no answer")
    first: Mapping[str, Any] = choices[0] if choices else {}
    return first


def _text_of(message: object) -> str:
    """``content`` of a message or a delta; thoughts stand elsewhere in it."""
    if not isinstance(message, dict):
        return ""
    if message.get("refusal"):
        raise UnusableAnswer("the model declined to write it")
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _check_reason(reason: object) -> None:
    if reason == "length":
        raise UnusableAnswer("it did not come to an end")
    if reason == "content_filter":
        raise UnusableAnswer("the server's filter stopped it")


def _message(answer: httpx.Response) -> str:
    """What the server says about its refusal, in one line."""
    try:
        error = answer.json().get("error")
    except (ValueError, AttributeError):
        return "it gives no reason"
    message = error.get("message") if isinstance(error, dict) else error
    return clean_line(message, 200).rstrip(".") if isinstance(message, str) and message else "it gives no reason"


def _names(answer: httpx.Response) -> list[str]:
    entries = _json(answer.text).get("data")
    if not isinstance(entries, list):
        return []
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), 300.0) if text.isdecimal() else 5.0
