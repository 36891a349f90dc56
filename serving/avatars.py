"""The picture by which people recognise an account: taken in, made small and square, kept in the object store."""

import hashlib
from typing import Final

from data.access import NotFound
from data.object_store import NoObject
from data.picture_files import square_webp
from data.repositories import avatars
from data.uploads import checked_picture
from serving.api.services import Services
from serving.limits import Limit, take
from studio.words.account import Account

SIZE_PX: Final = 256
_PICTURES: Final = Limit(name="picture", most=20, per_s=600)
"""Reading one takes a process of its own, for seconds."""


def set_avatar(services: Services, account: Account, content: bytes) -> str:
    """Keep an uploaded picture as the account's; answers its key.

    Raises:
        BadUpload: it is no picture that is taken.
        TooManyRequests: the account sends pictures too often.
        NotFound: the account was deleted meanwhile.
    """
    take(services.database, _PICTURES, account.id)
    small = square_webp(checked_picture(content), size_px=SIZE_PX)
    # The key changes with the picture, so that whoever keeps a copy by its key never shows an old one.
    key = f"avatars/{account.id}/{hashlib.sha256(small).hexdigest()[:24]}.webp"
    stored = services.store.put(key, small, media_type="image/webp")
    with services.database.transaction() as session:
        kept = avatars.replace(session, account.id, stored)
    if not kept:
        services.store.delete(key)
        raise NotFound("account")
    return key


def remove_avatar(services: Services, account: Account) -> None:
    """Let the account be shown by its first letter again."""
    with services.database.transaction() as session:
        avatars.replace(session, account.id, None)


def picture_of(services: Services, avatar_key: str) -> bytes:
    """The picture as WebP; empty when there is none (any more)."""
    try:
        return b"".join(services.store.get(avatar_key)) if avatar_key else b""
    except NoObject:
        return b""
