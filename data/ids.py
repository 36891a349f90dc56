"""Making ids: the noun's prefix and a UUIDv7, so that ids sort by when they were made."""

import uuid_utils

from studio.words.ids import PREFIXES


def new_id(noun: str) -> str:
    """A fresh id of this noun (a key of ``studio.words.ids.PREFIXES``); RFC 9562, version 7."""
    return f"{PREFIXES[noun]}_{uuid_utils.uuid7().hex}"
