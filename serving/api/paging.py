"""Pages of songs: a cursor says after which song the next page begins."""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from serving.api.views import song_json
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.ids import SongId, is_id
from studio.words.song import Song


class BadCursor(MelodeonError):
    """The ``before`` of a page is not one we gave."""

    code = "bad_cursor"

    def __init__(self) -> None:
        super().__init__("The field “before” must be the “next” of an earlier page, unchanged.")


def write_cursor(moment: datetime, song_id: SongId) -> str:
    """Opaque text that says after which song a page begins."""
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{song_id}".encode()).decode()


def read_cursor(text: str) -> tuple[datetime, SongId] | None:
    """What `write_cursor` wrote; None for the first page, which begins with empty text. Raises `BadCursor`."""
    if not text:
        return None
    try:
        moment, song_id = base64.urlsafe_b64decode(text.encode()).decode().split("|")
        at = datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadCursor from None
    if write_cursor(at, SongId(song_id)) != text or not is_id(song_id, noun="song"):
        raise BadCursor
    return at, SongId(song_id)


def page_json(
    found: Sequence[Song], *, limit: int, moment: Callable[[Song], datetime | None], viewer: Account | None
) -> dict[str, Any]:
    """One page: the songs and, if there may be more, where the next page begins."""
    last = moment(found[-1]) if len(found) == limit else None
    return {
        "songs": [song_json(song, viewer=viewer) for song in found],
        "next": write_cursor(last, found[-1].id) if last else None,
    }
