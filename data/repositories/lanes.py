"""Lanes: one account's place in the fair queue, and the alarm that wakes it.

Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", 1996) with integer virtual time: a start
costs the lane ``start_cost`` units, the alarm's priority is minus the virtual time, and a lane that wakes is set to
at least the clock (the largest virtual time at which anything started) less one. So nobody saves up turns, and a
newcomer waits for at most one start of anybody else.

Lock order everywhere: lane, then job, then alarm. `lock` must be the first statement of every transaction that
submits, claims or ends a Job; without it wake-ups are lost between "an alarm already waits" and that alarm's claim.
"""

from typing import Final

from sqlalchemy import text

from data.database import Session
from studio.words.ids import AccountId, JobId

ALARM_QUEUE: Final = "lanes"
ALARM_TASK: Final = "run_lane"

_SWEEP_LOCK: Final = 0x6D656C6F  # "melo": the advisory lock of the sweep

_OPEN_AND_LOCK = text(
    "INSERT INTO lane (account_id, start_cost) VALUES (:account_id, :start_cost)"
    " ON CONFLICT (account_id) DO UPDATE SET start_cost = excluded.start_cost"
)
_LOCK = text("SELECT 1 FROM lane WHERE account_id = :account_id FOR UPDATE")
_LOCK_OF_JOB = text(
    "SELECT account_id FROM lane WHERE account_id = (SELECT account_id FROM job WHERE id = :job_id) FOR UPDATE"
)
_START = text(
    "UPDATE lane SET last_start = greatest(last_start, virtual_time), virtual_time = virtual_time + start_cost"
    " WHERE account_id = :account_id"
)
_REFUND = text("UPDATE lane SET virtual_time = greatest(virtual_time - start_cost, 0) WHERE account_id = :account_id")
_WAKE = text(
    "WITH woken AS (UPDATE lane"
    "   SET virtual_time = greatest(virtual_time, (SELECT coalesce(max(last_start), 0) FROM lane) - 1)"
    "   WHERE account_id = :account_id RETURNING account_id, virtual_time)"
    " INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)"
    " SELECT :queue, :task, -virtual_time, 'lane:' || account_id, 'lane:' || account_id,"
    "        jsonb_build_object('account_id', account_id) FROM woken"
    " ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING"
)
_OTHER_ALARM = text(
    "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs"
    " WHERE status = 'todo' AND queue_name = :queue AND queueing_lock <> :lock)"
)
_FORGOTTEN = text(
    "SELECT account_id FROM lane l"
    " WHERE EXISTS (SELECT 1 FROM job WHERE account_id = l.account_id AND state = 'queued'"
    "               AND ready_at <= statement_timestamp())"
    "   AND NOT EXISTS (SELECT 1 FROM job WHERE account_id = l.account_id AND state = 'processing')"
    "   AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE queueing_lock = 'lane:' || l.account_id"
    "                   AND status = 'todo')"
    "   AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE lock = 'lane:' || l.account_id AND status = 'doing')"
    " LIMIT :most"
)
_AHEAD = text(
    "SELECT count(*) FROM procrastinate_jobs a,"
    " (SELECT priority, id FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo') own"
    " WHERE a.status = 'todo' AND a.queue_name = :queue"
    "   AND (a.priority > own.priority OR (a.priority = own.priority AND a.id < own.id))"
)


def open_and_lock(session: Session, account_id: AccountId, *, start_cost: int) -> None:
    """Lock the account's lane, making it first if this is the account's first Job.

    Args:
        session: the caller's transaction.
        account_id: whose lane.
        start_cost: units of virtual time a start costs on the account's present plan, > 0.
    """
    session.execute(_OPEN_AND_LOCK, {"account_id": account_id, "start_cost": start_cost})


def lock(session: Session, account_id: AccountId) -> None:
    """Lock the account's lane until the transaction ends."""
    session.execute(_LOCK, {"account_id": account_id})


def lock_of_job(session: Session, job_id: JobId) -> bool:
    """Lock the lane that this Job is in; False when there is no such Job."""
    return session.execute(_LOCK_OF_JOB, {"job_id": job_id}).first() is not None


def wake(session: Session, account_id: AccountId) -> None:
    """Bring the lane's virtual time up to the clock and set its alarm, unless one waits already."""
    session.execute(_WAKE, {"account_id": account_id, "queue": ALARM_QUEUE, "task": ALARM_TASK})


def count_start(session: Session, account_id: AccountId) -> None:
    """One of the lane's Jobs started: the clock and the lane's virtual time go on."""
    session.execute(_START, {"account_id": account_id})


def refund_start(session: Session, account_id: AccountId) -> None:
    """The start just counted came to nothing through no fault of the Job."""
    session.execute(_REFUND, {"account_id": account_id})


def another_waits(session: Session, account_id: AccountId) -> bool:
    """Whether the alarm of any other lane waits for a worker."""
    parameters = {"queue": ALARM_QUEUE, "lock": f"lane:{account_id}"}
    return bool(session.execute(_OTHER_ALARM, parameters).scalar_one())


def ahead(session: Session, account_id: AccountId) -> int:
    """How many lanes' alarms go before this lane's (0 when it has none waiting)."""
    parameters = {"queue": ALARM_QUEUE, "lock": f"lane:{account_id}"}
    return int(session.execute(_AHEAD, parameters).scalar_one())


def forgotten(session: Session, *, most: int) -> tuple[AccountId, ...]:
    """Accounts with a ready Job, nothing in process and no alarm: what a lost wake-up leaves behind."""
    return tuple(AccountId(name) for name in session.execute(_FORGOTTEN, {"most": most}).scalars())


def try_sweep_lock(session: Session) -> bool:
    """Whether this transaction may sweep; the lock is given back when it ends."""
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _SWEEP_LOCK}).scalar_one())
