"""The autoscaling policy of Ray Serve that asks the queue: replicas follow the accounts that have something to do.

In a Serve file, for a deployment that may go to zero::

    autoscaling_config:
      min_replicas: 0
      max_replicas: 8
      policy:
        policy_function: serving.deployments.autoscaling:RunnableAccountsPolicy
        policy_kwargs: {stages: [music], drain_s: 30}

Serve makes one policy for each deployment inside its controller, calls it about ten times a second in the controller's
own loop, and applies bounds and delays around the answer. Nothing here may therefore wait: a thread beside it reads
Postgres and exports the numbers. While they are old or missing, the present target stays.

Serve's own request counters are left aside on purpose. Work waits in Postgres, where they do not see it, and those of
streams have been seen to stay up after the work was done (ray#61551).

Serve pickles this module by value, so it keeps no state and no lock of its own at module level.
"""

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Final

from ray.util.metrics import Gauge

from configs.addresses import database_url
from configs.secrets import load_or_create
from configs.settings import UnknownSetting, load
from data.database import Database
from data.repositories import queue_health
from data.repositories.queue_health import StageDemand
from serving.scaling import Cause, Decision, Demand, ScalingRule, decide
from studio.errors import MelodeonError
from studio.words.job import Stage

_READ_TIMEOUT_S: Final = 5.0


class UnknownScalingStage(MelodeonError):
    """The Serve file names a stage that there is not, or none."""

    code = "unknown_scaling_stage"

    def __init__(self, stages: Sequence[str]) -> None:
        known = ", ".join(stage.value for stage in Stage)
        super().__init__(f"The policy cannot scale by the stages “{', '.join(stages)}”; name some of {known}.")


class RunnableAccountsPolicy:
    """Ray Serve's question "how many replicas?", answered by `serving.scaling.decide`.

    Args:
        stages: what the application does of a Job: values of `Stage`; all of them where models take turns.
        poll_s: seconds between two looks at the queue.
        window_s: seconds over which arrivals are counted.
        rule: the fields of `ScalingRule` (``drain_s``, ``utilisation``, ``per_replica``, ``stale_s``, ``assumed_s``).

    Raises:
        UnknownScalingStage, ValueError, TypeError: the Serve file is wrong; Serve then shows the sentence.
    """

    def __init__(self, *, stages: Sequence[str], poll_s: float = 1.0, window_s: float = 300.0, **rule: Any) -> None:
        if not stages or not set(stages) <= {stage.value for stage in Stage}:
            raise UnknownScalingStage(stages)
        if poll_s <= 0 or window_s <= 0:
            raise ValueError("poll_s and window_s must be more than zero.")
        self._rule = ScalingRule(**rule)
        self._board = _Board()
        self._reader = threading.Thread(
            target=_keep_reading,
            args=(self._board, [Stage(stage) for stage in stages], poll_s, window_s),
            name=f"scaling-{'-'.join(stages)}",
            daemon=True,
        )
        self._told: tuple[int, Cause] | None = None

    def __call__(self, ctx: Any) -> tuple[int, dict[str, Any]]:
        """Serve's call: how many replicas this deployment should have, and no state to keep for us."""
        if self._reader.ident is None:
            self._reader.start()
            # A policy that Serve has replaced is collected; its reader must not outlive it, nor keep it alive.
            weakref.finalize(self, self._board.stop.set)
        decision = decide(
            self._board.demand(),
            ctx.target_num_replicas,
            self._rule,
            least=ctx.capacity_adjusted_min_replicas,
            most=max(ctx.capacity_adjusted_min_replicas, ctx.capacity_adjusted_max_replicas),
        )
        self._board.decided = (ctx.app_name or ctx.deployment_name, decision)
        self._tell(ctx, decision)
        return decision.replicas, {}

    def _tell(self, ctx: Any, decision: Decision) -> None:
        told = (decision.replicas, decision.cause)
        if told != self._told:
            self._told = told
            sentence = f"Scaling of {ctx.app_name}: {decision.replicas} replicas wanted ({decision.cause.value})."
            _log().info("%s %s", sentence, decision.reason)


class _Board:
    """What a policy and its reader share. Each field is replaced whole, so that no lock is needed.

    Attributes:
        stop: set when the policy is no more.
        read: the last answer of the queue and the monotonic time it was asked.
        decided: the application and the last decision for it.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.read: tuple[StageDemand, float] | None = None
        self.decided: tuple[str, Decision] | None = None

    def demand(self) -> Demand | None:
        """The last answer with its age."""
        if self.read is None:
            return None
        found, read_at = self.read
        return Demand(
            running=found.running,
            ready_accounts=found.ready_accounts,
            seconds_per_song=found.seconds_per_song,
            arrivals_per_s=found.arrivals_per_s,
            arriving_accounts=found.arriving_accounts,
            age_s=max(0.0, time.monotonic() - read_at),
        )


def _keep_reading(board: _Board, stages: Sequence[Stage], poll_s: float, window_s: float) -> None:
    """The reader's thread: look at the queue, export the numbers, until the policy is gone."""
    metrics = _Metrics()
    database: Database | None = None
    failed = ""
    while not board.stop.is_set():
        try:
            database = database or _open_database()
            asked_at = time.monotonic()
            with database.transaction() as session:
                found = queue_health.demand(session, stages, window_s=window_s)
            board.read = (found, asked_at)
            failed = ""
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the target stays and the next look may do better
            if failed != (failed := _sentence_of(error)):
                _log().warning("Scaling: the queue cannot be read, so the present target is kept. %s", failed)
        metrics.export(board)
        board.stop.wait(poll_s)
    if database is not None:
        database.dispose()


def _sentence_of(error: Exception) -> str:
    """What may be written of an error: our own sentences hold no secrets, others' might."""
    return str(error) if isinstance(error, MelodeonError | UnknownSetting) else f"({type(error).__name__})"


def _open_database() -> Database:
    """The product's database, as this machine's settings name it. One connection."""
    settings = load()
    return Database(
        database_url(settings, load_or_create(settings.var), role="worker"),
        pool_size=1,
        statement_timeout_s=_READ_TIMEOUT_S,
        application_name="melodeon scaling",
    )


class _Metrics:
    """The policy's numbers for Prometheus, where Ray puts ``ray_`` before their names."""

    def __init__(self) -> None:
        self._runnable = _gauge(
            "melodeon_scaling_runnable_accounts", "Accounts that have something to do for this application."
        )
        self._desired = _gauge("melodeon_scaling_desired_replicas", "Replicas that the policy wants.")
        self._age = _gauge("melodeon_scaling_data_age_seconds", "Seconds since the queue was last read.")
        self._seconds = _gauge(
            "melodeon_scaling_seconds_per_song", "Seconds that this application spends on one Job, lately."
        )
        self._arrivals = _gauge(
            "melodeon_scaling_arrivals_per_second", "Jobs a second that became possible to run, lately."
        )
        self._reason = _gauge(
            "melodeon_scaling_reason", "1 for why the policy decides as it does, 0 for the others.", "reason"
        )

    def export(self, board: _Board) -> None:
        """Set everything that is known."""
        if board.decided is None:
            return
        application, decision = board.decided
        labels = {"application": application}
        self._desired.set(decision.replicas, tags=labels)
        for cause in Cause:
            self._reason.set(int(cause is decision.cause), tags={**labels, "reason": cause.value})
        demand = board.demand()
        if demand is not None:
            self._runnable.set(demand.runnable, tags=labels)
            self._age.set(demand.age_s, tags=labels)
            self._arrivals.set(demand.arrivals_per_s, tags=labels)
            self._seconds.set(demand.seconds_per_song, tags=labels)


def _gauge(name: str, description: str, *labels: str) -> Any:
    return Gauge(name, description, tag_keys=("application", *labels))


def _log() -> logging.Logger:
    """Serve's own logger: what a policy says stands in the controller's log, beside what Serve did about it."""
    return logging.getLogger("ray.serve")
