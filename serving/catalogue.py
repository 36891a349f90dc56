"""The catalogue: which engines there are, what each can do and who serves it.

It reads ``configs/engines.toml`` and imports no engine, so pages and workers can fit a Brief on any machine. The
bodies take their own declaration from here: a spec is written once.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import configs
from studio.errors import MelodeonError
from studio.music.theory import KEYS
from studio.words.brief import BriefKind
from studio.words.engine_spec import ChoiceControl, Control, EngineSpec, NumberControl


class UnknownEngine(MelodeonError):
    """No engine of this name is in the catalogue."""

    code = "unknown_engine"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no engine “{name}” here; choose one of: {', '.join(known)}.")


class NoEngine(MelodeonError):
    """The catalogue has no engine for this kind of request."""

    code = "no_engine"

    def __init__(self, kind: BriefKind) -> None:
        super().__init__(f"No engine of this installation makes {kind.value}; add one to engines.toml.")


class BadCatalogue(MelodeonError):
    """The catalogue's file is not as it should be."""

    code = "bad_catalogue"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path.name} cannot be used: {problem}")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _NumberEntry(_Entry):
    label: str
    least: float
    most: float
    step: float = Field(gt=0)
    default: float | None = None
    unit: str = ""
    help: str = ""


class _ChoiceEntry(_Entry):
    label: str
    choices: tuple[str, ...] | Literal["keys"]
    default: str | None = None
    help: str = ""


class _EngineEntry(_Entry):
    body: str = Field(pattern=r"^[a-z_.0-9]+:[A-Za-z0-9]+$")
    application: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    label: str
    version: str
    kinds: tuple[BriefKind, ...] = Field(min_length=1)
    licence: str = "MIT"
    commercial: bool = True
    uses_guidance: bool = True
    note: str = ""
    controls: dict[
        Literal["duration_s", "tempo_bpm", "key", "steps", "guidance_scale"], _NumberEntry | _ChoiceEntry
    ] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    spec: EngineSpec
    body: str
    application: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The engines of one installation, in the order of its file."""

    entries: dict[str, _Served]

    def engines(self) -> tuple[EngineSpec, ...]:
        """Every engine's declaration; the first of a kind is that kind's default."""
        return tuple(entry.spec for entry in self.entries.values())

    def spec_of(self, name: str) -> EngineSpec:
        """The declaration of this engine. Raises `UnknownEngine`."""
        return self._entry(name).spec

    def body_of(self, name: str) -> str:
        """Where this engine's class is: ``"module:Class"``. Raises `UnknownEngine`."""
        return self._entry(name).body

    def application_of(self, name: str) -> str:
        """The gateway application that serves this engine. Raises `UnknownEngine`."""
        return self._entry(name).application

    def default_engine(self, kind: BriefKind) -> str:
        """The first engine that makes this kind. Raises `NoEngine`."""
        for spec in self.engines():
            if kind in spec.kinds:
                return spec.name
        raise NoEngine(kind)

    def applications(self) -> tuple[str, ...]:
        """The applications that serve these engines, each once."""
        return tuple(dict.fromkeys(entry.application for entry in self.entries.values()))

    def _entry(self, name: str) -> _Served:
        try:
            return self.entries[name]
        except KeyError:
            raise UnknownEngine(name, tuple(self.entries)) from None


def read_catalogue(path: Path) -> Catalogue:
    """Read a catalogue file.

    Raises:
        BadCatalogue: when it is no TOML, has an unknown or missing word, or a value of the wrong type.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        return Catalogue(entries={name: _served(name, _EngineEntry(**table)) for name, table in tables.items()})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadCatalogue(path, str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadCatalogue(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def _served(name: str, entry: _EngineEntry) -> _Served:
    spec = EngineSpec(
        name=name,
        label=entry.label,
        version=entry.version,
        kinds=entry.kinds,
        controls=tuple(_control(control_name, control) for control_name, control in entry.controls.items()),
        licence=entry.licence,
        commercial=entry.commercial,
        uses_guidance=entry.uses_guidance,
        note=entry.note,
    )
    return _Served(spec=spec, body=entry.body, application=entry.application)


def _control(name: str, entry: _NumberEntry | _ChoiceEntry) -> Control:
    if isinstance(entry, _NumberEntry):
        return NumberControl(name=name, **entry.model_dump())
    choices = KEYS if entry.choices == "keys" else entry.choices
    return ChoiceControl(name=name, label=entry.label, choices=tuple(choices), default=entry.default, help=entry.help)


@cache
def catalogue() -> Catalogue:
    """The catalogue of this installation, read once."""
    return read_catalogue(Path(configs.__file__).with_name("engines.toml"))


def engines() -> tuple[EngineSpec, ...]:
    """Every engine of this installation; the first of a kind is that kind's default."""
    return catalogue().engines()


def spec_of(name: str) -> EngineSpec:
    """What this engine can do. Raises `UnknownEngine`."""
    return catalogue().spec_of(name)


def application_of(name: str) -> str:
    """The gateway application that serves this engine. Raises `UnknownEngine`."""
    return catalogue().application_of(name)


def default_engine(kind: BriefKind) -> str:
    """The engine taken when the person chose none. Raises `NoEngine`."""
    return catalogue().default_engine(kind)
