"""Uniform answers: ``{"ok": true, "data": …}`` or ``{"ok": false, "error": …, "message": …}``; the map to HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from configs.logs import stack_of
from serving.refusals import note_refusal
from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

STATUS_OF_CODE: Final = {
    "bad_cursor": 400,
    "bad_notice": 400,
    "bad_request_key": 400,
    "bad_token": 400,
    "not_signed_in": 401,
    "wrong_password": 401,
    "code_needed": 401,
    "wrong_code": 401,
    "bad_api_key": 401,
    "no_credits": 402,
    "owes_credits": 402,
    "upgrade_required": 403,
    "cross_site": 403,
    "bad_link": 403,
    "key_refused": 403,
    "factor_demanded": 403,
    "not_confirmed": 403,
    "not_found": 404,
    "no_object": 404,
    "key_reused": 409,
    "name_taken": 409,
    "email_taken": 409,
    "second_factor_on": 409,
    "last_admin": 409,
    "too_many_keys": 409,
    "already_subscribed": 409,
    "never_bought": 409,
    "not_finished": 409,
    "cannot_run_again": 409,
    "wrong_state": 409,
    "bad_range": 416,
    "quarantined": 409,
    "unfit_brief": 422,
    "unknown_engine": 422,
    "unkeepable_text": 422,
    "bad_title": 422,
    "bad_name": 422,
    "bad_email": 422,
    "weak_password": 422,
    "unfit_key": 422,
    "bad_upload": 422,
    "unknown_item": 422,
    "sign_in_locked": 429,
    "too_many_requests": 429,
    "too_many_queued": 429,
    "too_many_streams": 429,
    "payments_refused": 502,
    "streams_full": 503,
    "no_engine": 503,
    "payments_off": 503,
    "payments_unreachable": 503,
    "database_unreachable": 503,
    "database_busy": 503,
    "store_unavailable": 503,
}
"""HTTP status of every error that a door may answer. Any other error is a fault of ours, whatever its sentence: 500."""

METHOD_NOT_ALLOWED: Final = 405
TOO_LARGE: Final = 413
_SENTENCE_OF_STATUS: Final = {
    404: "There is nothing at this address.",
    METHOD_NOT_ALLOWED: "This address does not know this method.",
    TOO_LARGE: "This request is too large; at most 1 MB is allowed.",
}
_RETRY_AFTER_S: Final = 5


def good(data: Any) -> dict[str, Any]:
    """The answer when it worked."""
    return {"ok": True, "data": data}


def bad(
    status: int,
    code: str,
    sentence: str,
    *,
    details: Mapping[str, Any] | None = None,
    feature: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer when it did not: a word for programs and a sentence for people.

    ``feature`` names what a larger plan would allow.
    """
    content: dict[str, Any] = {"ok": False, "error": code, "message": _printable(sentence)}
    if feature:
        content["feature"] = feature
    if details:
        content["details"] = details
    retry = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else {}
    return JSONResponse(content, status_code=status, headers={**retry, **(headers or {})})


def bad_status(status: int, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request that did not get as far as a door."""
    return bad(status, "http", _SENTENCE_OF_STATUS.get(status, "This request cannot be read."), headers=headers)


def _printable(text: str) -> str:
    """A sentence may quote what came in; half a surrogate pair cannot go out again."""
    return text.encode("utf-8", "replace").decode()


def _sentence_of(error: RequestValidationError) -> str:
    sentences = []
    for item in error.errors()[:5]:
        place = ".".join(str(step) for step in item["loc"][1:])
        if item["type"] == "json_invalid":
            sentences.append(f"The body is no JSON: {item['ctx']['error']} at character {place}.")
        elif item["type"] == "extra_forbidden":
            sentences.append(f"There is no field “{place[:80]}”.")
        elif item["type"] == "missing":
            sentences.append(f"The field “{place}” is missing." if place else "The request has no body; send JSON.")
        else:
            sentences.append(f"{place or 'The body'}: {item['msg']}.")
    return " ".join(sentences)


def _door_of(request: Request) -> str:
    """The route, not the address: an address may hold a signed link."""
    return getattr(request.scope.get("route"), "path", "")


def _note(request: Request, code: str, *, key_id: str = "") -> None:
    account = getattr(request.state, "account", None)
    account_id = "" if account is None else account.id
    note_refusal(code, place=f"{request.method} {_door_of(request)}", account_id=account_id, key_id=key_id)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    reference = uuid4().hex[:12]
    where = {"method": request.method, "door": _door_of(request), "error": type(error).__name__}
    log.error("door.failed", reference=reference, stack=stack_of(error), **where)
    return bad(500, "internal", f"Something went wrong on our side. If it stays, report the reference {reference}.")


def _methods_here(request: Request) -> str:
    """What this address knows (RFC 9110, 15.5.6): several doors may stand here, and a router names the first's only."""
    routes: Sequence[BaseRoute] = request.app.routes
    known = (
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )
    return ", ".join(known)


def answer_errors(app: FastAPI) -> None:
    """Give every error of this application the uniform answer."""

    @app.exception_handler(MelodeonError)
    async def _ours(request: Request, error: MelodeonError) -> JSONResponse:
        status = STATUS_OF_CODE.get(error.code)
        if status is None:
            return _unforeseen(request, error)
        _note(request, error.code, key_id=getattr(error, "key_id", ""))
        details = {"field": field} if (field := getattr(error, "field_name", None)) else None
        headers = {"Retry-After": str(wait_s)} if (wait_s := getattr(error, "retry_after_s", None)) else None
        feature = getattr(error, "feature", None)
        return bad(status, error.code, error.sentence, details=details, feature=feature, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def _unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        _note(request, "bad_request")
        return bad(422, "bad_request", _sentence_of(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == TOO_LARGE:
            _note(request, "too_large")
        headers = error.headers if error.status_code != METHOD_NOT_ALLOWED else {"Allow": _methods_here(request)}
        return bad_status(error.status_code, headers=headers)

    @app.exception_handler(Exception)
    async def _any(request: Request, error: Exception) -> JSONResponse:
        return _unforeseen(request, error)
