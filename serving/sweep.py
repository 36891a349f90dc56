"""The sweep: heals what crashes leave behind. Every step may run at any time, twice, or beside another sweep."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from billing import ledger
from configs.logs import stack_of
from data.backup import may_delete_objects
from data.database import Database, DatabaseUnreachable
from data.object_store import ObjectStore
from data.repositories import assets as asset_rows
from data.repositories import jobs as job_rows
from data.repositories import lanes, lost_objects
from data.repositories.lost_objects import Unswept
from serving import attempts
from serving.attempts import RetryRule
from serving.queue import AlarmClock

_BATCH: Final = 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep did: leases that ended, lanes that had lost their alarm."""

    expired: int = 0
    woken: int = 0


def sweep_database(database: Database, *, rule: RetryRule) -> Swept:
    """Take Jobs from workers that let their lease end; wake lanes that have work and no alarm.

    One process at a time: another sweep under way makes this one do nothing.
    """
    with database.transaction() as guard:
        if not lanes.try_sweep_lock(guard):
            return Swept()
        expired = job_rows.expired(guard, most=_BATCH)
        for account_id, job_id in expired:
            with database.transaction() as session:
                attempts.expire(session, account_id, job_id, rule=rule, now=datetime.now(UTC))
        forgotten = lanes.forgotten(guard, most=_BATCH)
        for account_id in forgotten:
            with database.transaction() as session:
                attempts.wake_ready(session, account_id)
    return Swept(expired=len(expired), woken=len(forgotten))


async def sweep_for_ever(
    database: Database,
    clock: AlarmClock,
    *,
    every_s: float,
    stalled_s: float,
    rule: RetryRule,
    beat: Callable[[], None],
) -> None:
    """Sweep every ``every_s`` seconds (± a fifth, so that workers spread) until cancelled.

    Args:
        database: where the Jobs stand.
        clock: whose stalled alarms are set again.
        every_s: pause between two sweeps.
        stalled_s: a worker silent for so long is dead.
        rule: how many attempts a Job has.
        beat: called after each sweep that went through.
    """
    await clock.wait_until_open()
    while True:
        try:
            await clock.recover_stalled(stalled_s=stalled_s)
            swept = await asyncio.to_thread(sweep_database, database, rule=rule)
            beat()
            if swept.expired or swept.woken:
                _log.info("swept", expired=swept.expired, woken=swept.woken)
        except DatabaseUnreachable:
            _log.warning("sweep skipped: the database does not answer")
        except Exception as error:  # noqa: BLE001 - the sweep heals everything else, so nothing may end it
            _log.warning("sweep failed", error=type(error).__name__, stack=stack_of(error))
        await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads workers, no secret


def expire_credits(database: Database, *, now: datetime) -> int:
    """Book as lost the credits that have expired by ``now``; of how many accounts.

    In short transactions, so that nobody waits for it; who is busy at this moment is left for the next time.
    """
    accounts, last = 0, _BATCH
    while last == _BATCH:
        with database.transaction() as session:
            last = ledger.expire(session, now=now, most=_BATCH)
        accounts += last
    return accounts


def clean_store(database: Database, store: ObjectStore, *, older_than_s: float) -> int:
    """Delete stored objects that nobody needs: released assets, and what lost attempts left behind.

    Args:
        database: says which objects are somebody's.
        store: where they lie.
        older_than_s: age of a Job's end from which no replica can still be writing for it.

    Returns:
        how many objects were deleted.
    """
    deleted = 0
    with database.transaction() as session:
        # a backup under way may still have to copy what was released since it began
        released = asset_rows.released(session, _BATCH) if may_delete_objects(session) else ()
        for asset_id, key in released:
            store.delete(key)
            asset_rows.forget(session, asset_id)
            deleted += 1
    with database.transaction() as session:
        ended = lost_objects.unswept_jobs(session, older_than_s=older_than_s, most=_BATCH)
    return deleted + sum(_clean_job(database, store, job) for job in ended)


def _clean_job(database: Database, store: ObjectStore, job: Unswept) -> int:
    prefix = f"songs/{job.account_id}/{job.job_id}/"
    # a later attempt belongs to a new round, whose objects are nobody's until it ends
    keys = [key for key in store.list(prefix) if _attempt_of(key, prefix) <= job.attempt]
    with database.transaction() as session:
        lost = set(keys) - lost_objects.known_keys(session, keys)
    for key in lost:
        store.delete(key)
    with database.transaction() as session:
        lost_objects.mark_swept(session, job)
    return len(lost)


def _attempt_of(key: str, prefix: str) -> int:
    return int(key.removeprefix(prefix).partition("/")[0])
