"""The door that counts plays. The player's page may be closing: it sends a beacon, which has no headers of ours."""

from fastapi import APIRouter, Response

from data.repositories import songs
from serving.api.bodies import Played
from serving.api.identity import AnAccount, TheServices
from serving.api.songs import seen_song

router = APIRouter(tags=["songs"])


@router.post("/songs/{song_id}/plays", status_code=204)
def count_play(song_id: str, account: AnAccount, services: TheServices, _: Played | None = None) -> Response:
    """The player heard enough of a song to call it a play; the owner's own plays do not count."""
    song = seen_song(services, account, song_id)
    if account is None or account.id != song.account_id:
        with services.database.transaction() as session:
            songs.count_play(session, song.id)
    return Response(status_code=204)
