"""Uniform answers: ``{"ok": true, "data": …}`` or ``{"ok": false, "error": …, "message": …}``; the map to HTTP."""

from typing import Any, Final
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

STATUS_OF_CODE: Final = {
    "unfit_brief": 422,
    "unknown_engine": 422,
    "unknown_key": 422,
    "weak_password": 422,
    "bad_name": 422,
    "bad_email": 422,
    "bad_title": 422,
    "no_credits": 402,
    "not_signed_in": 401,
    "wrong_password": 401,
    "sign_in_locked": 429,
    "cross_site": 403,
    "bad_link": 403,
    "not_found": 404,
    "name_taken": 409,
    "email_taken": 409,
    "key_reused": 409,
    "wrong_state": 409,
    "bad_range": 416,
    "too_many_queued": 429,
    "database_unreachable": 503,
    "store_unavailable": 503,
    "unavailable": 503,
    "busy": 503,
}
"""HTTP status of every error code that a door may answer; any other of our errors is a 400."""


def good(data: Any) -> dict[str, Any]:
    """The answer when it worked."""
    return {"ok": True, "data": data}


def bad(status: int, code: str, sentence: str, *, details: dict[str, Any] | None = None) -> JSONResponse:
    """The answer when it did not: a word for programs and a sentence for people."""
    content: dict[str, Any] = {"ok": False, "error": code, "message": sentence}
    if details:
        content["details"] = details
    headers = {"Retry-After": "5"} if status in (429, 503) else None
    return JSONResponse(content, status_code=status, headers=headers)


def _sentence_of(error: RequestValidationError) -> str:
    parts = []
    for item in error.errors():
        place = ".".join(str(step) for step in item["loc"] if step not in ("body", "query", "path", "header"))
        if item["type"] == "extra_forbidden":
            parts.append(f"There is no field “{place}”.")
        elif item["type"] == "missing":
            parts.append(f"The field “{place}” is missing." if place else "The request has no body; send JSON.")
        else:
            parts.append(f"{place or 'The body'}: {item['msg']}.")
    return " ".join(parts[:5])


def answer_errors(app: FastAPI) -> None:
    """Give every error of this application the uniform answer."""

    @app.exception_handler(MelodeonError)
    async def _ours(_: Request, error: MelodeonError) -> JSONResponse:
        details = {"field": field} if (field := getattr(error, "field_name", None)) else None
        return bad(STATUS_OF_CODE.get(error.code, 400), error.code, error.sentence, details=details)

    @app.exception_handler(RequestValidationError)
    async def _unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        return bad(422, "bad_request", _sentence_of(error))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        sentences = {404: "There is nothing at this address.", 405: "This address does not know this method."}
        return bad(error.status_code, "http", sentences.get(error.status_code, str(error.detail)))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        reference = uuid4().hex[:12]
        log.error("door.failed", reference=reference, path=request.url.path, exc_info=error)
        return bad(500, "internal", f"Something went wrong on our side. If it stays, report the reference {reference}.")
