"""Reading a prompt: what it says about the music. Tables and patterns only, so the same words always mean the same."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from studio.music.theory import parse_key
from studio.text.style import Style
from studio.text.subject import subject_span
from studio.text.vocabulary import FILLERS, GENRE_WORDS, INSTRUMENTS, LEFT_OUT_WORDS, MOODS, MUSIC_NOUNS

_NUMBER_WORDS: Final = {
    "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0, "seven": 7.0, "eight": 8.0,
    "nine": 9.0, "ten": 10.0, "half a": 0.5, "a": 1.0,
}  # fmt: skip
_NUMBER: Final = (
    r"(\d{1,4}(?:[.,]\d+)?|half a|" + "|".join(w for w in _NUMBER_WORDS if w not in {"half a", "a"}) + r"|a)"
)
_TEMPO: Final = (
    re.compile(r"(?<![\d.])(\d{2,3})\s*(?:-|–|to)\s*(\d{2,3})\s*(?:bpm|beats per minute)", re.IGNORECASE),
    re.compile(r"(?<![\d.,])(\d{2,3})(?:[.,]\d+)?\s*-?(?:bpm|beats per minute)", re.IGNORECASE),
    re.compile(r"\b(?:bpm|tempo)\s*(?:of|is|at|:|=)?\s*(\d{2,3})\b", re.IGNORECASE),
)
_ACCIDENTAL: Final = r"(?:\s?[#♯♭]|b|[\s-]?sharp|[\s-]?flat)?"
_KEY_NAMED: Final = re.compile(
    rf"\bkey\s*(?:of|is|:|=)?\s*([A-Ga-g]{_ACCIDENTAL}[\s-]*(?:major|minor|maj|min|m)?)(?![\w#])"
)
_KEY_MODE: Final = re.compile(
    rf"(?<![\w'’])(?P<name>(?P<letter>[A-Ga-g])(?P<accidental>{_ACCIDENTAL})[\s-]*(?:major|minor|maj|min))\b",
    re.IGNORECASE,
)
_KEY_IN: Final = re.compile(rf"\bin ([A-G]{_ACCIDENTAL}m?)(?![\w#'’-])")
_CLOCK: Final = re.compile(r"\b(\d{1,2}):(\d{2})\b(?!\s*(?:[ap]\.?m\b|o'clock))", re.IGNORECASE)
_MINUTES: Final = re.compile(
    rf"\b{_NUMBER}[\s-]*(?:minutes?|mins?)\b(?:\s*(?:and\s*)?(\d{{1,2}}|a half)\s*(?:seconds?|secs?|s)?\b)?",
    re.IGNORECASE,
)
_SECONDS: Final = re.compile(rf"\b{_NUMBER}[\s-]*(?:seconds?|secs?)\b", re.IGNORECASE)
_SHORT_SECONDS: Final = re.compile(r"\b(\d{1,3})(?:\s+s|s(?=\s+(?:long|song|track|clip|loop|intro|jingle)))\b")
_MALE: Final = re.compile(
    r"\b(?:male|man'?s?|men|guy'?s?|boy'?s?)\s+(?:\w+\s+)?(?:vocals?|voices?|singers?|sings|singing)\b"
    r"|\b(?:baritone|tenor)\b(?!\s+(?:sax|guitar))|\bsung by a (?:\w+\s)?(?:man|guy|boy)\b|\bmale\b(?=\s*(?:[,.;)]|$))",
    re.IGNORECASE,
)
_FEMALE: Final = re.compile(r"\b(?:female|wom[ae]n|girl|soprano|alto)\b(?!\s+sax)", re.IGNORECASE)
_INSTRUMENTAL: Final = re.compile(
    r"\b(?<!not )(?<!non-)instrumentals?\b(?!\s+(?:break|solo|intro|bridge|section|outro|part|interlude))"
    r"|\b(?:no|without(?: any)?|zero)\s+(?:\w+\s+)?(?:vocals?|voices?|singing|singers?|lyrics|words)\b|\bvocal-free\b"
    r"|\bkaraoke\b",
    re.IGNORECASE,
)
_WITHOUT: Final = re.compile(r"\b(?:no|without(?: any)?|minus)\s+([a-z ,&-]+)", re.IGNORECASE)
_FREE_OF: Final = re.compile(r"\b([a-z]+)-free\b|\b([a-z]+)less\b", re.IGNORECASE)
_NEGATED: Final = re.compile(r"\b(?:not|no|without|isn't|never|less|non)(?:\s+(?:too|so|very|any|a|an))?[\s-]+$")
_CALM_GENRES: Final = ((-0.7, "ambient"), (-0.45, "lofi"))


def read_style(text: str) -> Style:
    """What ``text`` asks for. What it does not name is left to the composer (None, or the `Style` default).

    Genre and mood words count only outside the subject of the song: "a folk song about my house" is folk. A mood word
    counts only as an adjective of the music or in a list: "driving home" is no driving mood.
    """
    music = _without_subject(text)
    moods = tuple(dict.fromkeys(_moods(music)))
    valence, arousal = _mood_point(moods)
    return Style(
        genre=_genre(music) or _genre_by_mood(valence, arousal, moods),
        moods=moods,
        valence=valence,
        arousal=arousal,
        tempo_bpm=_tempo_bpm(text),
        key=_key(music) or _key(text),
        duration_s=_duration_s(music),
        instrumental=bool(_INSTRUMENTAL.search(music)),
        voice=_voice(music),
        without=_without(music),
    )


def _without_subject(text: str) -> str:
    start, end = subject_span(text)
    return f"{text[:start]} {text[end:]}" if end > start else text


def found_words(text: str, words: tuple[str, ...]) -> Iterator[re.Match[str]]:
    """Every place where one of ``words`` stands alone in ``text`` and is not negated ("no guitar")."""
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    for match in re.finditer(rf"(?<![\w&-])(?:{pattern})(?![\w&])", text, re.IGNORECASE):
        if not _NEGATED.search(text[: match.start()].lower()):
            yield match


def _genre(text: str) -> str | None:
    found = [
        (-len(match.group()), match.start(), genre)
        for genre, words in GENRE_WORDS.items()
        for match in found_words(text, words)
    ]
    return min(found)[2] if found else None


def _genre_by_mood(valence: float, arousal: float, moods: tuple[str, ...]) -> str:
    """A genre for a prompt that names none but has a mood."""
    for least, genre in _CALM_GENRES:
        if arousal < least:
            return genre
    if arousal < -0.25 and valence < -0.2:
        return "ballad"
    if moods and arousal > 0.85:
        return "rock" if valence < 0 else "house"
    return "pop"


def _mood_point(moods: tuple[str, ...]) -> tuple[float, float]:
    """The mean of the moods in the plane, rounded so that the order of words never matters."""
    if not moods:
        return 0.0, 0.0
    points = [MOODS[mood] for mood in moods]
    return round(sum(v for v, _ in points) / len(points), 3), round(sum(a for _, a in points) / len(points), 3)


def _moods(text: str) -> Iterator[str]:
    known = _musical_words()
    for segment in re.split(r"[,;.:!?()/\n|]+| - | – | — ", text.lower()):
        for match in found_words(segment, tuple(MOODS)):
            before = re.findall(r"[\w'&-]+", segment[: match.start()])
            after = re.findall(r"[\w'&-]+", segment[match.end() :])
            allowed = 0 if match.group().endswith("ing") else 1
            if _describes_music(before, after, known, allowed=allowed):
                yield match.group()


def _describes_music(before: list[str], after: list[str], known: frozenset[str], *, allowed: int) -> bool:
    """A mood counts before a musical noun (with ``allowed`` other words between), or in a list of musical talk."""
    strangers = 0
    for word in after:
        if word in MUSIC_NOUNS or word in _genre_nouns():
            return True
        strangers += word not in known
        if strangers > allowed:
            return False
    return strangers == 0 and all(word in known for word in before)


@lru_cache(maxsize=1)
def _genre_nouns() -> frozenset[str]:
    return frozenset(part for words in GENRE_WORDS.values() for word in words for part in (word, *word.split()))


@lru_cache(maxsize=1)
def _musical_words() -> frozenset[str]:
    instruments = (part for words in INSTRUMENTS.values() for word in words for part in word.split())
    moods = (part for mood in MOODS for part in mood.split())
    return frozenset((*FILLERS, *MUSIC_NOUNS, *_genre_nouns(), *instruments, *moods, "male", "female", "voices"))


def _tempo_bpm(text: str) -> int | None:
    for pattern in _TEMPO:
        if match := pattern.search(text):
            numbers = [int(number) for number in match.groups()]
            tempo_bpm = round(sum(numbers) / len(numbers))
            return tempo_bpm if 30 <= tempo_bpm <= 300 else None
    return None


def _key(text: str) -> str | None:
    if match := _KEY_NAMED.search(text):
        return parse_key(match[1]).name
    for match in _KEY_MODE.finditer(text):
        if not _is_article(text, match):
            return parse_key(match["name"]).name
    if (match := _KEY_IN.search(text)) and not (match[1] == "A" and re.match(r"\s+[a-z]", text[match.end() :])):
        return parse_key(match[1]).name
    return None


def _is_article(text: str, match: re.Match[str]) -> bool:
    """Whether "a minor" is English ("a minor setback"), not a key: another word follows and no "in" comes before."""
    if match["letter"].lower() != "a" or match["accidental"] or re.search(r"\b(?:in|key)\s+$", text[: match.start()]):
        return False
    starts_text = not text[: match.start()].strip()
    follows = re.match(r"\s+[a-z]", text[match.end() :], re.IGNORECASE)
    return bool(follows) and (match["letter"] == "a" or starts_text)


def _number(text: str) -> float:
    return _NUMBER_WORDS.get(text.lower()) or float(text.replace(",", "."))


def _duration_s(text: str) -> float | None:
    seconds: float | None = None
    if match := _MINUTES.search(text):
        rest = 30.0 if (match[2] or "") == "a half" else float(match[2] or 0)
        seconds = 60.0 * _number(match[1]) + rest
    elif match := _SECONDS.search(text):
        seconds = _number(match[1])
    elif match := _CLOCK.search(text):
        seconds = 60.0 * int(match[1]) + int(match[2])
    elif match := _SHORT_SECONDS.search(text):
        seconds = float(match[1])
    return seconds if seconds is not None and 1 <= seconds <= 3600 else None


def _voice(text: str) -> str:
    """The voice that is named first as such; "female" if none is."""
    male, female = _MALE.search(text), _FEMALE.search(text)
    return "male" if male and not (female and female.start() <= male.start()) else "female"


def _without(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for match in _WITHOUT.finditer(text):
        for part in re.split(r",|&|\band\b|\bor\b|\bno\b", match[1].lower()):
            if not part.strip():
                continue
            name = _left_out(part.split())
            if name is None:
                break
            found.append(name)
    for match in _FREE_OF.finditer(text):
        name = _left_out([(match[1] or match[2]).lower()])
        if name is not None:
            found.append(name)
    return tuple(dict.fromkeys(found))


def _left_out(words: list[str]) -> str | None:
    """What the first words of a part ask to leave out, skipping up to two adjectives ("loud electric guitar")."""
    for at in range(min(3, len(words))):
        for size in (2, 1):
            name = LEFT_OUT_WORDS.get(" ".join(words[at : at + size]))
            if name:
                return name
    return None
