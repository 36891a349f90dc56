"""Job: one Brief being worked on."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from studio.words.brief import Brief
from studio.words.ids import AccountId, JobId, SongId


class JobState(StrEnum):
    """Where a Job is. ``no credits`` waits for the person, not for a worker."""

    QUEUED = "queued"
    PROCESSING = "processing"
    PROCESSED = "processed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NO_CREDITS = "no credits"

    @property
    def ended(self) -> bool:
        """Nothing more will happen by itself."""
        return self in (JobState.PROCESSED, JobState.FAILED, JobState.CANCELLED, JobState.NO_CREDITS)


class Stage(StrEnum):
    """The steps of a song Job, in order; those after the text run side by side."""

    TEXT = "text"
    MUSIC = "music"
    COVER = "cover"
    TAGS = "tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One Brief being worked on.

    Attributes:
        attempt: number of the claim that is or was last at work; every write by a worker carries it.
        progress: 0-1 over all stages; ``message`` says in a few words what is being done.
        reason: a sentence for the person when failed or cancelled; ``reason_code`` for programs.
        price_credits: what the whole request costs when every take succeeds.
    """

    id: JobId
    account_id: AccountId
    brief: Brief
    state: JobState
    attempt: int = 0
    stage: Stage | None = None
    progress: float = 0.0
    message: str = ""
    reason: str = ""
    reason_code: str = ""
    price_credits: int = 0
    cancel_requested: bool = False
    ready_at: datetime | None = None
    lease_until: datetime | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    song_ids: tuple[SongId, ...] = ()
