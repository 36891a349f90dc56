"""What every body of the object store keeps to: keys, ranges, errors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from studio.errors import MelodeonError

BLOCK_BYTES: Final = 1 << 20
"""How much is read, hashed and written at a time."""

_KEY = re.compile(r"[a-z0-9][a-z0-9/_.-]{0,300}")
_PART = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")
_PREFIX = re.compile(r"[a-z0-9/_.-]{0,301}")


class BadKey(MelodeonError):
    """A key that no store takes."""

    code = "bad_key"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"“{key[:80]}” is not a key of the object store: parts of lower-case letters, digits, “_”, “.” and “-”, "
            "each beginning with a letter or digit, joined by “/”."
        )
        self.key = key


class BadRange(MelodeonError):
    """Bytes were asked for that the object does not have."""

    code = "bad_range"

    def __init__(self, key: str) -> None:
        super().__init__(f"The object {key} has no bytes in the range asked for.")
        self.key = key


class NoObject(MelodeonError):
    """Nothing is stored under the key."""

    code = "no_object"

    def __init__(self, key: str) -> None:
        super().__init__(f"Nothing is stored under {key}; it may have been deleted.")
        self.key = key


class StoreUnavailable(MelodeonError):
    """The store cannot do its work at the moment; nothing half-done is left behind."""

    code = "store_unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(f"The object store is not available: {why} Nothing was lost; try again when this is mended.")
        self.why = why


def check_key(key: str) -> None:
    """Raise `BadKey` unless ``key`` can be stored: no part may lead out of the store or hide a file in it."""
    if not _KEY.fullmatch(key) or ".." in key or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise BadKey(key)


def check_prefix(prefix: str) -> None:
    """Raise `BadKey` unless ``prefix`` can be the beginning of a key; the empty one begins them all."""
    if not _PREFIX.fullmatch(prefix) or ".." in prefix or prefix.startswith(("/", ".")) or "//" in prefix:
        raise BadKey(prefix)


def resolve_range(key: str, size_bytes: int, start: int, end: int | None) -> tuple[int, int]:
    """First byte and number of bytes of a range of an object (RFC 9110, 14.1.2).

    Args:
        start: first byte; negative: so many bytes before the end, and ``end`` is None then.
        end: last byte, inclusive; None or beyond the object: its last byte.

    Raises:
        BadRange: no byte of the object is in the range. The whole and the last bytes of an empty object are no bytes.
    """
    check_range(key, start, end)
    if start < 0:
        start = max(0, size_bytes + start)
    if start == 0 and end is None:
        return 0, size_bytes
    if start >= size_bytes:
        raise BadRange(key)
    last = size_bytes - 1 if end is None else min(end, size_bytes - 1)
    return start, last - start + 1


def check_range(key: str, start: int, end: int | None) -> None:
    """Raise `BadRange` for a range that no object has, however large."""
    if end is not None and (start < 0 or end < start):
        raise BadRange(key)


def blocks_of(content: BinaryIO | bytes | Path) -> Iterator[bytes]:
    """The content in blocks, never more than one in memory."""
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, Path):
        with content.open("rb") as file:
            yield from _read_blocks(file)
    else:
        yield from _read_blocks(content)


def _read_blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
