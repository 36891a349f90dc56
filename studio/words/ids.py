"""Identifiers: a prefix that tells the noun, then a UUIDv7 in hexadecimal (``song_0199…``)."""

import re
from typing import Final, NewType

AccountId = NewType("AccountId", str)
SessionId = NewType("SessionId", str)
JobId = NewType("JobId", str)
SongId = NewType("SongId", str)
AssetId = NewType("AssetId", str)
HoldId = NewType("HoldId", str)
TransferId = NewType("TransferId", str)
ApiKeyId = NewType("ApiKeyId", str)
MailId = NewType("MailId", str)

PREFIXES: Final = {
    "account": "acc",
    "session": "ses",
    "job": "job",
    "song": "song",
    "asset": "ast",
    "hold": "hold",
    "transfer": "trf",
    "block": "blk",
    "api_key": "key",
    "mail": "mail",
}

_SHAPE = re.compile(r"^[a-z]{2,5}_[0-9a-f]{32}$")


def is_id(text: str, *, noun: str) -> bool:
    """Whether ``text`` has the shape of an id of this noun (a key of ``PREFIXES``)."""
    return bool(_SHAPE.match(text)) and text.startswith(PREFIXES[noun] + "_")
