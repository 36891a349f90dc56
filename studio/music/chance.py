"""Chance: seeded generators, one per stage of composing, and weighted choices."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def generator(stage: str, seed: int, *subjects: object) -> random.Random:
    """The generator of one stage.

    Each stage draws from its own, so that a change of the lyrics leaves the drums as they were. Seeding by text goes
    through SHA-512 and is the same in every process.
    """
    return random.Random("|".join([stage, str(seed), *map(str, subjects)]))  # noqa: S311 - music, not secrets


def weighted(rng: random.Random, choices: Sequence[tuple[T, float]], temperature: float = 0.0) -> T:
    """One of ``choices`` (item, weight). Temperature 0 follows the weights, 1 draws almost evenly."""
    weights = [weight ** (1.0 - 0.8 * temperature) for _, weight in choices]
    return rng.choices([item for item, _ in choices], weights)[0]


def temperature_of(guidance: float) -> float:
    """How freely to choose, 0-1: 0 at a guidance of 15 or more (the genre's own tables), 1 at 1 or less."""
    return min(1.0, max(0.0, (15.0 - guidance) / 14.0))
