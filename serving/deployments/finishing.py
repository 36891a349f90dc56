"""Finishing: from an engine's raw take to stored files and measurements, where the sound is."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from data.audio_files import encode_mp3, encode_wav
from data.marks import Marker
from data.object_store import ObjectStore
from data.picture_files import encode_png, encode_webp
from data.provenance import Labels, labels_for, made_by
from data.scratch import scratch_folder
from serving.contract import MakeRequest, TakeResult
from studio.sound.analyse import check, waveform_peaks
from studio.sound.master import Mastered, master
from studio.words.asset import Asset, AssetRole
from studio.words.engine_spec import EngineSpec
from studio.words.mark import Making, Origin
from studio.words.take import Picture, Sound, Take

Step = Callable[[float, str], None]
"""Told how far the finishing of one take is (0-1) and what is done; raises `Cancelled` when it should stop."""

COVER_SIZES_PX: Final = {AssetRole.COVER_512: 512, AssetRole.COVER_128: 128}
MARKED_FROM_PX: Final = 256
"""A smaller picture only stands in lists; its mark would be as large as itself."""


class Finisher:
    """Masters, gates, encodes, marks and stores takes.

    Args:
        store: where finished files go.
        spec: of the engine that made the takes; its label is written into the files.
        marker: signs what the files say of their origin.
        trained: whether the engine has learned from examples; it has weights, or a server that has.
        scratch: a folder on this machine for files under way; made when missing.
        clock: tells the time, aware UTC.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        spec: EngineSpec,
        marker: Marker,
        trained: bool,
        scratch: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._spec = spec
        self._marker = marker
        self._trained = trained
        self._scratch = scratch
        self._clock = clock

    def finish(self, take: Take, index: int, request: MakeRequest, *, step: Step) -> TakeResult:
        """Finish take ``index`` and store it under the request's key prefix.

        Raises:
            SilentClip, FailedGate: the sound is not fit to be heard.
            NotMarked: a file could not be marked; without its mark nothing is stored.
            StoreUnavailable: it could not be stored.
            Cancelled: from ``step``.
        """
        base = f"{request.call.key_prefix}/{index}"
        result = take.result
        if isinstance(result, Sound):
            return self._sound(take, result, base, request, step)
        if isinstance(result, Picture):
            return self._picture(take, result, base, request, step)
        step(1.0, "")
        return _result(take, kind="words", words=result)

    def _sound(self, take: Take, sound: Sound, base: str, request: MakeRequest, step: Step) -> TakeResult:
        step(0.0, "Mastering")
        mastered = master(sound.clip)
        step(0.4, "Listening to the result")
        check(mastered.clip, asked_s=_asked_s(take, sound, request))
        assets = self._store_sound(mastered, base, request, step)
        return _result(
            take,
            kind="sound",
            assets=assets,
            duration_s=mastered.clip.duration_s,
            loudness_lufs=mastered.loudness_lufs,
            true_peak_dbtp=mastered.true_peak_dbtp,
            tempo_bpm=sound.tempo_bpm,
            key=sound.key,
            sections=sound.sections,
            lines=sound.lines,
        )

    def _labels(self, request: MakeRequest) -> Labels:
        return labels_for(
            title=request.brief.title,
            artist=request.artist,
            engine=self._spec.label,
            version=self._spec.version,
            now=self._clock(),
        )

    def _origin(self, request: MakeRequest, *, title: str) -> Origin:
        made_from_sound = Making.MODEL_FROM_SOUND if request.brief.source else Making.MODEL
        return Origin(
            title=title,
            engine=self._spec.name,
            engine_label=self._spec.label,
            engine_version=self._spec.version,
            making=made_from_sound if self._trained else Making.ALGORITHM,
        )

    def _store_sound(self, mastered: Mastered, base: str, request: MakeRequest, step: Step) -> dict[AssetRole, Asset]:
        labels = self._labels(request)
        origin = self._origin(request, title=labels.title)
        with scratch_folder(self._scratch) as folder:
            wav, stream = folder / "take.wav", folder / "take.mp3"
            step(0.6, "Writing the files")
            encode_wav(mastered.clip, wav, labels)
            step(0.7, "Writing the files")
            encode_mp3(mastered.clip, stream, labels)
            step(0.85, "Marking the files")
            # Last of all: nothing may change in a file that is marked.
            self._marker.mark(wav, "wav", origin)
            self._marker.mark(stream, "mp3", origin)
            step(0.9, "Saving")
            outline = {"duration_s": mastered.clip.duration_s, "peaks": waveform_peaks(mastered.clip)}
            return {
                AssetRole.WAV: self._store.put(f"{base}.wav", wav, media_type="audio/wav"),
                AssetRole.STREAM: self._store.put(f"{base}.mp3", stream, media_type="audio/mpeg"),
                AssetRole.PEAKS: self._store.put(
                    f"{base}.peaks.json", json.dumps(outline).encode(), media_type="application/json"
                ),
            }

    def _picture(self, take: Take, picture: Picture, base: str, request: MakeRequest, step: Step) -> TakeResult:
        step(0.0, "Framing the cover")
        comment = made_by(self._spec.label, self._spec.version)
        origin = self._origin(request, title=self._labels(request).title)
        with scratch_folder(self._scratch) as folder:
            png = folder / "cover.png"
            png.write_bytes(encode_png(picture, comment=comment))
            self._marker.mark(png, "png", origin)
            assets = {AssetRole.COVER: self._store.put(f"{base}.png", png, media_type="image/png")}
            for role, size_px in COVER_SIZES_PX.items():
                step(0.5, "Saving")
                webp = folder / f"{size_px}.webp"
                webp.write_bytes(encode_webp(picture, size_px=size_px, comment=comment))
                if size_px >= MARKED_FROM_PX:
                    self._marker.mark(webp, "webp", origin)
                assets[role] = self._store.put(f"{base}-{size_px}.webp", webp, media_type="image/webp")
        return _result(take, kind="picture", assets=assets)


def _asked_s(take: Take, sound: Sound, request: MakeRequest) -> float:
    """The length the take must have: the person's, else the one the engine says it chose."""
    if request.brief.controls.duration_s is not None:
        return request.brief.controls.duration_s
    chosen = take.settings.get("duration_s")
    return float(chosen) if isinstance(chosen, int | float) else sound.clip.duration_s


def _result(take: Take, *, kind: Literal["sound", "words", "picture"], **measured: Any) -> TakeResult:
    settings = dict(take.settings)
    note = str(settings.pop("note", ""))
    return TakeResult(
        kind=kind,
        engine=take.engine,
        engine_version=take.engine_version,
        seed=take.seed,
        settings=settings,
        seconds=take.seconds,
        note=note,
        **measured,
    )
