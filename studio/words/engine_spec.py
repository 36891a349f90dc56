"""EngineSpec: what an Engine can do. Forms are drawn from it and Briefs are fitted to it."""

from dataclasses import dataclass

from studio.words.brief import Brief, BriefKind, MusicTask, UnfitBrief


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberControl:
    """A number a person may set: closed range, step and the default shown (None: the engine chooses)."""

    name: str
    label: str
    least: float
    most: float
    step: float
    default: float | None = None
    unit: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceControl:
    """One of a few words."""

    name: str
    label: str
    choices: tuple[str, ...]
    default: str | None = None
    help: str = ""


Control = NumberControl | ChoiceControl


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Which weights an engine loads; their licence stands on the spec.

    Attributes:
        source: ``owner/name`` on the hub, an absolute folder, or ``tiny:NAME`` for random weights made on the spot.
        revision: branch, tag or commit on the hub.
        architecture: the class that ``model_index.json`` or ``config.json`` must name.
        memory_gb: what the weights take at the engine's usual precision, in 10^9 bytes.
        download_gb: what a fetch loads, in 10^9 bytes.
    """

    source: str
    revision: str
    architecture: str
    memory_gb: float
    download_gb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """The declaration of an Engine.

    Attributes:
        name: key in ``engines.toml`` (``"builtin-song"``).
        label: shown to people ("Built-in composer").
        version: changes whenever the same Brief would give another result.
        kinds: the Brief kinds it makes.
        controls: the controls it honours; a Brief that sets any other is unfit.
        licence: SPDX id or a sentence; ``commercial`` says whether results may be sold.
        uses_guidance: whether guidance changes the result (turbo checkpoints ignore it).
        note: one honest sentence for the page ("synthetic guide vocal").
        tasks: the ways in which it makes songs.
        takes_together: whether all takes of a request are made in one batch of the model.
        reference: whether it follows the timbre of a reference sound.
        adapters: whether it loads LoRA adapters.
        languages: of the voice, ISO 639-1; empty: any.
        card: its weights; None for an engine without.
    """

    name: str
    label: str
    version: str
    kinds: tuple[BriefKind, ...]
    controls: tuple[Control, ...] = ()
    licence: str = "MIT"
    commercial: bool = True
    uses_guidance: bool = True
    note: str = ""
    tasks: tuple[MusicTask, ...] = (MusicTask.TEXT2MUSIC,)
    takes_together: bool = False
    reference: bool = False
    adapters: bool = False
    languages: tuple[str, ...] = ()
    card: ModelCard | None = None

    def control(self, name: str) -> Control | None:
        """The control of this name, or None if the engine does not have it."""
        return next((control for control in self.controls if control.name == name), None)

    def fit(self, brief: Brief) -> None:
        """Raise `UnfitBrief` unless this engine can make ``brief``. Nothing is cut or rounded silently."""
        if brief.kind not in self.kinds:
            raise UnfitBrief("kind", f"{self.label} does not make {brief.kind.value}; choose another engine.")
        for name in ("duration_s", "tempo_bpm", "key", "steps", "guidance_scale"):
            value = getattr(brief.controls, name)
            if value is not None:
                self._fit_control(name, value)
        self._fit_task(brief)
        self._fit_abilities(brief)

    def _fit_task(self, brief: Brief) -> None:
        task = brief.task
        if task not in self.tasks:
            raise UnfitBrief("task", f"{self.label} does not do {task.value}; choose another engine.")
        from_source = task is not MusicTask.TEXT2MUSIC
        if from_source != bool(brief.source):
            need = "needs a source sound" if from_source else "takes no source sound"
            raise UnfitBrief("source", f"The task {task.value} {need}.")
        if task.needs_window != (brief.window is not None):
            need = "must say which seconds are made" if task.needs_window else "has no window"
            raise UnfitBrief("window", f"The task {task.value} {need}.")
        if task.needs_tracks != bool(brief.tracks):
            raise UnfitBrief("tracks", f"The task {task.value} {'names' if task.needs_tracks else 'has no'} tracks.")
        if len(brief.tracks) > 1 and task is not MusicTask.COMPLETE:
            raise UnfitBrief("tracks", f"The task {task.value} makes one track at a time.")
        if brief.strength is not None and task is not MusicTask.COVER:
            raise UnfitBrief("strength", f"The task {task.value} has no strength.")

    def _fit_abilities(self, brief: Brief) -> None:
        if brief.reference and not self.reference:
            raise UnfitBrief("reference", f"{self.label} does not follow a reference sound; leave it out.")
        if brief.adapter and not self.adapters:
            raise UnfitBrief("adapter", f"{self.label} loads no adapters; leave it out.")
        if brief.language and self.languages and brief.language not in self.languages:
            raise UnfitBrief("language", f"{self.label} sings in: {', '.join(self.languages)}.")

    def _fit_control(self, name: str, value: float | str) -> None:
        control = self.control(name)
        if control is None:
            raise UnfitBrief(name, f"{self.label} has no control “{name}”; leave it empty or choose another engine.")
        if isinstance(control, ChoiceControl):
            if value not in control.choices:
                raise UnfitBrief(name, f"{control.label} must be one of: {', '.join(control.choices)}.")
        elif not isinstance(value, int | float) or not control.least <= value <= control.most:
            unit = f" {control.unit}" if control.unit else ""
            raise UnfitBrief(name, f"{control.label} must be from {control.least:g} to {control.most:g}{unit}.")
