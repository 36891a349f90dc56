"""The subject of a song: what a prompt says the song is about, and how it can be sung."""

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Final

from studio.text.phonetics import count_syllables
from studio.text.vocabulary import (
    ANIMALS,
    FILLERS,
    GENRE_WORDS,
    INSTRUMENTS,
    MOODS,
    MUSIC_NOUNS,
    PEOPLE,
    word_set,
)


class SubjectKind(StrEnum):
    """How a subject can stand in a sentence; the hooks are grouped by it."""

    GERUND = "gerund"
    PERSON = "person"
    NOUN = "noun"
    PHRASE = "phrase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A subject that can be sung.

    Attributes:
        kind: how it stands in a sentence.
        phrase: as sung in the middle of a line, with its article: "the ocean", "driving home".
        title: the same, without an article the prompt only had as "a": "lost dog", "the ocean".
    """

    kind: SubjectKind
    phrase: str
    title: str


_ABOUT: Final = re.compile(
    r"\b(?:called|titled|entitled|named)\s+[\"“'‘]([^\"”]{1,80}?)[\"”'’](?!\w)"
    r"|\b(?:all about|about|dedicated to|in memory of|an ode to|ode to|a tribute to|tribute to|a love letter to|"
    r"love letter to|inspired by|telling the story of|the story of|called|titled|entitled)\s+(.+)",
    re.IGNORECASE | re.DOTALL,
)
_FOR: Final = re.compile(r"\b(?:for|songs? to)\s+(.+)", re.IGNORECASE | re.DOTALL)
_END: Final = re.compile(
    r"[,.;:!?()\n\"“”|/]| - | – | — |\b(?:in the style of|"
    r"in a \w+ style|with(?!\s+(?:me|you|us)\b)|featuring|feat|sung by|performed by|using|at \d+|"
    r"in [A-G](?:#|b|♯|♭)?\s?(?:major|minor|maj|min)|\d+\s?bpm|for \d+)\b",
    re.IGNORECASE,
)
_NO_SUBJECT: Final = word_set(
    "study studying sleep sleeping work working video videos game games gaming background commercial ad advert yoga "
    "workout workouts gym podcast piano guitar orchestra strings voice reading focus focusing relaxing relaxation "
    "meditation youtube tiktok film movie trailer a an me us you it this that my the driving running cooking "
    "children kids babies dancing concentration radio clubs everyone anyone two"
)
_ADVERBS: Final = word_set("never always not finally slowly still almost just only barely quietly")
_NOT_GERUNDS: Final = word_set(
    "morning evening spring nothing something everything anything wedding lightning feeling ceiling sibling darling "
    "king ring wing string sing thing building clothing king's being"
)
_CLAUSE_STARTS: Final = word_set(
    "how when what why where who which that if because we i you he she they it there to don't can't won't let let's am "
    "is are was i'm we're you're it's there's nobody everybody"
)
_PREPOSITIONS: Final = word_set(
    "at in on of from to by for into under over through between without after before during across behind near and or "
    "who that which when where as while because is are was were"
)
_CALLS: Final = word_set(
    "hold take keep give come go let bring stay wait follow remember forget believe carry lift shake stand meet show "
    "write pray tell say find lead leave make feel don't never always goodnight goodbye hello"
)
"""Words that begin a call to do something: "hold on to hope", "never give up"."""
_ALSO_CALLS: Final = word_set(
    "love dance dream run fight kiss call hope sing walk look rise burn shine light break turn"
)
"""Nouns as often as calls; a call if one of the next words follows: "dance with me", but "dance hall days"."""
_AFTER_CALLS: Final = word_set(
    "me us him her them it you on up out away again with like down back now through till until together forever in to"
)
_ORDERS: Final = word_set("faster slower louder softer energy tempo bpm volume beat chorus verse hook")
"""Words of a call to the band, not to the listener."""
_ARTICLES: Final = word_set("a an the")
_VERBS: Final = word_set("is are was were isn't wasn't will won't can't don't")
_CALLED: Final = word_set("mom mum mama dad daddy papa grandma grandpa nana granny")
_OWNERS: Final = word_set("my our your his her their")
_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*", re.UNICODE)
_SINGABLE: Final = re.compile(r"[A-Za-zÀ-ɏ0-9' -]+")


def subject_span(text: str) -> tuple[int, int]:
    """Where in ``text`` the subject stands with the word that announces it; (0, 0) if there is none."""
    match = _ABOUT.search(text)
    if match:
        group = 1 if match[1] is not None else 2
        end = match.end(1) if group == 1 else match.start(2) + len(_until_end(match[2]))
        return match.start(), end
    for match in _FOR.finditer(text):
        subject = _until_end(match[1])
        first = [word.lower() for word in _WORD.findall(subject)][:2]
        if first and not _is_purpose(first):
            return match.start(), match.start(1) + len(subject)
    return 0, 0


def subject_of(text: str) -> str:
    """What the song is about, as the prompt says it: "driving home at midnight", "my mother"; "" if it does not say.

    A short text that is no talk about music is a subject as a whole ("grandma's garden"), and so is a call beside such
    talk ("rock song: never give up").
    """
    match = _ABOUT.search(text)
    if match:
        return _tidy(match[1] if match[1] is not None else _until_end(match[2]))
    start, end = subject_span(text)
    if end:
        return _tidy(re.sub(r"^(?:for|songs? to)\s+", "", text[start:end], flags=re.IGNORECASE))
    return _call_beside(text) or _unmusical_rest(text)


def singable_subject(text: str) -> Subject | None:
    """The subject of ``text`` in a form that fits a chorus, or None if it names none that can be sung in English."""
    said = subject_of(text).replace("’", "'")
    if not said or not _SINGABLE.fullmatch(said) or not any(c.isalpha() for c in said):
        return None
    words = _natural_case(said.split())
    named = re.search(r"\b(?:named|called)\s+([A-Z][\w'-]*)", said)
    if named:
        return Subject(kind=SubjectKind.PERSON, phrase=named[1], title=named[1])
    subject = _shaped(
        words, personal=bool(re.search(r"\b(?:for|songs? to)\s+" + re.escape(words[0]), text, re.IGNORECASE))
    )
    return subject if subject and 1 <= count_syllables(subject.phrase) <= 9 else None


def _shaped(words: list[str], *, personal: bool) -> Subject | None:
    """The words as a subject, shortened until they can be sung."""
    first = words[0].lower()
    if _is_call(words) and count_syllables(" ".join(words)) <= 9 and words[-1].lower() not in _ARTICLES | _OWNERS:
        return _of_kind(SubjectKind.PHRASE, words)
    if first in _CLAUSE_STARTS or any(word.lower() in _VERBS for word in words):
        return _of_kind(SubjectKind.PHRASE, _shortened(words, most=9, at_prepositions=False))
    gerund = words[1].lower() if first in _ADVERBS and len(words) > 1 else first
    if gerund.endswith("ing") and len(gerund) > 4 and gerund not in _NOT_GERUNDS:
        return _of_kind(SubjectKind.GERUND if gerund == first else SubjectKind.PHRASE, _shortened(words, most=8))
    person = _person(words, personal=personal)
    if person:
        return _of_kind(SubjectKind.PERSON, person)
    head = _noun_phrase(words, most=7)
    if head and first in {"a", "an"}:
        head = ["my" if head[-1].lower() in ANIMALS else "the", *head[1:]]
        return _of_kind(SubjectKind.NOUN, head, article_added=True)
    return _of_kind(SubjectKind.NOUN, head)


def _is_call(words: list[str]) -> bool:
    """Whether the words call on somebody to do something."""
    first, *rest = (word.lower() for word in words)
    if not rest or rest[0] in {"of", "and"} or (first in _ADVERBS and rest[0].endswith("ing")):
        return False
    return first in _CALLS or (first in _ALSO_CALLS and rest[0] in _AFTER_CALLS)


def _person(words: list[str], *, personal: bool) -> list[str]:
    """The words that name somebody to sing to ("my mother", "dad", "Sarah"), or none."""
    head = list(takewhile(lambda word: word.lower() not in _PREPOSITIONS, words))
    if not head:
        return []
    last = head[-1].lower()
    ours = head[0].lower() in {"my", "our", "your"} and len(head) <= 4 and last in PEOPLE
    called = len(head) == 1 and last in _CALLED
    named = personal and len(head) <= 2 and all(word[0].isupper() for word in head)
    return head if ours or called or named else []


def _of_kind(kind: SubjectKind, words: list[str], *, article_added: bool = False) -> Subject | None:
    bare = words[1:] if article_added else words
    return Subject(kind=kind, phrase=" ".join(words), title=" ".join(bare)) if bare else None


def _shortened(words: list[str], *, most: int, at_prepositions: bool = True) -> list[str]:
    """The longest beginning of at most ``most`` syllables that does not end in the air."""
    cuts = [at for at in range(1, len(words)) if words[at].lower() in _PREPOSITIONS]
    for end in (len(words), *(reversed(cuts) if at_prepositions else range(len(words) - 1, 0, -1))):
        head = words[:end]
        while head and (head[-1].lower() in _PREPOSITIONS | _ARTICLES | _OWNERS):
            head = head[:-1]
        if head and count_syllables(" ".join(head)) <= most:
            return head
    return []


def _noun_phrase(words: list[str], *, most: int) -> list[str]:
    """A thing with its article or owner: shortened from the end, or to its last words where that is not enough."""
    head = _shortened(words, most=most)
    if not head and words[0].lower() in _ARTICLES | _OWNERS:
        plain = list(takewhile(lambda word: word.lower() not in _PREPOSITIONS, words))
        tails = ([plain[0], *plain[at:]] for at in range(2, len(plain)))
        head = next((tail for tail in tails if count_syllables(" ".join(tail)) <= most), [])
    return head


def _natural_case(words: list[str]) -> list[str]:
    """Names keep their capitals; a text all in capitals or In Title Case loses them."""
    shouted = sum(word[0].isupper() for word in words) > max(1, len(words) / 2)
    lowered = [word.lower() if shouted and (len(words) > 2 or word.isupper()) else word for word in words]
    return ["I" + word[1:] if word == "i" or word.startswith("i'") else word for word in lowered]


def _is_purpose(first: list[str]) -> bool:
    """ "for studying", "for a video": a use of the music, not its subject."""
    if first[0] in {"a", "an", "the", "my", "your", "our"}:
        return len(first) < 2 or first[1] in _NO_SUBJECT
    return first[0] in _NO_SUBJECT or first[0].isdigit()


def _until_end(text: str) -> str:
    cut = _END.search(text)
    return text[: cut.start()] if cut else text


def _tidy(text: str) -> str:
    return " ".join(_WORD.findall(text)[:10])


def _call_beside(text: str) -> str:
    """The first piece of the text, between its commas and colons, that calls on somebody and says nothing of music."""
    pieces = [_WORD.findall(piece) for piece in re.split(r"[,:;.!?\n\"“”–—]| - ", text)]
    calls = [piece for piece in pieces if 2 <= len(piece) <= 7 and _is_call([w.lower() for w in piece])]
    orders = _musical_words() | MOODS.keys() | _ORDERS
    plain = [
        " ".join(piece)
        for piece in calls
        if not orders & {word.lower() for word in piece[1:]} and piece[:2] != [piece[0], "it"]
    ]
    return plain[0] if len(pieces) > 1 and plain else ""


def _musical_words() -> frozenset[str]:
    tables = (*GENRE_WORDS.values(), *INSTRUMENTS.values())
    return frozenset(MUSIC_NOUNS) | {word for table in tables for word in table}


def _unmusical_rest(text: str) -> str:
    """The whole of a short text if none of its words is about music."""
    words = _WORD.findall(_until_end(text))
    if not 1 <= len(words) <= 6 or _until_end(text).strip(" ") != text.strip(" .!"):
        return ""
    musical = _musical_words()
    lowered = [word.lower() for word in words]
    if any(word in musical for word in lowered) or all(word in MOODS or word in FILLERS for word in lowered):
        return ""
    return " ".join(words)
