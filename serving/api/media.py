"""Doors for sound and pictures: check access, then answer the bytes or point to them."""

import re
from collections.abc import Mapping
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from data import access
from data.object_store import BadLink, BadRange, NoObject, content_disposition
from data.repositories import assets, songs
from serving.api.answers import STATUS_OF_CODE, bad
from serving.api.identity import AnAccount, TheServices
from serving.api.services import Services
from serving.api.songs import seen_song
from serving.api.views import ARTIST
from studio.words.account import Account
from studio.words.asset import Asset, AssetRole
from studio.words.song import Song

router = APIRouter(tags=["media"])

_SHOWN: Final = {AssetRole.COVER, AssetRole.COVER_512, AssetRole.COVER_128, AssetRole.PEAKS}
_DOWNLOADS: Final = {
    "wav": (AssetRole.WAV, "wav"),
    "mp3": (AssetRole.STREAM, "mp3"),
    "cover": (AssetRole.COVER, "png"),
}
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def _asset(song: Song, role: AssetRole) -> Asset:
    if role not in song.assets:
        raise access.NotFound("file")
    return song.assets[role]


def _artist_picture(services: Services, song: Song) -> Asset:
    found = services.store.head(song.artist_avatar) if song.artist_avatar else None
    if found is None:
        raise access.NotFound("file")
    return found


def _range(request: Request, asset: Asset) -> tuple[int, int] | None:
    """First and last byte asked for; None: all of it.

    What is no single range of bytes, or is meant for another version of the file, is ignored (RFC 9110, 14.2).

    Raises:
        BadRange: the file has none of these bytes.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", _etag(asset)) != _etag(asset):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, asset.size_bytes - int(last)), asset.size_bytes - 1
    else:
        start, end = int(first), min(int(last or asset.size_bytes), asset.size_bytes - 1)
    if last and first and int(last) < start:
        return None
    if start > end:
        raise BadRange(asset.key)
    return start, end


def _etag(asset: Asset) -> str:
    return f'"{asset.sha256}"'


def _is_known(request: Request, asset: Asset) -> bool:
    """Whether the browser has these bytes already (RFC 9110, 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return bool(tags & {"*", _etag(asset)})


def answer_bytes(request: Request, services: Services, asset: Asset, *, headers: Mapping[str, str]) -> Response:
    """The object's bytes, or the part of them that the Range header asks for.

    Raises:
        NoObject: the store does not have it. Raised before anything is sent.
    """
    headers = {"Accept-Ranges": "bytes", "ETag": _etag(asset), "X-Content-Type-Options": "nosniff", **headers}
    if _is_known(request, asset):
        return Response(status_code=304, headers=headers)
    try:
        wanted = _range(request, asset)
    except BadRange as error:
        whole = {"Content-Range": f"bytes */{asset.size_bytes}"}
        return bad(STATUS_OF_CODE[error.code], error.code, error.sentence, headers=whole)
    start, end = wanted or (0, asset.size_bytes - 1)
    headers["Content-Length"] = str(end - start + 1)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end}/{asset.size_bytes}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        if services.store.head(asset.key) is None:
            raise NoObject(asset.key)
        return Response(status_code=status, headers=headers, media_type=asset.media_type)
    content = services.store.get(asset.key, start=start, end=end if wanted else None)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=asset.media_type)


def _serve(request: Request, services: Services, asset: Asset, *, cache: str) -> Response:
    """From a folder the bytes come through this process; an S3 store gets the browser by a signed link."""
    if services.settings.store.kind == "s3" and request.method == "GET":
        link = services.store.sign(asset.key, life_s=services.settings.store.stream_link_life_s)
        return _go_to(link)
    return answer_bytes(request, services, asset, headers={"Cache-Control": cache})


def _go_to(link: str) -> Response:
    return RedirectResponse(link, status_code=307, headers={"Cache-Control": "private, no-store"})


@router.get("/songs/{song_id}/stream")
@router.head("/songs/{song_id}/stream", include_in_schema=False)
def stream(song_id: str, request: Request, account: AnAccount, services: TheServices) -> Response:
    """The song for listening (MP3)."""
    asset = _asset(seen_song(services, account, song_id), AssetRole.STREAM)
    return _serve(request, services, asset, cache="private, max-age=0, must-revalidate")


@router.get("/songs/{song_id}/files/{role}")
@router.head("/songs/{song_id}/files/{role}", include_in_schema=False)
def file(song_id: str, role: str, request: Request, account: AnAccount, services: TheServices) -> Response:
    """A cover, the artist's picture or the waveform of a song. ``stream`` and ``download`` alone serve sound."""
    song = seen_song(services, account, song_id)
    if role == ARTIST:
        asset = _artist_picture(services, song)
    elif role in _SHOWN:
        asset = _asset(song, AssetRole(role))
    else:
        raise access.NotFound("file")
    return _serve(request, services, asset, cache="private, max-age=86400")


@router.get("/songs/{song_id}/download", status_code=307)
def download(
    song_id: str, account: AnAccount, services: TheServices, form: Literal["wav", "mp3", "cover"] = "wav"
) -> Response:
    """To the file by a link: valid for an hour for the owner, for minutes for others, who may lose the right to it.

    Counts a download.
    """
    song = seen_song(services, account, song_id)
    if not access.may_download(account, song):
        raise access.NotFound("file")
    role, ending = _DOWNLOADS[form]
    asset = _asset(song, role)
    name = f"{song.title or 'song'}.{ending}"
    lives, own = services.settings.store, access.may_edit(account, song)
    life_s = lives.link_life_s if own else min(lives.link_life_s, lives.stream_link_life_s)
    link = services.store.sign(asset.key, life_s=life_s, download_name=name)
    if role is not AssetRole.COVER:
        with services.database.transaction() as session:
            songs.count_download(session, song.id)
    return _go_to(link)


def _refuse_withdrawn(services: Services, account: Account | None, key: str) -> None:
    """A link is no right of its own: a song that was made private, or is gone, takes its links along.

    Raises:
        BadLink: this person may not, or not any more, have the song that the object belongs to.
    """
    with services.database.transaction() as session:
        song = songs.of_object(session, key)
        gone = song is None and assets.is_released(session, key)
    if gone or (song is not None and not access.may_download(account, song)):
        raise BadLink


@router.get("/objects/{token}")
@router.head("/objects/{token}", include_in_schema=False)
def signed_object(token: str, request: Request, account: AnAccount, services: TheServices) -> Response:
    """A file of the folder store behind a signed link, for as long as the link lives and the person may have it."""
    link = services.store.verify_link(token)
    _refuse_withdrawn(services, account, link.key)
    asset = services.store.head(link.key)
    if asset is None:
        raise access.NotFound("file")
    headers = {"Cache-Control": "private, no-store"}
    if link.download_name:
        headers["Content-Disposition"] = content_disposition(link.download_name)
    return answer_bytes(request, services, asset, headers=headers)
