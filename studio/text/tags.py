"""Tags: a closed vocabulary, so that songs can be found and counted by them."""

from collections.abc import Mapping
from typing import Final

from studio.music.genres import usual_tempo
from studio.text.reading import found_words
from studio.text.style import Style
from studio.text.verses import theme_of
from studio.text.vocabulary import INSTRUMENTS

MOST: Final = 8

GENRE_TAGS: Final[Mapping[str, str]] = {
    "pop": "pop", "synthwave": "synthwave", "lofi": "lo-fi", "house": "house", "rock": "rock", "folk": "folk",
    "hiphop": "hip hop", "jazz": "jazz", "ambient": "ambient", "rnb": "r&b", "ballad": "ballad",
}  # fmt: skip
SUBGENRE_TAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "indie": ("indie", "indie pop", "indie rock", "indie folk", "bedroom pop"),
    "electronic": ("electronic", "edm", "techno", "trance", "electro", "electropop"),
    "disco": ("disco", "nu disco", "italo disco"),
    "drum and bass": ("drum and bass", "dnb", "jungle"),
    "punk": ("punk", "punk rock", "pop punk"),
    "metal": ("metal", "heavy metal"),
    "country": ("country", "americana", "bluegrass"),
    "blues": ("blues",),
    "soul": ("soul", "neo-soul", "neo soul", "motown", "gospel"),
    "funk": ("funk", "funky"),
    "trap": ("trap", "drill", "phonk"),
    "bossa nova": ("bossa nova", "bossa"),
    "cinematic": ("cinematic", "orchestral", "film score", "soundtrack"),
    "classical": ("classical", "neoclassical"),
    "acoustic": ("acoustic", "unplugged"),
    "80s": ("80s", "eighties", "retro", "retrowave"),
    "lullaby": ("lullaby",),
    "dance": ("dance", "dance pop", "club", "dance music"),
}
MOOD_TAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "happy": ("happy", "joyful", "cheerful", "sunny", "bright", "fun", "playful", "summery", "festive"),
    "upbeat": ("upbeat", "groovy", "catchy", "funky"),
    "uplifting": ("uplifting", "inspiring", "hopeful", "triumphant", "euphoric"),
    "romantic": ("romantic", "sensual", "tender", "sweet"),
    "warm": ("warm", "cozy", "gentle", "soft"),
    "calm": ("calm", "peaceful", "serene", "quiet", "slow"),
    "chill": ("chill", "relaxing", "relaxed", "mellow", "laid-back", "laid back"),
    "dreamy": ("dreamy", "ethereal", "lush", "hypnotic"),
    "nostalgic": ("nostalgic", "bittersweet", "wistful"),
    "sad": ("sad", "sorrowful", "heartbroken", "heartbreaking", "rainy", "gloomy"),
    "melancholic": ("melancholic", "melancholy", "lonely", "moody", "emotional"),
    "dark": ("dark", "eerie", "tense", "mysterious", "haunting"),
    "late night": ("late night", "late-night", "smoky"),
    "angry": ("angry", "aggressive", "rebellious", "gritty", "raw"),
    "epic": ("epic", "powerful", "anthemic", "intense"),
    "energetic": ("energetic", "driving", "fast"),
}
VOCAL_TAGS: Final = ("female vocals", "male vocals", "instrumental")
TEMPO_TAGS: Final = (("slow", 85.0), ("mid-tempo", 118.0), ("fast", float("inf")))
"""Tempo word and the tempo in bpm below which it holds."""
THEME_TAGS: Final = (
    "night", "city", "love", "heartbreak", "loss", "distance", "freedom", "hope", "summer", "rain", "winter", "autumn",
    "sea", "mountains", "home", "family", "friendship", "party", "memory", "stars", "fight", "morning", "road",
    "animals", "cats", "peace", "child",
)  # fmt: skip
"""The themes of the lyric writer."""

TAGS: Final = frozenset(
    (
        *GENRE_TAGS.values(), *SUBGENRE_TAGS, *MOOD_TAGS, *INSTRUMENTS, *VOCAL_TAGS, *(tag for tag, _ in TEMPO_TAGS),
        *THEME_TAGS,
    )
)  # fmt: skip
"""Every tag there is."""


def tags_of(style: Style, text: str, *, instrumental: bool, tempo_bpm: float | None = None) -> tuple[str, ...]:
    """3 to 8 different tags of `TAGS`: genre, voice and tempo always; then moods, kinds, instruments and the theme.

    ``text`` is all that was written about the song (description, style, title). Without ``tempo_bpm`` the tempo is the
    one the style names, or the usual one of its genre.
    """
    tempo = tempo_bpm or style.tempo_bpm or usual_tempo(style, 0)
    voice = "instrumental" if instrumental else f"{style.voice} vocals"
    found = [GENRE_TAGS.get(style.genre, "pop"), voice, next(tag for tag, below in TEMPO_TAGS if tempo < below)]
    found += [tag for mood in style.moods for tag, moods in MOOD_TAGS.items() if mood in moods][:2]
    found += _named(text, SUBGENRE_TAGS)[:1]
    found += [tag for tag in _named(text, INSTRUMENTS) if tag != "guitar" or "acoustic guitar" not in found][:2]
    theme = theme_of(text, style)
    if not instrumental or any(True for _ in found_words(text, tuple(theme.words))):
        found.append(theme.name)
    return tuple(dict.fromkeys(found))[:MOST]


def _named(text: str, table: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The tags whose words the text has, longest match first where several claim the same place."""
    claims = sorted(
        (match.start(), -len(match.group()), tag) for tag, words in table.items() for match in found_words(text, words)
    )
    tags: list[str] = []
    free_from = 0
    for start, negative_length, tag in claims:
        if start >= free_from:
            tags.append(tag)
            free_from = start - negative_length
    return list(dict.fromkeys(tags))
