"""How far a Job is: the stages' own fractions weighed into one number."""

from types import MappingProxyType
from typing import Final

from studio.words.job import Stage

WEIGHTS: Final = MappingProxyType({Stage.TEXT: 0.08, Stage.MUSIC: 0.76, Stage.COVER: 0.12, Stage.TAGS: 0.04})
"""What part of the whole each stage is; the sum is 1."""


class ProgressBoard:
    """Collects what the stages of one attempt say. ``changed`` is for whoever passes it on."""

    def __init__(self) -> None:
        self.stages: dict[Stage, float] = dict.fromkeys(Stage, 0.0)
        self.message = ""
        self.changed = False

    def note(self, stage: Stage, fraction: float, message: str = "") -> None:
        """A stage is so far (0-1). A stage never goes back; the message of the music outranks the cover's."""
        self.stages[stage] = max(self.stages[stage], min(fraction, 1.0))
        if message and not (stage is Stage.COVER and self.stage is Stage.MUSIC):
            self.message = message
        self.changed = True

    @property
    def stage(self) -> Stage:
        """The first stage that is not done; the last one when all are."""
        return next((stage for stage, fraction in self.stages.items() if fraction < 1.0), Stage.TAGS)

    @property
    def fraction(self) -> float:
        """The whole, 0-1."""
        return min(1.0, sum(WEIGHTS[stage] * fraction for stage, fraction in self.stages.items()))
