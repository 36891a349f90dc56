"""How words look in JSON: only what the person may know, with URLs that stay the same."""

from pathlib import PurePosixPath
from typing import Any, Final

from data import access
from data.repositories.sessions import SignedIn
from studio.words.account import Account
from studio.words.api_key import ApiKey
from studio.words.asset import AssetRole
from studio.words.credit import Balance
from studio.words.job import Job
from studio.words.song import Song

PREFIX = "/api/v1"

ARTIST: Final = "artist"
"""Among a song's files: the picture of whoever made it."""


def song_urls(song: Song) -> dict[str, str]:
    """Stable URLs of a song's files; each checks access when it is opened. The hash only busts caches."""
    urls = {"page": f"/song?id={song.id}", "stream": f"{PREFIX}/songs/{song.id}/stream"}
    for role, name in (
        (AssetRole.COVER, "cover"),
        (AssetRole.COVER_512, "cover_512"),
        (AssetRole.COVER_128, "cover_128"),
        (AssetRole.PEAKS, "peaks"),
    ):
        if role in song.assets:
            urls[name] = f"{PREFIX}/songs/{song.id}/files/{role.value}?v={song.assets[role].sha256[:12]}"
    if song.artist_avatar:
        # its name is its hash
        urls[ARTIST] = f"{PREFIX}/songs/{song.id}/files/{ARTIST}?v={PurePosixPath(song.artist_avatar).stem[:12]}"
    return urls


def song_json(song: Song, *, viewer: Account | None) -> dict[str, Any]:
    """A song for the person who looks: what its owner typed and how it was made stay with the owner."""
    data: dict[str, Any] = {
        "id": song.id,
        "artist": song.artist,
        "title": song.title,
        "status": song.status.value,
        "instrumental": song.instrumental,
        "lyrics": song.lyrics,
        "tags": list(song.tags),
        "engine": song.engine,
        "ai_generated": True,
        "duration_s": song.duration_s,
        "tempo_bpm": song.tempo_bpm,
        "key": song.key,
        "published_at": song.published_at.isoformat() if song.published_at else None,
        "play_count": song.play_count,
        "created_at": song.created_at.isoformat(),
        "urls": song_urls(song),
    }
    if access.may_edit(viewer, song):
        data |= {
            "job_id": song.job_id,
            "prompt": song.prompt,
            "description": song.description,
            "described_lyrics": song.described_lyrics,
            "engine_version": song.engine_version,
            "seed": song.seed,
            "steps": song.steps,
            "guidance_scale": song.guidance_scale,
            "loudness_lufs": song.loudness_lufs,
            "true_peak_dbtp": song.true_peak_dbtp,
            "reason": song.reason,
            "note": song.note,
            "download_count": song.download_count,
        }
    return data


def job_json(job: Job, outlook: tuple[int, float | None] | None = None) -> dict[str, Any]:
    """A job for its owner; with its outlook, also its place in the queue and the seconds it probably still takes."""
    position, eta_s = outlook or (None, None)
    return {
        "id": job.id,
        "state": job.state.value,
        "stage": job.stage.value if job.stage else None,
        "progress": round(job.progress, 4),
        "message": job.message,
        **({"position": position, "eta_s": eta_s} if outlook else {}),
        "reason": job.reason,
        "reason_code": job.reason_code,
        "attempt": job.attempt,
        "price_credits": job.price_credits,
        "title": job_title(job),
        "song_ids": list(job.song_ids),
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
    }


def balance_json(balance: Balance) -> dict[str, int]:
    """What the person has and what is held for jobs under way."""
    return {"available_credits": balance.available_credits, "held_credits": balance.held_credits}


def job_title(job: Job) -> str:
    """A few words to recognise a job by before its songs have titles."""
    text = job.brief.title or job.brief.description or job.brief.described_lyrics or job.brief.prompt
    return text if len(text) <= 48 else text[:47].rstrip() + "…"


def account_json(account: Account) -> dict[str, Any]:
    """An account for its owner."""
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role.value,
        "plan": account.plan,
        "email": account.email,
        "email_verified": account.email_verified,
    }


def session_json(signed_in: SignedIn, *, here: bool) -> dict[str, Any]:
    """A browser that is signed in; ``here``: the one that asks."""
    return {
        "id": signed_in.id,
        "user_agent": signed_in.user_agent,
        "created_at": signed_in.created_at.isoformat(),
        "seen_at": signed_in.seen_at.isoformat(),
        "expires_at": signed_in.expires_at.isoformat(),
        "here": here,
    }


def api_key_json(key: ApiKey) -> dict[str, Any]:
    """An API key for its owner, without its secret."""
    return {
        "id": key.id,
        "label": key.label,
        "shown": key.shown,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
    }
