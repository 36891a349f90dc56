"""What a language model wrote, made fit to be shown and sung: JSON read leniently, texts cleaned strictly."""

import json
import re
import unicodedata
from typing import Any, Final

from studio.errors import MelodeonError
from studio.text.sections import format_lyrics, parse_lyrics

_THOUGHTS: Final = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_CONTROL_TOKENS: Final = re.compile(r"<\|[^<>|]{1,40}\|>|</?think>")
_MARKDOWN: Final = re.compile(r"\*\*|__|`+|^#+\s+", re.MULTILINE)
_QUOTES: Final = '"“”„«»'
_JOINERS: Final = "\u200c\u200d"
"""Letters of Persian and of Indic scripts need them; every other invisible character goes."""


class UnusableAnswer(MelodeonError):
    """The language model answered something that cannot be used. Another seed may do better."""

    code = "unusable_answer"
    retryable = True

    def __init__(self, why: str) -> None:
        super().__init__(f"The language model's answer could not be used: {why}. Try again or change the description.")


def read_object(text: str) -> dict[str, Any]:
    """The first JSON object in ``text``: thoughts before it and a Markdown fence around it do no harm.

    Raises:
        UnusableAnswer: when there is none or it is broken.
    """
    text = _THOUGHTS.sub("", text)
    start = text.find("{")
    if start < 0:
        raise UnusableAnswer("it is not in the form that was asked for")
    try:
        # strict=False: line breaks inside strings are a common slip and harmless
        found, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (json.JSONDecodeError, RecursionError):
        raise UnusableAnswer("it ends in the middle or is not in the form that was asked for") from None
    return dict(found)


def clean_line(text: str, most: int) -> str:
    """One line of at most ``most`` characters, cut between words; no quotes around it, no markup, no controls."""
    line = " ".join(_printable(_MARKDOWN.sub("", _CONTROL_TOKENS.sub(" ", text))).split())
    if len(line) > most:
        line = line[: most + 1].rsplit(" ", 1)[0][:most].rstrip(" ,;:-")
    while len(line) > 1 and line[0] in _QUOTES and line[-1] in _QUOTES:
        line = line[1:-1].strip()
    return line


def clean_lyrics(text: str, most: int) -> str:
    """Lyrics in the studio's form, see `studio.text.sections`; at most ``most`` characters, cut between lines."""
    text = _CONTROL_TOKENS.sub(" ", text)
    if "\n" not in text:
        # escaped twice
        text = text.replace("\\n", "\n")
    lines = [" ".join(_printable(line).split()) for line in _MARKDOWN.sub("", text).splitlines()]
    lyrics = format_lyrics(parse_lyrics("\n".join(lines)))
    if len(lyrics) > most:
        lyrics = lyrics[: most + 1].rpartition("\n")[0].rstrip()
    return lyrics


def has_letters(text: str) -> bool:
    """Whether anything in ``text`` could be read aloud."""
    return any(letter.isalnum() for letter in text)


def _printable(text: str) -> str:
    """NFC, with every control, unassigned, private or half character made a space and invisible ones left out."""
    kept = []
    for letter in text:
        kind = unicodedata.category(letter)
        if kind == "Cf" and letter not in _JOINERS:
            continue
        kept.append(" " if kind in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") else letter)
    return unicodedata.normalize("NFC", "".join(kept))


class StringTail:
    """Follows one string of a JSON object while it is being written.

    Args:
        name: of the object's member.
    """

    def __init__(self, name: str) -> None:
        # inside another string these quotes would be escaped, so that this finds only the member itself
        self._opening = re.compile(rf'"{re.escape(name)}"\s*:\s*"')
        self._raw = ""
        self._inside = False
        self._over = False

    def feed(self, text: str) -> str:
        """What ``text``, the next piece of the JSON, adds to the string, unescaped. A half escape waits."""
        if self._over:
            return ""
        self._raw += text
        if not self._inside:
            found = self._opening.search(self._raw)
            if not found:
                return ""
            self._inside = True
            self._raw = self._raw[found.end() :]
        whole, self._raw = self._split()
        return whole

    def _split(self) -> tuple[str, str]:
        """The characters that are complete, unescaped, and the rest."""
        at = 0
        while at < len(self._raw):
            if self._raw[at] == '"':
                self._over = True
                return _unescaped(self._raw[:at]), ""
            size = _escape_size(self._raw, at) if self._raw[at] == "\\" else 1
            if at + size > len(self._raw):
                break
            at += size
        return _unescaped(self._raw[:at]), self._raw[at:]


def _escape_size(raw: str, at: int) -> int:
    """Characters of the escape that begins at ``at``; a surrogate pair (RFC 8259, section 7) is one of twelve."""
    if raw[at + 1 : at + 2] != "u":
        return 2
    return 12 if raw[at + 2 : at + 4].lower() in ("d8", "d9", "da", "db") else 6


def _unescaped(raw: str) -> str:
    try:
        text: str = json.loads(f'"{raw}"', strict=False)
    except json.JSONDecodeError:
        return ""
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cs")
