"""EngineSpec: what an Engine can do. Forms are drawn from it and Briefs are fitted to it."""

from dataclasses import dataclass

from studio.words.brief import Brief, BriefKind, UnfitBrief


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
