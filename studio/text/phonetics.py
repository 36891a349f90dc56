"""How words sound: syllables, stress and rhyme.

English words are looked up in the CMU Pronouncing Dictionary (Carnegie Mellon University, BSD licence, shipped
unchanged beside its notice in ``resources/``); other words follow letter-to-sound rules. Words in scripts without a
Latin spelling cannot be pronounced here: they are vocalised on "ah" and "oo", and every such syllable says so, so that
the page can tell the person.

Everything returned is immutable and the caches are safe to use from several threads.
"""

import itertools
import lzma
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from studio.text.letter_sounds import VOWELS, latin_spelling, spelled_sounds

_SINGLE_ONSETS: Final = "B CH D DH F G HH JH K L M N P R S SH T TH V W Y Z ZH"
_JOINED_ONSETS: Final = (
    "P L,P R,B L,B R,T R,T W,D R,D W,K L,K R,K W,G L,G R,G W,F L,F R,TH R,TH W,SH R,S P,S T,S K,S M,S N,S L,S W,"
    "K Y,P Y,B Y,M Y,F Y,V Y,HH Y,N Y,S T R,S P R,S P L,S K R,S K W,S K Y"
)
_ONSETS: Final = frozenset(_SINGLE_ONSETS.split()) | frozenset(_JOINED_ONSETS.split(","))
"""Consonants that may begin an English syllable."""
_FUNCTION_WORDS: Final = (
    "a an the and or but nor of in on at to for from with by as is are was were be been am i you he she it we they me "
    "my your our his her its their them him us that this these those so if than then when where who what there here "
    "like just into upon will would can could should has have had do does did may might must i'm i'll i've i'd you're "
    "you'll you've we're we'll we've it's that's there's he's she's they're let's oh"
)
_UNSTRESSED: Final = frozenset(_FUNCTION_WORDS.split())
_NUMBER_WORDS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_UNITS: Final = tuple(_NUMBER_WORDS.split())
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VOCALISES: Final = (("AA1",), ("UW1",))


@dataclass(frozen=True, slots=True, kw_only=True)
class SyllableSound:
    """One syllable of a word.

    Attributes:
        text: its letters as written; the syllables of a word joined give the word.
        phones: ARPAbet with exactly one vowel, which carries its stress digit.
        stress: 0 unstressed, 1 primary, 2 secondary.
        vocalised: True if the word could not be pronounced and is sung on a plain vowel instead.
    """

    text: str
    phones: tuple[str, ...]
    stress: int
    vocalised: bool = False


@lru_cache(maxsize=1)
def _dictionary() -> Mapping[str, str]:
    """Word to phones, both as text. About 0.1 s once; two threads may both read it, to the same result."""
    packed = resources.files("studio.text").joinpath("resources/cmudict.dict.xz").read_bytes()
    entries: dict[str, str] = {}
    for line in lzma.decompress(packed).decode("utf-8").splitlines():
        word, _, phones = line.partition(" ")
        if not word.endswith(")"):
            entries[word] = phones.partition(" #")[0]
    return MappingProxyType(entries)


def words(line: str) -> tuple[str, ...]:
    """The words of a line as written: runs of letters, digits and marks, with apostrophes inside or at an end.

    >>> words("Don't look back, runnin' – 99!")
    ("Don't", 'look', 'back', "runnin'", '99')
    """
    found: list[str] = []
    current = ""
    for letter in line.replace("’", "'") + " ":
        inside = current and unicodedata.category(letter).startswith("M")
        if letter.isalnum() or inside or (letter == "'" and not current.endswith("'")):
            current += letter
        else:
            if any(c.isalnum() for c in current):
                found.append(current)
            current = ""
    return tuple(found)


@lru_cache(maxsize=16_384)
def syllables(word: str) -> tuple[SyllableSound, ...]:
    """The syllables of one word, at least one.

    >>> [s.phones for s in syllables("midnight")]
    [('M', 'IH1', 'D'), ('N', 'AY2', 'T')]
    """
    phones = _pronounced(word.lower().replace("’", "'"))
    if phones is None:
        return _vocalised(word)
    sounds = _split(phones)
    texts = _letters_per_syllable(word, len(sounds))
    return tuple(
        SyllableSound(text=text, phones=part, stress=_stress_of(part)) for text, part in zip(texts, sounds, strict=True)
    )


def line_syllables(line: str) -> tuple[tuple[SyllableSound, ...], ...]:
    """The syllables of every word of a line, word by word."""
    return tuple(syllables(word) for word in words(line))


def count_syllables(line: str) -> int:
    """How many syllables, and so how many sung notes, a line has."""
    return sum(len(word) for word in line_syllables(line))


def stresses(line: str) -> tuple[bool, ...]:
    """For every syllable of a line: is it stressed when the line is spoken? Function words ("the", "of") are not."""
    return tuple(
        sound.stress > 0 and not (word.lower() in _UNSTRESSED and len(sounds) == 1)
        for word, sounds in zip(words(line), line_syllables(line), strict=True)
        for sound in sounds
    )


def rhyme_part(word: str) -> tuple[str, ...]:
    """The phones that must agree for two words to rhyme: from the last stressed vowel on, without stress digits.

    >>> rhyme_part("midnight") == rhyme_part("light")
    True
    """
    phones = [phone for sound in syllables(word) for phone in sound.phones]
    vowels = [at for at, phone in enumerate(phones) if phone[-1].isdigit()]
    stressed = [at for at in vowels if phones[at][-1] in "12"]
    start = (stressed or vowels)[-1]
    return tuple(phone.rstrip("012") for phone in phones[start:])


def is_pronounceable(text: str) -> bool:
    """False if some word of ``text`` would be vocalised on "ah" and "oo" instead of sung."""
    return not any(sound.vocalised for word in words(text) for sound in syllables(word))


def _pronounced(word: str) -> tuple[str, ...] | None:
    """Phones with stress digits, or None for a word that has no Latin spelling."""
    if any(c.isdigit() for c in word):
        spoken = _number_words(word)
        parts = [_pronounced(part) for part in spoken]
        return tuple(phone for part in parts if part for phone in part) or ("AH0",)
    known = _known(word)
    if known is not None:
        return known
    spelling = latin_spelling(word)
    if spelling is None:
        return None
    english = all(c == "'" or "a" <= c <= "z" for c in word)
    return _known(spelling) or _compound(spelling) or _with_stress(spelled_sounds(spelling, english=english))


def _known(word: str) -> tuple[str, ...] | None:
    """A word of the dictionary, also without its ending ("runnin'", "lanterns", "neon's")."""
    entries = _dictionary()
    for candidate in (word, word.strip("'")):
        if candidate in entries:
            return _with_vowel(tuple(entries[candidate].split()))
    bare = word.strip("'")
    if bare.endswith("in") and bare + "g" in entries:
        return (*entries[bare + "g"].split()[:-1], "N")
    for suffix, phone in (("'s", "Z"), ("s", "Z"), ("'ll", "L"), ("'d", "D"), ("ed", "D")):
        stem = bare.removesuffix(suffix)
        if stem != bare and len(stem) > 2 and stem in entries:
            return _with_ending(tuple(entries[stem].split()), phone)
    return None


def _with_ending(stem: tuple[str, ...], phone: str) -> tuple[str, ...]:
    """The stem and its ending, voiced as English voices it ("cats" S, "dogs" Z, "roses" IH Z; "wanted" IH D)."""
    last = stem[-1]
    if (phone == "Z" and last in {"S", "Z", "SH", "ZH", "CH", "JH"}) or (phone == "D" and last in {"T", "D"}):
        return (*stem, "IH0", phone)
    voiceless = {"Z": "S", "D": "T"}
    if last in {"P", "T", "K", "F", "TH", "S", "SH", "CH"}:
        return (*stem, voiceless.get(phone, phone))
    return (*stem, "AH0", phone) if phone == "L" and not last[-1].isdigit() else (*stem, phone)


def _compound(word: str) -> tuple[str, ...] | None:
    """Two known words written as one ("neonlit"), of at least three letters each."""
    entries = _dictionary()
    if not 6 <= len(word) <= 24:
        return None
    middle = sorted(range(3, len(word) - 2), key=lambda at: abs(at - len(word) / 2))
    for at in middle:
        if word[:at] in entries and word[at:] in entries:
            second = entries[word[at:]].replace("1", "2")
            return (*_with_vowel(tuple(entries[word[:at]].split())), *second.split())
    return None


def _with_vowel(phones: tuple[str, ...]) -> tuple[str, ...]:
    """A word of consonants ("hmm") cannot be sung: give it a neutral vowel."""
    return phones if any(phone[-1].isdigit() for phone in phones) else (*phones[:1], "AH1", *phones[1:])


def _with_stress(sounds: tuple[str, ...]) -> tuple[str, ...]:
    """Stress for a word known only by its spelling: the last syllable but one (the first of two)."""
    vowels = [at for at, phone in enumerate(sounds) if phone in VOWELS]
    if not vowels:
        return (*sounds[:1], "AH1", *sounds[1:])
    stressed = vowels[-2] if len(vowels) > 1 else vowels[0]
    return tuple(f"{phone}{int(at == stressed)}" if phone in VOWELS else phone for at, phone in enumerate(sounds))


def _number_words(word: str) -> list[str]:
    """A number as it is read aloud: up to 99 in words, four digits as two pairs (years), others digit by digit."""
    digits = "".join(str(unicodedata.digit(c, 0)) for c in word if c.isdigit())
    letters = "".join(c for c in word if not c.isdigit()).strip("'")
    if len(digits) == 4 and digits[0] != "0":
        spoken = _below_hundred(int(digits[:2])) + (
            ["hundred"] if digits[2:] == "00" else _below_hundred(int(digits[2:]))
        )
    elif len(digits) <= 2:
        spoken = _below_hundred(int(digits))
    else:
        spoken = [_UNITS[int(d)] for d in digits]
    return spoken + ([letters] if letters else [])


def _below_hundred(number: int) -> list[str]:
    if number < 20:
        return [_UNITS[number]]
    tens, units = divmod(number, 10)
    return [_TENS[tens]] + ([_UNITS[units]] if units else [])


def _split(phones: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Syllables by the maximal onset principle (Kahn, 1976): as many consonants as English allows go to the right."""
    vowels = [at for at, phone in enumerate(phones) if phone[-1].isdigit()]
    cuts = [0]
    for left, right in itertools.pairwise(vowels):
        cluster = phones[left + 1 : right]
        size = next((n for n in (3, 2, 1) if n <= len(cluster) and " ".join(cluster[-n:]) in _ONSETS), 0)
        cuts.append(right - size)
    cuts.append(len(phones))
    return tuple(phones[a:b] for a, b in itertools.pairwise(cuts))


def _stress_of(phones: tuple[str, ...]) -> int:
    return next(int(phone[-1]) for phone in phones if phone[-1].isdigit())


def _letters_per_syllable(word: str, count: int) -> tuple[str, ...]:
    """The written word cut into ``count`` pieces: before the last consonant between vowel groups, else evenly."""
    groups = [
        at for at, c in enumerate(word.lower()) if c in "aeiouy" and (at == 0 or word[at - 1].lower() not in "aeiouy")
    ]
    if len(groups) == count + 1 and word.lower().endswith("e"):
        groups.pop()
    if len(groups) == count:
        cuts = [0] + [max(at - 1, groups[i] + 1) for i, at in enumerate(groups[1:])] + [len(word)]
    else:
        cuts = [round(len(word) * i / count) for i in range(count + 1)]
    return tuple(word[a:b] for a, b in itertools.pairwise(cuts))


def _vocalised(word: str) -> tuple[SyllableSound, ...]:
    """A word that cannot be read here: one plain vowel for each ideograph, or for every two letters."""
    letters = sum(c.isalpha() for c in word)
    ideographs = sum(unicodedata.name(c, "").startswith("CJK") for c in word)
    count = max(1, ideographs + math.ceil((letters - ideographs) / 2))
    texts = tuple(word[round(len(word) * i / count) : round(len(word) * (i + 1) / count)] for i in range(count))
    return tuple(
        SyllableSound(text=text, phones=_VOCALISES[i % 2], stress=1 - i % 2, vocalised=True)
        for i, text in enumerate(texts)
    )
