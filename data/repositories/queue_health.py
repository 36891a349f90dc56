"""How the queue is doing: for the doctor, the readiness door, the scaling of the models and the metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text

from data.database import Session
from studio.words.job import JobState, Stage

_LAST: Final = 50
"""So many of the last finished Jobs say how long one takes."""

_NEWEST: Final = 2_000
"""Arrivals are looked for among so many of the newest Jobs, however many came in the window."""

_ALIVE_S: Final = 30.0
"""A worker that has shown no sign of life for longer is dead (it beats every few seconds)."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDemand:
    """What the queue asks of some stages of a Job, now.

    Attributes:
        running: accounts with a Job in process that has not finished these stages.
        ready_accounts: further accounts whose next Job could start now and needs these stages.
        seconds_per_song: what the engines of these stages together spent on one of the last Jobs, on average, waiting
            not included; None: no such Job has been finished yet.
        arrivals_per_s: Jobs a second that became possible to run, over the last minutes.
        arriving_accounts: distinct accounts that sent these Jobs.
    """

    running: int
    ready_accounts: int
    seconds_per_song: float | None
    arrivals_per_s: float
    arriving_accounts: int


# ``waiting`` hops over the index of queued Jobs from account to account, so that it costs as much as there are
# accounts in line, not songs; the lateral query finds the very Job that a worker would claim.
_READY: Final = """
    WITH RECURSIVE waiting AS (
        (SELECT account_id FROM job WHERE state = 'queued' ORDER BY account_id LIMIT 1)
        UNION ALL
        SELECT (SELECT account_id FROM job WHERE state = 'queued' AND account_id > waiting.account_id
                ORDER BY account_id LIMIT 1)
          FROM waiting WHERE waiting.account_id IS NOT NULL
    ), ready AS (
        SELECT first.results, first.ready_at FROM waiting, LATERAL (
            SELECT results, ready_at FROM job
             WHERE account_id = waiting.account_id AND state = 'queued' AND ready_at <= now()
             ORDER BY number LIMIT 1) first
         WHERE NOT EXISTS (SELECT FROM job WHERE account_id = waiting.account_id AND state = 'processing')
    )
"""


def _with_ready(rest: str) -> TextClause:
    """The statement, which may read ``ready``: the next Job of every account that could start one now."""
    return text("{ready} {rest}".replace("{ready}", _READY).replace("{rest}", rest))


# An account runs one Job at a time. Of what it sent in the window, only as much arrives at the replicas as one lane
# can work off in it; the rest waits behind its own.
_DEMAND = _with_ready(
    """
    , spent AS (
        SELECT extract(epoch FROM finished_at - started_at) AS whole_s,
               (SELECT coalesce(sum((take ->> 'seconds')::float), 0) FROM unnest(CAST(:stages AS text[])) AS stage,
                       jsonb_array_elements(last.results -> stage -> 'takes') AS take) AS stages_s
          FROM (SELECT started_at, finished_at, results FROM job
                 WHERE kind = 'song' AND state = 'processed' AND attempt = 1
                 ORDER BY finished_at DESC LIMIT :last) last
    ), newest AS (
        SELECT account_id, created_at, state, attempt FROM job ORDER BY number DESC LIMIT :newest
    ), span AS (
        SELECT CASE WHEN count(*) < :newest THEN :window_s
                    ELSE least(:window_s, greatest(1, extract(epoch FROM now() - min(created_at)))) END AS seconds
          FROM newest
    ), arrived AS (
        SELECT count(*) AS jobs FROM newest, span
         WHERE created_at >= now() - make_interval(secs => span.seconds)
           AND state <> 'no credits' AND NOT (state = 'cancelled' AND attempt = 0)
         GROUP BY account_id
    )
    SELECT (SELECT count(*) FROM job WHERE state = 'processing' AND NOT results ?& CAST(:stages AS text[])) AS running,
           (SELECT count(*) FROM ready WHERE NOT results ?& CAST(:stages AS text[])) AS ready_accounts,
           (SELECT nullif(avg(stages_s), 0) FROM spent) AS seconds_per_song,
           (SELECT coalesce(sum(least(jobs, span.seconds / (SELECT greatest(avg(whole_s), 0.001) FROM spent))), 0)
              FROM arrived) / span.seconds AS arrivals_per_s,
           (SELECT count(*) FROM arrived) AS arriving_accounts
      FROM span
    """
)


def demand(session: Session, stages: Sequence[Stage], *, window_s: float = 300.0) -> StageDemand:
    """What the queue asks of these stages. One statement, cheap however long the queue and the history are.

    Args:
        session: the caller's transaction.
        stages: those that one application does.
        window_s: seconds over which arrivals are counted, > 0.
    """
    names = [stage.value for stage in stages]
    values = {"stages": names, "last": _LAST, "newest": _NEWEST, "window_s": float(window_s)}
    row = session.execute(_DEMAND, values).one()
    return StageDemand(
        running=int(row.running),
        ready_accounts=int(row.ready_accounts),
        seconds_per_song=None if row.seconds_per_song is None else float(row.seconds_per_song),
        arrivals_per_s=float(row.arrivals_per_s),
        arriving_accounts=int(row.arriving_accounts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """The queue in numbers, for the metrics: nothing in them tells of a person.

    Attributes:
        queued, processing: Jobs in these states.
        lanes_ready: accounts at rest whose next Job could start now.
        oldest_wait_s: how long the longest of them has waited beyond its time; 0 when there is none.
        workers_alive: workers that gave a sign of life in the last half minute.
        credits_held: Credits set aside for Jobs that have not ended.
    """

    queued: int
    processing: int
    lanes_ready: int
    oldest_wait_s: float
    workers_alive: int
    credits_held: int


_FIGURES = _with_ready(
    """
    SELECT (SELECT count(*) FROM job WHERE state = 'queued') AS queued,
           (SELECT count(*) FROM job WHERE state = 'processing') AS processing,
           (SELECT count(*) FROM ready) AS lanes_ready,
           (SELECT coalesce(extract(epoch FROM now() - min(ready_at)), 0) FROM ready) AS oldest_wait_s,
           (SELECT count(*) FROM procrastinate_workers
             WHERE last_heartbeat > now() - make_interval(secs => :alive_s)) AS workers_alive,
           ledger_credits_held() AS credits_held
    """
)


def figures(session: Session) -> QueueFigures:
    """The queue in numbers."""
    row = session.execute(_FIGURES, {"alive_s": _ALIVE_S}).mappings().one()
    whole = {name: int(value) for name, value in row.items() if name != "oldest_wait_s"}
    return QueueFigures(**whole, oldest_wait_s=float(row["oldest_wait_s"]))


_OLDEST_OPEN = text(
    "SELECT coalesce((SELECT min(number) FROM job WHERE state IN ('queued', 'processing')),"
    " (SELECT max(number) + 1 FROM job), 1)"
)
_ENDED = text(
    """
    WITH seen AS (SELECT number, state FROM job WHERE number >= :number_from),
         edge AS (SELECT coalesce(min(number) FILTER (WHERE state IN ('queued', 'processing')), max(number) + 1)
                      AS number FROM seen)
    SELECT seen.state, edge.number, count(*) FILTER (WHERE seen.number < edge.number) AS settled, count(*) AS jobs
      FROM seen, edge GROUP BY seen.state, edge.number
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How Jobs ended, from one number of arrival on.

    Attributes:
        number: the first that has not ended yet; the next count may begin here.
        settled: ended Jobs before ``number``, by state.
        jobs: all ended Jobs, by state.
    """

    number: int
    settled: Mapping[JobState, int]
    jobs: Mapping[JobState, int]


def oldest_open(session: Session) -> int:
    """The number of arrival of the oldest Job that has not ended; the next Job's when all have."""
    return int(session.execute(_OLDEST_OPEN).scalar_one())


def ended(session: Session, number_from: int) -> Ended:
    """How the Jobs of this number of arrival and later ended. Costs as much as there are such Jobs."""
    rows = session.execute(_ENDED, {"number_from": number_from}).all()
    over = [row for row in rows if JobState(row.state).ended]
    return Ended(
        number=rows[0].number if rows else number_from,
        settled={JobState(row.state): int(row.settled) for row in over},
        jobs={JobState(row.state): int(row.jobs) for row in over},
    )
