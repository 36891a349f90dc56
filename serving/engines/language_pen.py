"""The pen of a language model: which token comes next, row by row, under a rule.

It stands in ``generate`` as a logits processor and leaves exactly one token possible, so that transformers' own greedy
loop (with every architecture's own cache) only has to take it. Sampling here rather than there gives every row a
generator of its own: transformers draws all rows from torch's one global generator, so that a take would depend on its
neighbours and on every other thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer

from studio.errors import MelodeonError

IMPOSSIBLE: Final = -torch.inf
_CANDIDATES: Final = 64
"""The best tokens that sampling looks at: the tail beyond them is noise, and sorting a whole vocabulary is slow."""


class NotFinite(MelodeonError):
    """The model computes NaN or infinity."""

    code = "not_finite"

    def __init__(self) -> None:
        super().__init__(
            "The language model computes numbers that are not finite, so its weights are damaged or its precision is "
            "too low. Run `melodeon models verify`, or start it with another precision or device."
        )


class NoWayOn(MelodeonError):
    """The rule for the answer cannot be followed any further."""

    code = "no_way_on"

    def __init__(self, why: str) -> None:
        super().__init__(f"The language model's answer could not be kept in its form: {why or 'no token fits'}.")


class Rule(Protocol):
    """What may be written next. One object a row: it remembers how far the row has come."""

    def allowed(self) -> torch.Tensor:
        """Bool ``[vocabulary]`` on the processor."""
        ...

    def take(self, token: int) -> None:
        """This token was written."""
        ...


class GrammarRule:
    """A grammar of llguidance.

    Tokens that were added to the tokenizer (``<think>``, ``<|audio_code_7|>``) are *special* to llguidance and can
    never be spelled by a grammar: put them into the prompt or rule them by their ids.

    Raises:
        NoWayOn: when the grammar cannot be read, here or later.
    """

    def __init__(self, tokenizer: LLTokenizer, grammar: str) -> None:
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0)
        self._check()

    def allowed(self) -> torch.Tensor:
        """Everything that keeps the text a beginning of a valid one; the end of the turn once it is whole."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return torch.from_numpy(np.unpackbits(bits, bitorder="little").astype(bool))

    def take(self, token: int) -> None:
        """Go on with the grammar."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise NoWayOn(self._matcher.get_error().splitlines()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is drawn: the ``top_k`` best, of those the fewest that together have ``top_p`` of the chance (nucleus
    sampling, Holtzman et al. 2020), at a temperature; 0 always takes the best."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = _CANDIDATES


class Row:
    """One text being written.

    Args:
        seed: of this row alone.
        most_tokens: how many it may have.
        hasten_at: from this token on it takes the short way out wherever its rule has one.
    """

    def __init__(self, *, seed: int, sampling: Sampling, rule: Rule, most_tokens: int, hasten_at: int) -> None:
        self.tokens: list[int] = []
        self.ended = False
        self.rule = rule
        self.most_tokens = most_tokens
        self._sampling = sampling
        self._hasten_at = hasten_at
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def full(self) -> bool:
        """Whether it has all the tokens it may have."""
        return len(self.tokens) >= self.most_tokens

    def allowed(self, size: int, closing: torch.Tensor) -> torch.Tensor:
        """Bool ``[size]``: what may come next. ``closing`` holds the ids of tokens that bring a text to its end."""
        if self.ended or self.full:
            return torch.ones(size, dtype=torch.bool)
        # a model's vocabulary is often padded beyond its tokenizer's
        mask = torch.zeros(size, dtype=torch.bool)
        ruled = self.rule.allowed()[:size]
        mask[: len(ruled)] = ruled
        if len(self.tokens) >= self._hasten_at and bool(mask[closing].any()):
            short = torch.zeros_like(mask)
            short[closing] = mask[closing]
            return short
        return mask

    def draw(self, logits: torch.Tensor, tokens: torch.Tensor) -> int:
        """One of ``tokens``, best first, by their float ``logits`` of the same length."""
        possible = int(torch.isfinite(logits).sum())
        if possible == 0:
            raise NoWayOn("")
        if self._sampling.temperature == 0:
            return int(tokens[0])
        logits = logits[: min(possible, self._sampling.top_k)].double()
        chances = torch.softmax(logits / self._sampling.temperature, dim=0)
        reached = torch.cumsum(chances, dim=0)
        kept = 1 + int((reached < self._sampling.top_p).sum())
        reached = reached[:kept]
        place = torch.rand((), generator=self._generator, dtype=torch.float64) * reached[-1]
        return int(tokens[min(int(torch.searchsorted(reached, place)), len(reached) - 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A row that reads the request without its condition, for classifier-free guidance of the row ``of``."""

    of: int
    scale: float


class Pen:
    """Chooses the next token of every row.

    Args:
        rows: in the order of the batch; the shadows come after them.
        shadows: guidance ``shadow + scale * (row - shadow)`` of log-probabilities (Ho & Salimans 2022; for text
            Sanchez et al. 2023). In the same batch, where transformers' own would run a second pass a token.
        ends: ids that end a turn.
        closing: ids of tokens that bring a text to its end (quotes, brackets, line breaks).
        on_token: told of every token of a row that still writes; an exception of it ends the writing.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        shadows: Sequence[Shadow],
        *,
        ends: frozenset[int],
        closing: torch.Tensor,
        on_token: Callable[[int, int], None],
    ) -> None:
        self._rows = rows
        self._shadows = shadows
        self._ends = ends
        self._closing = closing
        self._on_token = on_token

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Float ``[rows + shadows, vocabulary]`` to the same with one finite entry a row."""
        if not bool(torch.isfinite(scores.amax(dim=-1)).all()):
            raise NotFinite
        values, tokens = self._best(scores)
        forced = torch.full_like(scores, IMPOSSIBLE)
        chosen = [self._next(index, values[index], tokens[index]) for index in range(len(self._rows))]
        chosen += [chosen[shadow.of] for shadow in self._shadows]
        forced[torch.arange(len(chosen)), torch.tensor(chosen)] = 0.0
        return forced

    def _best(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The best allowed tokens of each row and their logits, on the processor, best first."""
        guided = self._guided(scores.float())
        masks = [row.allowed(guided.shape[1], self._closing) for row in self._rows]
        guided = guided.masked_fill(~torch.stack(masks).to(guided.device), IMPOSSIBLE)
        best = torch.topk(guided, min(_CANDIDATES, guided.shape[1]), dim=-1)
        return best.values.cpu(), best.indices.cpu()

    def _guided(self, scores: torch.Tensor) -> torch.Tensor:
        own = scores[: len(self._rows)]
        if not self._shadows:
            return own
        own = torch.log_softmax(own, dim=-1)
        for place, shadow in enumerate(self._shadows, start=len(self._rows)):
            without = torch.log_softmax(scores[place], dim=-1)
            own[shadow.of] = without + shadow.scale * (own[shadow.of] - without)
        # what both rule out would be infinity less infinity
        return own.nan_to_num(nan=IMPOSSIBLE)

    def _next(self, index: int, values: torch.Tensor, tokens: torch.Tensor) -> int:
        row = self._rows[index]
        if row.ended or row.full:
            return min(self._ends)
        token = row.draw(values, tokens)
        if token in self._ends:
            row.ended = True
            return token
        row.rule.take(token)
        row.tokens.append(token)
        self._on_token(index, token)
        return token
