"""Style prompts: turning a free description into the line of musical words that a music engine understands."""

from collections.abc import Mapping
from typing import Final

from studio.music.chance import generator
from studio.text.reading import found_words
from studio.text.style import Style
from studio.text.tags import GENRE_TAGS
from studio.text.vocabulary import GENRE_WORDS, INSTRUMENTS

_TEXTURES: Final[Mapping[str, tuple[str, ...]]] = {
    "pop": (
        "bright synth hooks", "punchy drums", "warm bass guitar", "layered backing vocals", "clean electric guitar",
        "sparkling piano", "handclaps", "wide polished mix",
    ),
    "synthwave": (
        "analog synth arpeggios", "gated reverb drums", "pulsing synth bass", "lush pads", "soaring synth lead",
        "neon atmosphere", "retro drum machine", "chorused guitar",
    ),
    "lofi": (
        "dusty drums", "mellow Rhodes chords", "vinyl crackle", "soft upright bass", "muted jazz guitar", "tape warmth",
        "gentle swing", "sleepy piano",
    ),
    "house": (
        "four-on-the-floor kick", "rolling bassline", "side-chained pads", "crisp hi-hats", "piano stabs",
        "filtered synths", "big build-ups", "club-ready low end",
    ),
    "rock": (
        "overdriven guitars", "driving live drums", "gritty bass", "big chorus", "palm-muted riffs", "ringing chords",
        "raw energy", "anthemic gang vocals",
    ),
    "folk": (
        "fingerpicked acoustic guitar", "brushed drums", "upright bass", "close vocal harmonies", "fiddle",
        "soft banjo", "intimate room sound", "foot stomps",
    ),
    "hiphop": (
        "boom bap drums", "deep 808 bass", "chopped piano sample", "crisp snare", "dark synth bells", "vinyl texture",
        "laid-back groove", "sparse keys",
    ),
    "jazz": (
        "walking upright bass", "brushed drums", "warm piano voicings", "smoky saxophone", "muted trumpet",
        "swing feel", "late-night club sound", "clean hollow-body guitar",
    ),
    "ambient": (
        "slowly evolving pads", "distant piano", "soft bells", "long reverb tails", "warm drones", "airy choir",
        "field-recording textures", "no hurry",
    ),
    "rnb": (
        "silky electric piano", "deep sub bass", "crisp snaps", "smooth backing harmonies", "neo-soul guitar licks",
        "late groove", "warm pads", "tight drums",
    ),
    "ballad": (
        "expressive piano", "swelling strings", "soft bass", "restrained drums", "intimate vocal", "wide final chorus",
        "gentle acoustic guitar", "cello line",
    ),
}  # fmt: skip
_USUAL_MOODS: Final[Mapping[str, tuple[str, str, str]]] = {
    "pop": ("catchy", "uplifting", "bright"),
    "synthwave": ("dreamy", "nostalgic", "driving"),
    "lofi": ("mellow", "chill", "cozy"),
    "house": ("euphoric", "groovy", "hypnotic"),
    "rock": ("anthemic", "raw", "energetic"),
    "folk": ("warm", "heartfelt", "gentle"),
    "hiphop": ("laid-back", "moody", "gritty"),
    "jazz": ("smoky", "playful", "late-night"),
    "ambient": ("serene", "ethereal", "calm"),
    "rnb": ("sensual", "smooth", "late-night"),
    "ballad": ("tender", "emotional", "bittersweet"),
}
_ENGINE_NAMES: Final[Mapping[str, str]] = {**GENRE_TAGS, "rnb": "R&B", "lofi": "lo-fi hip hop", "ballad": "ballad"}


def style_prompt(description: str, style: Style, *, seed: int) -> str:
    """A line such as "dreamy synthwave, analog synth arpeggios, lush pads, female vocals, 100 bpm, A minor".

    ``style`` is what `studio.text.reading.read_style` found in ``description``. What the description names comes first
    and is kept; what it leaves open is filled with two to four textures of the genre, chosen by ``seed``, and nothing
    that the style asks to leave out.
    """
    rng = generator("style prompt", seed, description)
    moods = style.moods or (_usual_mood(style, rng.random()),)
    genre = _genre_words(description, style)
    parts = [" ".join((*(mood for mood in moods[:2] if mood not in genre), genre)), *moods[2:4]]
    named = [
        tag
        for tag, words in INSTRUMENTS.items()
        if tag not in genre and any(True for _ in found_words(description, words))
    ]
    textures = [
        texture for texture in _TEXTURES.get(style.genre, _TEXTURES["pop"]) if not _left_out(texture, style.without)
    ]
    parts += [tag for tag in named if not _left_out(tag, style.without)][:4]
    wanted = max(2, 4 - len(named))
    parts += [t for t in rng.sample(textures, min(wanted, len(textures))) if not (style.instrumental and "vocal" in t)]
    parts.append("instrumental" if style.instrumental else f"{style.voice} vocals")
    parts += [f"no {part}" for part in style.without]
    if style.tempo_bpm is not None:
        parts.append(f"{style.tempo_bpm} bpm")
    if style.key is not None:
        parts.append(style.key)
    return ", ".join(dict.fromkeys(parts))


def _genre_words(description: str, style: Style) -> str:
    """The longest word the person used for the genre ("deep house"), or the genre's own name."""
    said = [match.group().lower() for match in found_words(description, GENRE_WORDS.get(style.genre, ()))]
    return max(said, key=len, default=_ENGINE_NAMES.get(style.genre, style.genre))


def _usual_mood(style: Style, chance: float) -> str:
    """A mood word for a description that names none: one of three usual in the genre."""
    usual = _USUAL_MOODS.get(style.genre, _USUAL_MOODS["pop"])
    return usual[int(len(usual) * chance)]


def _left_out(text: str, without: tuple[str, ...]) -> bool:
    return any(part in text.lower() for part in without)
