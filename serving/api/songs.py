"""Doors for songs: ask for one, read, rename, publish, delete."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query

from data import access
from data.repositories import songs
from serving.api.answers import good
from serving.api.bodies import FromDescribedLyrics, FromDescription, Generate, Rename, WithLyrics
from serving.api.identity import AnAccount, TheAccount, TheServices
from serving.api.paging import page_json, read_cursor
from serving.api.services import Services
from serving.api.views import song_json
from serving.api.work import answer_job
from serving.jobs import KEY_MAX
from studio.words.account import Account
from studio.words.brief import Brief
from studio.words.song import Song

router = APIRouter(tags=["songs"])

_DOOR: Final = "door:"
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", max_length=KEY_MAX - len(_DOOR))]


def _trace_id(traceparent: Annotated[str, Header()] = "") -> str:
    """The trace id of a ``traceparent`` header (W3C Trace Context); empty when there is none or it is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else ""


_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Asking:
    """Who asks for songs by which key and under which trace: what every door that makes songs needs (a dependency)."""

    def __init__(
        self,
        account: TheAccount,
        services: TheServices,
        trace_id: Annotated[str, Depends(_trace_id)],
        key: IdempotencyKey = "",
    ) -> None:
        self._account = account
        self._services = services
        self._trace_id = trace_id
        self._key = f"{_DOOR}{key or services.draw_key()}"

    def answer(self, brief: Brief) -> Any:
        """Ask; 202 with the job, 402 when there are too few credits."""
        return answer_job(self._services.ask(self._account, brief, key=self._key, trace_id=self._trace_id))


AnAsking = Annotated[Asking, Depends()]


@router.post("/generate_from_description", status_code=202)
@router.post("/generate_with_description", status_code=202, include_in_schema=False)
@router.post("/generate-with-description", status_code=202, include_in_schema=False)
def generate_from_description(body: FromDescription, asking: AnAsking) -> Any:
    """Two songs from one free description."""
    return asking.answer(body.brief())


@router.post("/generate_with_lyrics", status_code=202)
@router.post("/generate_from_lyrics", status_code=202, include_in_schema=False)
@router.post("/generate-with-lyrics", status_code=202, include_in_schema=False)
def generate_with_lyrics(body: WithLyrics, asking: AnAsking) -> Any:
    """Two songs from a style and the person's own lyrics."""
    return asking.answer(body.brief())


@router.post("/generate_from_described_lyrics", status_code=202)
@router.post("/generate-with-described-lyrics", status_code=202, include_in_schema=False)
def generate_from_described_lyrics(body: FromDescribedLyrics, asking: AnAsking) -> Any:
    """Two songs from a style and a description of the lyrics."""
    return asking.answer(body.brief())


@router.post("/generate", status_code=202)
def generate(body: Generate, asking: AnAsking) -> Any:
    """Two songs; the fields that are filled decide how."""
    return asking.answer(body.brief())


def seen_song(services: Services, account: Account | None, song_id: str) -> Song:
    """The song if it exists and this person may see it; otherwise `access.NotFound`, whichever it is."""
    with services.database.transaction() as session:
        song = songs.by_id(session, song_id)
    if song is None or not access.may_see(account, song):
        raise access.NotFound("song")
    return song


def own_song(services: Services, account: Account, song_id: str) -> Song:
    """The song if this person may change it; otherwise `access.NotFound`."""
    song = seen_song(services, account, song_id)
    if not access.may_edit(account, song):
        raise access.NotFound("song")
    return song


@router.get("/songs")
def library(
    account: TheAccount, services: TheServices, before: str = "", limit: Annotated[int, Query(ge=1, le=100)] = 24
) -> Any:
    """The person's own songs, newest first."""
    with services.database.transaction() as session:
        found = songs.library(session, account.id, before=read_cursor(before), limit=limit)
    return good(page_json(found, limit=limit, moment=lambda song: song.created_at, viewer=account))


@router.get("/discover")
def discover(
    account: AnAccount, services: TheServices, before: str = "", limit: Annotated[int, Query(ge=1, le=100)] = 24
) -> Any:
    """Published songs of everybody, newest first."""
    with services.database.transaction() as session:
        found = songs.discover(session, before=read_cursor(before), limit=limit)
    return good(page_json(found, limit=limit, moment=lambda song: song.published_at, viewer=account))


@router.get("/songs/{song_id}")
def read_song(song_id: str, account: AnAccount, services: TheServices) -> Any:
    """One song."""
    return good(song_json(seen_song(services, account, song_id), viewer=account))


@router.patch("/songs/{song_id}")
def rename_song(song_id: str, body: Rename, account: TheAccount, services: TheServices) -> Any:
    """Give a song another title."""
    song = own_song(services, account, song_id)
    with services.database.transaction() as session:
        songs.rename(session, song.id, body.title)
    return read_song(song_id, account, services)


@router.post("/songs/{song_id}/publish")
def publish_song(song_id: str, account: TheAccount, services: TheServices) -> Any:
    """Let everybody find and play a finished song."""
    song = own_song(services, account, song_id)
    with services.database.transaction() as session:
        songs.publish(session, song.id)
    return read_song(song_id, account, services)


@router.post("/songs/{song_id}/unpublish")
def unpublish_song(song_id: str, account: TheAccount, services: TheServices) -> Any:
    """Make a song private again; moderators may do so with anybody's."""
    song = seen_song(services, account, song_id)
    if not access.may_hide(account, song):
        raise access.NotFound("song")
    with services.database.transaction() as session:
        songs.unpublish(session, song, actor=account.id)
    return read_song(song_id, account, services)


@router.delete("/songs/{song_id}")
def delete_song(song_id: str, account: TheAccount, services: TheServices) -> Any:
    """Delete a song for ever, with its files."""
    song = own_song(services, account, song_id)
    with services.database.transaction() as session:
        songs.delete(session, song.id)
    return good({"id": song.id})
