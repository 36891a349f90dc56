"""The picture of an account: which stored object it is. The former one is released for the clean-up."""

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.ids import new_id
from data.repositories import accounts
from data.tables import AccountRow, AssetRow
from studio.words.asset import Asset
from studio.words.ids import AccountId


def replace(session: Session, account_id: AccountId, picture: Asset | None) -> bool:
    """Let the account have this stored picture from now on, or none; False: there is no such account any more."""
    row = select(AccountRow.avatar_key).where(AccountRow.id == account_id, AccountRow.deleted_at.is_(None))
    former = session.execute(row.with_for_update()).scalar_one_or_none()
    if former is None:
        return False
    key = picture.key if picture else ""
    if former and former != key:
        session.execute(update(AssetRow).where(AssetRow.key == former).values(released_at=func.now()))
    if picture is not None:
        values = {
            "key": key,
            "sha256": picture.sha256,
            "media_type": picture.media_type,
            "size_bytes": picture.size_bytes,
        }
        # The same picture once more, perhaps a moment after it was taken away: it is needed again.
        session.execute(
            insert(AssetRow)
            .values(id=new_id("asset"), **values)
            .on_conflict_do_update(index_elements=["key"], set_={"released_at": None})
        )
    accounts.set_avatar(session, account_id, key)
    return True
