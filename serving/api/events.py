"""Live news for one person by server-sent events: their jobs and their balance.

One listener per process waits for Postgres' notifications and wakes the people concerned; every few seconds each
stream looks by itself, because a notification may get lost.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from billing import ledger
from data.listen import notifications
from serving import jobs
from serving.api.identity import TheAccount, TheServices
from serving.api.services import Services
from serving.api.views import job_json
from studio.words.ids import AccountId

router = APIRouter(tags=["events"])

LOOK_EVERY_S: Final = 3.0
PACE_S: Final = 0.25
RECENTLY_ENDED: Final = 3


class News:
    """Wakes the streams of an account when something about it changed."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Pass notifications on until cancelled; a broken connection is made anew."""
        while True:
            async for payload in notifications(self._conninfo, jobs.CHANNEL):
                for event in self._waiting.get(payload.split(":")[0], ()):
                    event.set()
            await asyncio.sleep(1.0)

    async def wait(self, account_id: AccountId) -> None:
        """Return when something changed for this account, or after a few seconds in any case."""
        event = asyncio.Event()
        self._waiting[account_id].add(event)
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting[account_id].discard(event)
            if not self._waiting[account_id]:
                del self._waiting[account_id]


def _snapshot(services: Services, account_id: AccountId) -> tuple[dict[str, Any], dict[str, Any]]:
    with services.database.transaction() as session:
        have = ledger.balance(session, account_id)
        found = {}
        for job in (*jobs.active(session, account_id), *jobs.recent(session, account_id, RECENTLY_ENDED)):
            position, eta_s = jobs.position_and_eta(session, job)
            found[job.id] = job_json(job) | {"position": position, "eta_s": eta_s}
    return {"available_credits": have.available_credits, "held_credits": have.held_credits}, found


def _line(event: str, data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


async def _stream(request: Request, services: Services, news: News, account_id: AccountId) -> AsyncIterator[str]:
    told_balance: Any = None
    told_jobs: dict[str, Any] = {}
    yield "retry: 2000\n\n"
    while not await request.is_disconnected():
        balance, found = await run_in_threadpool(_snapshot, services, account_id)
        if balance != told_balance:
            yield _line("balance", balance)
        for job_id, job in found.items():
            if told_jobs.get(job_id) != job:
                yield _line("job", job)
        # An empty comment keeps proxies from closing a quiet stream.
        if balance == told_balance and told_jobs == found:
            yield ": still here\n\n"
        told_balance, told_jobs = balance, found
        await asyncio.sleep(PACE_S)
        await news.wait(account_id)


@router.get("/events")
async def events(request: Request, account: TheAccount, services: TheServices) -> StreamingResponse:
    """``event: job`` for every change of a job, ``event: balance`` for every change of the balance."""
    news: News = request.app.state.news
    return StreamingResponse(
        _stream(request, services, news, account.id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
