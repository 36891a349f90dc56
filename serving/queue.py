"""The alarm clock: Procrastinate wakes a worker when an account has something to do. The truth stands in the Jobs.

One *lane* per account, one alarm per lane (`data.repositories.lanes`). Alarms are set inside the caller's
transaction; this is the only module that knows Procrastinate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import procrastinate
import structlog
from procrastinate import exceptions, jobs

from data.database import Session
from data.repositories import lanes
from studio.words.ids import AccountId

CHORE_QUEUE: Final = "chores"
_EVENTS_KEPT_HOURS: Final = 24
_RESTART_PAUSE_S: Final = 0.5

_log = structlog.get_logger(__name__)

RunLane = Callable[[AccountId], Awaitable[None]]
Chore = Callable[[], Awaitable[None]]


def wake(session: Session, account_id: AccountId) -> None:
    """Have a worker look at this account when the transaction commits; harmless when one is called already.

    The account's lane must be locked by this transaction (`lanes.lock`).
    """
    lanes.wake(session, account_id)


class AlarmClock:
    """The worker's side of the queue.

    Args:
        conninfo: the database, as libpq wants it.
        run_lane: does what the account's lane has to do; runs once at a time for each account.
        chores: tasks that run by the clock, by name: a cron line (minutes first) and what to do.
    """

    def __init__(self, conninfo: str, *, run_lane: RunLane, chores: dict[str, tuple[str, Chore]]) -> None:
        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo, configure=_by_itself))
        self._opened = asyncio.Event()

        @self._app.task(name=lanes.ALARM_TASK, queue=lanes.ALARM_QUEUE)
        async def ring(account_id: str) -> None:
            await run_lane(AccountId(account_id))

        # Without any periodic task a worker that survives a long database outage keeps a dead heartbeat and hears no
        # NOTIFY for ever (its monitor looks only at the side task that ends first). So there is always one.
        everything = {"forget_old_alarms": ("17 * * * *", self._forget_old_alarms), **chores}
        for name, (cron, chore) in everything.items():
            self._register(name, cron, chore)

    def _register(self, name: str, cron: str, chore: Chore) -> None:
        # a queueing lock, but no lock: a chore that died with its worker must not block its successors
        @self._app.periodic(cron=cron)
        @self._app.task(name=name, queue=CHORE_QUEUE, queueing_lock=name)
        async def ring(timestamp: int) -> None:  # noqa: ARG001 - the library hands it in
            await chore()

    async def _forget_old_alarms(self) -> None:
        await self._app.job_manager.delete_old_jobs(
            nb_hours=_EVENTS_KEPT_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
        )

    async def run(
        self, *, concurrency: int, poll_s: float, heartbeat_s: float, stalled_s: float, grace_s: float
    ) -> None:
        """Answer alarms until this task is cancelled; a lost database only makes it begin again.

        When cancelled it takes no new alarm, waits ``grace_s`` seconds for those in hand and then cancels them.
        """
        while True:
            try:
                async with self._app.open_async():
                    self._opened.set()
                    await self._app.run_worker_async(
                        queues=[lanes.ALARM_QUEUE, CHORE_QUEUE],
                        concurrency=concurrency,
                        fetch_job_polling_interval=poll_s,
                        listen_notify=True,
                        delete_jobs="successful",
                        install_signal_handlers=False,
                        update_heartbeat_interval=heartbeat_s,
                        stalled_worker_timeout=stalled_s,
                        shutdown_graceful_timeout=grace_s,
                    )
                _log.warning("alarm clock stopped, starting it again")
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is None or current.cancelling():
                    raise
                _log.warning("alarm clock was cancelled from inside, starting it again")
            except Exception as error:  # noqa: BLE001 - whatever ended it, the clock must go on
                _log.warning("alarm clock failed, starting it again", error=type(error).__name__)
            await asyncio.sleep(_RESTART_PAUSE_S)

    async def wait_until_open(self) -> None:
        """Until `run` has reached the database for the first time."""
        await self._opened.wait()

    async def recover_stalled(self, *, stalled_s: float) -> int:
        """Set alarms again whose worker died; answers how many there were."""
        manager = self._app.job_manager
        stalled = list(await manager.get_stalled_jobs(seconds_since_heartbeat=stalled_s))
        for alarm in stalled:
            await _recover(manager, alarm)
        return len(stalled)


async def _by_itself(connection: Any) -> None:
    """Each of the library's statements is a transaction of its own: BEGIN and COMMIT would be round trips."""
    await connection.set_autocommit(True)


async def _recover(manager: Any, alarm: Any) -> None:
    try:
        await manager.retry_job(alarm)
    except exceptions.UniqueViolation:
        # a newer alarm of the same lane waits already
        await _finish(manager, alarm)
    except exceptions.ConnectorException as error:
        # most often the alarm ended meanwhile; one bad row must not stop the sweep
        _log.info("stalled alarm could not be set again", alarm=alarm.id, error=type(error).__name__)


async def _finish(manager: Any, alarm: Any) -> None:
    try:
        await manager.finish_job(alarm, status=jobs.Status.FAILED, delete_job=True)
    except exceptions.ConnectorException as error:
        _log.info("stalled alarm could not be ended", alarm=alarm.id, error=type(error).__name__)
