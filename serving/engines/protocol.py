"""What an Engine is."""

from typing import Final, Protocol

from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Sources, Take

NO_SOURCES: Final = Sources()


class Engine(Protocol):
    """Turns a Brief into Takes. One file an engine; its exam is ``tests/serving/engines/test_engine_exam.py``."""

    @property
    def spec(self) -> EngineSpec:
        """What it can do: the entry of this name in the catalogue."""
        ...

    def load(self) -> None:
        """Get ready to work: weights into memory, compilers warm. Called again, it does nothing."""
        ...

    def unload(self) -> None:
        """Give the memory back. `load` makes it ready again."""
        ...

    def make(self, brief: Brief, on_progress: OnProgress, sources: Sources = NO_SOURCES) -> tuple[Take, ...]:
        """Make ``brief.takes`` takes, in order; the same Brief gives the same results.

        ``sources`` are the sounds that the Brief names by key.

        ``on_progress`` hears fractions that never fall, from 0 to 1, and may raise `Cancelled`, which passes
        through within one step. Sound comes raw: whoever hosts the engine masters it.

        Raises:
            UnfitBrief: when the spec does not allow the Brief.
            Cancelled: from ``on_progress``.
        """
        ...
