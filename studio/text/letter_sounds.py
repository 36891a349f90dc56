"""Letter-to-sound rules for words that the dictionary lacks, and Latin spellings of other scripts.

Sounds are ARPAbet as in CMUdict; vowels carry no stress digit here, `studio.text.phonetics` adds it.
"""

import re
import unicodedata
from typing import Final

VOWELS: Final = frozenset(["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])

_ENGLISH: Final[tuple[tuple[str, str], ...]] = (
    ("tious", "SH AH S"),
    ("cious", "SH AH S"),
    ("tion", "SH AH N"),
    ("sion", "ZH AH N"),
    ("ture", "CH ER"),
    ("ight", "AY T"),
    ("ough", "OW"),
    ("augh", "AO"),
    ("eigh", "EY"),
    ("dge", "JH"),
    ("tch", "CH"),
    ("igh", "AY"),
    ("air", "EH R"),
    ("ear", "IH R"),
    ("eer", "IH R"),
    ("ore", "AO R"),
    ("our", "AO R"),
    ("ous", "AH S"),
    ("sch", "S K"),
    ("shh", "SH"),
    ("ee", "IY"),
    ("ea", "IY"),
    ("oo", "UW"),
    ("ou", "AW"),
    ("ow", "OW"),
    ("oa", "OW"),
    ("ai", "EY"),
    ("ay", "EY"),
    ("ei", "EY"),
    ("ey", "IY"),
    ("ie", "IY"),
    ("oi", "OY"),
    ("oy", "OY"),
    ("au", "AO"),
    ("aw", "AO"),
    ("ew", "UW"),
    ("ue", "UW"),
    ("ui", "UW"),
    ("er", "ER"),
    ("ir", "ER"),
    ("ur", "ER"),
    ("ar", "AA R"),
    ("or", "AO R"),
    ("sh", "SH"),
    ("ch", "CH"),
    ("th", "TH"),
    ("ph", "F"),
    ("gh", "G"),
    ("kn", "N"),
    ("wr", "R"),
    ("ng", "NG"),
    ("nk", "NG K"),
    ("ck", "K"),
    ("qu", "K W"),
    ("wh", "W"),
    ("ce", "S EH"),
    ("ci", "S IH"),
    ("cy", "S IY"),
)
_ENGLISH_SINGLE: Final = {
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_LONG_VOWEL: Final = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW", "y": "AY"}

_PLAIN: Final[tuple[tuple[str, str], ...]] = (
    ("sch", "SH"),
    ("sh", "SH"),
    ("zh", "ZH"),
    ("ch", "CH"),
    ("kh", "HH"),
    ("th", "TH"),
    ("ts", "T S"),
    ("ng", "NG"),
    ("ei", "EY"),
    ("ai", "AY"),
    ("au", "AW"),
    ("oi", "OY"),
    ("qu", "K W"),
    ("ll", "L"),
)
_PLAIN_SINGLE: Final = _ENGLISH_SINGLE | {"a": "AA", "e": "EH", "i": "IY", "o": "OW", "u": "UW", "y": "IY", "c": "K"}

_CYRILLIC_LETTERS: Final = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґўјљњћђџ"
_CYRILLIC_SPELLINGS: Final = (
    "a b v g d ye yo zh z i y k l m n o p r s t u f kh ts ch sh sh - i - e yu ya i yi ye g u y l n ch j j"
)
_GREEK_LETTERS: Final = "αβγδεζηθικλμνξοπρσςτυφχψω"
_GREEK_SPELLINGS: Final = "a v g d e z i th i k l m n ks o p r s s t i f kh ps o"
_CYRILLIC: Final = dict(zip(_CYRILLIC_LETTERS, _CYRILLIC_SPELLINGS.split(), strict=True))
_GREEK: Final = dict(zip(_GREEK_LETTERS, _GREEK_SPELLINGS.split(), strict=True))
_LATIN: Final = {"ß": "ss", "ø": "o", "æ": "e", "œ": "e", "đ": "d", "ł": "l", "ı": "i", "þ": "th", "ð": "th"}
_LETTERS: Final = _CYRILLIC | _GREEK | _LATIN
_NAMED: Final = re.compile(r"^(?:HIRAGANA LETTER|KATAKANA LETTER|HANGUL SYLLABLE) (?:SMALL )?([A-Z]+)$")


def _latin_letter(letter: str) -> str | None:
    """The Latin spelling of one lower-case letter, or None for a script that cannot be spelled by letters alone.

    Japanese kana and Korean syllables bear their reading in their Unicode names.
    """
    if letter in _LETTERS:
        return _LETTERS[letter].replace("-", "")
    bare = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
    if bare and all("a" <= c <= "z" for c in bare):
        return bare
    if bare and bare != letter and all(c in _LETTERS for c in bare):
        return "".join(_LETTERS[c].replace("-", "") for c in bare)
    if letter == "ー":
        return ""
    whole = unicodedata.normalize("NFKC", letter)
    named = _NAMED.match(unicodedata.name(whole, "")) if len(whole) == 1 else None
    return named[1].lower() if named else None


def latin_spelling(word: str) -> str | None:
    """`word` in the letters a-z, or None if some letter has no Latin spelling (Arabic, Hebrew, Chinese, …)."""
    composed = unicodedata.normalize("NFC", word.lower())
    parts = [_latin_letter(letter) for letter in composed if letter.isalpha()]
    return None if any(part is None for part in parts) else "".join(part or "" for part in parts)


def spelled_sounds(spelling: str, *, english: bool) -> tuple[str, ...]:
    """Phones of a word spelled in a-z; ``english`` chooses between English rules and pure, "continental" vowels."""
    if english:
        return _english_sounds(spelling)
    return _by_table(spelling, _PLAIN, _PLAIN_SINGLE)


def _english_sounds(spelling: str) -> tuple[str, ...]:
    """English rules, with the "magic e": a silent last e makes the vowel before it long ("glide", "zone")."""
    if re.search(r"[bcdfgkpstz]le$", spelling):
        return (*_by_table(spelling[:-2], _ENGLISH, _ENGLISH_SINGLE), "AH", "L")
    magic = re.fullmatch(r"(.*?[^aeiou]?)([aeiouy])([bcdfgklmnpstvz])e", spelling)
    if magic is None:
        silent = len(spelling) > 3 and spelling.endswith("e") and not spelling.endswith("ee")
        return _by_table(spelling[:-1] if silent else spelling, _ENGLISH, _ENGLISH_SINGLE)
    head, vowel, consonant = magic.groups()
    soft = {"c": "S", "g": "JH"}.get(consonant, _ENGLISH_SINGLE[consonant])
    return (*_by_table(head, _ENGLISH, _ENGLISH_SINGLE), _LONG_VOWEL[vowel], soft)


def _by_table(spelling: str, groups: tuple[tuple[str, str], ...], single: dict[str, str]) -> tuple[str, ...]:
    sounds: list[str] = []
    at = 0
    while at < len(spelling):
        found = next((pair for pair in groups if spelling.startswith(pair[0], at)), None)
        if found is None:
            doubled = at and spelling[at] == spelling[at - 1] and spelling[at] not in "aeiou"
            step, heard = 1, "" if doubled else _consonant_or_vowel(spelling, at, single)
        else:
            step, heard = len(found[0]), found[1]
        sounds += heard.split()
        at += step
    return tuple(sounds)


def _consonant_or_vowel(spelling: str, at: int, single: dict[str, str]) -> str:
    """One letter; y before a vowel at the start of a syllable is a consonant."""
    following = spelling[at + 1 : at + 2]
    if spelling[at] == "y" and following and following in "aeiou":
        return "Y"
    return single[spelling[at]]
