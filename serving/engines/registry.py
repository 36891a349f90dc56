"""From an engine's name to its body, imported only where it works."""

from importlib import import_module
from typing import cast

from serving.catalogue import Catalogue, catalogue
from serving.engines.protocol import Engine
from studio.errors import MelodeonError


class NoBody(MelodeonError):
    """The catalogue names a class that is not there."""

    code = "no_body"

    def __init__(self, name: str, path: str, problem: Exception) -> None:
        super().__init__(f"Engine “{name}” cannot be started: {path} is not to be found ({problem}). See engines.toml.")


def body_of(name: str, *, among: Catalogue | None = None) -> Engine:
    """A new, unloaded engine of this name.

    Raises:
        UnknownEngine: no such entry.
        NoBody: its file or a library it needs is missing.
    """
    path = (among or catalogue()).body_of(name)
    module, _, class_name = path.partition(":")
    try:
        made = getattr(import_module(module), class_name)()
    except (ImportError, AttributeError) as error:
        raise NoBody(name, path, error) from error
    return cast(Engine, made)
