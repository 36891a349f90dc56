"""Checkpoints of the engines: fetched from the hub, built, or used where they lie; listed, verified, refused.

This module stands beside the catalogue and imports no engine and no torch, so that the command line and the gateway
may use it. The tiny checkpoints need torch to be written; their builder is therefore imported by name, and only when
one is asked for.

Nothing half-written is ever taken for a checkpoint: a fetch works in ``NAME.part`` and renames it when every file has
the size and hash that the hub named. Files that arrived whole are kept when a fetch breaks off, and not loaded again.
"""

import errno
import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from serving import hub
from serving.checkpoints import MANIFEST, BadCheckpoint, check, read_manifest, record, write_manifest
from serving.hub import FetchFailed, Say, size_words
from studio.errors import MelodeonError
from studio.words.engine_spec import EngineSpec, ModelCard

__all__ = [
    "BadCheckpoint",
    "FetchFailed",
    "ForbiddenModel",
    "Held",
    "NoCheckpoint",
    "allowed",
    "check",
    "fetch",
    "folder_of",
    "held",
    "listing",
    "size_words",
    "verify",
]

State = Literal["absent", "held", "broken"]


class NoCheckpoint(MelodeonError):
    """The engine's weights are not on this machine."""

    code = "no_checkpoint"

    def __init__(self, spec: EngineSpec, folder: Path) -> None:
        card = _card_of(spec)
        how = (
            f"Put them into {folder}, or name another folder in your engines file."
            if _is_local(card)
            else f"Run `melodeon models fetch {spec.name}` ({card.download_gb:g} GB)."
        )
        super().__init__(f"The weights of {spec.label} are not on this machine. {how}")


class ForbiddenModel(MelodeonError):
    """The licence of this engine does not fit this installation."""

    code = "forbidden_model"

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(
            f"{spec.label} may not be used commercially ({spec.licence}), so it does not start here. Choose another "
            "engine, or say MELODEON_MODELS__NON_COMMERCIAL=true if nothing that this studio makes is sold."
        )


class NoWeights(MelodeonError):
    """The engine has no checkpoint to fetch or check."""

    code = "no_weights"

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(f"{spec.label} has no weights of its own: there is nothing to fetch.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is on this machine of one engine's checkpoint.

    Attributes:
        engine: its name in the catalogue.
        folder: where it is or would be.
        source: as on the card.
        revision: the commit that was fetched, or what the card asks for.
        size_bytes: of all its files; 0 when absent.
        state: ``absent``, ``held`` or ``broken``.
        problem: for a broken one, the sentence.
    """

    engine: str
    folder: Path
    source: str
    revision: str
    size_bytes: int
    state: State
    problem: str = ""


def folder_of(models: Path, spec: EngineSpec) -> Path:
    """Where this engine's checkpoint lies: ``models``/NAME, or the folder that its card names.

    Raises:
        NoWeights: for an engine without a card.
    """
    card = _card_of(spec)
    return Path(card.source) if _is_local(card) else models / spec.name


def allowed(spec: EngineSpec, *, non_commercial: bool) -> None:
    """Return quietly if this installation may use the engine.

    Raises:
        ForbiddenModel: when its licence forbids commercial use and the settings do not say that this is fine.
    """
    if not spec.commercial and not non_commercial:
        raise ForbiddenModel(spec)


def held(spec: EngineSpec, models: Path, *, hashes: bool) -> Path:
    """The folder of this engine's checkpoint, checked and ready to load.

    Args:
        spec: an engine with a card.
        models: the folder of all checkpoints.
        hashes: compare every file's SHA-256 with the manifest too.

    Raises:
        NoCheckpoint: when it is not there.
        BadCheckpoint: when it must not be loaded.
    """
    folder = folder_of(models, spec)
    if not folder.is_dir():
        raise NoCheckpoint(spec, folder)
    check(folder, _card_of(spec), hashes=hashes, manifest=_manifest_path(models, spec))
    return folder


def listing(specs: Sequence[EngineSpec], models: Path) -> tuple[Held, ...]:
    """The state of every checkpoint that these engines name; files are looked at, weights are not read."""
    return tuple(verify(spec, models, hashes=False) for spec in specs if spec.card)


def verify(spec: EngineSpec, models: Path, *, hashes: bool = True) -> Held:
    """The state of this engine's checkpoint, by default after reading every byte of it. Raises `NoWeights`."""
    folder, card = folder_of(models, spec), _card_of(spec)
    state: State = "held"
    revision, problem = card.revision, ""
    try:
        held(spec, models, hashes=hashes)
        manifest = read_manifest(_manifest_path(models, spec))
        revision = manifest.commit if manifest else revision
    except NoCheckpoint:
        state = "absent"
    except BadCheckpoint as error:
        state, problem = "broken", error.sentence
    return Held(
        engine=spec.name,
        folder=folder,
        source=card.source,
        revision=revision,
        size_bytes=_size_bytes(folder) if state != "absent" else 0,
        state=state,
        problem=problem,
    )


def fetch(
    spec: EngineSpec, models: Path, *, offline: bool, say: Say, endpoint: str | None = None, again: bool = False
) -> Held:
    """Bring this engine's checkpoint here, unless it is here and whole, and write down the hash of every file.

    A second fetch of the same engine, from any process, waits for the first.

    Args:
        spec: an engine with a card.
        models: the folder of all checkpoints; made when missing.
        offline: nothing may be loaded from the network.
        say: is told what goes on, a sentence at a time.
        endpoint: address of the hub; the library's own default when absent.
        again: fetch although it is here: the branch that the card names may have moved on.

    Raises:
        NoWeights: the engine has no card.
        NoCheckpoint: the card names a folder that is not there.
        FetchFailed: no network, no such source, no access, no space.
        BadCheckpoint: what was fetched, or lies in the named folder, must not be loaded.
    """
    card = _card_of(spec)
    try:
        models.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(models / f".{spec.name}.lock", say):
            if _is_local(card):
                return _adopt(spec, models, say)
            have = verify(spec, models, hashes=False)
            if have.state == "held" and not again:
                say(f"{spec.name} is here already: {have.folder}")
                return have
            if have.state == "broken":
                say(have.problem)
            return _fetch_anew(spec, models, lambda part: _bring(card, part, offline, say, endpoint), say)
    except OSError as error:
        raise FetchFailed(card.source, _disk_sentence(error, models)) from error


def _fetch_anew(spec: EngineSpec, models: Path, bring: Callable[[Path], str], say: Say) -> Held:
    part = models / f"{spec.name}.part"
    try:
        commit = bring(part)
        _put_in_place(spec, models, part, commit)
    except BadCheckpoint:
        shutil.rmtree(part, ignore_errors=True)
        raise
    done = verify(spec, models, hashes=False)
    say(f"{spec.name} is here: {size_words(done.size_bytes)} in {done.folder}")
    return done


def _card_of(spec: EngineSpec) -> ModelCard:
    if spec.card is None:
        raise NoWeights(spec)
    return spec.card


def _is_local(card: ModelCard) -> bool:
    return card.source.startswith("/")


def _manifest_path(models: Path, spec: EngineSpec) -> Path:
    """A folder used where it lies may not be ours to write into: its manifest is kept among our checkpoints."""
    if _is_local(_card_of(spec)):
        return models / f"{spec.name}.{MANIFEST}"
    return folder_of(models, spec) / MANIFEST


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@contextmanager
def _one_at_a_time(lock: Path, say: Say) -> Iterator[None]:
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another fetch of this checkpoint is under way; waiting for it.")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _adopt(spec: EngineSpec, models: Path, say: Say) -> Held:
    """Take a folder as it is now: from here on any change of its files is noticed."""
    card, manifest = _card_of(spec), _manifest_path(models, spec)
    manifest.unlink(missing_ok=True)
    folder = held(spec, models, hashes=False)
    write_manifest(record(folder, source=card.source, revision=card.revision, commit=card.revision), manifest)
    say(f"{spec.name} is used where it lies: {folder}")
    return verify(spec, models, hashes=False)


def _bring(card: ModelCard, part: Path, offline: bool, say: Say, endpoint: str | None) -> str:  # noqa: FBT001
    """Put all files of the source into ``part``; returns the commit they are of."""
    if card.source.startswith("tiny:"):
        return _build(card, part)
    if offline:
        raise FetchFailed(card.source, "MELODEON_MODELS__OFFLINE is set, nothing is loaded from the network.")
    return hub.load(card, part, say=say, endpoint=endpoint)


def _build(card: ModelCard, part: Path) -> str:
    builders = import_module("serving.engines.tiny").TINY  # by name: see the module's first lines
    build = builders.get(card.source.removeprefix("tiny:"))
    if build is None:
        raise FetchFailed(card.source, f"there is no such tiny model; choose one of: {', '.join(builders)}.")
    shutil.rmtree(part, ignore_errors=True)
    try:
        build(part)
    except ModuleNotFoundError as error:
        raise FetchFailed(card.source, f"{error.name} is not installed; install melodeon[models].") from None
    return card.revision


def _put_in_place(spec: EngineSpec, models: Path, part: Path, commit: str) -> None:
    card, folder = _card_of(spec), folder_of(models, spec)
    manifest = record(part, source=card.source, revision=card.revision, commit=commit)
    write_manifest(manifest, part / MANIFEST)
    check(part, card, hashes=False)
    old = models / f"{spec.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _disk_sentence(error: OSError, models: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {models} is full. Make room and fetch again; files that arrived whole are kept."
    return f"{models} cannot be written ({error.strerror or error})."
