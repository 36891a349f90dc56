"""How a Job ends: row, hold, songs and the notice to listeners, together."""

from datetime import datetime
from typing import Final

from billing import ledger
from data.database import Session
from data.repositories import job_songs
from data.repositories import jobs as job_rows
from studio.words.job import JobState

POISON: Final = "poison"
"""Reason code of a Job whose every attempt ended with the death of its replica."""


def end(
    session: Session,
    standing: job_rows.Standing,
    *,
    state: JobState,
    captured: int,
    reason: str,
    code: str,
    now: datetime,
    failures: int | None = None,
    tidy: bool = False,
) -> None:
    """End a Job whose lane and row are locked.

    Args:
        session: the caller's transaction.
        standing: the locked Job.
        state: how it ends; Songs that are not processed get the same, or failed when the Job is processed.
        captured: credits to spend; the rest of the hold is released.
        reason: a sentence for the person, or empty.
        code: the reason for programs.
        now: the application's time, for the books.
        failures: attempts spent, when this end spends one.
        tidy: everything that this attempt stored belongs to a Song now.
    """
    job_rows.end(
        session,
        standing.job_id,
        state=state,
        failures=standing.failures if failures is None else failures,
        reason=reason,
        code=code,
        tidy=tidy,
    )
    if standing.price_credits:
        key = f"settle:{standing.job_id}:{standing.round}"
        ledger.settle(session, standing.job_id, captured=captured, key=key, now=now)
    songs_state = JobState.FAILED if state is JobState.PROCESSED else state
    job_songs.set_status(session, standing.job_id, songs_state, reason=reason)


def end_cancelled(session: Session, standing: job_rows.Standing, *, now: datetime) -> None:
    """The person asked to stop; nothing is paid."""
    sentence = "You cancelled this request. Its credits were given back."
    end(session, standing, state=JobState.CANCELLED, captured=0, reason=sentence, code="cancelled", now=now)
