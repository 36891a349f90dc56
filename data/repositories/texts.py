"""What Postgres can keep of a text that a stranger sent."""

import re
from typing import Final

from studio.errors import MelodeonError

_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")


class UnkeepableText(MelodeonError):
    """A text holds something that is no character: a NUL or half of a surrogate pair."""

    code = "unkeepable_text"

    def __init__(self, field_name: str) -> None:
        label = field_name.replace("_", " ")
        super().__init__(f"The {label} contains an invisible character that cannot be kept. Please type it anew.")
        self.field_name = field_name


def keepable(text: str) -> bool:
    """Whether Postgres can store ``text``, also inside JSON."""
    return not _UNKEEPABLE.search(text)


def check_keepable(**texts: str) -> None:
    """Raise `UnkeepableText` for the first of the named texts that cannot be stored."""
    for field_name, text in texts.items():
        if not keepable(text):
            raise UnkeepableText(field_name)
