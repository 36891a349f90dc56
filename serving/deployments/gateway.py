"""The gateway: the one HTTP door to the models. It knows who may call, routes, and computes nothing."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from serving.catalogue import Catalogue
from serving.contract import (
    ENGINES_PATH,
    HEALTH_PATH,
    KEY_HEADER,
    MAKE_PATH,
    REQUEST_BYTES_MAX,
    HealthAnswer,
    MakeRequest,
)
from serving.deployments.canaries import Canary, engine_for, refuse_unknown
from serving.deployments.routing import NoReplicaFree, NotReady, Router
from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

ACCEPT_S: Final = 10.0
"""Longest wait for a replica to take the call; after it the caller is sent away to come back later."""


def make_gateway(
    router: Router, served: Callable[[], Catalogue], *, key: str, canaries: Sequence[Canary] = ()
) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        router: reaches the applications.
        served: says which application serves which engine; asked for every call, so that new ones are known.
        key: whoever sends it in the key header may call.
        canaries: engines that are tried out on a share of the requests for another one.

    Raises:
        UnknownEngine: a canary names one that nothing here runs; its share of the requests would be lost.
    """
    refuse_unknown(canaries, served())
    gateway = FastAPI(title="Melodeon gateway", openapi_url=None)
    gateway.add_middleware(Doorkeeper, key=key)
    gateway.add_exception_handler(RequestValidationError, _misread)
    gateway.add_exception_handler(MelodeonError, _refused)

    @gateway.post(MAKE_PATH)
    async def make(asked: MakeRequest) -> StreamingResponse:
        call = asked.call
        clear_contextvars()
        bind_contextvars(job_id=call.job_id, attempt=call.attempt, trace_id=call.trace_id)
        catalogue = served()
        engine = engine_for(asked.brief, call.job_id, catalogue, canaries)
        brief = replace(asked.brief, engine=engine)
        catalogue.spec_of(engine).fit(brief)
        log.info("call.routed", engine=engine, application=catalogue.application_of(engine))
        lines = router.stream(catalogue.application_of(engine), asked.model_copy(update={"brief": brief}))
        return _LineStream(await _first(lines, engine), lines)

    @gateway.get(HEALTH_PATH)
    async def health() -> HealthAnswer:
        applications = await router.health()
        return HealthAnswer(ready=all(seen.ready for seen in applications.values()), applications=applications)

    @gateway.get(ENGINES_PATH)
    async def engines() -> list[dict[str, Any]]:
        catalogue = served()
        return [
            {
                "name": spec.name,
                "label": spec.label,
                "version": spec.version,
                "kinds": [kind.value for kind in spec.kinds],
                "application": catalogue.application_of(spec.name),
            }
            for spec in catalogue.engines()
        ]

    return gateway


class Doorkeeper:
    """Refuses strangers and oversized bodies before anything is read. Plain ASGI, so that streams pass unbuffered."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if not hmac.compare_digest(headers.get(KEY_HEADER, "").encode(), self._key):
            return _problem(401, "wrong_key", f"The header {KEY_HEADER} must carry the gateway's key.")
        if scope["method"] == "POST":
            length = headers.get("Content-Length", "")
            if not length.isdecimal():
                return _problem(411, "no_length", "A request must say its length.")
            if int(length) > REQUEST_BYTES_MAX:
                return _problem(413, "too_large", f"A request has at most {REQUEST_BYTES_MAX:,} bytes.")
        return None


class _LineStream(StreamingResponse):
    """Event lines as they come. However the response ends, the call behind it is closed."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        super().__init__(self._lines(first, rest), media_type="application/x-ndjson")
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._rest.aclose()

    @staticmethod
    async def _lines(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        yield first
        async for line in rest:
            yield line


async def _first(lines: AsyncGenerator[bytes, None], engine: str) -> bytes:
    """The first line, which shows that a replica took the call. A call that none takes in time is withdrawn."""
    try:
        async with asyncio.timeout(ACCEPT_S):
            return await anext(lines)
    except TimeoutError:
        raise NoReplicaFree(engine) from None


async def _misread(_: Request, error: Exception) -> JSONResponse:
    first = cast(RequestValidationError, error).errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _problem(422, "bad_request", f"{where}: {first['msg']}.")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    known = cast(MelodeonError, error)
    if isinstance(known, NoReplicaFree):
        return _problem(429, known.code, known.sentence, retry_after_s=known.retry_after_s)
    if isinstance(known, NotReady):
        return _problem(503, known.code, known.sentence, retry_after_s=known.retry_after_s)
    return _problem(422, known.code, known.sentence)


def _problem(status: int, code: str, sentence: str, *, retry_after_s: float | None = None) -> JSONResponse:
    headers = {"Retry-After": f"{retry_after_s:g}"} if retry_after_s is not None else None
    return JSONResponse({"code": code, "sentence": sentence}, status_code=status, headers=headers)
