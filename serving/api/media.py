"""Doors for sound and pictures: check access, then answer the bytes or point to them."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from data import access
from data.object_store import BadRange
from data.repositories import songs
from serving.api.identity import AnAccount, TheServices
from serving.api.services import Services
from serving.api.songs import seen_song
from studio.words.asset import Asset, AssetRole
from studio.words.song import Song

router = APIRouter(tags=["media"])

_PICTURES: Final = {AssetRole.COVER, AssetRole.COVER_512, AssetRole.COVER_128}


def _asset(song: Song, role: AssetRole) -> Asset:
    if role not in song.assets:
        raise access.NotFound("file")
    return song.assets[role]


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte asked for; None for the whole. Only one range is served (RFC 9110, 14.2)."""
    if not header or not header.startswith("bytes=") or "," in header:
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    try:
        if not first:
            start, end = max(0, size - int(last)), size - 1
        else:
            start, end = int(first), min(int(last), size - 1) if last else size - 1
    except ValueError:
        return None
    if not 0 <= start <= end:
        raise BadRange(header, size)
    return start, end


def answer_bytes(request: Request, services: Services, asset: Asset, *, headers: dict[str, str]) -> Response:
    """The object's bytes, or the part of them that the Range header asks for."""
    headers = headers | {"Accept-Ranges": "bytes", "ETag": f'"{asset.sha256}"', "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == f'"{asset.sha256}"':
        return Response(status_code=304, headers=headers)
    wanted = _range(request.headers.get("range"), asset.size_bytes)
    start, end = wanted or (0, asset.size_bytes - 1)
    headers["Content-Length"] = str(end - start + 1)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end}/{asset.size_bytes}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=asset.media_type)
    content: Iterator[bytes] = services.store.get(asset.key, start=start, end=end)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=asset.media_type)


def _serve(request: Request, services: Services, asset: Asset, *, cache: str) -> Response:
    """From a folder the bytes come through this process; an S3 store gets the browser by a signed link."""
    if services.settings.store.kind == "s3":
        life_s = services.settings.store.stream_link_life_s
        link = services.store.sign(asset.key, life_s=life_s)
        return RedirectResponse(link, status_code=307, headers={"Cache-Control": "private, no-store"})
    return answer_bytes(request, services, asset, headers={"Cache-Control": cache})


@router.api_route("/songs/{song_id}/stream", methods=["GET", "HEAD"])
def stream(song_id: str, request: Request, account: AnAccount, services: TheServices) -> Response:
    """The song for listening (MP3)."""
    asset = _asset(seen_song(services, account, song_id), AssetRole.STREAM)
    return _serve(request, services, asset, cache="private, max-age=0, must-revalidate")


@router.api_route("/songs/{song_id}/files/{role}", methods=["GET", "HEAD"])
def file(song_id: str, role: AssetRole, request: Request, account: AnAccount, services: TheServices) -> Response:
    """A cover or the waveform of a song. Sound is served by ``stream`` and ``download`` only."""
    if role not in {*_PICTURES, AssetRole.PEAKS}:
        raise access.NotFound("file")
    asset = _asset(seen_song(services, account, song_id), role)
    return _serve(request, services, asset, cache="private, max-age=86400")


def _file_name(song: Song, ending: str) -> str:
    kept = "".join(char if char.isalnum() or char in " -_" else "" for char in song.title).strip()
    return f"{kept or 'song'}.{ending}"


@router.get("/songs/{song_id}/download", status_code=307)
def download(song_id: str, account: AnAccount, services: TheServices, form: str = "wav") -> Response:
    """To the file (``form``: wav, mp3 or cover) by a link that is valid for an hour; counts a download."""
    song = seen_song(services, account, song_id)
    roles = {"wav": (AssetRole.WAV, "wav"), "mp3": (AssetRole.STREAM, "mp3"), "cover": (AssetRole.COVER, "png")}
    if form not in roles or not access.may_download(account, song):
        raise access.NotFound("file")
    role, ending = roles[form]
    asset = _asset(song, role)
    life_s = services.settings.store.link_life_s
    link = services.store.sign(asset.key, life_s=life_s, download_name=_file_name(song, ending))
    if role is not AssetRole.COVER:
        with services.database.transaction() as session:
            songs.count_download(session, song.id)
    return RedirectResponse(link, status_code=307, headers={"Cache-Control": "private, no-store"})


@router.post("/songs/{song_id}/plays", status_code=204)
def count_play(song_id: str, account: AnAccount, services: TheServices) -> Response:
    """The player heard enough of a song to call it a play; the owner's own plays do not count."""
    song = seen_song(services, account, song_id)
    if account is None or account.id != song.account_id:
        with services.database.transaction() as session:
            songs.count_play(session, song.id)
    return Response(status_code=204)


@router.api_route("/objects/{token}", methods=["GET", "HEAD"])
def signed_object(token: str, request: Request, services: TheServices) -> Response:
    """A file of the folder store behind a signed link."""
    link = services.store.verify_link(token)
    asset = services.store.head(link.key)
    if asset is None:
        raise access.NotFound("file")
    headers = {"Cache-Control": "private, no-store"}
    if link.download_name:
        headers["Content-Disposition"] = _disposition(link.download_name)
    return answer_bytes(request, services, asset, headers=headers)


def _disposition(name: str) -> str:
    """``attachment`` with the name in ASCII and in full (RFC 6266)."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "'")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
