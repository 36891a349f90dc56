"""Assets: stored objects, what they are to a song, and when nobody needs them any more."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from sqlalchemy import delete, func, select, text, update

from data.database import Session
from data.ids import new_id
from data.tables import AssetRow, SongAssetRow
from studio.words.asset import Asset, AssetRole
from studio.words.ids import AssetId, SongId

_LINK = text(
    "WITH given AS (SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
    "   AS g (id text, song_id text, role text, key text, sha256 text, media_type text, size_bytes bigint)),"
    " stored AS (INSERT INTO asset (id, key, sha256, media_type, size_bytes)"
    "   SELECT DISTINCT ON (key) id, key, sha256, media_type, size_bytes FROM given"
    "   ON CONFLICT (key) DO UPDATE SET sha256 = excluded.sha256, media_type = excluded.media_type,"
    "   size_bytes = excluded.size_bytes, released_at = NULL RETURNING id, key),"
    " linked AS (INSERT INTO song_asset (song_id, role, asset_id)"
    "   SELECT given.song_id, given.role, stored.id FROM given JOIN stored USING (key)"
    "   ON CONFLICT (song_id, role) DO UPDATE SET asset_id = excluded.asset_id)"
    # a statement sees the tables as they were before it: here, who played these roles until now
    " SELECT song_asset.asset_id FROM song_asset JOIN given USING (song_id, role)"
    "  WHERE song_asset.asset_id NOT IN (SELECT id FROM stored)"
)


def link(session: Session, links: Iterable[tuple[SongId, AssetRole, Asset]]) -> None:
    """Note stored objects and let each play its role for its song; those that played it before are released.

    A key that is known already, as after a retry, is the same asset with its present content.
    """
    rows = [
        {"id": new_id("asset"), "song_id": song_id, "role": role.value, **asdict(asset)}
        for song_id, role, asset in links
    ]
    if rows:
        former = session.execute(_LINK, {"rows": json.dumps(rows)}).scalars().all()
        _release_unlinked(session, [AssetId(asset_id) for asset_id in former])


def unlink_all(session: Session, song_id: SongId) -> None:
    """The song needs its objects no more; those that no other song needs are released."""
    ids = session.execute(select(SongAssetRow.asset_id).where(SongAssetRow.song_id == song_id)).scalars().all()
    # Locked first and in order: of two songs that share an object and go together, the later sees the earlier gone.
    session.execute(select(AssetRow.id).where(AssetRow.id.in_(ids)).order_by(AssetRow.id).with_for_update())
    session.execute(delete(SongAssetRow).where(SongAssetRow.song_id == song_id))
    _release_unlinked(session, [AssetId(asset_id) for asset_id in ids])


def released(session: Session, limit: int) -> tuple[tuple[AssetId, str], ...]:
    """Ids and keys of objects that nobody needs, longest released first, locked until the transaction ends.

    Several clean-ups may run at once: each gets others. Delete the object first, then `forget` it; a clean-up that
    dies between the two does the same again.
    """
    rows = session.execute(
        select(AssetRow.id, AssetRow.key)
        .where(AssetRow.released_at.is_not(None))
        .order_by(AssetRow.released_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return tuple((AssetId(row.id), row.key) for row in rows)


def is_released(session: Session, key: str) -> bool:
    """Whether the object waits for the clean-up: nothing may lead to it any more."""
    query = select(AssetRow.id).where(AssetRow.key == key, AssetRow.released_at.is_not(None))
    return session.execute(query).first() is not None


def forget(session: Session, asset_id: AssetId) -> None:
    """The released object is deleted; drop its row. Objects that are needed again stay."""
    session.execute(delete(AssetRow).where(AssetRow.id == asset_id, AssetRow.released_at.is_not(None)))


def needed(session: Session) -> Iterator[Asset]:
    """Every object that somebody needs, by key."""
    columns = (AssetRow.key, AssetRow.sha256, AssetRow.media_type, AssetRow.size_bytes)
    rows = session.execute(select(*columns).where(AssetRow.released_at.is_(None)).order_by(AssetRow.key))
    return (Asset(**row._mapping) for row in rows)


def _release_unlinked(session: Session, ids: Sequence[AssetId]) -> None:
    if not ids:
        return
    linked = select(SongAssetRow.asset_id).where(SongAssetRow.asset_id == AssetRow.id)
    session.execute(update(AssetRow).where(AssetRow.id.in_(ids), ~linked.exists()).values(released_at=func.now()))
