"""The Songs of a Job: made with it, told of its course, and given what their takes became."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import text

from data.database import Session
from data.repositories import assets
from studio.words.asset import Asset, AssetRole
from studio.words.ids import JobId, SongId
from studio.words.job import JobState
from studio.words.take import Section, TimedLine


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeTake:
    """What one take of a Job became.

    Attributes:
        index: which take, 0-based.
        assets: its stored objects by role, at least the sound.
        title, prompt, lyrics: the words it was made from, whoever wrote them.
        provenance: every effective setting of every engine that had a part in it (JSON values).
        note: a sentence for the owner, or empty.
    """

    index: int
    assets: Mapping[AssetRole, Asset]
    title: str
    prompt: str
    lyrics: str
    engine: str
    engine_version: str
    seed: int
    steps: int | None = None
    guidance_scale: float | None = None
    duration_s: float | None = None
    tempo_bpm: float | None = None
    key: str | None = None
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    sections: tuple[Section, ...] = ()
    lines: tuple[TimedLine, ...] = ()
    tags: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTake:
    """A take that could not be made, and a sentence about it for its owner."""

    index: int
    sentence: str


_SET_STATUS = text(
    "UPDATE song SET status = :status, reason = :reason, updated_at = now()"
    " WHERE job_id = :job_id AND status <> 'processed' AND deleted_at IS NULL"
)


def set_status(session: Session, job_id: JobId, state: JobState, *, reason: str = "") -> None:
    """Every Song of the Job that is not processed has this status now."""
    session.execute(_SET_STATUS, {"job_id": job_id, "status": state.value, "reason": reason})


def number_open(session: Session, job_id: JobId) -> int:
    """How many Songs of the Job are still there and not processed."""
    statement = text(
        "SELECT count(*) FROM song WHERE job_id = :job_id AND status <> 'processed' AND deleted_at IS NULL"
    )
    return int(session.execute(statement, {"job_id": job_id}).scalar_one())


def write_words(session: Session, job_id: JobId, *, title: str, prompt: str, lyrics: str) -> None:
    """The text stage is done: people may read title and lyrics while the music is made. A title of theirs stays."""
    statement = text(
        "UPDATE song SET title = CASE WHEN title = '' THEN :title ELSE title END,"
        " prompt = :prompt, lyrics = :lyrics, updated_at = now()"
        " WHERE job_id = :job_id AND status <> 'processed' AND deleted_at IS NULL"
    )
    session.execute(statement, {"job_id": job_id, "title": title, "prompt": prompt, "lyrics": lyrics})


_MADE = text(
    "UPDATE song SET status = 'processed', reason = '', note = :note,"
    " title = CASE WHEN title = '' THEN :title ELSE title END, prompt = :prompt, lyrics = :lyrics,"
    " engine = :engine, engine_version = :engine_version, seed = :seed, steps = :steps,"
    " guidance_scale = :guidance_scale, duration_s = :duration_s, tempo_bpm = :tempo_bpm, key = :key,"
    " loudness_lufs = :loudness_lufs, true_peak_dbtp = :true_peak_dbtp, sections = CAST(:sections AS jsonb),"
    " lines = CAST(:lines AS jsonb), provenance = CAST(:provenance AS jsonb), updated_at = now()"
    " WHERE job_id = :job_id AND status <> 'processed' AND deleted_at IS NULL AND take_index = :index RETURNING id"
)
_COLUMNS = (
    *("index", "title", "prompt", "lyrics", "engine", "engine_version", "seed", "steps", "guidance_scale"),
    *("duration_s", "tempo_bpm", "key", "loudness_lufs", "true_peak_dbtp", "note"),
)
_TAGS = text(
    "WITH given AS (SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (song_id text, tag text, place int)),"
    # sorted, so that two transactions adding the same new tags never wait for each other crosswise
    " added AS (INSERT INTO tag (name) SELECT DISTINCT tag FROM given ORDER BY tag ON CONFLICT DO NOTHING)"
    " INSERT INTO song_tag (song_id, tag, position) SELECT song_id, tag, place FROM given ON CONFLICT DO NOTHING"
)


def write_made(session: Session, job_id: JobId, takes: Sequence[MadeTake]) -> int:
    """The Songs of these takes are processed: measurements, provenance, assets and tags are kept.

    Nothing is kept of a take whose Song was processed or deleted before. Answers how many were kept.
    """
    kept = [(song_id, take) for take in takes if (song_id := _write_take(session, job_id, take)) is not None]
    links = [(song_id, role, asset) for song_id, take in kept for role, asset in take.assets.items()]
    # one statement for all rows: finishing is the hottest write of the queue
    assets.link(session, links)
    tags = [
        {"song_id": song_id, "tag": tag, "place": place}
        for song_id, take in kept
        for place, tag in enumerate(dict.fromkeys(take.tags))
    ]
    if tags:
        session.execute(_TAGS, {"rows": json.dumps(tags)})
    return len(kept)


def _write_take(session: Session, job_id: JobId, take: MadeTake) -> SongId | None:
    values = {name: getattr(take, name) for name in _COLUMNS}
    values["sections"] = json.dumps([asdict(section) for section in take.sections])
    values["lines"] = json.dumps([asdict(line) for line in take.lines])
    values["provenance"] = json.dumps(dict(take.provenance))
    song_id = session.execute(_MADE, {**values, "job_id": job_id}).scalar_one_or_none()
    return None if song_id is None else SongId(song_id)


def write_lost(session: Session, job_id: JobId, take: LostTake) -> None:
    """The Song of this take failed."""
    statement = text(
        "UPDATE song SET status = 'failed', reason = :sentence, updated_at = now()"
        " WHERE job_id = :job_id AND status <> 'processed' AND deleted_at IS NULL AND take_index = :index"
    )
    session.execute(statement, {"job_id": job_id, "index": take.index, "sentence": take.sentence})
