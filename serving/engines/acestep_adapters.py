"""LoRA adapters of ACE-Step: found in one folder, loaded once, switched on for one request."""

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from studio.errors import MelodeonError

HELD: Final = 8
"""Adapters kept in memory; the one unused for longest makes room."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class UnknownAdapter(MelodeonError):
    """No adapter of this name is there."""

    code = "unknown_adapter"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        choice = f"choose one of: {', '.join(known)}." if known else "no adapters are installed for this engine."
        super().__init__(f"There is no adapter “{name}” here; {choice}")


class BadAdapter(MelodeonError):
    """An adapter's files cannot be used."""

    code = "bad_adapter"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The adapter “{name}” cannot be used: {problem}")


def usable(folder: Path | None, named: Mapping[str, Path]) -> dict[str, Path]:
    """Where each adapter lies, by its name: those in ``folder``, and those that are named besides and go before."""
    found = (
        {path.name: path for path in folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)}
        if folder and folder.is_dir()
        else {}
    )
    return {**found, **named}


class Adapters:
    """The adapters of one loaded pipeline. Not for several threads at once."""

    def __init__(self, pipe: Any, folder: Path | None, named: Mapping[str, Path]) -> None:
        """``folder`` holds one subfolder an adapter with one safetensors file; ``named`` are those lying elsewhere."""
        self._pipe = pipe
        self._folder = folder
        self._named = named
        self._held: dict[str, tuple[str, float]] = {}
        self._loaded = 0
        self._on = ("", 1.0)

    def load(self, name: str, folder: Path) -> None:
        """Load the adapter in ``folder`` under this name, in the place of an earlier one of that name.

        Raises:
            BadAdapter: not exactly one safetensors file, a damaged one, or one that fits another model.
        """
        from safetensors import SafetensorError

        from serving.engines.acestep_speed import forget_graphs

        forget_graphs(self._pipe)
        weights = _weights(name, folder)
        scale = _scale(name, folder)
        self.unload(name)
        self._loaded += 1
        inner = f"adapter_{self._loaded}"  # peft allows no dots in names
        try:
            self._read(folder, weights.name, inner)
        except (SafetensorError, ValueError, KeyError, RuntimeError, OSError) as error:
            if inner in self._present():
                self._forget(inner)
            # diffusers stumbles once more while it cleans up: the first error is the one to tell
            raise BadAdapter(name, _first_line(error.__context__ or error)) from error
        if inner not in self._present():
            raise BadAdapter(name, f"{weights.name} holds no weights for this model.")
        self._held[name] = (inner, scale)
        while len(self._held) > HELD:
            self.unload(next(iter(self._held)))

    def _read(self, folder: Path, weight_name: str, inner: str) -> None:
        with _several_are_meant():
            self._pipe.load_lora_weights(
                str(folder), weight_name=weight_name, adapter_name=inner, local_files_only=True, use_safetensors=True
            )

    def unload(self, name: str) -> None:
        """Forget the adapter of this name, if it is loaded."""
        if held := self._held.pop(name, None):
            self._forget(held[0])

    def use(self, name: str, weight: float) -> None:
        """Switch exactly this adapter on with this weight, or with ``""`` none; loads it from the folder if need be.

        Raises:
            UnknownAdapter: it is neither named nor in the folder.
            BadAdapter: see `load`.
        """
        from serving.engines.acestep_speed import forget_graphs

        if (name, weight) != self._on:
            forget_graphs(self._pipe)
        self._on = (name, weight)
        if not name:
            if self._present():
                self._pipe.disable_lora()
            return
        if name not in self._held:
            self.load(name, self._folder_of(name))
        self._held[name] = self._held.pop(name)
        inner, scale = self._held[name]
        self._pipe.enable_lora()
        self._pipe.set_adapters([inner], [weight * scale])

    def _forget(self, inner: str) -> None:
        with _several_are_meant():
            self._pipe.delete_adapters([inner])

    def _folder_of(self, name: str) -> Path:
        known = usable(self._folder, self._named)
        if name not in known:
            raise UnknownAdapter(name, tuple(sorted(known)))
        return known[name]

    def _present(self) -> list[str]:
        present: list[str] = self._pipe.get_list_adapters().get("transformer", [])
        return present


@contextmanager
def _several_are_meant() -> Iterator[None]:
    """Without the two warnings of peft that there is more than one adapter, and that an active one is deleted."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute", UserWarning)
        warnings.filterwarnings("ignore", "Adapter .* was active which is now deleted", UserWarning)
        yield


def _weights(name: str, folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise BadAdapter(name, f"its folder must hold exactly one .safetensors file, not {len(found)}.")
    return found[0]


def _scale(name: str, folder: Path) -> float:
    """What weight 1 means for an adapter that PEFT saved.

    Its ``adapter_config.json`` says alpha and rank; diffusers reads only what its own files carry in their header and
    would take alpha for the rank (alpha / r is 2 in ACE-Step's own trainer).
    """
    config = folder / "adapter_config.json"
    if not config.exists():
        return 1.0
    try:
        words = json.loads(config.read_text("utf-8"))
        rank, alpha = float(words["r"]), float(words["lora_alpha"])
        return alpha / (math.sqrt(rank) if words.get("use_rslora") else rank)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise BadAdapter(name, f"adapter_config.json cannot be read ({_first_line(error)}).") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
