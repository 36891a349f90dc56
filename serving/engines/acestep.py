"""ACE-Step 1.5: songs, covers, repainted windows, extensions and single tracks, through diffusers.

A checkpoint is turbo (8 steps, follows no guidance) or sft or base (50 steps with guidance); only base was trained for
single tracks. What each may do stands in its catalogue entry, and `EngineSpec.fit` refuses the rest.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from serving.engines.acestep_adapters import Adapters, usable
from serving.engines.acestep_ask import Ask, ask_of
from serving.engines.acestep_memory import offloaded_gb
from serving.engines.acestep_model import Model, WrongCheckpoint, load_model
from serving.engines.acestep_sound import check, splice, to_peak
from serving.engines.acestep_text import Texts, estimated_sections
from serving.engines.device import choose_device, free_gb, preflight, preflight_weights, release, smaller_once
from serving.engines.protocol import NO_SOURCES
from serving.engines.setup import Setup
from studio.sound.clip import Clip, Samples
from studio.units import RATE_HZ
from studio.words.brief import Brief, Controls, MusicTask
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Progress, Sound, Sources, Take

_READ: Final = 0.04
_DIFFUSED: Final = 0.8
"""Fractions of a call at which the texts and sounds are read and at which all latents are there."""


class AceStep:
    """One checkpoint of ACE-Step 1.5.

    Options (catalogue or Serve file): ``adapters``: folder with one subfolder a LoRA adapter; ``adapter_weights``:
    name to weight, 1 unless named; ``offload``: on CUDA only the working part lies on the card; ``shift``: of the
    timesteps, 3 unless named; and those of `serving.engines.acestep_speed.Speed`.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: Model | None = None
        self._adapters: Adapters | None = None
        self._named_adapters: dict[str, Path] = {}
        self._working = threading.RLock()

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return self._setup.spec

    def load(self) -> None:
        """Weights into memory and one short run.

        Raises:
            NoDevice, NotEnoughMemory: see `serving.engines.device`.
            BadSpeed: see `serving.engines.acestep_speed`.
            WrongCheckpoint: the folder holds something else.
        """
        with self._working:
            self._ready()

    def unload(self) -> None:
        """Give the weights' memory back."""
        with self._working:
            model, self._model, self._adapters = self._model, None, None
            if model is not None:
                device = model.device
                del model
                release(device)

    def adapters(self) -> tuple[str, ...]:
        """Names of the LoRA adapters that a request may ask for, loaded or not."""
        return tuple(sorted(usable(self._adapter_folder(), self._named_adapters)))

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load the LoRA adapter in ``folder`` under this name, for every later request. Raises `BadAdapter`."""
        with self._working:
            self._ready()[1].load(name, folder)
            self._named_adapters[name] = folder

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; one that is not loaded is no error."""
        with self._working:
            self._named_adapters.pop(name, None)
            if self._adapters is not None:
                self._adapters.unload(name)

    def make(self, brief: Brief, on_progress: OnProgress, sources: Sources = NO_SOURCES) -> tuple[Take, ...]:
        """Make every take: diffuse them all, then decode one after the other.

        Takes of one guidance are diffused in one batch where the spec says so and the device gains by it; a processor
        does not, and there a take is bit by bit the one made alone. When memory runs out, once again one by one.

        Raises:
            UnfitBrief, LostSound: the Brief or its sounds cannot be worked on.
            UnknownAdapter, BadAdapter: of ``brief.adapter``.
            NotEnoughMemory, OutOfMemory: it is too long for the device.
            BrokenSound, SilentSound: the model gave nothing that can be heard.
            Cancelled: from ``on_progress``, after any step.
        """
        self.spec.fit(brief)
        begun = time.perf_counter()
        ask = ask_of(brief, self.spec, sources, self._setup.options)
        with self._working:
            model, adapters = self._ready()
            model.fit(ask)
            adapters.use(ask.adapter, self._adapter_weight(ask.adapter))
            texts = model.texts(ask)
            together = self._together(model, ask)
            work = _Work(model=model, ask=ask, texts=texts, label=self.spec.label, telling=_Telling(on_progress))
            work.telling.tell(0.0, "Reading the words")
            made = smaller_once(lambda smaller: work.run(together=together and not smaller, small=smaller))
        share = (time.perf_counter() - begun) / len(made)
        takes = tuple(self._take(ask, texts, index, sound, share) for index, sound in enumerate(made))
        work.telling.tell(1.0, "Finished")
        return takes

    def _ready(self) -> tuple[Model, Adapters]:
        if self._model is None or self._adapters is None:
            self._model = self._load()
            self._adapters = Adapters(self._model.pipe, self._adapter_folder(), self._named_adapters)
        return self._model, self._adapters

    def _adapter_folder(self) -> Path | None:
        folder = self._setup.options.get("adapters")
        return Path(folder) if folder else None

    def _load(self) -> Model:
        setup, spec = self._setup, self.spec
        device = choose_device(setup.device)
        offload = bool(setup.options.get("offload")) and device.kind == "cuda"
        if offload and setup.folder:
            preflight(spec, device, needed_gb=offloaded_gb(setup.folder))
        else:
            preflight_weights(spec, device)
        model = load_model(setup.folder, spec.label, device, setup.options, offload=offload)
        if model.is_turbo and spec.uses_guidance:
            raise WrongCheckpoint(spec.label, setup.folder, "it is a turbo checkpoint, which follows no guidance.")
        _warm_up(model, spec)
        return model

    def _together(self, model: Model, ask: Ask) -> bool:
        """Whether takes share a batch. Raises `NotEnoughMemory` when not even single ones, in tiles, fit."""
        alone_gb = model.moving_gb + model.footprint.needs_gb(ask, rows=_rows(ask, together=False), tiled=True)
        preflight(self.spec, model.device, needed_gb=alone_gb)
        if not self.spec.takes_together or model.device.kind == "cpu":
            return False
        rows = _rows(ask, together=True)
        return model.moving_gb + model.footprint.needs_gb(ask, rows=rows, tiled=True) < free_gb(model.device)

    def _adapter_weight(self, name: str) -> float:
        return float(self._setup.options.get("adapter_weights", {}).get(name, 1.0))

    def _take(self, ask: Ask, texts: Texts, index: int, made: "_Made", seconds: float) -> Take:
        return Take(
            result=Sound(
                clip=Clip(samples=made.samples),
                tempo_bpm=ask.tempo_bpm,
                key=ask.key,
                sections=estimated_sections(texts.lyrics, ask.duration_s),
            ),
            engine=self.spec.name,
            engine_version=self.spec.version,
            seed=ask.seeds[index],
            settings=self._settings(ask, texts, index, made),
            seconds=seconds,
        )

    def _settings(self, ask: Ask, texts: Texts, index: int, made: "_Made") -> dict[str, object]:
        model, _ = self._ready()
        settings: dict[str, object] = {
            "task": ask.task.value,
            "caption": texts.caption,
            "language": ask.language,
            "duration_s": ask.duration_s,
            "tempo_bpm": ask.tempo_bpm,
            "key": ask.key,
            "metre": ask.metre,
            "steps": ask.steps,
            "shift": ask.shift,
            "guidance_scale": ask.guidances[index],
            "tracks": list(ask.tracks),
            "strength": ask.strength if ask.task is MusicTask.COVER else None,
            "window_s": [ask.window.first / RATE_HZ, ask.window.end / RATE_HZ] if ask.window else None,
            "reference": ask.reference is not None,
            "adapter": ask.adapter,
            "adapter_weight": self._adapter_weight(ask.adapter) if ask.adapter else None,
            "batch": made.batch,
            "tiled": made.tiled,
            "gain_db": made.gain_db,
            "device": model.device.kind,
            "dtype": model.device.dtype_name,
            "speed": dict(model.speed),
            "checkpoint": self.spec.card.source if self.spec.card else "",
            "revision": self.spec.card.revision if self.spec.card else "",
        }
        note = " ".join(part for part in (ask.note, texts.note) if part)
        return {**settings, "note": note} if note else settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    samples: Samples
    gain_db: float
    batch: int
    tiled: bool


class _Telling:
    """Progress that never falls, also when the work is done a second time."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._fraction = 0.0

    def tell(self, fraction: float, message: str) -> None:
        self._fraction = max(self._fraction, fraction)
        self._on_progress(Progress(fraction=self._fraction, message=message))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One request on a loaded model."""

    model: Model
    ask: Ask
    texts: Texts
    label: str
    telling: _Telling

    def run(self, *, together: bool, small: bool) -> list[_Made]:
        """All takes, in order. ``small``: in tiles, however much memory seems free."""
        footprint, ask = self.model.footprint, self.ask
        tiled = small or self.model.always_tiles or footprint.must_tile(ask.frames, free_gb(self.model.device))
        latents = list(self._diffuse(together=together, tiled=tiled))
        made = []
        for index, (batch, one) in enumerate(latents):
            self.telling.tell(_DIFFUSED + (1 - _DIFFUSED) * index / len(latents), "Rendering the sound")
            samples = self.model.decode(one, frames=ask.frames, tiled=tiled)
            made.append(_Made(samples=samples, gain_db=self._finish(samples), batch=batch, tiled=tiled))
        return made

    def _diffuse(self, *, together: bool, tiled: bool) -> Iterator[tuple[int, Any]]:
        """The size of its batch and the latents of every take."""
        groups = grouped(self.ask, together=together)
        all_steps = len(groups) * self.ask.steps
        self.telling.tell(_READ / 2, "Listening to the source" if self.ask.source is not None else "Composing")
        for number, (guidance, seeds) in enumerate(groups):

            def on_step(step: int, before: int = number * self.ask.steps) -> None:
                self.telling.tell(_READ + (_DIFFUSED - _READ) * (before + step) / all_steps, "Composing")

            for one in self.model.latents(
                self.ask, self.texts, seeds=seeds, guidance=guidance, tiled=tiled, on_step=on_step
            ):
                yield len(seeds), one

    def _finish(self, samples: Samples) -> float:
        """Check one take and bring it, in place, to its level or into its source; tells the gain in dB."""
        window = self.ask.window
        if window is None or self.ask.source is None:
            check(samples, self.label)
            return to_peak(samples)
        check(samples[:, window.first : window.end], self.label)
        return splice(samples, self.ask.source, window)


def grouped(ask: Ask, *, together: bool) -> list[tuple[float, tuple[int, ...]]]:
    """The calls that make all takes, in order: the guidance of each and the seeds of its takes.

    Guidance is one number a call, so takes share a call only when they share it.
    """
    takes = list(zip(ask.guidances, ask.seeds, strict=True))
    if not together:
        return [(guidance, (seed,)) for guidance, seed in takes]
    return [
        (guidance, tuple(seed for _, seed in group)) for guidance, group in groupby(takes, key=lambda take: take[0])
    ]


def _rows(ask: Ask, *, together: bool) -> int:
    """The most rows the transformer sees at once: guidance doubles them."""
    return max(len(seeds) * (2 if guidance > 1 else 1) for guidance, seeds in grouped(ask, together=together))


def _warm_up(model: Model, spec: EngineSpec) -> None:
    """One step of one second: kernels chosen, caches filled."""
    brief = Brief(prompt="warm-up", instrumental=True, takes=1, controls=Controls(duration_s=1.0, steps=1, seed=0))
    ask = ask_of(brief, spec, NO_SOURCES, {})
    texts = model.texts(ask)
    (latents,) = model.latents(
        ask, texts, seeds=ask.seeds, guidance=ask.guidances[0], tiled=False, on_step=lambda _: None
    )
    model.decode(latents, frames=ask.frames, tiled=False)
