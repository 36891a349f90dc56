"""Jobs as people see them: ask, look, cancel, run again. The worker's side is `serving.attempts`.

Every function works in the caller's transaction and none commits. Locks are taken in the order lane, job, alarm.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from billing import ledger, plans, pricing
from configs.settings import QUEUED_SONGS_MAX
from data.access import NotFound, may_see_job
from data.database import Session
from data.ids import new_id
from data.repositories import job_songs, job_times, lanes, requests
from data.repositories import jobs as job_rows
from data.repositories.briefs import brief_to_json
from data.repositories.texts import check_keepable
from serving import catalogue, job_ends, outlook, queue
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.brief import Brief, BriefKind
from studio.words.ids import AccountId, JobId
from studio.words.job import Job, JobState

CHANNEL: Final = job_rows.CHANGED
"""NOTIFY channel of every change of a Job; the payload is ``ACCOUNT:JOB``."""

KEY_MAX: Final = 200
"""Longest idempotency key in characters, with what the door puts before it."""
QUARANTINE_S: Final = 3600.0
_ACTIVE_MAX: Final = 200


class TooManyQueued(MelodeonError):
    """The account has as many songs waiting as it may have."""

    code = "too_many_queued"

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} songs waiting, which is the most. Wait for some or cancel some first.")
        self.most = most


class BadRequestKey(MelodeonError):
    """The idempotency key is empty or too long."""

    code = "bad_request_key"

    def __init__(self) -> None:
        super().__init__(f"The idempotency key must have 1 to {KEY_MAX} characters.")


class Quarantined(MelodeonError):
    """The very same request has just stopped one replica after the other; nobody may ask for it for a while."""

    code = "quarantined"

    def __init__(self) -> None:
        super().__init__(
            "This very request stopped the engine again and again within the last hour. "
            "Please change its words or numbers, or choose another engine."
        )


class CannotRunAgain(MelodeonError):
    """Only songs that failed, were cancelled or lacked credits can be made again."""

    code = "cannot_run_again"

    def __init__(self, state: JobState) -> None:
        if state.ended:
            super().__init__("There is nothing left of this request to make; create a new song instead.")
        else:
            super().__init__("This request is still being worked on; cancel it first.")


def request(
    session: Session,
    account: Account,
    brief: Brief,
    *,
    key: str,
    now: datetime,
    draw_seed: Callable[[], int],
    queued_max: int = QUEUED_SONGS_MAX,
    trace_id: str = "",
) -> Job:
    """Ask for a song: fit, price, hold, Job, Songs and the alarm, all or nothing.

    With too few credits Job and Songs are kept as ``no credits`` without a hold; the door answers 402 with the Job.

    Args:
        session: the caller's transaction.
        account: who asks and pays.
        brief: what is asked for; an empty engine means the default one.
        key: idempotency key of this account, 1 to `KEY_MAX` characters: asked twice, the same Job comes back.
        now: the application's time, for the books.
        draw_seed: draws a seed when the brief has none.
        queued_max: how many songs an account may have waiting.
        trace_id: stands on every log line of the request.

    Raises:
        UnfitBrief, UnknownEngine, NoEngine: the engine cannot make this.
        UnkeepableText: a text holds something that is no character.
        TooManyQueued: too many songs are waiting already.
        Quarantined: this very request stopped replica after replica.
        KeyReused: the key was used for another brief.
        NotFound: the account was deleted a moment ago.
    """
    if not 1 <= len(key) <= KEY_MAX:
        raise BadRequestKey
    asked = _fingerprint(brief)
    lanes.open_and_lock(session, account.id, start_cost=plans.plan(account.plan).start_cost)
    line = _line(session, account.id, asked, key=key, queued_max=queued_max)
    if line.known is not None:
        return _known(session, account, line.known, key=key, asked=asked)
    brief = _fitted(brief, draw_seed)
    _check_line(line, takes=brief.takes, queued_max=queued_max)
    job_id, price = JobId(new_id("job")), pricing.price_of(brief)
    state, reason = _hold(session, account.id, job_id, price, round_number=1, now=now)
    job = requests.insert(
        session,
        job_id=job_id,
        account_id=account.id,
        brief=brief,
        song_ids=requests.new_song_ids(brief.takes),
        uses_guidance=catalogue.spec_of(brief.engine).uses_guidance,
        state=state,
        price_credits=price,
        key=key,
        request_hash=asked,
        trace_id=trace_id,
        reason=reason,
        reason_code=ledger.NoCredits.code if reason else "",
    )
    if state is JobState.QUEUED:
        queue.wake(session, account.id)
    return job


def run_again(
    session: Session,
    account: Account,
    job_id: JobId,
    *,
    now: datetime,
    queued_max: int = QUEUED_SONGS_MAX,
) -> Job:
    """Ask once more for the songs that failed, were cancelled or lacked credits, with a new hold for these alone.

    Songs that are processed already stay as they are, whatever becomes of the others: the state of the Job tells of
    this round.

    Raises:
        NotFound: there is no such Job of this account.
        CannotRunAgain: the Job is under way, or every song is processed or deleted.
        TooManyQueued: too many songs are waiting already.
        Quarantined: this very request stopped replica after replica.
    """
    lanes.open_and_lock(session, account.id, start_cost=plans.plan(account.plan).start_cost)
    standing = _locked(session, account, job_id)
    job = get(session, account, job_id)
    songs = job_songs.number_open(session, job_id)
    if not standing.state.ended or songs == 0:
        raise CannotRunAgain(standing.state)
    line = _line(session, account.id, standing.request_hash, key="", queued_max=queued_max)
    _check_line(line, takes=songs, queued_max=queued_max)
    price = pricing.price_of(replace(job.brief, takes=songs))
    state, reason = _hold(session, account.id, job_id, price, round_number=standing.round + 1, now=now)
    code = ledger.NoCredits.code if reason else ""
    job_rows.renew(session, job_id, state=state, price_credits=price, reason=reason, code=code)
    job_songs.set_status(session, job_id, state, reason=reason)
    if state is JobState.QUEUED:
        queue.wake(session, account.id)
    return get(session, account, job_id)


def price_again(session: Session, account: Account, job_id: JobId) -> int:
    """Credits that `run_again` would set aside for this Job now; 0 when there is nothing left to make.

    Raises:
        NotFound: there is no such Job of this account.
    """
    brief = get(session, account, job_id).brief
    songs = job_songs.number_open(session, job_id)
    return pricing.price_of(replace(brief, takes=songs)) if songs else 0


def cancel(session: Session, account: Account, job_id: JobId, *, now: datetime) -> Job:
    """Stop a Job: at once while it is queued; else its worker is called and stops within seconds.

    Cancelling what has ended changes nothing.

    Raises:
        NotFound: there is no such Job of this account.
    """
    lanes.lock(session, account.id)
    standing = _locked(session, account, job_id)
    if standing.state is JobState.QUEUED:
        job_ends.end_cancelled(session, standing, now=now)
    elif standing.state is JobState.PROCESSING:
        job_rows.ask_to_cancel(session, job_id)
    return get(session, account, job_id)


def get(session: Session, account: Account, job_id: JobId) -> Job:
    """The Job, if it is this account's. Raises `NotFound`."""
    job = job_rows.by_id(session, job_id)
    if job is None or not may_see_job(account, job):
        raise NotFound("job")
    return job


def active(session: Session, account_id: AccountId) -> tuple[Job, ...]:
    """The account's queued and processing Jobs, oldest first."""
    return job_rows.active(session, account_id, most=_ACTIVE_MAX)


def recent(session: Session, account_id: AccountId, limit: int) -> tuple[Job, ...]:
    """The account's last Jobs, newest first."""
    return job_rows.recent(session, account_id, most=limit)


def some(session: Session, account_id: AccountId, ids: Iterable[JobId]) -> tuple[Job, ...]:
    """Those of these Jobs that are the account's, oldest first."""
    return job_rows.some(session, account_id, ids)


def position_and_eta(session: Session, job: Job) -> tuple[int, float | None]:
    """How many starts go before this Job, and in how many seconds it will probably be done.

    An estimate: the account's own earlier Jobs, and for each of them and for this one a turn of every lane that
    waits ahead. The time follows the last processed Jobs of the kind (`pace`), None before the first; as many Jobs
    run side by side as do now.
    """
    return outlooks(session, job.account_id, (job,))[job.id]


def outlooks(session: Session, account_id: AccountId, jobs: Sequence[Job]) -> dict[JobId, outlook.Outlook]:
    """`position_and_eta` of several Jobs of one account, by a handful of statements however many they are."""
    found: dict[JobId, outlook.Outlook] = {job.id: (0, None) for job in jobs}
    if all(job.state.ended for job in jobs):
        return found
    line = active(session, account_id)
    coming = outlook.outlooks_of(
        line,
        {kind: pace(session, kind) for kind in {job.brief.kind for job in line}},
        ahead=lanes.ahead(session, account_id),
        side_by_side=max(1, job_times.number_processing(session)),
    )
    return {job_id: coming.get(job_id, nothing) for job_id, nothing in found.items()}


def pace(session: Session, kind: BriefKind) -> outlook.Pace | None:
    """How long Jobs of this kind take here, by the last ones; None before the first."""
    return outlook.pace_of(job_times.last_times(session, kind))


def _fitted(brief: Brief, draw_seed: Callable[[], int]) -> Brief:
    """The brief with its engine and seed filled in, checked against what the engine can do."""
    texts = ("description", "prompt", "lyrics", "described_lyrics", "title")
    check_keepable(**{name: getattr(brief, name) for name in texts})
    brief.check_texts()
    engine = brief.engine or catalogue.default_engine(brief.kind)
    seed = brief.controls.seed if brief.controls.seed is not None else draw_seed()
    brief = replace(brief, engine=engine, controls=replace(brief.controls, seed=seed))
    catalogue.spec_of(engine).fit(brief)
    return brief


def _known(session: Session, account: Account, known: tuple[JobId, str], *, key: str, asked: str) -> Job:
    """The Job that was asked for under this key before. Raises `KeyReused` if something else was."""
    job_id, fingerprint = known
    if fingerprint != asked:
        raise ledger.KeyReused(key)
    return get(session, account, job_id)


def _fingerprint(brief: Brief) -> str:
    text = json.dumps(brief_to_json(brief), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _line(session: Session, account_id: AccountId, request_hash: str, *, key: str, queued_max: int) -> job_rows.Line:
    return job_rows.line(session, account_id, request_hash, key=key, most=queued_max, quarantine_s=QUARANTINE_S)


def _check_line(line: job_rows.Line, *, takes: int, queued_max: int) -> None:
    if line.account_gone:
        raise NotFound("account")
    if line.quarantined:
        raise Quarantined
    if line.queued_songs + takes > queued_max:
        raise TooManyQueued(queued_max)


def _hold(
    session: Session, account_id: AccountId, job_id: JobId, price: int, *, round_number: int, now: datetime
) -> tuple[JobState, str]:
    """Hold the credits; answers the state the Job gets by it and a sentence when there were too few."""
    if price:
        try:
            ledger.hold(session, account_id, job_id, price, key=f"hold:{job_id}:{round_number}", now=now)
        except ledger.NoCredits as error:
            return JobState.NO_CREDITS, error.sentence
    return JobState.QUEUED, ""


def _locked(session: Session, account: Account, job_id: JobId) -> job_rows.Standing:
    standing = job_rows.lock(session, job_id)
    if standing is None or standing.account_id != account.id:
        raise NotFound("job")
    return standing
