"""The HTTP doors as one application: mounted under ``/api/v1`` of the web process, or alone under uvicorn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from configs.logs import configure
from configs.secrets import load_or_create
from configs.settings import settings
from serving.api import auth, credits, events, media, metrics, plays, songs, status, work  # noqa: A004 - the glossary's word
from serving.api.answers import answer_errors
from serving.api.identity import refuse_other_origins, refuse_other_sites
from serving.api.limits import BodyLimit
from serving.api.services import Services, open_services
from serving.api.views import PREFIX


def make_app(services: Services) -> FastAPI:
    """The doors, without a prefix. Its lifespan is `lifespan`: a mounted application's own one is not run.

    ``/openapi.json`` describes them. There is no page that shows it: those of FastAPI load scripts from elsewhere.
    """
    app = FastAPI(
        title="Melodeon",
        version="1",
        description="Make, find and play songs. Every answer is {ok, data} or {ok, error, message}.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.news = events.News(services.database.conninfo)
    app.state.watch = metrics.Watch(services)
    for module in (songs, work, media, auth, credits, events, status, metrics):
        app.include_router(module.router, dependencies=[Depends(refuse_other_sites)])
    app.include_router(plays.router, dependencies=[Depends(refuse_other_origins)])
    app.add_middleware(BodyLimit)
    answer_errors(app)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Listen for news while the doors are open; give the connections back at the end."""
    listener = asyncio.create_task(app.state.news.listen())
    try:
        yield
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
        app.state.services.database.dispose()


def alone() -> Starlette:
    """The doors without the pages: ``uvicorn serving.api.app:alone --factory``."""
    configure(settings().logs, part="api")
    doors = make_app(open_services(settings(), load_or_create(settings().var)))

    @asynccontextmanager
    async def open_doors(_: Starlette) -> AsyncIterator[None]:
        async with lifespan(doors):
            yield

    return Starlette(routes=[Mount(PREFIX, doors)], lifespan=open_doors)
