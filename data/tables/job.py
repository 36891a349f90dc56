"""Jobs, their progress, and the lanes that take turns."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Count, Created, Id, Json, Moment, Words, one_of
from studio.words.job import JobState, Stage


class JobRow(Base):
    """One Brief being worked on: the truth about it. Kept narrow; progress stands in its own table.

    ``number`` is the order of arrival. ``results`` holds what finished stages made, so that a retry starts at the
    first missing one. Every write by a worker carries ``attempt``; no row updated means it was fenced. ``failures``
    counts the attempts that were spent (back-pressure spends none), ``losses`` those of them that lost their replica.
    ``round`` goes up when the Job is run again and makes the keys of its Hold unique. ``objects_swept``: nothing of
    lost attempts is left in the object store.
    """

    __tablename__ = "job"
    __table_args__ = (
        one_of("state", JobState),
        CheckConstraint("price_credits >= 0", name="price"),
        CheckConstraint("(state = 'processing') = (lease_until IS NOT NULL)", name="lease_while_processing"),
        UniqueConstraint("account_id", "idempotency_key"),
        Index("uq_job_one_processing", "account_id", unique=True, postgresql_where=text("state = 'processing'")),
        Index("ix_job_queued", "account_id", "number", postgresql_where=text("state = 'queued'")),
        Index("ix_job_lease", "lease_until", postgresql_where=text("state = 'processing'")),
        Index("ix_job_history", "account_id", text("number DESC")),
        Index("ix_job_durations", "kind", text("finished_at DESC"), postgresql_where=text("state = 'processed'")),
        Index("ix_job_poison", "request_hash", postgresql_where=text("reason_code = 'poison'")),
        Index("ix_job_unswept", "finished_at", postgresql_where=text("finished_at IS NOT NULL AND NOT objects_swept")),
        {"postgresql_with": {"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.02"}},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[str]
    state: Mapped[str]
    brief: Mapped[Json]
    results: Mapped[Json] = mapped_column(server_default="{}")
    price_credits: Mapped[int]
    idempotency_key: Mapped[str] = mapped_column(String(200))
    request_hash: Mapped[str] = mapped_column(String(64))
    attempt: Mapped[Count]
    failures: Mapped[Count]
    losses: Mapped[Count]
    round: Mapped[int] = mapped_column(server_default="1")
    ready_at: Mapped[Moment] = mapped_column(server_default=func.now())
    lease_until: Mapped[Moment | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default="false")
    reason: Mapped[Words]
    reason_code: Mapped[Words]
    trace_id: Mapped[Words]
    objects_swept: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[Created]
    started_at: Mapped[Moment | None]
    finished_at: Mapped[Moment | None]


class JobProgressRow(Base):
    """How far a Job is. Written often, therefore apart from the Job."""

    __tablename__ = "job_progress"
    __table_args__ = (
        one_of("stage", Stage),
        CheckConstraint("fraction BETWEEN 0 AND 1", name="fraction"),
        {"postgresql_with": {"fillfactor": "50", "autovacuum_vacuum_scale_factor": "0.02"}},
    )

    job_id: Mapped[Id] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[str]
    fraction: Mapped[float]
    message: Mapped[Words]
    stages: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())


class LaneRow(Base):
    """One account's place in the fair queue (start-time fair queueing)."""

    __tablename__ = "lane"
    __table_args__ = (
        CheckConstraint("start_cost > 0", name="start_cost"),
        Index("ix_lane_last_start", "last_start"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    start_cost: Mapped[int]
    virtual_time: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_start: Mapped[int] = mapped_column(BigInteger, server_default="0")
