"""Mark: what a file says about its origin, signed; and what came out when somebody looked at one."""

from dataclasses import dataclass
from enum import StrEnum


class Making(StrEnum):
    """How something came about, in the words of IPTC's list of digital source types."""

    ALGORITHM = "algorithmicMedia"
    """By rules alone, without a model that learned from examples: the built-in engines."""
    MODEL = "trainedAlgorithmicMedia"
    """By a trained model."""
    MODEL_FROM_SOUND = "compositeWithTrainedAlgorithmicMedia"
    """By a trained model, from another sound that it kept parts of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a mark says. Nothing about a person and no word of a request belongs here.

    Attributes:
        title: of the Song, as its labels have it; may be empty.
        engine: name of the engine, as in ``engines.toml``.
        engine_label, engine_version: as its spec has them.
        making: how it came about.
    """

    title: str
    engine: str
    engine_label: str
    engine_version: str
    making: Making


class MarkState(StrEnum):
    """What an examined file turned out to be."""

    VALID = "valid"
    INVALID = "invalid"
    UNMARKED = "not marked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a file says about its origin. Whatever is not known is empty; of an invalid mark nothing is believed.

    Attributes:
        state: of the mark.
        ours: signed by one of the signers that were asked for.
        issuer: who signed, as their certificate calls them.
        generator: the software that made the mark, with its version.
        engine: what made the content, with its version.
        making: IPTC's word for how it came about, mostly one of `Making`.
        title: of the work.
        why: a sentence, when it is not valid.
    """

    state: MarkState
    ours: bool = False
    issuer: str = ""
    generator: str = ""
    engine: str = ""
    making: str = ""
    title: str = ""
    why: str = ""
