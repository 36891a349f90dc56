"""What the child that reads a file of somebody else may do at most; told to it as JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

LIFE_S: Final = 20.0
"""After so many seconds the child is ended."""
CPU_S: Final = 15
MEMORY_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One file's limits.

    Attributes:
        form: what its first bytes say it is; anything else inside is refused.
        most_s: seconds of sound.
        rates_hz: lowest and highest sample rate.
        most_pixels: of a picture as it comes.
        side_px: of the longer side of a picture as it leaves.
        out_bytes: how much the child may write.
    """

    form: str
    out_bytes: int
    most_s: float = 0.0
    rates_hz: tuple[int, int] = (0, 0)
    most_pixels: int = 0
    side_px: int = 0

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Self:
        """Out of `to_json`."""
        return cls(**json.loads(text))
