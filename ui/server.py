"""The web process: one ASGI application that carries the pages and the HTTP doors. ``python -m ui.server``."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import streamlit as st
import structlog
import uvicorn
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.logs import configure
from configs.settings import settings
from serving.api.app import lifespan as doors_lifespan
from serving.api.app import make_app
from serving.api.views import PREFIX
from ui.wiring import services

log = structlog.get_logger(__name__)

ENTRY: Final = Path(__file__).parent / "shell" / "app.py"
_HEADERS: Final = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"x-frame-options": b"SAMEORIGIN",
}


class SafeHeaders:
    """Adds to every answer the headers that keep a browser from guessing types and other sites from framing us."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in _HEADERS.items() if name not in present),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _told(error: Exception) -> bool:
    """A page failed in a way nobody foresaw: log it, show the person a sentence instead of a trace."""
    log.error("page.failed", exc_info=error)
    st.error(
        "Something went wrong on this page. Reload it; if it stays, tell whoever runs this place.",
        icon=":material/error:",
    )
    return True


def _one_log() -> None:
    """Streamlit and uvicorn write by handlers of their own; let their lines join ours. Requests are not logged."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in ("streamlit", "uvicorn", "websockets"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def app() -> st.App:
    """The application; uvicorn calls this once."""
    chosen = settings()
    configure(chosen.logs, part="web")
    doors = make_app(services())

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        _one_log()
        # Streamlit runs a full collection after every run; what is loaded now never becomes garbage.
        gc.collect()
        gc.freeze()
        async with doors_lifespan(doors):
            yield

    made = st.App(
        ENTRY,
        routes=[Mount(PREFIX, app=doors)],
        middleware=[Middleware(SafeHeaders)],
        lifespan=lifespan,
        on_script_error=_told,
    )
    # After st.App, which is what makes Streamlit find the file beside the entry script.
    st.config.set_option("server.cookieSecret", services().secrets.cookie_secret)
    if chosen.web.allowed_hosts:
        st.config.set_option("server.allowedHosts", list(chosen.web.allowed_hosts))
    return made


def main() -> None:
    """Serve until told to stop."""
    chosen = settings()
    uvicorn.run(
        "ui.server:app",
        factory=True,
        host=chosen.web.host,
        port=chosen.web.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        proxy_headers=True,
    )


if __name__ == "__main__":
    main()
