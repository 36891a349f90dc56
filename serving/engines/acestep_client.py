"""The HTTP side of a running ACE-Step API server.

The contract is ``docs/en/API.md`` of ACE-Step 1.5: ``POST /release_task`` puts a song into the server's queue,
``POST /query_result`` says how far it is, ``GET /v1/audio`` hands out the sound. Every JSON answer is wrapped in
``{data, code, error, timestamp}``; the key, if the server has one, travels in the ``Authorization`` header.

Nothing that the server says is trusted: answers are bounded, redirects are not followed, a sound is fetched from this
server or not at all, and what it says about a failure is cut to one line without the key.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.errors import MelodeonError

CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0
"""Longest silence of the server within one answer."""

JSON_BYTES: Final = 1 << 20
_ERROR_LETTERS: Final = 200


class ServerUnavailable(MelodeonError):
    """The server cannot be reached or is not ready. Not a failure of the song: it may be tried again."""

    code = "engine_unavailable"
    retryable = True

    def __init__(self, why: str) -> None:
        super().__init__(f"The ACE-Step server cannot be used: {why}")


class ServerBusy(ServerUnavailable):
    """The server's queue is full."""

    code = "engine_busy"

    def __init__(self) -> None:
        super().__init__("its queue is full; try again later.")


class ServerRefused(MelodeonError):
    """The server did not take the request."""

    code = "engine_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"The ACE-Step server refused the request: {why}")


class BadAnswer(MelodeonError):
    """The server's answer does not follow its published contract."""

    code = "bad_answer"

    def __init__(self, what: str) -> None:
        super().__init__(f"The ACE-Step server gave an answer that cannot be used: {what}.")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


AnswerT = TypeVar("AnswerT", bound=_Answer)


class _Wrapper(_Answer):
    data: Any = None
    code: int = 200
    error: str | None = None


class _Released(_Answer):
    task_id: str = Field(min_length=1, max_length=200)


class _Row(_Answer):
    task_id: str
    status: int
    result: str | None = None


class Made(_Answer):
    """One item of a task's result: a sound, or how far it is."""

    file: str = ""
    progress: float | None = Field(default=None, allow_inf_nan=False)
    error: str | None = None
    seed_value: str = ""
    dit_model: str = ""
    metas: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """How a task is: ``waiting``, ``made`` (with its sound), ``failed`` (with one line of why), or ``unknown``."""

    state: str
    progress: float = 0.0
    made: Made | None = None
    error: str = ""


def trust() -> ssl.SSLContext:
    """The root certificates. Reading them takes some 30 ms: once an engine, not once a session."""
    return httpx.create_ssl_context()


class AceStepServer:
    """One session with a server; use `session` to get one.

    Args:
        http: a client with the server's base URL and headers.
        key: only to strike it out of what the server says.
    """

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self._http = http
        self._key = key

    @classmethod
    @asynccontextmanager
    async def session(cls, url: str, key: str, tls: ssl.SSLContext) -> AsyncIterator["AceStepServer"]:
        """Speak to the server at ``url``; ``key`` may be empty, ``tls`` comes from `trust`."""
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=timeout, verify=tls, trust_env=False
        ) as http:
            yield cls(http, key)

    async def models(self) -> tuple[str, ...]:
        """The names of the models that the server offers.

        Older servers answer ``/v1/models`` in the words of OpenRouter; both are read.

        Raises:
            ServerUnavailable: it does not answer, is not healthy, or refuses the key.
        """
        health = await self._json("GET", "/health")
        if not isinstance(health, dict) or health.get("status") != "ok":
            raise ServerUnavailable("it answers, but says that it is not well.")
        listed = await self._json("GET", "/v1/models")
        if isinstance(listed, dict):
            listed = listed.get("models")
        if not isinstance(listed, list):
            raise BadAnswer("its list of models is none")
        return tuple(
            str(model.get("name") or model.get("id")).rsplit("/", 1)[-1] for model in listed if isinstance(model, dict)
        )

    async def release(self, fields: Mapping[str, Any], sounds: Mapping[str, Path]) -> str:
        """Put a song into the queue; answers its task id. With ``sounds`` (field to WAV file) it is a form.

        Raises:
            ServerBusy, ServerUnavailable, ServerRefused, BadAnswer.
        """
        if sounds:
            form = {name: _form_text(value) for name, value in fields.items()}
            files = {name: (f"{name}.wav", path.read_bytes(), "audio/wav") for name, path in sounds.items()}
            answer = await self._json("POST", "/release_task", data=form, files=files)
        else:
            answer = await self._json("POST", "/release_task", json=dict(fields))
        return _read(_Released, answer).task_id

    async def query(self, task_ids: Sequence[str]) -> dict[str, TaskState]:
        """How these tasks are.

        Raises:
            ServerUnavailable, ServerRefused, BadAnswer.
        """
        rows = await self._json("POST", "/query_result", json={"task_id_list": list(task_ids)})
        if not isinstance(rows, list):
            raise BadAnswer("the states of its tasks are no list")
        states = {row.task_id: self._state(row) for row in (_read(_Row, row) for row in rows)}
        return {task_id: states.get(task_id, TaskState(state="unknown")) for task_id in task_ids}

    def _state(self, row: _Row) -> TaskState:
        items = _items(row)
        first = items[0] if items else None
        if row.status == 1:
            if first is None or not first.file:
                return TaskState(state="failed", error="it says the song is made, but names no sound.")
            return TaskState(state="made", progress=1.0, made=first)
        if row.status == 2:
            error = first.error if first and first.error else "it did not say why."
            return TaskState(state="failed", error=self._line(error))
        if row.status == 0 and first is not None:
            return TaskState(state="waiting", progress=min(max(first.progress or 0.0, 0.0), 1.0))
        if row.status == 0:
            return TaskState(state="unknown")
        raise BadAnswer(f"a task has the status {row.status}")

    async def fetch(self, file: str, to: Path, *, most_bytes: int) -> None:
        """Write the sound that ``file`` names (``/v1/audio?path=…``) to the path ``to``.

        Raises:
            BadAnswer: it names something else, or is larger than ``most_bytes``.
            ServerUnavailable: the server went away, or does not hand it out.
        """
        path = _audio_path(file)
        try:
            async with self._http.stream("GET", "/v1/audio", params={"path": path}) as response:
                if response.status_code in (403, 404):
                    raise BadAnswer("it does not hand out the sound it names")
                self._refuse(response.status_code, b"")
                with to.open("wb") as file_on_disk:
                    async for piece in _bounded(response, most_bytes):
                        file_on_disk.write(piece)
        except httpx.HTTPError as error:
            raise ServerUnavailable(f"the sound did not arrive whole ({type(error).__name__}).") from error

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        try:
            async with self._http.stream(method, path, **content) as response:
                body = b"".join([piece async for piece in _bounded(response, JSON_BYTES)])
        except httpx.HTTPError as error:
            raise ServerUnavailable(f"{path} did not answer ({type(error).__name__}).") from error
        self._refuse(response.status_code, body)
        wrapper = _read(_Wrapper, _parsed(body))
        if wrapper.code != 200:
            self._refuse(wrapper.code, json.dumps({"detail": wrapper.error}).encode())
        return wrapper.data

    def _refuse(self, status: int, body: bytes) -> None:
        """Raise what a status other than 200 means."""
        if status == 200:
            return
        if status in (401, 403):
            raise ServerUnavailable("it refused our key; put its ACESTEP_API_KEY into the file that key_file names.")
        if status == 429:
            raise ServerBusy
        if status in (400, 413, 415, 422):
            raise ServerRefused(self._line(_detail(body) or f"it answered {status}."))
        raise ServerUnavailable(f"it answered {status}.")

    def _line(self, text: str) -> str:
        """The last line of what the server said (the message of a traceback), short and without the key."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        line = "".join(letter if letter.isprintable() else " " for letter in lines[-1]) if lines else ""
        if self._key:
            line = line.replace(self._key, "…")
        return line if len(line) <= _ERROR_LETTERS else line[: _ERROR_LETTERS - 1] + "…"


def _items(row: _Row) -> list[Made]:
    """The items in a row's result, which is JSON within JSON; a failure may carry anything."""
    try:
        items = _parsed((row.result or "[]").encode())
        return [_read(Made, item) for item in items] if isinstance(items, list) else []
    except BadAnswer:
        if row.status == 2:
            return []
        raise


async def _bounded(response: httpx.Response, most_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces. Packed bodies are refused: we asked for none, and unpacked they have any size."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise BadAnswer("it is packed, though we asked for plain bytes")
    size = 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > most_bytes:
            raise BadAnswer(f"it is larger than {most_bytes:,} bytes")
        yield piece


def _audio_path(file: str) -> str:
    """The server's own path of a sound. A result may name nothing but this server's ``/v1/audio``."""
    try:
        parts = urlsplit(file)
        query = parse_qs(parts.query, max_num_fields=4)
    except ValueError:
        raise BadAnswer("its sound has no readable address") from None
    paths = query.get("path", [])
    if parts.scheme or parts.netloc or parts.path != "/v1/audio" or len(paths) != 1:
        raise BadAnswer("its sound lies elsewhere than under /v1/audio")
    return paths[0]


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("it is no JSON") from None


def _read(word: type[AnswerT], value: Any) -> AnswerT:
    try:
        return word.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise BadAnswer(f"{where}: {first['msg']}") from None


def _detail(body: bytes) -> str:
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return detail if isinstance(detail, str) else ""


def _form_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
