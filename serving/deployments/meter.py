"""What a host measures, without knowing who collects it. `metrics` sends it to Ray."""

from typing import Literal, Protocol

Outcome = Literal["made", "failed"]
Stage = Literal["sources", "finish"]


class Meter(Protocol):
    """Told of what happens in one replica; ``engine`` is the engine's name, times are in seconds."""

    def loaded(self, engine: str, *, load_s: float, warm_up_s: float) -> None:
        """The weights are in memory; ``warm_up_s`` is 0 when nothing was warmed up."""

    def waited(self, engine: str, seconds: float) -> None:
        """A call had to wait so long for its turn."""

    def made(self, engine: str, seconds: float) -> None:
        """A call was made by the engine."""

    def spent(self, engine: str, stage: Stage, seconds: float) -> None:
        """A stage beside the engine's own took so long."""

    def took(self, engine: str, outcome: Outcome) -> None:
        """One take was stored, or failed."""

    def out_of_memory(self, engine: str) -> None:
        """A call failed for want of memory."""

    def recycled(self, engine: str) -> None:
        """The replica asks to be replaced."""
