"""What an engine with weights or a server of its own is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.words.engine_spec import EngineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One engine on one machine.

    Attributes:
        spec: its entry in the catalogue.
        folder: its checkpoint, already checked; None when it has none.
        device: ``auto``, ``cuda``, ``mps`` or ``cpu``.
        options: what the catalogue and the Serve file say to this engine alone.
    """

    spec: EngineSpec
    folder: Path | None = None
    device: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
