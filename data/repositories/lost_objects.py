"""What lost attempts left in the object store: which Jobs to look after, and which keys are somebody's."""

from collections.abc import Iterable

from sqlalchemy import text

from data.database import Session
from studio.words.ids import AccountId, JobId


def unswept_jobs(session: Session, *, older_than_s: float, most: int) -> tuple[tuple[AccountId, JobId], ...]:
    """Jobs that ended more than ``older_than_s`` seconds ago and may have left objects nobody needs.

    The age must exceed the longest time a replica goes on for a caller that is gone.
    """
    statement = text(
        "SELECT account_id, id FROM job WHERE NOT objects_swept AND finished_at IS NOT NULL"
        " AND finished_at < statement_timestamp() - make_interval(secs => :age_s)"
        " AND state IN ('processed', 'failed', 'cancelled') ORDER BY finished_at LIMIT :most"
    )
    rows = session.execute(statement, {"age_s": older_than_s, "most": most})
    return tuple((AccountId(account), JobId(job)) for account, job in rows)


def known_keys(session: Session, keys: Iterable[str]) -> frozenset[str]:
    """Those of ``keys`` that an asset stands for."""
    statement = text("SELECT key FROM asset WHERE key = ANY(:keys)")
    return frozenset(session.execute(statement, {"keys": list(keys)}).scalars())


def mark_swept(session: Session, job_id: JobId) -> None:
    """Nothing of the Job's lost attempts is left (unless it was run again meanwhile)."""
    statement = text("UPDATE job SET objects_swept = true WHERE id = :job_id AND finished_at IS NOT NULL")
    session.execute(statement, {"job_id": job_id})
