"""One attempt at one Job: the stages in their order, kept alive, told about, and brought to exactly one end.

text → plan → music ∥ cover ∥ tags. Each stage is one call of the gateway (takes that are made again are called for one
by one) and its answer is saved with the Job, so that the next attempt begins at the first missing one. Words and music
must succeed; plan, cover and tags may fail without harm.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Concatenate, Final, ParamSpec, TypeVar

import structlog

from configs.logs import stack_of
from configs.settings import WorkerSettings
from data.database import Database, DatabaseUnreachable, Session
from data.repositories.jobs import Claimed
from serving import attempts, song_stages
from serving.attempts import Fenced, RetryRule
from serving.client import Busy, DeadlineExceeded, GatewayClient, ModelRejected, ReplicaLost, Unavailable
from serving.contract import CallContext, Event, MakeRequest, ProgressEvent, TakeFailure, TakeResult
from serving.progress import ProgressBoard
from serving.song_stages import Answers, Takes
from studio.errors import MelodeonError
from studio.words.brief import Brief
from studio.words.ids import JobId
from studio.words.job import Stage

P = ParamSpec("P")
R = TypeVar("R")

TELL_EVERY_S: Final = 0.25
_REPEAT_PAUSE_S: Final = 0.5
_BREATHER_S: Final = 1.0
_OURS: Final = "Something went wrong on our side."
_LOST: Final = "The engine stopped in the middle of the work."

_log = structlog.get_logger(__name__)

Wake = Callable[[Claimed, float], None]
"""Told that the account's lane should be looked at again after so many seconds."""


class UnreadableBrief(MelodeonError):
    """What was asked for cannot be read any more: a version with other words wrote it."""

    code = "unreadable_brief"

    def __init__(self) -> None:
        super().__init__(
            "This request was written by another version of Melodeon and cannot be read any more. "
            "Your credits were given back; please ask for the song once more."
        )


class _Work:
    """An attempt in memory. ``stopped`` says why its stages were cancelled from inside: cancelled or fenced."""

    def __init__(self, claimed: Claimed) -> None:
        self.claimed = claimed
        self.board = ProgressBoard()
        self.stages: asyncio.Task[tuple[Brief, Answers]] | None = None
        self.stopped: str | None = None

    def stop(self, why: str) -> None:
        if self.stages is not None and not self.stages.done() and self.stopped is None:
            self.stopped = why
            self.stages.cancel()


class Orchestrator:
    """Does the work of claimed Jobs.

    Args:
        database: where the Jobs stand.
        client: the way to the models.
        settings: leases, deadlines and retries.
        wake_later: called when a Job waits for its next attempt.
    """

    def __init__(
        self, database: Database, client: GatewayClient, settings: WorkerSettings, *, wake_later: Wake
    ) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self._wake_later = wake_later
        self._rule = RetryRule(max_attempts=settings.max_attempts, base_s=settings.retry_base_s)
        self._at_work: dict[JobId, _Work] = {}

    def cancel(self, job_id: JobId) -> None:
        """Stop the work on this Job because its owner wants so. Harmless when it is not done here."""
        work = self._at_work.get(job_id)
        if work is not None:
            work.stop("cancelled")

    async def work(self, claimed: Claimed) -> None:
        """Make one attempt at the Job and end it: finished, failed, given back or cancelled.

        Being cancelled from outside (shutdown) gives the Job back without spending an attempt.
        """
        work = _Work(claimed)
        self._at_work[claimed.job_id] = work
        ids = {"job_id": claimed.job_id, "account_id": claimed.account_id, "attempt": claimed.attempt}
        with structlog.contextvars.bound_contextvars(**ids, trace_id=claimed.trace_id):
            try:
                async with self._kept_alive(work):
                    await self._attempt(work)
            except Fenced:
                _log.warning("attempt was fenced")
            except DatabaseUnreachable:
                _log.warning("database stayed away; the sweep will take this job up again")
            finally:
                # a later attempt, claimed by this same worker, may stand there by now
                if self._at_work.get(claimed.job_id) is work:
                    del self._at_work[claimed.job_id]

    async def _attempt(self, work: _Work) -> None:
        started = time.monotonic()
        work.stages = asyncio.create_task(self._stages(work), name=f"stages of {work.claimed.job_id}")
        try:
            async with asyncio.timeout(self._settings.job_deadline_s):
                brief, answers = await work.stages
        except asyncio.CancelledError:
            await self._end_stopped(work)
        except TimeoutError:
            await self._fail(work, DeadlineExceeded(self._settings.job_deadline_s), retryable=True)
        except (Busy, Unavailable) as error:
            await self._give_back(work, error.retry_after_s, error)
        except (Fenced, DatabaseUnreachable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever happens, the Job must come to an end
            await self._fail(work, error, retryable=_may_be_tried_again(error))
        else:
            outcomes = song_stages.outcomes(brief, work.claimed.open_takes, answers)
            state = await self._write(attempts.finish, work, outcomes, now=_now())
            _log.info("job ended", state=str(state), seconds=round(time.monotonic() - started, 2))

    async def _end_stopped(self, work: _Work) -> None:
        """The stages were cancelled: by the owner, by another attempt, or because this worker must stop."""
        claimed = work.claimed
        if work.stopped == "fenced":
            raise Fenced(claimed.job_id, claimed.attempt)
        if work.stopped == "cancelled":
            await self._write(attempts.cancelled, work, now=_now())
            _log.info("job cancelled")
            return
        if work.stages is not None:
            work.stages.cancel()
            await asyncio.wait([work.stages])
        sentence = "The studio restarts; the work goes on in a moment."
        give_back = self._write(attempts.give_back, work, pause_s=0.0, code="restart", sentence=sentence, now=_now())
        await asyncio.shield(give_back)
        _log.info("job given back for the next worker")
        raise asyncio.CancelledError

    async def _fail(self, work: _Work, error: BaseException, *, retryable: bool) -> None:
        code, sentence = _told(error)
        _log.warning(
            "attempt failed", code=code, retryable=retryable, error=type(error).__name__, stack=stack_of(error)
        )
        pause_s = await self._write(
            attempts.fail,
            work,
            code=code,
            sentence=sentence,
            retryable=retryable,
            rule=self._rule,
            now=_now(),
        )
        if pause_s is not None:
            self._wake_later(work.claimed, pause_s)

    async def _give_back(self, work: _Work, pause_s: float, error: MelodeonError) -> None:
        _log.info("job given back", code=error.code, pause_s=pause_s)
        await self._write(
            attempts.give_back, work, pause_s=pause_s, code=error.code, sentence=error.sentence, now=_now()
        )
        self._wake_later(work.claimed, pause_s)
        # keeps this slot from asking busy engines over and over, on behalf of one waiting account after the other
        await asyncio.sleep(min(pause_s, _BREATHER_S))

    # the stages

    async def _stages(self, work: _Work) -> tuple[Brief, Answers]:
        brief = await self._planned(work, await self._text(work))
        calls = song_stages.calls(brief, work.claimed.open_takes)
        painting = self._extra(work, Stage.COVER, song_stages.cover_calls(calls))
        tagging = self._extra(work, Stage.TAGS, song_stages.tags_calls(brief))
        beside = [asyncio.create_task(painting), asyncio.create_task(tagging)]
        try:
            music = await self._stage(work, Stage.MUSIC, calls)
            covers, tags = await asyncio.gather(*beside)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        return brief, Answers(music=music, covers=covers, tags=song_stages.tags_of(tags))

    async def _text(self, work: _Work) -> Brief:
        brief = work.claimed.brief
        if brief is None:
            raise UnreadableBrief
        if not song_stages.needs_text(brief):
            work.board.note(Stage.TEXT, 1.0)
            return brief
        takes = await self._stage(work, Stage.TEXT, [song_stages.text_brief(brief)])
        brief = song_stages.with_text(brief, takes)
        await self._write(attempts.write_words, work, title=brief.title, prompt=brief.prompt, lyrics=brief.lyrics)
        return brief

    async def _planned(self, work: _Work, brief: Brief) -> Brief:
        """The brief with the numbers that the planner finds for it, if this installation has one; else as it is."""
        if not song_stages.needs_plan(brief):
            return brief
        takes = await self._extra(work, Stage.TEXT, [song_stages.plan_brief(brief)], name="plan")
        return song_stages.with_plan(brief, takes)

    async def _stage(self, work: _Work, stage: Stage, calls: Sequence[Brief], *, name: str = "") -> Takes:
        """What this stage made, now or in a former attempt; raises when nothing could be made.

        Args:
            work: the attempt.
            stage: whose progress is told.
            calls: to be made, one after the other.
            name: under which the answer is kept with the Job; the stage's own when empty.
        """
        name = name or stage.value
        kept = work.claimed.results.get(name)
        saved = None if kept is None else song_stages.read_saved(kept)
        if saved is not None:
            work.board.note(stage, 1.0)
            return saved
        takes: list[TakeResult | TakeFailure] = []
        for brief in calls:
            request = self._request(work.claimed, brief, folder=f"/{len(takes)}" if len(calls) > 1 else "")
            takes += await self._client.make(request, _listener(work.board, stage))
        failed = [take for take in takes if isinstance(take, TakeFailure)]
        if failed and len(failed) == len(takes):
            raise ModelRejected(failed[0].code, failed[0].sentence, retryable=True)
        await self._write(attempts.save_stage, work, name=name, result=song_stages.saved(takes))
        work.board.note(stage, 1.0)
        return takes

    async def _extra(self, work: _Work, stage: Stage, calls: Sequence[Brief], *, name: str = "") -> Takes:
        """A stage that may fail: nothing is answered then. While its engine is away, it is waited for a while."""
        until = time.monotonic() + self._settings.extra_patience_s
        while True:
            try:
                return await self._stage(work, stage, calls, name=name)
            except (Fenced, DatabaseUnreachable):
                raise
            except (Busy, Unavailable, ReplicaLost) as error:
                # a replica dies with whatever it did at the moment; its successor needs some seconds to come up
                pause_s = max(0.1, min(getattr(error, "retry_after_s", math.inf), self._settings.retry_base_s))
                if time.monotonic() + pause_s > until:
                    _log.warning("stage left out", stage=stage.value, code=error.code)
                    break
                await asyncio.sleep(pause_s)
            except MelodeonError as error:
                _log.warning("stage left out", stage=stage.value, code=error.code)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the song
                _log.error("stage left out", stage=stage.value, error=type(error).__name__, stack=stack_of(error))
                break
        work.board.note(stage, 1.0)
        return ()

    def _request(self, claimed: Claimed, brief: Brief, *, folder: str) -> MakeRequest:
        call = CallContext(
            job_id=claimed.job_id,
            attempt=claimed.attempt,
            deadline_s=self._settings.job_deadline_s,
            key_prefix=f"songs/{claimed.account_id}/{claimed.job_id}/{claimed.attempt}{folder}",
            trace_id=claimed.trace_id,
        )
        return MakeRequest(call=call, brief=brief, artist=claimed.artist)

    # beside the stages

    @asynccontextmanager
    async def _kept_alive(self, work: _Work) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._beat(work)), asyncio.create_task(self._tell(work))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self, work: _Work) -> None:
        """Prolong the lease; stop the work when it was lost or its owner wants so."""
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            try:
                answer = await self._transact(attempts.heartbeat, work, lease_s=self._settings.lease_s)
            except Exception as error:  # noqa: BLE001 - one that is missed must not be the last
                _log.warning("heartbeat missed", error=type(error).__name__)
                continue
            if not answer.alive:
                work.stop("fenced")
            elif answer.cancel_requested:
                work.stop("cancelled")

    async def _tell(self, work: _Work) -> None:
        """Pass progress on, at most four times a second."""
        board = work.board
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            if not board.changed:
                continue
            board.changed = False
            with suppress(Exception):  # what could not be told now is told with the next
                await self._transact(
                    attempts.note_progress,
                    work,
                    stage=board.stage,
                    fraction=board.fraction,
                    message=board.message,
                    stages={stage.value: fraction for stage, fraction in board.stages.items()},
                )

    async def _write(
        self,
        function: Callable[Concatenate[Session, JobId, int, P], R],
        work: _Work,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Write in a transaction; while the database is away, again and again for as long as a lease can live."""
        until = time.monotonic() + self._settings.lease_s
        while True:
            try:
                return await self._transact(function, work, *args, **kwargs)
            except DatabaseUnreachable:
                if time.monotonic() > until:
                    raise
                _log.warning("database does not answer; writing again", write=function.__name__)
            await asyncio.sleep(_REPEAT_PAUSE_S)

    async def _transact(
        self,
        function: Callable[Concatenate[Session, JobId, int, P], R],
        work: _Work,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        claimed = work.claimed

        def call() -> R:
            with self._database.transaction() as session:
                return function(session, claimed.job_id, claimed.attempt, *args, **kwargs)

        return await asyncio.to_thread(call)


def _listener(board: ProgressBoard, stage: Stage) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if isinstance(event, ProgressEvent):
            board.note(stage, min(event.fraction, 0.99), event.message)

    return listen


def _told(error: BaseException) -> tuple[str, str]:
    """The code of an error and a sentence for the person; what a connection broke of is not for people."""
    if isinstance(error, ReplicaLost):
        return error.code, _LOST
    return (error.code, error.sentence) if isinstance(error, MelodeonError) else ("internal", _OURS)


def _may_be_tried_again(error: BaseException) -> bool:
    if isinstance(error, ModelRejected):
        return error.retryable
    return isinstance(error, ReplicaLost | DeadlineExceeded) or not isinstance(error, MelodeonError)


def _now() -> datetime:
    return datetime.now(UTC)
