"""A finished song as files in a folder."""

import json
import re
from pathlib import Path
from typing import Any

from data.object_store import ObjectStore
from studio.words.asset import AssetRole
from studio.words.song import Song


def save_song(store: ObjectStore, song: Song, folder: Path) -> dict[str, Any]:
    """Write a song's audio, cover, lyrics and metadata into ``folder``.

    Returns:
        What the song is and where its files lie (absolute paths), as JSON values. A song whose cover failed has
        no cover file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder.absolute() / f"{_plain(song.title)}-{song.take_index + 1}-{song.id[-6:]}"
    files = {"wav": f"{stem}.wav", "cover": f"{stem}.png", "lyrics": f"{stem}.txt", "metadata": f"{stem}.json"}
    _copy(store, song, AssetRole.WAV, Path(files["wav"]))
    if AssetRole.COVER in song.assets:
        _copy(store, song, AssetRole.COVER, Path(files["cover"]))
    else:
        del files["cover"]
    Path(files["lyrics"]).write_text(song.lyrics + "\n", "utf-8")
    described = {
        "id": song.id,
        "title": song.title,
        "status": song.status.value,
        "engine": song.engine,
        "seed": song.seed,
        "guidance_scale": song.guidance_scale,
        "duration_s": song.duration_s,
        "loudness_lufs": song.loudness_lufs,
        "true_peak_dbtp": song.true_peak_dbtp,
        "tags": list(song.tags),
        "lyrics": song.lyrics,
        "files": files,
    }
    more = {"artist": song.artist, "prompt": song.prompt, "tempo_bpm": song.tempo_bpm, "key": song.key}
    label = {"ai_generated": True, "engine_version": song.engine_version}
    Path(files["metadata"]).write_text(
        json.dumps(described | more | label, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )
    return described


def _copy(store: ObjectStore, song: Song, role: AssetRole, path: Path) -> None:
    with path.open("wb") as file:
        for part in store.get(song.assets[role].key):
            file.write(part)


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "song"
