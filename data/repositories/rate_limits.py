"""Limits that all replicas share, in Postgres. They unlock by themselves.

Each bucket is one moment (the generic cell rate algorithm, ITU-T I.371): half of what is allowed in a span may come at
once, the other half is spread evenly over it, so that in no span of that length come more than allowed, wherever it
begins. The clock is the database's. Buckets are kept by the hash of their name: names hold addresses of people.
"""

from math import ceil
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.repositories.tokens import hash_of
from data.tables import RateLimitRow


def hit(session: Session, bucket: str, *, most: int, per_s: float) -> int | None:
    """Count one try against ``bucket``, at most ``most`` (≥ 2) in any ``per_s`` seconds.

    The caller commits, whatever becomes of what was tried. Tries side by side are counted like tries in a row.

    Returns:
        None: it may go on. Otherwise after how many seconds (≥ 1) the next one may; this one was not counted.
    """
    at_once, step_s = _shape(most, per_s)
    now = func.clock_timestamp()
    free_at = func.greatest(RateLimitRow.free_at, now) + _seconds(step_s)
    counted = session.execute(
        insert(RateLimitRow)
        .values(bucket_hash=hash_of(bucket), free_at=now + _seconds(step_s))
        .on_conflict_do_update(
            index_elements=["bucket_hash"],
            set_={"free_at": free_at},
            where=free_at <= now + _seconds(at_once * step_s),
        )
        .returning(RateLimitRow.free_at)
    ).scalar_one_or_none()
    if counted is not None:
        return None
    waits = func.extract("epoch", RateLimitRow.free_at - now)
    left_s = session.execute(select(waits).where(RateLimitRow.bucket_hash == hash_of(bucket))).scalar_one_or_none()
    return max(1, ceil(float(left_s or 0) - (at_once - 1) * step_s))


def give_back(session: Session, bucket: str, *, most: int, per_s: float) -> None:
    """Take one counted try back: it was none of those that the limit is for."""
    _, step_s = _shape(most, per_s)
    session.execute(
        update(RateLimitRow)
        .where(RateLimitRow.bucket_hash == hash_of(bucket))
        .values(free_at=RateLimitRow.free_at - _seconds(step_s))
    )


def forget(session: Session, bucket: str) -> None:
    """Forget every try against this bucket."""
    session.execute(delete(RateLimitRow).where(RateLimitRow.bucket_hash == hash_of(bucket)))


def sweep(session: Session) -> int:
    """Delete buckets that are free again; answers how many there were."""
    gone = session.execute(
        delete(RateLimitRow).where(RateLimitRow.free_at < func.clock_timestamp()).returning(RateLimitRow.bucket_hash)
    )
    return len(gone.all())


def _shape(most: int, per_s: float) -> tuple[int, float]:
    """How many may come at once, and the seconds by which each further one is spread."""
    at_once = most // 2
    if at_once < 1:
        raise ValueError(f"a limit allows at least 2, not {most}")
    return at_once, per_s / (most - at_once)


def _seconds(seconds: float) -> ColumnElement[Any]:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)
