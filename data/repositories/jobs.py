"""Jobs: the rows behind the words `Job` and `Claimed`. ``serving`` decides what may happen; here is only SQL.

Time is the database's: ``statement_timestamp()``, so that waiting for a lock does not shorten a lease. Every write
for a worker names the attempt and touches nothing when another attempt has taken over. Every write that people may
see tells listeners, on `CHANGED`, when the transaction commits; in the same statement, to save its round trip.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, TextClause, text

from data.database import Session
from data.repositories.briefs import brief_from_json
from studio.words.brief import Brief
from studio.words.ids import AccountId, JobId, SongId
from studio.words.job import Job, JobState, Stage

CHANGED: Final = "melodeon_job"
"""NOTIFY channel of every change; the payload is ``ACCOUNT:JOB``."""

CANCEL: Final = "melodeon_cancel"
"""NOTIFY channel that tells the worker at work on a Job to stop; the payload is the Job's id."""


def sql(statement: str) -> TextClause:
    """The statement; ``{tell}`` in it tells listeners of the job row at hand."""
    return text(statement.replace("{tell}", f"pg_notify('{CHANGED}', account_id || ':' || id)"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A Job as the worker that claimed it gets it.

    Attributes:
        artist: name of the account, for covers and files.
        brief: what was asked for; None when it cannot be read any more.
        attempt: the number that every write must carry.
        open_takes: indices of the takes to be made, ascending; those that were made in an earlier round are left out.
        results: what finished stages of former attempts saved, by name.
        number_of_failures: attempts spent before this one.
    """

    job_id: JobId
    account_id: AccountId
    artist: str
    brief: Brief | None
    attempt: int
    open_takes: tuple[int, ...]
    results: Mapping[str, Any]
    number_of_failures: int
    trace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What must be known about a locked Job to decide what becomes of it."""

    job_id: JobId
    account_id: AccountId
    request_hash: str
    state: JobState
    attempt: int
    failures: int
    losses: int
    round: int
    price_credits: int
    cancel_requested: bool


_SELECT: Final = """
    SELECT j.*, p.stage, p.fraction, p.message, p.stages,
           ARRAY(SELECT id FROM song WHERE job_id = j.id AND deleted_at IS NULL ORDER BY take_index) AS song_ids
      FROM {jobs} j LEFT JOIN job_progress p ON p.job_id = j.id
"""


def _select(jobs: str, rest: str) -> TextClause:
    return text(_SELECT.replace("{jobs}", jobs) + rest)


_BY_ID = _select("job", "WHERE j.id = :job_id")
_RECENT = _select("job", "WHERE j.account_id = :account_id ORDER BY j.number DESC LIMIT :most")
_SOME = _select("job", "WHERE j.account_id = :account_id AND j.id = ANY(:ids) ORDER BY j.number")
# Each half has an index of its own; "state IN (…)" would read the account's whole history or sort its whole queue.
_ACTIVE = _select(
    "(SELECT * FROM job WHERE account_id = :account_id AND state = 'processing' UNION ALL"
    " (SELECT * FROM job WHERE account_id = :account_id AND state = 'queued' ORDER BY number LIMIT :most))",
    "ORDER BY j.number LIMIT :most",
)


def job_of(row: RowMapping) -> Job:
    """The Job in a row that holds its columns, its progress's and the ids of its Songs."""
    state = JobState(row["state"])
    return Job(
        id=JobId(row["id"]),
        account_id=AccountId(row["account_id"]),
        # one that cannot be read must not hide the account's other Jobs
        brief=brief_from_json(row["brief"]) or Brief(),
        state=state,
        attempt=row["attempt"],
        stage=Stage(row["stage"]) if row["stage"] else None,
        progress=1.0 if state is JobState.PROCESSED else float(row["fraction"] or 0.0),
        message=row["message"] or "",
        reason=row["reason"],
        reason_code=row["reason_code"],
        price_credits=row["price_credits"],
        cancel_requested=row["cancel_requested"],
        ready_at=row["ready_at"],
        lease_until=row["lease_until"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        song_ids=tuple(SongId(name) for name in row["song_ids"]),
    )


def by_id(session: Session, job_id: JobId) -> Job | None:
    """The Job of this id."""
    row = session.execute(_BY_ID, {"job_id": job_id}).mappings().one_or_none()
    return job_of(row) if row else None


def recent(session: Session, account_id: AccountId, *, most: int) -> tuple[Job, ...]:
    """The account's Jobs, newest first."""
    rows = session.execute(_RECENT, {"account_id": account_id, "most": most}).mappings()
    return tuple(job_of(row) for row in rows)


def some(session: Session, account_id: AccountId, ids: Iterable[JobId]) -> tuple[Job, ...]:
    """Those of these Jobs that are the account's, oldest first."""
    rows = session.execute(_SOME, {"account_id": account_id, "ids": list(ids)}).mappings()
    return tuple(job_of(row) for row in rows)


def active(session: Session, account_id: AccountId, *, most: int) -> tuple[Job, ...]:
    """The account's queued and processing Jobs, oldest first."""
    rows = session.execute(_ACTIVE, {"account_id": account_id, "most": most}).mappings()
    return tuple(job_of(row) for row in rows)


_STANDING = text(
    "SELECT id AS job_id, account_id, request_hash, state, attempt, failures, losses, round, price_credits,"
    " cancel_requested"
    " FROM job WHERE id = :job_id FOR UPDATE"
)


def lock(session: Session, job_id: JobId) -> Standing | None:
    """Lock the Job's row and say how it stands. The lane must be locked before."""
    row = session.execute(_STANDING, {"job_id": job_id}).mappings().one_or_none()
    return Standing(**{**row, "state": JobState(row["state"])}) if row else None


_CLAIM = sql(
    "UPDATE job SET state = 'processing', attempt = attempt + 1, reason = '', reason_code = '',"
    " lease_until = statement_timestamp() + make_interval(secs => :lease_s), started_at = statement_timestamp()"
    " WHERE id = (SELECT id FROM job WHERE account_id = :account_id AND state = 'queued'"
    "             AND ready_at <= statement_timestamp() ORDER BY number LIMIT 1)"
    "   AND NOT EXISTS (SELECT 1 FROM job WHERE account_id = :account_id AND state = 'processing')"
    " RETURNING id AS job_id, account_id, (SELECT name FROM account WHERE id = :account_id) AS artist, brief,"
    "           attempt, results, failures AS number_of_failures, trace_id,"
    "           ARRAY(SELECT take_index FROM song WHERE job_id = job.id AND status <> 'processed'"
    "                 AND deleted_at IS NULL ORDER BY take_index) AS open_takes,"
    "          {tell} AS told"
)


def claim(session: Session, account_id: AccountId, *, lease_s: float) -> Claimed | None:
    """Take the account's oldest ready Job, unless one of its Jobs is in process. The lane must be locked before."""
    row = session.execute(_CLAIM, {"account_id": account_id, "lease_s": lease_s}).mappings().one_or_none()
    if row is None:
        return None
    words = {name: value for name, value in row.items() if name != "told"}
    return Claimed(**{**words, "brief": brief_from_json(row["brief"]), "open_takes": tuple(row["open_takes"])})


_EXTEND = text(
    "UPDATE job SET lease_until = statement_timestamp() + make_interval(secs => :lease_s)"
    " WHERE id = :job_id AND attempt = :attempt AND state = 'processing' RETURNING cancel_requested"
)


def extend_lease(session: Session, job_id: JobId, attempt: int, *, lease_s: float) -> bool | None:
    """Prolong the lease; answers whether cancelling was asked for, None when the attempt is over."""
    values = {"job_id": job_id, "attempt": attempt, "lease_s": lease_s}
    answer: bool | None = session.execute(_EXTEND, values).scalar_one_or_none()
    return answer


_PROGRESS = sql(
    "INSERT INTO job_progress AS p (job_id, stage, fraction, message, stages, updated_at)"
    " SELECT id, :stage, :fraction, :message, CAST(:stages AS jsonb), statement_timestamp() FROM job"
    "  WHERE id = :job_id AND attempt = :attempt AND state = 'processing'"
    " ON CONFLICT (job_id) DO UPDATE SET stage = excluded.stage, fraction = excluded.fraction,"
    "  message = excluded.message, stages = excluded.stages, updated_at = excluded.updated_at"
    " RETURNING (SELECT {tell} FROM job WHERE id = p.job_id)"
)


def write_progress(
    session: Session,
    job_id: JobId,
    attempt: int,
    *,
    stage: Stage,
    fraction: float,
    message: str,
    stages: Mapping[str, float],
) -> bool:
    """Say how far the attempt is; False when the attempt is over."""
    values = {
        "job_id": job_id,
        "attempt": attempt,
        "stage": stage.value,
        "fraction": fraction,
        "message": message,
        "stages": json.dumps(dict(stages)),
    }
    return session.execute(_PROGRESS, values).first() is not None


_SAVE = text(
    "UPDATE job SET results = results || jsonb_build_object(CAST(:name AS text), CAST(:result AS jsonb))"
    " WHERE id = :job_id AND attempt = :attempt AND state = 'processing'"
)


def save_result(session: Session, job_id: JobId, attempt: int, *, name: str, result: Mapping[str, Any]) -> bool:
    """Keep what a stage made, under a name; False when the attempt is over."""
    values = {"job_id": job_id, "attempt": attempt, "name": name, "result": json.dumps(dict(result))}
    return bool(session.execute(_SAVE, values).rowcount)  # type: ignore[attr-defined]


_END = sql(
    "UPDATE job SET state = :state, lease_until = NULL, finished_at = statement_timestamp(), failures = :failures,"
    " reason = :reason, reason_code = :code,"
    " objects_swept = (attempt = 0 OR (attempt = 1 AND :tidy)) WHERE id = :job_id RETURNING {tell}"
)
_REQUEUE = sql(
    "UPDATE job SET state = 'queued', lease_until = NULL, failures = :failures,"
    " losses = losses + CAST(:lost AS integer), reason = :reason, reason_code = :code,"
    " ready_at = statement_timestamp() + make_interval(secs => :pause_s) WHERE id = :job_id"
    " RETURNING {tell}"
)
_RENEW = sql(
    "UPDATE job SET state = :state, round = round + 1, failures = 0, losses = 0, cancel_requested = false,"
    " ready_at = now(),"
    " started_at = NULL, finished_at = CASE WHEN :ended THEN statement_timestamp() END, price_credits = :price_credits,"
    " results = results - 'music' - 'cover' - 'tags', reason = :reason, reason_code = :code, objects_swept = false"
    " WHERE id = :job_id RETURNING {tell}"
)
_ASK_TO_CANCEL = sql(
    "UPDATE job SET cancel_requested = true WHERE id = :job_id RETURNING pg_notify(:channel, id), {tell}"
)


def end(session: Session, job_id: JobId, *, state: JobState, failures: int, reason: str, code: str, tidy: bool) -> None:
    """The (locked) Job reaches its end.

    Unless this was its first attempt and a ``tidy`` one, all of whose objects are somebody's, the clean-up looks for
    what was left behind.
    """
    values = {"job_id": job_id, "state": state.value, "failures": failures, "reason": reason, "code": code}
    session.execute(_END, {**values, "tidy": tidy})


def requeue(
    session: Session, job_id: JobId, *, failures: int, lost: bool, pause_s: float, reason: str, code: str
) -> None:
    """The (locked) Job waits again, ready after ``pause_s`` seconds; ``lost``: its replica died under it."""
    values = {"job_id": job_id, "failures": failures, "lost": lost, "reason": reason, "code": code}
    session.execute(_REQUEUE, {**values, "pause_s": pause_s})


def renew(session: Session, job_id: JobId, *, state: JobState, price_credits: int, reason: str, code: str) -> None:
    """The (locked, ended) Job begins its next round.

    Its words are kept; sounds and pictures are made anew, because the clean-up may already have taken their files.
    """
    values = {"job_id": job_id, "state": state.value, "ended": state.ended, "price_credits": price_credits}
    session.execute(_RENEW, {**values, "reason": reason, "code": code})
    session.execute(text("DELETE FROM job_progress WHERE job_id = :job_id"), {"job_id": job_id})


def ask_to_cancel(session: Session, job_id: JobId) -> None:
    """Leave a flag for the worker and call it."""
    session.execute(_ASK_TO_CANCEL, {"job_id": job_id, "channel": CANCEL})


_LINE = text(
    "SELECT (SELECT count(*)"
    "  FROM (SELECT id FROM job WHERE account_id = :account_id AND state = 'queued' LIMIT :most) q"
    "  JOIN song ON song.job_id = q.id AND song.status = 'queued') AS queued_songs,"
    " EXISTS (SELECT 1 FROM job WHERE request_hash = :request_hash AND reason_code = 'poison'"
    "  AND finished_at > statement_timestamp() - make_interval(secs => :quarantine_s)) AS quarantined,"
    " EXISTS (SELECT 1 FROM account WHERE id = :account_id AND deleted_at IS NOT NULL) AS account_gone,"
    " known.id AS known_id, known.request_hash AS known_hash"
    " FROM (SELECT) AS always LEFT JOIN job known ON known.account_id = :account_id AND known.idempotency_key = :key"
)
_HAS_READY = text(
    "SELECT EXISTS (SELECT 1 FROM job WHERE account_id = :account_id AND state = 'queued'"
    " AND ready_at <= statement_timestamp())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What stands before a new Job.

    Attributes:
        known: the Job that was asked for under the same idempotency key, and the hash of what was asked.
        queued_songs: the account's waiting songs.
        quarantined: whether this very request stopped replica after replica a short while ago.
        account_gone: whether the account was deleted, perhaps while this waited for the lane.
    """

    known: tuple[JobId, str] | None
    queued_songs: int
    quarantined: bool
    account_gone: bool


def line(
    session: Session, account_id: AccountId, request_hash: str, *, key: str, most: int, quarantine_s: float
) -> Line:
    """What stands before a Job of this request.

    Args:
        session: the caller's transaction.
        account_id: whose Job.
        request_hash: of what is asked for.
        key: the idempotency key it is asked for under; empty for none.
        most: Jobs up to which waiting songs are counted.
        quarantine_s: seconds for which a request that ended as ``poison``, whoever asked, stays in quarantine.
    """
    values = {"account_id": account_id, "request_hash": request_hash, "key": key, "most": most}
    row = session.execute(_LINE, {**values, "quarantine_s": quarantine_s}).one()
    known = (JobId(row.known_id), row.known_hash) if row.known_id else None
    return Line(known=known, queued_songs=row.queued_songs, quarantined=row.quarantined, account_gone=row.account_gone)


def has_ready(session: Session, account_id: AccountId) -> bool:
    """Whether a Job of the account could be claimed now, were none in process."""
    return bool(session.execute(_HAS_READY, {"account_id": account_id}).scalar_one())


def expired(session: Session, *, most: int) -> tuple[tuple[AccountId, JobId], ...]:
    """Jobs whose lease ended, longest ago first."""
    statement = text(
        "SELECT account_id, id FROM job WHERE state = 'processing' AND lease_until < statement_timestamp()"
        " ORDER BY lease_until LIMIT :most"
    )
    return tuple((AccountId(a), JobId(j)) for a, j in session.execute(statement, {"most": most}))


def lease_is_over(session: Session, job_id: JobId) -> bool:
    """Whether the (locked) Job is in process with a lease that ended."""
    statement = text("SELECT state = 'processing' AND lease_until < statement_timestamp() FROM job WHERE id = :job_id")
    return bool(session.execute(statement, {"job_id": job_id}).scalar_one_or_none())
