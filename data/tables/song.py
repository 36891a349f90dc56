"""Songs and their tags."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Count, Created, Id, Json, Moment, Words, one_of
from studio.words.job import JobState
from studio.words.song import DownloadRule


class SongRow(Base):
    """An entry in somebody's library. ``deleted_at``: gone for everybody; the row stays for the books."""

    __tablename__ = "song"
    __table_args__ = (
        one_of("status", JobState),
        one_of("download_rule", DownloadRule),
        CheckConstraint("published_at IS NULL OR status = 'processed'", name="published_is_processed"),
        CheckConstraint("length(title) <= 100", name="title_length"),
        UniqueConstraint("job_id", "take_index"),
        Index(
            "ix_song_library",
            "account_id",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_song_discover",
            text("published_at DESC"),
            text("id DESC"),
            postgresql_where=text("published_at IS NOT NULL AND deleted_at IS NULL"),
        ),
        Index("ix_song_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    job_id: Mapped[Id] = mapped_column(ForeignKey("job.id"))
    take_index: Mapped[int]
    status: Mapped[str]
    title: Mapped[Words]
    prompt: Mapped[Words]
    description: Mapped[Words]
    lyrics: Mapped[Words]
    described_lyrics: Mapped[Words]
    instrumental: Mapped[bool] = mapped_column(server_default="false")
    engine: Mapped[Words]
    engine_version: Mapped[Words]
    seed: Mapped[int | None]
    steps: Mapped[int | None]
    guidance_scale: Mapped[float | None]
    duration_s: Mapped[float | None]
    tempo_bpm: Mapped[float | None]
    key: Mapped[str | None]
    loudness_lufs: Mapped[float | None]
    true_peak_dbtp: Mapped[float | None]
    sections: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    lines: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    provenance: Mapped[Json] = mapped_column(server_default="{}")
    reason: Mapped[Words]
    note: Mapped[Words]
    parent_id: Mapped[Id | None] = mapped_column(ForeignKey("song.id", ondelete="SET NULL"))
    published_at: Mapped[Moment | None]
    download_rule: Mapped[str] = mapped_column(server_default="everyone")
    play_count: Mapped[Count]
    download_count: Mapped[Count]
    created_at: Mapped[Created]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())
    deleted_at: Mapped[Moment | None]


class TagRow(Base):
    """One word of the closed list of tags."""

    __tablename__ = "tag"

    name: Mapped[str] = mapped_column(primary_key=True)


class SongTagRow(Base):
    """Which tags a song carries, in the order given."""

    __tablename__ = "song_tag"
    __table_args__ = (Index("ix_song_tag_tag", "tag"),)

    song_id: Mapped[Id] = mapped_column(ForeignKey("song.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(ForeignKey("tag.name"), primary_key=True)
    position: Mapped[int]
