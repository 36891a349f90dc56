"""Assets: stored objects, what they are to a song, and when nobody needs them any more."""

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql

from data.database import Session
from data.ids import new_id
from data.tables import AssetRow, SongAssetRow
from studio.words.asset import Asset, AssetRole
from studio.words.ids import AssetId, SongId


def insert(session: Session, asset: Asset) -> AssetId:
    """Note a stored object. Its key again, as after a retry, is the same asset with its present content."""
    values = {
        "key": asset.key,
        "sha256": asset.sha256,
        "media_type": asset.media_type,
        "size_bytes": asset.size_bytes,
    }
    statement = postgresql.insert(AssetRow).values(id=new_id("asset"), **values)
    statement = statement.on_conflict_do_update(index_elements=["key"], set_={**values, "released_at": None})
    return AssetId(session.execute(statement.returning(AssetRow.id)).scalar_one())


def link(session: Session, song_id: SongId, role: AssetRole, asset_id: AssetId) -> None:
    """Let the object play this role for the song; the one that played it before is released."""
    former = session.execute(
        select(SongAssetRow.asset_id).where(SongAssetRow.song_id == song_id, SongAssetRow.role == role.value)
    ).scalar_one_or_none()
    if former == asset_id:
        return
    statement = postgresql.insert(SongAssetRow).values(song_id=song_id, role=role.value, asset_id=asset_id)
    session.execute(statement.on_conflict_do_update(index_elements=["song_id", "role"], set_={"asset_id": asset_id}))
    if former is not None:
        _release_unlinked(session, [AssetId(former)])


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


def forget(session: Session, asset_id: AssetId) -> None:
    """The released object is deleted; drop its row. Objects that are needed again stay."""
    session.execute(delete(AssetRow).where(AssetRow.id == asset_id, AssetRow.released_at.is_not(None)))


def _release_unlinked(session: Session, ids: list[AssetId]) -> None:
    linked = select(SongAssetRow.asset_id).where(SongAssetRow.asset_id == AssetRow.id)
    session.execute(update(AssetRow).where(AssetRow.id.in_(ids), ~linked.exists()).values(released_at=func.now()))
