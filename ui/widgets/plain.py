"""What people typed, shown as they typed it."""

import re
from typing import Final

_ADDRESS: Final = re.compile(r"(https?:|www)(?=//|\.)", re.IGNORECASE)
_WORD_JOINER: Final = "\u2060"


def escape(text: str) -> str:
    """Text so that Markdown shows it as it is: every ASCII punctuation mark behind a backslash (CommonMark 2.4).

    Addresses would become links all the same (GFM 6.9), which lead to strangers: an invisible joiner keeps them text.
    """
    unlinked = _ADDRESS.sub(rf"\1{_WORD_JOINER}", text)
    return "".join(
        f"\\{char}" if char.isascii() and not char.isalnum() and not char.isspace() else char for char in unlinked
    )


def credits_text(number: int) -> str:
    """A number of credits in words: "1 credit", "2 credits"."""
    return counted(number, "credit")


def counted(number: int, noun: str) -> str:
    """So many of something: "1 play", "2 plays"; the plural takes an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
