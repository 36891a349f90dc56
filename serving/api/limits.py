"""No request body is larger than a megabyte: what people write is small, and what they upload has its own way."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.answers import TOO_LARGE, bad_status
from serving.refusals import note_refusal

BODY_MAX_BYTES: Final = 1_000_000


class BodyLimit:
    """Answers 413 to a body that says it is too large, and breaks off one that turns out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > BODY_MAX_BYTES:
            note_refusal("too_large", place=scope["method"])
            await bad_status(TOO_LARGE)(scope, receive, send)
            return
        received_bytes = 0

        async def receive_counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > BODY_MAX_BYTES:
                raise HTTPException(TOO_LARGE)
            return message

        await self._app(scope, receive_counted, send)
