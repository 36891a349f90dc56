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

from configs.logs import configure
from configs.settings import settings
from serving.api.addresses import OnlyDoors
from serving.api.app import lifespan as doors_lifespan
from serving.api.app import make_app
from serving.api.hosts import KnownHosts, known_hosts
from serving.api.identity import cookie_name, is_https
from serving.api.views import PREFIX
from ui.headers import SafeHeaders, inline_scripts_of, page_policy, streamlit_page
from ui.oidc import OneTimeIdentity, streamlit_secrets
from ui.upload_gate import UploadGate
from ui.wiring import services

log = structlog.get_logger(__name__)

ENTRY: Final = Path(__file__).parent / "shell" / "app.py"


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
    # where a socket comes from is a person's address
    logging.getLogger("uvicorn.error").addFilter(lambda line: "WebSocket" not in line.getMessage())


def app() -> st.App:
    """The application; uvicorn calls this once."""
    chosen = settings()
    configure(chosen.logs, part="web")
    doors = make_app(services())
    policy = page_policy(chosen, inline_scripts=inline_scripts_of(streamlit_page()))

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
        middleware=[
            Middleware(SafeHeaders, page_policy=policy, https=is_https(services())),
            Middleware(KnownHosts, names=known_hosts(chosen)),
            Middleware(OnlyDoors),
            Middleware(OneTimeIdentity, cookie_name=cookie_name(services())),
            Middleware(UploadGate, services=services()),
        ],
        secrets=streamlit_secrets(services()),
        lifespan=lifespan,
        on_script_error=_told,
    )
    # After st.App, which is what makes Streamlit find the file beside the entry script.
    st.config.set_option("server.cookieSecret", services().secrets.cookie_secret)
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
        forwarded_allow_ips=["127.0.0.1", "::1", *chosen.web.trusted_proxies],
    )


if __name__ == "__main__":
    main()
