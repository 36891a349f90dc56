"""The catalogue: which engines there are, what each can do and who serves it.

`known` is what ``configs/engines.toml`` declares; `catalogue` is what the Serve file of this installation runs, in its
order. Both are read again when a file changes. No engine is imported, so pages and workers can fit a Brief on any
machine. The bodies take their own declaration from here: a spec is written once.
"""

import threading
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import structlog
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import configs
from configs.settings import settings
from studio.errors import MelodeonError
from studio.music.theory import KEYS
from studio.words.brief import BriefKind, MusicTask
from studio.words.engine_spec import ChoiceControl, Control, EngineSpec, ModelCard, NumberControl

log = structlog.get_logger(__name__)

T = TypeVar("T")


class UnknownEngine(MelodeonError):
    """No engine of this name is in the catalogue."""

    code = "unknown_engine"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no engine “{name}” here; choose one of: {', '.join(known)}.")


class NoEngine(MelodeonError):
    """The catalogue has no engine for this kind of request."""

    code = "no_engine"

    def __init__(self, kind: BriefKind) -> None:
        super().__init__(f"No engine of this installation makes {kind.value}; name one in the Serve file.")


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


class _CheckpointEntry(_Entry):
    source: str = Field(pattern=r"^(tiny:[a-z0-9-]+|/.+|[\w.-]+/[\w.-]+)$")
    revision: str = "main"
    architecture: str
    memory_gb: float = Field(gt=0)
    download_gb: float = Field(ge=0)


class _EngineEntry(_Entry):
    body: str = Field(pattern=r"^[a-z_.0-9]+:[A-Za-z0-9]+$")
    label: str
    version: str
    kinds: tuple[BriefKind, ...] = Field(min_length=1)
    licence: str = "MIT"
    commercial: bool = True
    uses_guidance: bool = True
    note: str = ""
    tasks: tuple[MusicTask, ...] = Field(default=(MusicTask.TEXT2MUSIC,), min_length=1)
    takes_together: bool = False
    reference: bool = False
    adapters: bool = False
    languages: tuple[str, ...] = ()
    checkpoint: _CheckpointEntry | None = None
    server: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    controls: dict[
        Literal["duration_s", "tempo_bpm", "key", "steps", "guidance_scale"], _NumberEntry | _ChoiceEntry
    ] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One engine of the catalogue.

    Attributes:
        spec: what it can do.
        body: where its class is, ``"module:Class"``.
        set_up: whether the class is made from a `Setup` (it has weights or a server); else it takes no arguments.
        options: what its body is told.
        application: the Serve application that runs it; empty while none does.
    """

    spec: EngineSpec
    body: str
    set_up: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    application: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Engines by name, in an order: the first of a kind is that kind's default."""

    entries: dict[str, Entry]

    def engines(self) -> tuple[EngineSpec, ...]:
        """Every engine's declaration; the first of a kind is that kind's default."""
        return tuple(entry.spec for entry in self.entries.values())

    def spec_of(self, name: str) -> EngineSpec:
        """The declaration of this engine. Raises `UnknownEngine`."""
        return self.entry(name).spec

    def application_of(self, name: str) -> str:
        """The Serve application that runs this engine. Raises `UnknownEngine`."""
        return self.entry(name).application

    def makes(self, kind: BriefKind) -> bool:
        """Whether any engine makes this kind."""
        return any(kind in spec.kinds for spec in self.engines())

    def default_engine(self, kind: BriefKind) -> str:
        """The first engine that makes this kind. Raises `NoEngine`."""
        for spec in self.engines():
            if kind in spec.kinds:
                return spec.name
        raise NoEngine(kind)

    def applications(self) -> tuple[str, ...]:
        """The applications that run these engines, each once."""
        return tuple(dict.fromkeys(entry.application for entry in self.entries.values()))

    def entry(self, name: str) -> Entry:
        """Everything about this engine. Raises `UnknownEngine`."""
        try:
            return self.entries[name]
        except KeyError:
            raise UnknownEngine(name, tuple(self.entries)) from None

    def served_by(self, applications: Mapping[str, tuple[str, ...]]) -> "Catalogue":
        """These engines of the catalogue, in this order, each with the application that runs it.

        Raises `UnknownEngine` for one that the catalogue does not have.
        """
        named = {engine: application for application, engines in applications.items() for engine in engines}
        return Catalogue(entries={name: replace(self.entry(name), application=app) for name, app in named.items()})


def read_catalogue(*paths: Path) -> Catalogue:
    """Read catalogue files; an entry of a later one replaces that of an earlier one.

    Raises:
        BadCatalogue: when it is no TOML, has an unknown or missing word, or a value of the wrong type.
    """
    tables: dict[str, dict[str, Any]] = {}
    entries: dict[str, Entry] = {}
    for path in paths:
        try:
            tables |= tomllib.loads(path.read_text("utf-8"))
            entries = {name: _entry(name, _EngineEntry(**_whole(name, tables))) for name in tables}
        except (OSError, tomllib.TOMLDecodeError, TypeError, LookupError) as error:
            raise BadCatalogue(path, str(error)) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise BadCatalogue(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    return Catalogue(entries=entries)


def _whole(name: str, tables: Mapping[str, dict[str, Any]], *, below: tuple[str, ...] = ()) -> dict[str, Any]:
    """The entry with what it takes over from the one it is ``like``; a server has no checkpoint to take over."""
    own = dict(tables[name])
    model = own.pop("like", None)
    if model is None:
        return own
    if model not in tables or model in (name, *below):
        raise LookupError(f"{name} is like “{model}”, which is no other entry.")
    whole = _whole(model, tables, below=(name, *below))
    if own.get("server"):
        whole.pop("checkpoint", None)
    controls = {**whole.get("controls", {}), **own.get("controls", {})}
    return {**whole, **own, **({"controls": controls} if controls else {})}


def read_applications(path: Path) -> dict[str, tuple[str, ...]]:
    """Which engines each application of a Serve file runs, in the file's order; the gateway runs none.

    Raises:
        BadCatalogue: when the file cannot be read or is no Serve file.
    """
    try:
        applications = yaml.safe_load(path.read_text("utf-8"))["applications"]
        named = {application["name"]: application.get("args") or {} for application in applications}
        engines = {name: (*args.get("engines", ()), *_one(args.get("engine"))) for name, args in named.items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadCatalogue(path, f"it is no Serve file ({error}).") from None
    return {name: run for name, run in engines.items() if run}


def _one(engine: str | None) -> tuple[str, ...]:
    return (engine,) if engine else ()


def _entry(name: str, entry: _EngineEntry) -> Entry:
    card = ModelCard(**entry.checkpoint.model_dump()) if entry.checkpoint else None
    spec = EngineSpec(
        name=name,
        controls=tuple(_control(control_name, control) for control_name, control in entry.controls.items()),
        card=card,
        **{word: getattr(entry, word) for word in _SAME_WORDS},
    )
    return Entry(spec=spec, body=entry.body, set_up=card is not None or entry.server, options=entry.options)


_SAME_WORDS = (
    "label", "version", "kinds", "licence", "commercial", "uses_guidance", "note", "tasks", "takes_together",
    "reference", "adapters", "languages",
)  # fmt: skip


def _control(name: str, entry: _NumberEntry | _ChoiceEntry) -> Control:
    if isinstance(entry, _NumberEntry):
        return NumberControl(name=name, **entry.model_dump())
    choices = KEYS if entry.choices == "keys" else entry.choices
    return ChoiceControl(name=name, label=entry.label, choices=tuple(choices), default=entry.default, help=entry.help)


class Reread(Generic[T]):
    """What was made of some files, made anew when one of them changed.

    A file that cannot be used any more, perhaps because it is half written, changes nothing: what was made before
    stands, and the log says why.

    Args:
        read: makes it of the paths.
    """

    def __init__(self, read: Callable[..., T]) -> None:
        self._read = read
        self._held: dict[tuple[Path, ...], tuple[tuple[object, ...], T]] = {}
        self._reading = threading.Lock()

    def of(self, *paths: Path) -> T:
        """What these files say now. Raises what ``read`` raises when they never could be used."""
        # looked at before they are read: what is written meanwhile shows the next time
        stamps = tuple(map(_stamp, paths))
        with self._reading:
            held = self._held.get(paths)
            if held is None or held[0] != stamps:
                held = (stamps, self._anew(paths, held))
                self._held[paths] = held
        return held[1]

    def _anew(self, paths: tuple[Path, ...], held: tuple[tuple[object, ...], T] | None) -> T:
        try:
            return self._read(*paths)
        except MelodeonError as error:
            if held is None:
                raise
            log.warning("catalogue.kept", code=error.code, problem=error.sentence)
            return held[1]


def _stamp(path: Path) -> object:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _read_served(serve_file: Path, *catalogues: Path) -> Catalogue:
    return read_catalogue(*catalogues).served_by(read_applications(serve_file))


_known = Reread(read_catalogue)
_served = Reread(_read_served)


def _catalogue_files() -> tuple[Path, ...]:
    own = settings().serve.engines_file
    return Path(configs.__file__).with_name("engines.toml"), *([own] if own else [])


def known() -> Catalogue:
    """Every engine that this installation knows, as its files say now."""
    return _known.of(*_catalogue_files())


def catalogue() -> Catalogue:
    """The engines that this installation runs, as its files say now."""
    return _served.of(settings().serve.config, *_catalogue_files())


def engines() -> tuple[EngineSpec, ...]:
    """Every engine that this installation runs; the first of a kind is that kind's default."""
    return catalogue().engines()


def spec_of(name: str) -> EngineSpec:
    """What this engine can do. Raises `UnknownEngine`."""
    return catalogue().spec_of(name)


def default_engine(kind: BriefKind) -> str:
    """The engine taken when the person chose none. Raises `NoEngine`."""
    return catalogue().default_engine(kind)
