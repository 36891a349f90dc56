"""How the 5 Hz planner of ACE-Step 1.5 is spoken to: its instructions, its metadata block and its audio codes.

The format is the one it was trained on (repository ace-step/ACE-Step-1.5, ``acestep/constants.py`` and its prompt
builders): a chat whose answer begins with metadata in YAML, in the order of the alphabet, between ``<think>`` and
``</think>``. Nothing here needs a model.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from studio.music.theory import UnknownKey, parse_key
from studio.words.brief import METRES, Brief
from studio.words.take import Plan

CODES_A_SECOND: Final = 5
THINK: Final = "<think>\n"
THOUGHT: Final = "\n</think>\n\n"
LYRIC_HEAD: Final = "# Lyric\n"
LEAST_S: Final = 10
MOST_S: Final = 600
LEAST_BPM: Final = 30
MOST_BPM: Final = 300
CAPTION_MOST: Final = 512

_GENERATE: Final = "Generate audio semantic tokens based on the given conditions:"
_UNDERSTAND: Final = "Understand the given musical conditions and describe the audio semantics accordingly:"
_CODE: Final = re.compile(r"<\|audio_code_(\d{1,5})\|>")

LANGUAGES: Final = (
    "ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "ht", "hu",
    "id", "is", "it", "ja", "ko", "la", "lt", "ms", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sa", "sk", "sr",
    "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "yue", "zh",
)  # fmt: skip
_NO_LANGUAGE: Final = "unknown"

_CAPTION_LINE: Final = r"[^\s<>\p{Cc}\p{Cn}\p{Co}\p{Zl}\p{Zp}][^<>\p{Cc}\p{Cn}\p{Co}\p{Zl}\p{Zp}]{0,79}"
_FORMS: Final[Mapping[str, str]] = {
    "bpm": r"([3-9][0-9]|[12][0-9]{2}|300)",
    "caption": rf"{_CAPTION_LINE}(\n  {_CAPTION_LINE}){{0,3}}",
    "duration": r"([1-9][0-9]|[1-5][0-9]{2}|600)",
    "keyscale": r"[A-G](#|b)? (major|minor)",
    # YAML 1.1 reads a bare no as false, so that it was always quoted in training
    "language": f"({'|'.join(code for code in (*LANGUAGES, _NO_LANGUAGE) if code != 'no')}|'no')",
    "timesignature": f"[{''.join(METRES)}]",
}
"""The values of the metadata in their order, as regular expressions (Rust's syntax)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The block of metadata, as far as it is known.

    Attributes:
        prefix: the lines at its head that are known: they are given to the model rather than asked of it.
        pattern: of the lines that follow; what is known among them is spelled out.
    """

    prefix: str
    pattern: str


def metadata_form(known: Mapping[str, str]) -> Metadata:
    """The block in which the values ``known`` (lines of YAML by key) stand already."""
    names = list(_FORMS)
    given = 0
    while given < len(names) and names[given] in known:
        given += 1
    rest = [re.escape(known[name]) if name in known else f"{name}: {_FORMS[name]}" for name in names[given:]]
    prefix = "\n".join(known[name] for name in names[:given])
    return Metadata(prefix=prefix + "\n" if prefix and rest else prefix, pattern="\n".join(rest))


def known_lines(brief: Brief) -> dict[str, str]:
    """What the person said, as lines of the block."""
    controls = brief.controls
    values: dict[str, object] = {
        "bpm": controls.tempo_bpm,
        "caption": plain(" ".join(brief.prompt.split()))[:CAPTION_MOST].strip() or None,
        "duration": None if controls.duration_s is None else round(controls.duration_s),
        "keyscale": controls.key,
        "language": brief.language or None,
        "timesignature": int(brief.metre) if brief.metre else None,
    }
    return {name: line_of(name, value) for name, value in values.items() if value is not None}


def line_of(name: str, value: object) -> str:
    """One entry of the block, written as its training data were: folded at 80 columns and quoted where YAML must."""
    return yaml.safe_dump({name: value}, allow_unicode=True).rstrip("\n")


def plan_of(block: str, brief: Brief) -> Plan:
    """What the block says. The person's own values stand above it; what makes no sense is left out."""
    said = _entries(block)
    controls = brief.controls
    duration_s = _number(said, "duration", LEAST_S, MOST_S)
    return Plan(
        tempo_bpm=controls.tempo_bpm or _number(said, "bpm", LEAST_BPM, MOST_BPM),
        key=controls.key or _key(said.get("keyscale", "")),
        metre=brief.metre or _one_of(said.get("timesignature", "").removesuffix("/4"), METRES),
        language=brief.language or _one_of(said.get("language", ""), LANGUAGES),
        duration_s=controls.duration_s or (None if duration_s is None else float(duration_s)),
        caption=brief.prompt or said.get("caption", "")[:CAPTION_MOST].strip(),
    )


def block_of(plan: Plan) -> str:
    """The block that says this plan, for a model that goes on from it."""
    values: dict[str, object] = {
        "bpm": plan.tempo_bpm,
        "caption": plain(" ".join(plan.caption.split()))[:CAPTION_MOST].strip() or None,
        "duration": None if plan.duration_s is None else round(plan.duration_s),
        "keyscale": plan.key,
        "language": plan.language or None,
        "timesignature": int(plan.metre) if plan.metre else None,
    }
    return "\n".join(line_of(name, value) for name, value in values.items() if value is not None)


def plan_messages(caption: str, lyrics: str) -> tuple[Mapping[str, str], ...]:
    """Asks for metadata, and then for codes, of a song with this style and these lyrics."""
    return _messages(_GENERATE, f"# Caption\n{plain(caption)}\n\n# Lyric\n{plain(lyrics)}\n")


def unconditional_messages(lyrics: str) -> tuple[Mapping[str, str], ...]:
    """The same without the style, which guidance leads away from."""
    return _messages(_GENERATE, f"# Lyric\n{plain(lyrics)}\n")


def understand_messages(codes: tuple[int, ...]) -> tuple[Mapping[str, str], ...]:
    """Asks what these audio codes sound like."""
    return _messages(_UNDERSTAND, "".join(f"<|audio_code_{code}|>" for code in codes))


def codes_in(text: str) -> tuple[int, ...]:
    """The numbers of all ``<|audio_code_N|>`` in ``text``, in order."""
    return tuple(int(number) for number in _CODE.findall(text))


def plain(text: str) -> str:
    """Text of a person in which no control token of the model can stand."""
    return text.replace("<", "‹").replace(">", "›")


def _messages(instruction: str, content: str) -> tuple[Mapping[str, str], ...]:
    system = {"role": "system", "content": f"# Instruction\n{instruction}\n\n"}
    return system, {"role": "user", "content": content}


def _entries(block: str) -> dict[str, str]:
    """Keys and values; a line that begins with blanks belongs to the value before it."""
    found: dict[str, str] = {}
    last = ""
    for line in block.splitlines():
        key, colon, value = line.partition(":")
        if colon and key in _FORMS and key not in found:
            found[key], last = value.strip(), key
        elif last and line[:1].isspace():
            found[last] = f"{found[last]} {line.strip()}".strip()
    return {key: _unquoted(value) for key, value in found.items()}


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1].replace("''", "'") if value[0] == "'" else value[1:-1]
    return value


def _number(said: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = said.get(name, "")
    return min(max(int(text), least), most) if text.isdecimal() and len(text) < 5 else None


def _key(text: str) -> str | None:
    try:
        return parse_key(text).name
    except UnknownKey:
        return None


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    return text if text in choices else ""
