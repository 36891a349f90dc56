"""Live news for one person by server-sent events: their jobs and their balance.

One listener per process waits for Postgres' notifications and wakes the people concerned; every few seconds each
stream looks by itself, because a notification may get lost. A stream ends with its session.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from billing import ledger
from data.database import DatabaseUnreachable
from data.listen import notifications
from serving import jobs
from serving.api.identity import BadApiKey, Credential, TheAccount, TheCredential, TheServices
from serving.api.services import Services
from serving.api.views import balance_json, job_json
from studio.words.ids import AccountId

router = APIRouter(tags=["events"])

LOOK_EVERY_S: Final = 3.0
PACE_S: Final = 0.25
RECENTLY_ENDED: Final = 3


class News:
    """Wakes the streams of an account when something about it changed."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._bells: dict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Pass notifications on until cancelled; a broken connection is made anew."""
        while True:
            async for payload in notifications(self._conninfo, jobs.CHANNEL):
                for bell in self._bells.get(payload.split(":")[0], ()):
                    bell.set()
            await asyncio.sleep(1.0)

    @contextmanager
    def bell(self, account_id: AccountId) -> Iterator[asyncio.Event]:
        """An event that is set whenever something changes for this account."""
        bell = asyncio.Event()
        self._bells[account_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[account_id].discard(bell)
            if not self._bells[account_id]:
                del self._bells[account_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """What a stream shows at one moment, as JSON values; jobs by their id."""

    balance: dict[str, Any] | None = None
    jobs: dict[str, dict[str, Any]]


def _look(services: Services, credential: Credential) -> _Picture | None:
    """How things stand for the person whose session this is; None: the session has ended."""
    with services.database.transaction() as session:
        try:
            account = credential.account_in(session)
        except BadApiKey:  # revoked meanwhile
            account = None
        if account is None:
            return None
        balance = balance_json(ledger.balance(session, account.id))
        active, ended = jobs.active(session, account.id), jobs.recent(session, account.id, RECENTLY_ENDED)
        shown = {job.id: job for job in (*active, *ended)}
        outlooks = jobs.outlooks(session, account.id, tuple(shown.values()))
    return _Picture(balance=balance, jobs={job.id: job_json(job, outlooks[job.id]) for job in shown.values()})


def _line(event: str, data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


def _changes(told: _Picture, now: _Picture) -> Iterator[str]:
    if now.balance != told.balance:
        yield _line("balance", now.balance)
    for job_id, job in now.jobs.items():
        if told.jobs.get(job_id) != job:
            yield _line("job", job)


async def _stream(
    request: Request, services: Services, credential: Credential, bell: asyncio.Event
) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    told = _Picture(jobs={})
    while not await request.is_disconnected():
        # Before looking: what changes while we look rings again.
        bell.clear()
        with suppress(DatabaseUnreachable):
            now = await run_in_threadpool(_look, services, credential)
            if now is None:
                return
            for change in _changes(told, now):
                yield change
            told = now
        # A comment keeps proxies from closing a quiet stream, and finds out whether anybody still reads.
        yield ": here\n\n"
        await asyncio.sleep(PACE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await bell.wait()


@router.get("/events")
async def events(
    request: Request, account: TheAccount, shown: TheCredential, services: TheServices
) -> StreamingResponse:
    """``event: job`` for every change of a job, ``event: balance`` for every change of the balance."""
    news: News = request.app.state.news

    async def lines() -> AsyncIterator[str]:
        with news.bell(account.id) as bell:
            async for line in _stream(request, services, shown, bell):
                yield line

    return StreamingResponse(
        lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
