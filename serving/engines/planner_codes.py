"""Audio codes of the 5 Hz planner: tokens of their own, which no grammar can spell, ruled by their ids."""

import re
from collections.abc import Mapping
from typing import Any

import torch

_CODE: re.Pattern[str] = re.compile(r"<\|audio_code_(\d{1,5})\|>")


def code_tokens(tokenizer: Any) -> dict[int, int]:
    """Code number by token id, of every audio code that the tokenizer knows."""
    matches = ((token, _CODE.fullmatch(text)) for text, token in tokenizer.get_vocab().items())
    return {token: int(found[1]) for token, found in matches if found}


class CodesRule:
    """So many codes and nothing else, then the end of the turn.

    Args:
        codes: code number by token id.
        ends: ids that end a turn.
        count: how many codes.
    """

    def __init__(self, codes: Mapping[int, int], *, ends: frozenset[int], count: int) -> None:
        self._numbers = codes
        self._count = count
        self._taken: list[int] = []
        size = max((*codes, *ends)) + 1
        self._codes = _mask(size, codes)
        self._ends = _mask(size, ends)

    @property
    def written(self) -> int:
        """How many codes there are."""
        return len(self._taken)

    @property
    def codes(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self._numbers[token] for token in self._taken)

    def allowed(self) -> torch.Tensor:
        """Bool over the ids up to the last that matters."""
        return self._codes if self.written < self._count else self._ends

    def take(self, token: int) -> None:
        """This code was written."""
        self._taken.append(token)


def _mask(size: int, tokens: "frozenset[int] | Mapping[int, int]") -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(tokens)] = True
    return mask
