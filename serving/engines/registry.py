"""From an engine's name to its body, imported only where it works."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from serving.catalogue import Catalogue, known
from serving.engines.protocol import Engine
from serving.engines.setup import Setup
from studio.errors import MelodeonError


class NoBody(MelodeonError):
    """The catalogue names a class that is not there."""

    code = "no_body"

    def __init__(self, name: str, path: str, problem: Exception) -> None:
        super().__init__(f"Engine “{name}” cannot be started: {path} is not to be found ({problem}). See engines.toml.")


def body_of(
    name: str,
    *,
    among: Catalogue | None = None,
    folder: Path | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
) -> Engine:
    """A new, unloaded engine of this name.

    Args:
        name: of an entry.
        among: the catalogue; every known engine when absent.
        folder: its checkpoint, already checked.
        device: where it computes, see `Setup`.
        options: laid over those of the entry.

    Raises:
        UnknownEngine: no such entry.
        NoBody: its file or a library it needs is missing.
    """
    entry = (among or known()).entry(name)
    module, _, class_name = entry.body.partition(":")
    setup = Setup(spec=entry.spec, folder=folder, device=device, options={**entry.options, **(options or {})})
    try:
        body = getattr(import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        raise NoBody(name, entry.body, error) from error
    return cast(Engine, body(setup) if entry.set_up else body())
