"""How the queue is doing: for the doctor and the readiness door."""

from sqlalchemy import text

from data.database import Session


def newest_worker_beat_s(session: Session) -> float | None:
    """Seconds since the last sign of life of any worker; None: no worker has ever been here or all have left."""
    found = session.execute(
        text("SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM procrastinate_workers")
    ).scalar_one()
    return None if found is None else float(found)


def longest_wait_s(session: Session) -> float | None:
    """Seconds that the first Job in line, of all accounts at rest, has waited beyond its time; None: nobody waits."""
    found = session.execute(
        text(
            """
            SELECT extract(epoch FROM now() - min(job.ready_at)) FROM job
            WHERE job.state = 'queued' AND job.ready_at <= now() AND NOT EXISTS (
                SELECT FROM job busy WHERE busy.account_id = job.account_id AND busy.state = 'processing')
            """
        )
    ).scalar_one()
    return None if found is None else float(found)
