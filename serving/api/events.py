"""Live news for one person by server-sent events: their jobs and their balance. A stream ends with its session."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.api.identity import Credential, TheAccount, TheCredential
from serving.api.news import News, Picture, Watcher
from studio.words.ids import AccountId
from studio.words.job import JobState

router = APIRouter(tags=["events"])

SIGN_OF_LIFE_S: Final = 15.0
"""A comment so often keeps proxies from closing a quiet stream, and finds out whether anybody still reads."""


class NewsStream(StreamingResponse):
    """The stream for one reader, who has a place among the watchers while it lasts.

    It is written one picture at a time and only as fast as the reader takes it. Meanwhile the place holds the newest
    picture and none between, so that a reader who stalls costs no more memory than one who reads.
    """

    def __init__(self, news: News, account_id: AccountId, credential: Credential) -> None:
        super().__init__(
            self._lines(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._place = news.watch(account_id, credential)
        self._watcher: Watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the reader leaves or the session ends.

        Raises:
            TooManyStreams, StreamsFull: nothing was told.
        """
        with self._place as self._watcher:
            await super().__call__(scope, receive, send)

    async def _lines(self) -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        told = Picture()
        while not self._watcher.over:
            if (now := self._watcher.picture) is not None:
                yield "".join(_changes(told, now)) + ": here\n\n"
                told = now
            await self._watcher.wait(SIGN_OF_LIFE_S)


def _changes(told: Picture, now: Picture) -> Iterator[str]:
    if now.balance != told.balance:
        yield _line("balance", now.balance)
    for job_id, job in told.jobs.items():
        if job_id in now.left and job_id not in now.jobs and not JobState(job["state"]).ended:
            yield _line("job", now.left[job_id])
    for job_id, job in now.jobs.items():
        if told.jobs.get(job_id) != job:
            yield _line("job", job)


def _line(event: str, data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


@router.get("/events")
async def events(request: Request, account: TheAccount, shown: TheCredential) -> StreamingResponse:
    """``event: job`` for every change of a job, ``event: balance`` for every change of the balance."""
    return NewsStream(request.app.state.news, account.id, shown)
