"""Asset: one stored object."""

from dataclasses import dataclass
from enum import StrEnum


class AssetRole(StrEnum):
    """What an object is to its Song."""

    WAV = "wav"
    STREAM = "stream"
    PEAKS = "peaks"
    COVER = "cover"
    COVER_512 = "cover_512"
    COVER_128 = "cover_128"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One stored object: where it lies and what it must be.

    Attributes:
        key: path in the object store, made by us, never by a person.
        sha256: lower-case hexadecimal, 64 characters.
        media_type: ``audio/wav``, ``image/webp``, …
        size_bytes: length in bytes.
    """

    key: str
    sha256: str
    media_type: str
    size_bytes: int
