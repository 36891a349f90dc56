"""The HTTP doors as one application: mounted under ``/api/v1`` of the web process, or alone under uvicorn."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any, Final

from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from configs.logs import configure
from configs.secrets import load_or_create
from configs.settings import settings
from data import scratch
from serving.api import (
    account,
    admin,
    auth,
    billing,
    credits,  # noqa: A004 - the glossary's word
    events,
    media,
    metrics,
    plays,
    privacy,
    songs,
    status,
    webhooks,
    work,
)
from serving.api.addresses import OnlyDoors
from serving.api.answers import answer_errors, bad_status
from serving.api.hosts import KnownHosts, known_hosts
from serving.api.identity import keys_with, limit_writes, refuse_other_origins, refuse_other_sites
from serving.api.limits import BodyLimit
from serving.api.links import add_links
from serving.api.news import News
from serving.api.services import Services, open_services
from serving.api.views import PREFIX
from studio.words.api_key import Scope

DOORS: Final = (
    (songs, Scope.READ, Scope.CREATE),
    (work, Scope.READ, Scope.CREATE),
    (media, Scope.READ, None),
    (auth, None, None),
    (account, None, None),
    (privacy, None, None),
    (admin, None, None),
    (credits, Scope.READ, None),
    (billing, Scope.BILLING, Scope.BILLING),
    (events, Scope.READ, None),
    (status, Scope.READ, None),
    (metrics, None, None),
)
"""Every group of doors, with the scopes by which API keys read and write there; None: keys do not."""


class Doors(FastAPI):
    """FastAPI's application, whose document also says which door leads to which."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            add_links(super().openapi())
        return super().openapi()


def make_app(services: Services) -> FastAPI:
    """The doors, without a prefix. Its lifespan is `lifespan`: a mounted application's own one is not run.

    ``/openapi.json`` describes them. There is no page that shows it: those of FastAPI load scripts from elsewhere.
    """
    app = Doors(
        title="Melodeon",
        version="1",
        description="Make, find and play songs. Every answer is {ok, data} or {ok, error, message}.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.news = News(services)
    app.state.watch = metrics.Watch(services)
    for module, read, write in DOORS:
        keys = Depends(keys_with(read=read, write=write))
        app.include_router(module.router, dependencies=[keys, Depends(refuse_other_sites), Depends(limit_writes)])
    keys = Depends(keys_with(read=Scope.READ, write=Scope.READ))
    app.include_router(plays.router, dependencies=[keys, Depends(refuse_other_origins), Depends(limit_writes)])
    # Stripe sends no header of ours; its signature is checked instead
    app.include_router(webhooks.router)
    app.add_middleware(BodyLimit)
    answer_errors(app)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Listen for news while the doors are open; give the connections back at the end.

    First of all, archives that an earlier process was killed over are taken away.
    """
    await asyncio.to_thread(scratch.sweep, app.state.services.settings.var / "scratch")
    news: News = app.state.news
    listener = asyncio.create_task(news.listen())
    try:
        with _told_to_end(news.close):
            yield
    finally:
        news.close()
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
        app.state.services.database.dispose()


@contextmanager
def _told_to_end(call: Callable[[], None]) -> Iterator[None]:
    """In this block, have ``call`` run in the event loop as soon as a signal tells the process to end.

    The server has taken the signals before, and goes on hearing them. But it tells us only once every answer is given,
    and a stream of news never ends by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    heard_before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    servers = {number: handler for number, handler in heard_before.items() if callable(handler)}

    def hear(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        servers[signal.Signals(number)](number, frame)

    for number in servers:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in servers.items():
            signal.signal(number, handler)


def alone() -> Starlette:
    """The doors without the pages: ``uvicorn serving.api.app:alone --factory``."""
    configure(settings().logs, part="api")
    doors = make_app(open_services(settings(), load_or_create(settings().var)))

    @asynccontextmanager
    async def open_doors(_: Starlette) -> AsyncIterator[None]:
        async with lifespan(doors):
            yield

    known = Middleware(KnownHosts, names=known_hosts(settings()))
    return Starlette(
        routes=[Mount(PREFIX, doors)],
        middleware=[known, Middleware(OnlyDoors)],
        exception_handlers={404: lambda *_: bad_status(404)},
        lifespan=open_doors,
    )
