"""What a Brief costs, in Credits."""

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


def price_of(brief: Brief) -> int:
    """Credits to hold for ``brief`` if every take succeeds. 0 means free: nothing is to be held."""
    return CREDITS_PER_TAKE[brief.kind] * brief.takes
