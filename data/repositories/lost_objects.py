"""What lost attempts left in the object store: which Jobs to look after, and which keys are somebody's."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import text

from data.database import Session
from studio.words.ids import AccountId, JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Unswept:
    """A Job that ended with this attempt and may have left objects that nobody needs."""

    account_id: AccountId
    job_id: JobId
    attempt: int


def unswept_jobs(session: Session, *, older_than_s: float, most: int) -> tuple[Unswept, ...]:
    """Jobs that ended more than ``older_than_s`` seconds ago and were not looked after since.

    The age must exceed the longest time a replica goes on for a caller that is gone.
    """
    statement = text(
        "SELECT account_id, id, attempt FROM job WHERE NOT objects_swept AND finished_at IS NOT NULL"
        " AND finished_at < statement_timestamp() - make_interval(secs => :age_s)"
        " AND state IN ('processed', 'failed', 'cancelled') ORDER BY finished_at LIMIT :most"
    )
    rows = session.execute(statement, {"age_s": older_than_s, "most": most})
    return tuple(
        Unswept(account_id=AccountId(account), job_id=JobId(job), attempt=attempt) for account, job, attempt in rows
    )


def known_keys(session: Session, keys: Iterable[str]) -> frozenset[str]:
    """Those of ``keys`` that an asset stands for."""
    statement = text("SELECT key FROM asset WHERE key = ANY(:keys)")
    return frozenset(session.execute(statement, {"keys": list(keys)}).scalars())


def mark_swept(session: Session, ended: Unswept) -> None:
    """Nothing of the Job's lost attempts is left, unless it was run again meanwhile."""
    statement = text(
        "UPDATE job SET objects_swept = true WHERE id = :job_id AND attempt = :attempt AND finished_at IS NOT NULL"
    )
    session.execute(statement, {"job_id": ended.job_id, "attempt": ended.attempt})
