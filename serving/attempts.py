"""Jobs as a worker sees them: claim, keep alive, save, and bring to an end.

Every write carries the number of the attempt. When another attempt has taken over, or the Job has ended, nothing is
written and `Fenced` is raised: the worker must throw its work away. Every function works in the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from data.database import Session
from data.repositories import job_songs, lanes
from data.repositories import jobs as job_rows
from data.repositories.job_songs import LostTake, MadeTake
from data.repositories.jobs import Claimed, Standing
from serving import job_ends, queue
from studio.errors import MelodeonError
from studio.words.asset import AssetRole
from studio.words.ids import AccountId, JobId
from studio.words.job import JobState, Stage

BACK_OFF_FACTOR: Final = 3.0
LOST: Final = "replica_lost"
"""Code of an attempt whose replica died under it."""

Outcome = MadeTake | LostTake


class Fenced(MelodeonError):
    """This attempt is over: the lease ended and another took its place, or the Job has ended."""

    code = "fenced"

    def __init__(self, job_id: JobId, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} at {job_id} is over; its work is thrown away.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAnswer:
    """``alive``: the attempt goes on. ``cancel_requested``: the person wants it to stop."""

    alive: bool
    cancel_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """How often an attempt may fail, and the wait after the first failure; every further wait is 3 times longer."""

    max_attempts: int = 3
    base_s: float = 5.0

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after so many failures (≥ 1)."""
        return self.base_s * BACK_OFF_FACTOR ** (failures - 1)


def claim(session: Session, account_id: AccountId, *, lease_s: float) -> Claimed | None:
    """Take the account's oldest ready Job; None when none is ready or one is in process."""
    lanes.lock(session, account_id)
    return _claim(session, account_id, lease_s=lease_s)


def go_on(session: Session, account_id: AccountId, *, lease_s: float, may_claim: bool) -> Claimed | None:
    """After a Job: take the account's next one if no other account waits, else let the lane wait for its turn.

    Args:
        session: the caller's transaction.
        account_id: whose lane.
        lease_s: seconds until the claim lapses without a heartbeat.
        may_claim: whether this worker wants more; False always lets the lane wait for its turn.
    """
    lanes.lock(session, account_id)
    if may_claim and not lanes.another_waits(session, account_id):
        return _claim(session, account_id, lease_s=lease_s)
    if job_rows.has_ready(session, account_id):
        queue.wake(session, account_id)
    return None


def wake_ready(session: Session, account_id: AccountId) -> None:
    """Set the lane's alarm if a Job is ready: after a pause, and by the sweep."""
    lanes.lock(session, account_id)
    if job_rows.has_ready(session, account_id):
        queue.wake(session, account_id)


def heartbeat(session: Session, job_id: JobId, attempt: int, *, lease_s: float) -> HeartbeatAnswer:
    """Prolong the lease."""
    cancel_requested = job_rows.extend_lease(session, job_id, attempt, lease_s=lease_s)
    return HeartbeatAnswer(alive=cancel_requested is not None, cancel_requested=bool(cancel_requested))


def note_progress(
    session: Session,
    job_id: JobId,
    attempt: int,
    *,
    stage: Stage,
    fraction: float,
    message: str,
    stages: Mapping[str, float],
) -> None:
    """Say how far the Job is: ``fraction`` 0-1 of the whole, ``stages`` 0-1 of each. Raises `Fenced`."""
    alive = job_rows.write_progress(
        session, job_id, attempt, stage=stage, fraction=fraction, message=message, stages=stages
    )
    if not alive:
        raise Fenced(job_id, attempt)


def save_stage(session: Session, job_id: JobId, attempt: int, *, name: str, result: Mapping[str, Any]) -> None:
    """Keep what a stage made (JSON values), so that a later attempt does not make it again. Raises `Fenced`."""
    if not job_rows.save_result(session, job_id, attempt, name=name, result=result):
        raise Fenced(job_id, attempt)


def write_words(session: Session, job_id: JobId, attempt: int, *, title: str, prompt: str, lyrics: str) -> None:
    """Show the words of the text stage on the Songs while the music is made. Raises `Fenced`."""
    _standing(session, job_id, attempt)
    job_songs.write_words(session, job_id, title=title, prompt=prompt, lyrics=lyrics)


def finish(session: Session, job_id: JobId, attempt: int, outcomes: Sequence[Outcome], *, now: datetime) -> JobState:
    """End a Job with what its takes became: made ones are paid, the rest of the hold is released.

    The Job is processed if any of these takes was made. If cancelling was asked for before this, cancelling wins.

    Raises:
        Fenced: the attempt is over.
    """
    standing = _standing(session, job_id, attempt)
    if standing.cancel_requested:
        job_ends.end_cancelled(session, standing, now=now)
        return JobState.CANCELLED
    made = [outcome for outcome in outcomes if isinstance(outcome, MadeTake)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, LostTake)]
    kept = job_songs.write_made(session, job_id, made)
    state = JobState.PROCESSED if made else JobState.FAILED
    reason = lost[0].sentence if lost else ""
    code = "not_made" if not made else "partly_made" if lost else ""
    tidy = not lost and kept == len(made) and all(AssetRole.COVER in take.assets for take in made)
    job_ends.end(session, standing, state=state, captured=kept, reason=reason, code=code, now=now, tidy=tidy)
    for take in lost:
        job_songs.write_lost(session, job_id, take)
    return state


def fail(
    session: Session,
    job_id: JobId,
    attempt: int,
    *,
    code: str,
    sentence: str,
    retryable: bool,
    rule: RetryRule,
    now: datetime,
) -> float | None:
    """This attempt failed. Answers the seconds until the next one, None when there is none and the Job failed.

    Raises:
        Fenced: the attempt is over.
    """
    standing = _standing(session, job_id, attempt)
    return _fail(session, standing, code=code, sentence=sentence, retryable=retryable, rule=rule, now=now)


def give_back(
    session: Session, job_id: JobId, attempt: int, *, pause_s: float, code: str, sentence: str, now: datetime
) -> None:
    """Nothing could be done now (back-pressure, shutdown): the Job waits again and no attempt is spent.

    Raises:
        Fenced: the attempt is over.
    """
    standing = _standing(session, job_id, attempt)
    if standing.cancel_requested:
        job_ends.end_cancelled(session, standing, now=now)
        return
    lanes.refund_start(session, standing.account_id)
    _requeue(session, standing, failures=standing.failures, pause_s=pause_s, code=code, sentence=sentence)


def cancelled(session: Session, job_id: JobId, attempt: int, *, now: datetime) -> None:
    """The worker has stopped because it was asked to. Raises `Fenced`."""
    job_ends.end_cancelled(session, _standing(session, job_id, attempt), now=now)


def expire(session: Session, account_id: AccountId, job_id: JobId, *, rule: RetryRule, now: datetime) -> None:
    """Take a Job from a worker that let its lease end. Harmless when somebody else did, or the worker came back."""
    lanes.lock(session, account_id)
    standing = job_rows.lock(session, job_id)
    if standing is None or not job_rows.lease_is_over(session, job_id):
        return
    if standing.cancel_requested:
        job_ends.end_cancelled(session, standing, now=now)
        return
    at_once = RetryRule(max_attempts=rule.max_attempts, base_s=0.0)
    sentence = "The work was interrupted."
    _fail(session, standing, code="interrupted", sentence=sentence, retryable=True, rule=at_once, now=now)


def _claim(session: Session, account_id: AccountId, *, lease_s: float) -> Claimed | None:
    claimed = job_rows.claim(session, account_id, lease_s=lease_s)
    if claimed is not None:
        lanes.count_start(session, account_id)
        job_songs.set_status(session, claimed.job_id, JobState.PROCESSING)
    return claimed


def _standing(session: Session, job_id: JobId, attempt: int) -> Standing:
    """Lock lane and Job of a living attempt."""
    if lanes.lock_of_job(session, job_id):
        standing = job_rows.lock(session, job_id)
        if standing is not None and standing.state is JobState.PROCESSING and standing.attempt == attempt:
            return standing
    raise Fenced(job_id, attempt)


def _fail(
    session: Session,
    standing: Standing,
    *,
    code: str,
    sentence: str,
    retryable: bool,
    rule: RetryRule,
    now: datetime,
) -> float | None:
    failures = standing.failures + 1
    if standing.cancel_requested:
        job_ends.end_cancelled(session, standing, now=now)
        return None
    if not retryable or failures >= rule.max_attempts:
        if retryable and failures > 1:
            back = " Your credits were given back." if standing.price_credits else ""
            sentence = f"{sentence} It was tried {failures} times and then given up.{back}"
            if code == LOST and standing.losses == standing.failures:
                code = job_ends.POISON
        job_ends.end(
            session,
            standing,
            state=JobState.FAILED,
            captured=0,
            reason=sentence,
            code=code,
            now=now,
            failures=failures,
        )
        return None
    pause_s = rule.pause_s(failures)
    _requeue(session, standing, failures=failures, pause_s=pause_s, code=code, sentence=sentence)
    return pause_s


def _requeue(session: Session, standing: Standing, *, failures: int, pause_s: float, code: str, sentence: str) -> None:
    lost = code == LOST
    job_rows.requeue(
        session, standing.job_id, failures=failures, lost=lost, pause_s=pause_s, reason=sentence, code=code
    )
    job_songs.set_status(session, standing.job_id, JobState.QUEUED)
    if job_rows.has_ready(session, standing.account_id):
        queue.wake(session, standing.account_id)
