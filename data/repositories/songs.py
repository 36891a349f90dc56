"""Songs as people see them: pages of them, one of them, and what their owners do with them.

Every read is one statement, tags and assets included, whatever the number of songs. Deleted songs are never found.
The rows' way into the word `Song` is `_song_of`, nowhere else. (How a Job makes its songs: ``job_songs``.)
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, cast, func, select, tuple_, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute

from data.database import Session
from data.repositories import assets, audit
from data.repositories.texts import check_keepable
from data.tables import AccountRow, AssetRow, JobRow, SongAssetRow, SongRow, SongTagRow
from studio.errors import MelodeonError
from studio.words.asset import Asset, AssetRole
from studio.words.brief import TITLE_MAX
from studio.words.ids import AccountId, JobId, SongId, is_id
from studio.words.job import JobState
from studio.words.song import DownloadRule, Song
from studio.words.take import Section, TimedLine

Before = tuple[datetime, SongId]
"""After which song a page goes on: its moment (created or published) and its id."""

_JOB_TEXTS: Final = {"title": "", "prompt": "", "description": "", "lyrics": "", "described_lyrics": ""}
_WIPED: Final = {**_JOB_TEXTS, "reason": "", "note": "", "sections": [], "lines": [], "provenance": {}}


class BadTitle(MelodeonError):
    """The title is empty or too long."""

    code = "bad_title"

    def __init__(self) -> None:
        super().__init__(f"A title has 1 to {TITLE_MAX} characters.")


class NotFinished(MelodeonError):
    """Only a finished song can be published."""

    code = "not_finished"

    def __init__(self) -> None:
        super().__init__("This song is not finished, so it cannot be published yet.")


class WrongState(MelodeonError):
    """A song that is still being made cannot be deleted."""

    code = "wrong_state"

    def __init__(self) -> None:
        super().__init__("This song is still being made. Cancel it first; then you can delete it.")


def by_id(session: Session, song_id: str) -> Song | None:
    """The song with this id; None also for a text that is no id, and for a deleted song."""
    if not is_id(song_id, noun="song"):
        return None
    row = session.execute(_songs().where(SongRow.id == song_id)).one_or_none()
    return None if row is None else _song_of(row)


def of_object(session: Session, key: str) -> Song | None:
    """The song that a stored object belongs to; None for a deleted song's, and for objects of no song."""
    mine = select(SongAssetRow.song_id).join(AssetRow, AssetRow.id == SongAssetRow.asset_id).where(AssetRow.key == key)
    row = session.execute(_songs().where(SongRow.id.in_(mine)).limit(1)).one_or_none()
    return None if row is None else _song_of(row)


def library(
    session: Session,
    account_id: AccountId,
    *,
    before: Before | None = None,
    limit: int = 24,
    status: JobState | None = None,
) -> tuple[Song, ...]:
    """One page of what an account made or asked for, newest first."""
    query = _songs().where(SongRow.account_id == account_id)
    if status is not None:
        query = query.where(SongRow.status == status.value)
    return _page(session, query, SongRow.created_at, before, limit)


def discover(session: Session, *, before: Before | None = None, limit: int = 24) -> tuple[Song, ...]:
    """One page of everybody's published songs, newest first."""
    query = _songs().where(SongRow.published_at.is_not(None))
    return _page(session, query, SongRow.published_at, before, limit)


def rename(session: Session, song_id: SongId, title: str) -> None:
    """Give the song another title, without the spaces around it.

    Raises:
        BadTitle, UnkeepableText: the song keeps its title.
    """
    title = title.strip()
    if not 1 <= len(title) <= TITLE_MAX:
        raise BadTitle
    check_keepable(title=title)
    _change(session, song_id, title=title)


def publish(session: Session, song_id: SongId, *, download_rule: DownloadRule | None = None) -> None:
    """Show the song to everybody from now on; again: only the rule may change.

    Args:
        download_rule: who may download it; None: as it is.

    Raises:
        NotFinished: it is not processed, or gone.
    """
    values: dict[str, Any] = {"published_at": func.coalesce(SongRow.published_at, func.now())}
    if download_rule is not None:
        values["download_rule"] = download_rule.value
    if not _change(session, song_id, SongRow.status == JobState.PROCESSED.value, **values):
        raise NotFinished


def unpublish(session: Session, song: Song, *, actor: AccountId) -> None:
    """Make the song private again. When its owner does not do it, that stands in the audit log."""
    if _change(session, song.id, SongRow.published_at.is_not(None), published_at=None) and actor != song.account_id:
        audit.note(session, actor, "song_hidden", song.account_id, song.id)


def delete(session: Session, song_id: SongId) -> None:
    """Take the song out of every list, wipe its texts, release its objects. The bare row stays for the books.

    With the last song of a Job the texts of the Job go too. Doing it again changes nothing.

    Raises:
        WrongState: it is queued or in process.
    """
    job_id = session.execute(select(SongRow.job_id).where(SongRow.id == song_id)).scalar_one_or_none()
    if job_id is None:
        return
    # The Job first, as when it ends: two transactions that take them crosswise would wait for each other.
    session.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update())
    status = session.execute(select(SongRow.status).where(SongRow.id == song_id, SongRow.deleted_at.is_(None)))
    state = status.scalar_one_or_none()
    if state is None:
        return
    if not JobState(state).ended:
        raise WrongState
    _change(session, song_id, deleted_at=func.now(), published_at=None, **_WIPED)
    session.execute(delete_rows(SongTagRow).where(SongTagRow.song_id == song_id))
    assets.unlink_all(session, song_id)
    _wipe_job(session, JobId(job_id))


def count_play(session: Session, song_id: SongId) -> None:
    """One more play."""
    _count(session, song_id, SongRow.play_count)


def count_download(session: Session, song_id: SongId) -> None:
    """One more download."""
    _count(session, song_id, SongRow.download_count)


def _count(session: Session, song_id: SongId, counter: InstrumentedAttribute[int]) -> None:
    session.execute(
        update(SongRow).where(SongRow.id == song_id, SongRow.deleted_at.is_(None)).values({counter: counter + 1})
    )


def _change(session: Session, song_id: SongId, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Change a song that is not deleted; False: there was none, or a condition did not hold."""
    changed = session.execute(
        update(SongRow)
        .where(SongRow.id == song_id, SongRow.deleted_at.is_(None), *conditions)
        .values(**values, updated_at=func.now())
        .returning(SongRow.id)
    )
    return changed.one_or_none() is not None


def _wipe_job(session: Session, job_id: JobId) -> None:
    kept = select(SongRow.id).where(SongRow.job_id == job_id, SongRow.deleted_at.is_(None))
    session.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.finished_at.is_not(None), ~kept.exists())
        .values(brief=JobRow.brief.op("||")(cast(_JOB_TEXTS, JSONB)), results={})
    )


def _songs() -> Select[Any]:
    """All songs with artist, tags and assets. The inner queries run once for each row of the page, not of the table."""
    tags = (
        select(func.array_agg(aggregate_order_by(SongTagRow.tag, SongTagRow.position)))
        .where(SongTagRow.song_id == SongRow.id)
        .scalar_subquery()
    )
    one = func.jsonb_build_object(
        "key", AssetRow.key, "sha256", AssetRow.sha256,
        "media_type", AssetRow.media_type, "size_bytes", AssetRow.size_bytes,
    )  # fmt: skip
    objects = (
        select(func.jsonb_object_agg(SongAssetRow.role, one))
        .join(AssetRow, AssetRow.id == SongAssetRow.asset_id)
        .where(SongAssetRow.song_id == SongRow.id)
        .scalar_subquery()
    )
    columns = (column for column in SongRow.__table__.columns if column.name != "provenance")
    return (
        select(
            *columns,
            AccountRow.name.label("artist"),
            AccountRow.avatar_key.label("artist_avatar"),
            tags.label("tags"),
            objects.label("assets"),
        )
        .join(AccountRow, AccountRow.id == SongRow.account_id)
        .where(SongRow.deleted_at.is_(None))
    )


def _page(
    session: Session,
    query: Select[Any],
    moment: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    before: Before | None,
    limit: int,
) -> tuple[Song, ...]:
    """A page by key: as fast in the middle of a long list as at its start, and steady while songs are added."""
    if before is not None:
        query = query.where(tuple_(moment, SongRow.id) < tuple_(*before))
    rows = session.execute(query.order_by(moment.desc(), SongRow.id.desc()).limit(limit))
    return tuple(_song_of(row) for row in rows)


def _song_of(row: Row[Any]) -> Song:
    """The one way from a row of `_songs` into the word."""
    return Song(
        id=SongId(row.id),
        account_id=AccountId(row.account_id),
        artist=row.artist,
        artist_avatar=row.artist_avatar,
        job_id=JobId(row.job_id),
        take_index=row.take_index,
        status=JobState(row.status),
        title=row.title,
        prompt=row.prompt,
        description=row.description,
        lyrics=row.lyrics,
        described_lyrics=row.described_lyrics,
        instrumental=row.instrumental,
        tags=tuple(row.tags or ()),
        engine=row.engine,
        engine_version=row.engine_version,
        seed=row.seed,
        steps=row.steps,
        guidance_scale=row.guidance_scale,
        duration_s=row.duration_s,
        tempo_bpm=row.tempo_bpm,
        key=row.key,
        loudness_lufs=row.loudness_lufs,
        true_peak_dbtp=row.true_peak_dbtp,
        sections=tuple(Section(**section) for section in row.sections),
        lines=tuple(TimedLine(**line) for line in row.lines),
        reason=row.reason,
        note=row.note,
        parent_id=SongId(row.parent_id) if row.parent_id else None,
        published_at=row.published_at,
        download_rule=DownloadRule(row.download_rule),
        play_count=row.play_count,
        download_count=row.download_count,
        created_at=row.created_at,
        updated_at=row.updated_at,
        assets={AssetRole(role): Asset(**values) for role, values in (row.assets or {}).items()},
    )
