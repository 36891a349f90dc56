"""Song: an entry in somebody's library from the moment it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from studio.words.asset import Asset, AssetRole
from studio.words.ids import AccountId, JobId, SongId
from studio.words.job import JobState
from studio.words.take import Section, TimedLine


class DownloadRule(StrEnum):
    """Who besides the owner may download a published Song."""

    NOBODY = "nobody"
    FOLLOWERS = "followers"
    EVERYONE = "everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """An entry in somebody's library.

    Attributes:
        status: the five states of a song; equal to its take's own outcome, so one of two may fail.
        published_at: None while private.
        artist_avatar: object key of the artist's picture; empty: none.
        assets: the stored objects by role; empty until processed.
        lines, sections: lyrics and form in time, for the page.
        loudness_lufs, true_peak_dbtp: measured after mastering.
        reason: why it is not finished, a sentence for its owner; empty when it is processed.
        note: what its owner should know of a processed song ("Two lines did not fit."), or empty.
    """

    id: SongId
    account_id: AccountId
    artist: str
    artist_avatar: str = ""
    job_id: JobId
    take_index: int
    status: JobState
    title: str
    prompt: str = ""
    description: str = ""
    lyrics: str = ""
    described_lyrics: str = ""
    instrumental: bool = False
    tags: tuple[str, ...] = ()
    engine: str = ""
    engine_version: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    duration_s: float | None = None
    tempo_bpm: float | None = None
    key: str | None = None
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    sections: tuple[Section, ...] = ()
    lines: tuple[TimedLine, ...] = ()
    reason: str = ""
    note: str = ""
    parent_id: SongId | None = None
    published_at: datetime | None = None
    download_rule: DownloadRule = DownloadRule.EVERYONE
    play_count: int = 0
    download_count: int = 0
    created_at: datetime
    updated_at: datetime
    assets: Mapping[AssetRole, Asset] = field(default_factory=dict)
