"""How busy the studio is and how long its last Jobs took: what estimates are made from."""

from typing import Final

from sqlalchemy import text

from data.database import Session
from studio.words.brief import BriefKind

_LAST: Final = 50


def number_processing(session: Session) -> int:
    """How many Jobs are in process everywhere."""
    return int(session.execute(text("SELECT count(*) FROM job WHERE state = 'processing'")).scalar_one())


def last_times(session: Session, kind: BriefKind) -> tuple[tuple[float, float], ...]:
    """How long the last processed Jobs of this kind took at their first attempt, and the length of their songs.

    Returns:
        pairs of seconds from claim to end and seconds of song, newest first.
    """
    statement = text(
        "SELECT extract(epoch FROM finished_at - started_at), length_s FROM"
        " (SELECT id, started_at, finished_at FROM job WHERE kind = :kind AND state = 'processed' AND attempt = 1"
        "  ORDER BY finished_at DESC LIMIT :most) last"
        " JOIN LATERAL (SELECT max(duration_s) AS length_s FROM song WHERE job_id = last.id) made ON length_s > 0"
    )
    rows = session.execute(statement, {"kind": kind.value, "most": _LAST})
    return tuple((float(took_s), float(length_s)) for took_s, length_s in rows)
