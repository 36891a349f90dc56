"""The worker process: ``python -m serving.worker``. It takes Jobs and has them made, one a time for each account."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from configs import logs
from configs.addresses import attach, database_url, gateway_url
from configs.secrets import Secrets, load_or_create
from configs.settings import Settings, WorkerSettings
from configs.settings import settings as read_settings
from data.database import Database, DatabaseUnreachable
from data.listen import notifications
from data.object_store import open_store
from data.repositories.jobs import CANCEL, Claimed
from serving import attempts
from serving.attempts import RetryRule
from serving.billing_loop import payments_handled
from serving.client import GatewayClient
from serving.orchestrate import Orchestrator
from serving.post_round import letters_sent
from serving.queue import AlarmClock, Chore
from serving.sweep import clean_store, expire_credits, sweep_for_ever
from studio.words.ids import AccountId, JobId

SHUTDOWN_GRACE_S: Final = 60.0
_CLEAN_CRON: Final = "*/10 * * * *"
_EXPIRE_CRON: Final = "7 * * * *"

_log = structlog.get_logger(__name__)

Work = Callable[[Claimed], Awaitable[None]]


class LaneRunner:
    """Does what one account's alarm calls for: its ready Jobs, one after the other.

    It goes on with the account's next Job while no other account waits and the time budget lasts; else it gives the
    turn away. Waiting for the next alarm between two Jobs would cost a poll each.

    Args:
        database: where the Jobs stand.
        work: makes one attempt at a claimed Job and ends it.
        settings: lease and budget.
    """

    def __init__(self, database: Database, work: Work, settings: WorkerSettings) -> None:
        self._database = database
        self._work = work
        self._settings = settings
        self.stopping = False

    async def run_lane(self, account_id: AccountId) -> None:
        """Answer one alarm."""
        until = time.monotonic() + self._settings.lane_budget_s
        claimed = None if self.stopping else await asyncio.to_thread(self._claim, account_id)
        while claimed is not None:
            try:
                await self._work(claimed)
            except Exception as error:  # noqa: BLE001 - its lease ends and the sweep takes the Job up; others go on
                told = {"error": type(error).__name__, "stack": logs.stack_of(error)}
                _log.error("work broke off", job_id=claimed.job_id, **told)
            may_claim = not self.stopping and time.monotonic() < until
            claimed = await asyncio.to_thread(self._go_on, account_id, may_claim=may_claim)

    def wake(self, account_id: AccountId) -> None:
        """Set the account's alarm if one of its Jobs is ready."""
        with suppress(DatabaseUnreachable), self._database.transaction() as session:
            attempts.wake_ready(session, account_id)

    def _claim(self, account_id: AccountId) -> Claimed | None:
        with self._database.transaction() as session:
            return attempts.claim(session, account_id, lease_s=self._settings.lease_s)

    def _go_on(self, account_id: AccountId, *, may_claim: bool) -> Claimed | None:
        with self._database.transaction() as session:
            return attempts.go_on(session, account_id, lease_s=self._settings.lease_s, may_claim=may_claim)


class Worker:
    """One worker: alarm clock, sweep and the ear for cancellations, side by side.

    Args:
        database: where the Jobs stand.
        settings: of the worker.
        work: makes one attempt at a claimed Job and ends it.
        chores: tasks by the clock, see `AlarmClock`.
        on_cancel: told the id of each Job whose owner wants it stopped.
        beat: called after every sweep, as a sign of life.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        *,
        work: Work,
        on_cancel: Callable[[JobId], None],
        chores: dict[str, tuple[str, Chore]],
        beat: Callable[[], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._on_cancel = on_cancel
        self._beat = beat
        self.lanes = LaneRunner(database, work, settings)
        self._clock = AlarmClock(database.conninfo, run_lane=self.lanes.run_lane, chores=chores)

    async def run(self, stop: asyncio.Event, *, grace_s: float = SHUTDOWN_GRACE_S) -> None:
        """Work until ``stop`` is set; then take nothing more, wait ``grace_s`` and give back what is not done."""
        s = self._settings
        stalled_s = s.lease_s
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4 + 4 * s.concurrency, "database"))
        clock = asyncio.create_task(
            self._clock.run(
                concurrency=s.concurrency,
                poll_s=s.poll_s,
                heartbeat_s=s.heartbeat_s,
                stalled_s=stalled_s,
                grace_s=grace_s,
            )
        )
        rule = RetryRule(max_attempts=s.max_attempts, base_s=s.retry_base_s)
        beside = [
            asyncio.create_task(
                sweep_for_ever(
                    self._database, self._clock, every_s=s.sweep_s, stalled_s=stalled_s, rule=rule, beat=self._beat
                )
            ),
            asyncio.create_task(self._hear_cancellations()),
        ]
        try:
            await stop.wait()
        finally:
            self.lanes.stopping = True
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _hear_cancellations(self) -> None:
        """NOTIFY only makes it quicker: the heartbeat's answer says the same."""
        async for job_id in notifications(self._database.conninfo, CANCEL):
            self._on_cancel(JobId(job_id))


def run(settings: Settings, secrets: Secrets) -> None:
    """Be the worker of this installation until SIGTERM or SIGINT."""
    asyncio.run(_run(settings, secrets))


async def _run(settings: Settings, secrets: Secrets) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(
        database_url(settings, secrets, role="worker"),
        pool_size=max(settings.database.pool_size, 2 * settings.worker.concurrency),
        statement_timeout_s=settings.database.statement_timeout_s,
        application_name="melodeon worker",
    )
    client = GatewayClient(gateway_url(settings), secrets.gateway_key, settings.serve.client_timeout_s)
    try:
        async with client.kept_open(), payments_handled(settings, secrets) as chores, letters_sent(settings, secrets):
            await _worker(settings, secrets, database, client, chores).run(stop)
    finally:
        database.dispose()


def _worker(
    settings: Settings,
    secrets: Secrets,
    database: Database,
    client: GatewayClient,
    chores: dict[str, tuple[str, Chore]],
) -> Worker:
    store = open_store(settings.store, var=settings.var, link_key=secrets.link_key)
    # a replica goes on for a caller that is gone until the deadline it was given
    age_s = 2 * settings.worker.job_deadline_s

    async def clean() -> None:
        deleted = await asyncio.to_thread(clean_store, database, store, older_than_s=age_s)
        _log.info("object store cleaned", deleted=deleted)

    async def expire() -> None:
        accounts = await asyncio.to_thread(expire_credits, database, now=datetime.now(UTC))
        _log.info("credits expired", accounts=accounts)

    def wake_later(claimed: Claimed, pause_s: float) -> None:
        # a moment more than the pause, so that the Job is ready when the alarm asks
        loop = asyncio.get_running_loop()
        loop.call_later(pause_s + 0.05, loop.run_in_executor, None, worker.lanes.wake, claimed.account_id)

    orchestrator = Orchestrator(database, client, settings.worker, wake_later=wake_later)
    worker = Worker(
        database,
        settings.worker,
        work=orchestrator.work,
        on_cancel=orchestrator.cancel,
        chores={"clean_store": (_CLEAN_CRON, clean), "expire_credits": (_EXPIRE_CRON, expire), **chores},
        beat=_beat_file(settings.var),
    )
    return worker


def _beat_file(var: Path) -> Callable[[], None]:
    path = var / "run" / "worker.beat"

    def beat() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    return beat


def main() -> None:
    """Entry point of ``python -m serving.worker``."""
    settings = attach(read_settings())
    logs.configure(settings.logs, part="worker")
    for chatty in ("httpx", "procrastinate"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    run(settings, load_or_create(settings.var))


if __name__ == "__main__":
    main()
