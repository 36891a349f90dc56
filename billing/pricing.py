"""What a Brief or a studio service costs, in Credits: the one price list."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from studio.words.brief import Brief, BriefKind

CREDITS_PER_TAKE: Final[Mapping[BriefKind, int]] = MappingProxyType(
    {
        BriefKind.SONG: 1,
        # Text and pictures by themselves are drafts of a song that is still to be made.
        BriefKind.LYRICS: 0,
        BriefKind.TAGS: 0,
        BriefKind.COVER: 0,
        BriefKind.PROMPT: 0,
        BriefKind.REFINE: 0,
        BriefKind.MODERATION: 0,
        BriefKind.PLAN: 0,
        BriefKind.UNDERSTAND: 0,
    }
)
"""The price list: one line a kind of Brief."""


CREDITS_PER_SERVICE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "song": CREDITS_PER_TAKE[BriefKind.SONG],
        "separation": 1,
        "mastering": 1,
        "transcription": 1,
        "enhancement": 1,
        "sound": 1,
    }
)
"""One use of each service of the studio, as the public price list names them. The same Credits pay for all."""


def price_of(brief: Brief) -> int:
    """Credits to hold for ``brief`` if every take succeeds. 0 means free: nothing is to be held."""
    return CREDITS_PER_TAKE[brief.kind] * brief.takes
