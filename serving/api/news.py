"""What changes about people, for the streams that tell them: one listener a process, one look an account.

A notification only says that something changed; how things stand is read then, once for all streams of the account.
Whoever has nothing under way costs a look every half minute, because a notification may get lost and sessions end by
their date without one. Whoever waits costs one every few seconds: their place depends on other people's jobs, which
tell them nothing. A stream that is new is shown what was read after it came.

Everything here belongs to the event loop; only the looks run in threads, few of them, so that they leave the database
and the other doors room whatever happens at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from billing import ledger
from configs import logs
from data.database import Database, DatabaseUnreachable, Session
from data.listen import ACCOUNT_CHANGED, notifications
from serving import jobs
from serving.api.identity import BadApiKey, Credential, KeyRefused
from serving.api.services import Services
from serving.api.views import balance_json, job_json
from studio.errors import MelodeonError
from studio.words.ids import AccountId, JobId
from studio.words.job import JobState

LOOK_EVERY_S: Final = 30.0
LOOK_AT_WORK_S: Final = 3.0
PACE_S: Final = 0.25
"""Shortest time between two looks at one account: what changes meanwhile is told together."""
RECENTLY_ENDED: Final = 3
LEFT_MAX: Final = 200
_LOOKS_AT_ONCE: Final = 4

_log = structlog.get_logger(__name__)


class TooManyStreams(MelodeonError):
    """The account has as many streams of news open as it may have."""

    code = "too_many_streams"
    retry_after_s = 30

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most} streams of news open, which is the most. Close a window or end a program that has one."
        )


class StreamsFull(MelodeonError):
    """This process has as many streams of news open as it may have."""

    code = "streams_full"
    retry_after_s = 10

    def __init__(self) -> None:
        super().__init__("Too many people follow their news at this moment. Please try again shortly.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """How things stand for one account at one moment, as JSON values; jobs by their id.

    Attributes:
        jobs: those under way and the last ones.
        left: how those ended that were under way in a picture before and are not among ``jobs``.
    """

    balance: dict[str, Any] | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    left: dict[str, dict[str, Any]] = field(default_factory=dict)


class Watcher:
    """The place of one stream. It holds one picture, the newest: whoever reads slowly misses those between."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.picture: Picture | None = None
        self.over = False
        self._bell = asyncio.Event()

    def show(self, picture: Picture) -> None:
        """Have the stream told this."""
        if picture != self.picture:
            self.picture = picture
            self._bell.set()

    def end(self) -> None:
        """Have the stream end, told nothing more."""
        self.over = True
        self._bell.set()

    async def wait(self, longest_s: float) -> None:
        """Until there is a new picture or the end, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._bell.wait()
        self._bell.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look found, and which of the credentials still open the account."""

    picture: Picture
    good: frozenset[Credential]


Look = Callable[[AccountId, Collection[Credential], Picture], Awaitable[Seen]]


class Desk:
    """Looks after everybody who watches one account.

    Args:
        look: reads how things stand, knowing the picture before.
    """

    def __init__(self, account_id: AccountId, look: Look) -> None:
        self.account_id = account_id
        self.watchers: set[Watcher] = set()
        self._look = look
        self._picture = Picture()
        self._unsure: set[Watcher] = set()
        self._bell = asyncio.Event()

    def admit(self, watcher: Watcher) -> None:
        """Look for this one too, from the next look on, which is soon."""
        self.watchers.add(watcher)
        self._unsure.add(watcher)
        self._bell.set()

    def dismiss(self, watcher: Watcher) -> None:
        """This one has gone."""
        self.watchers.discard(watcher)
        self._unsure.discard(watcher)

    def ring(self, *, access: bool) -> None:
        """Something changed; ``access``: perhaps who may watch."""
        if access:
            self._unsure |= self.watchers
        self._bell.set()

    async def serve(self) -> None:
        """Look and show until cancelled."""
        while True:
            # Before looking: what changes while we look rings again.
            self._bell.clear()
            settled = await self._look_and_show()
            await asyncio.sleep(PACE_S)
            try:
                async with asyncio.timeout(LOOK_EVERY_S if settled else LOOK_AT_WORK_S):
                    await self._bell.wait()
            except TimeoutError:
                self.ring(access=True)

    async def _look_and_show(self) -> bool:
        """Whether it worked and found nothing under way."""
        asked, self._unsure = self._unsure, set()
        try:
            seen = await self._look(self.account_id, {watcher.credential for watcher in asked}, self._picture)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next look may work
            if not isinstance(error, DatabaseUnreachable):
                _log.error("look.failed", error=type(error).__name__, stack=logs.stack_of(error))
            self._unsure |= asked & self.watchers
            return False
        for watcher in asked:
            if watcher.credential not in seen.good:
                watcher.end()
        self._picture = seen.picture
        # Whoever came while we looked is shown what the next look finds, which asks for their credential.
        for watcher in self.watchers - self._unsure:
            watcher.show(seen.picture)
        return not any(map(_under_way, seen.picture.jobs.values()))


class News:
    """Who watches what in this process. Its methods are called from the event loop."""

    def __init__(self, services: Services) -> None:
        self._database = services.database
        self._limits = services.settings.limits
        self._desks: dict[AccountId, tuple[Desk, asyncio.Task[None]]] = {}
        self._threads = ThreadPoolExecutor(_LOOKS_AT_ONCE, "news")
        self._closed = False

    async def listen(self) -> None:
        """Pass notifications on until cancelled; a broken connection is made anew, and everybody looks then."""
        channels = (jobs.CHANNEL, ACCOUNT_CHANGED)
        async for payload in notifications(self._database.conninfo, *channels, begun=self._look_everywhere):
            account_id, _, job_id = payload.partition(":")
            if found := self._desks.get(AccountId(account_id)):
                found[0].ring(access=not job_id)

    @contextmanager
    def watch(self, account_id: AccountId, credential: Credential) -> Iterator[Watcher]:
        """A place for one stream, while the block lasts.

        Raises:
            TooManyStreams, StreamsFull: there is none left.
        """
        watcher = Watcher(credential)
        if self._closed:
            watcher.end()
            yield watcher
            return
        self._refuse_too_many(account_id)
        desk = self._desk_of(account_id)
        desk.admit(watcher)
        try:
            yield watcher
        finally:
            desk.dismiss(watcher)
            if not desk.watchers:
                self._desks.pop(account_id)[1].cancel()

    def close(self) -> None:
        """End all streams, and at once whatever comes yet: the process ends."""
        self._closed = True
        for desk, at_work in self._desks.values():
            at_work.cancel()
            for watcher in desk.watchers:
                watcher.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _refuse_too_many(self, account_id: AccountId) -> None:
        own = self._desks.get(account_id)
        if own and len(own[0].watchers) >= self._limits.streams_per_account:
            raise TooManyStreams(self._limits.streams_per_account)
        if sum(len(desk.watchers) for desk, _ in self._desks.values()) >= self._limits.streams:
            raise StreamsFull

    def _desk_of(self, account_id: AccountId) -> Desk:
        if account_id not in self._desks:
            desk = Desk(account_id, self._look)
            self._desks[account_id] = desk, asyncio.create_task(desk.serve())
        return self._desks[account_id][0]

    def _look_everywhere(self) -> None:
        for desk, _ in self._desks.values():
            desk.ring(access=True)

    async def _look(self, account_id: AccountId, shown: Collection[Credential], before: Picture) -> Seen:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, look, self._database, account_id, shown, before)


def look(database: Database, account_id: AccountId, shown: Collection[Credential], before: Picture) -> Seen:
    """How things stand for this account, and which of the credentials ``shown`` still open it.

    Raises:
        DatabaseUnreachable: nothing could be seen.
    """
    with database.transaction() as session:
        good = frozenset(credential for credential in shown if _opens(session, credential, account_id))
        balance = balance_json(ledger.balance(session, account_id))
        under_way, last = jobs.active(session, account_id), jobs.recent(session, account_id, RECENTLY_ENDED)
        all_shown = {job.id: job for job in (*under_way, *last)}
        gone = [JobId(job_id) for job_id, job in before.jobs.items() if _under_way(job) and job_id not in all_shown]
        left = jobs.some(session, account_id, gone) if gone else ()
        outlooks = jobs.outlooks(session, account_id, tuple(all_shown.values()))
    return Seen(
        picture=Picture(
            balance=balance,
            jobs={job.id: job_json(job, outlooks[job.id]) for job in all_shown.values()},
            left=_newest(before.left | {job.id: job_json(job, (0, None)) for job in left}),
        ),
        good=good,
    )


def _under_way(job: dict[str, Any]) -> bool:
    return not JobState(job["state"]).ended


def _newest(left: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last so many that left."""
    return dict(list(left.items())[-LEFT_MAX:])


def _opens(session: Session, credential: Credential, account_id: AccountId) -> bool:
    try:
        account = credential.account_in(session)
    except (BadApiKey, KeyRefused):
        return False
    return account is not None and account.id == account_id
