"""The genres: what is usual in each, as tables the composer draws from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from studio.music.chance import generator, weighted
from studio.music.score import Part
from studio.music.theory import Key, parse_key
from studio.text.style import Style

Choices = tuple[tuple[str, float], ...]
"""Patch names and how usual they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genre:
    """One genre.

    Attributes:
        tempo_bpm: lowest and highest usual tempo.
        major_share: 0-1, how often a song of neutral mood is in a major key.
        swing: where the off-beat falls inside its pair, 0.5 straight … 0.667 triplet.
        swing_beats: length of that pair in beats: 1 swings eighths, 0.5 sixteenths.
        laziness_s: how late snare and keys lie behind the beat, in seconds.
        instruments: patches for each part; the empty name leaves the part out.
        low_keys: the keys need a root below C3 because nothing else fills the octave around 125 Hz.
        lift_share: 0-1, how often the final chorus is raised.
        neighbours: genres whose tables may be borrowed from when guidance is low.
    """

    tempo_bpm: tuple[int, int]
    major_share: float
    swing: float = 0.5
    swing_beats: float = 0.5
    laziness_s: float = 0.0
    instruments: Mapping[Part, Choices]
    low_keys: bool = False
    lift_share: float = 0.0
    neighbours: tuple[str, ...]


def _band(*, keys: str, pad: str, arp: str, lead: str, bass: str, drums: str) -> dict[Part, Choices]:
    """Patches written as "first choice, second choice"; earlier ones are likelier. A dash leaves the part out."""
    written = {
        Part.KEYS: keys, Part.PAD: pad, Part.ARP: arp, Part.LEAD: lead, Part.BASS: bass, Part.DRUMS: drums,
    }  # fmt: skip
    return {
        part: tuple(
            ("" if name == "-" else name, 3.0 / (at * at + 1)) for at, name in enumerate(names.replace(",", "").split())
        )
        for part, names in written.items()
    }


GENRES: Final[Mapping[str, Genre]] = {
    "pop": Genre(
        tempo_bpm=(96, 124),
        major_share=0.7,
        instruments=_band(
            keys="piano, epiano, guitar",
            pad="pad, strings",
            arp="pluck, arp",
            lead="lead, bell, guitar",
            bass="synthbass, fingerbass",
            drums="acoustic, electronic",
        ),
        lift_share=0.4,
        neighbours=("synthwave", "rock", "ballad", "rnb"),
    ),
    "synthwave": Genre(
        tempo_bpm=(88, 118),
        major_share=0.25,
        instruments=_band(
            keys="polysaw",
            pad="pad, strings",
            arp="arp, pluck",
            lead="lead, bell",
            bass="synthbass",
            drums="electronic",
        ),
        lift_share=0.2,
        neighbours=("pop", "house"),
    ),
    "lofi": Genre(
        tempo_bpm=(70, 88),
        major_share=0.45,
        swing=0.58,
        laziness_s=0.014,
        instruments=_band(
            keys="epiano, piano, guitar",
            pad="pad",
            arp="-, pluck",
            lead="bell, guitar, flute",
            bass="fingerbass, uprightbass, subbass",
            drums="lofi",
        ),
        neighbours=("hiphop", "jazz", "rnb"),
    ),
    "house": Genre(
        tempo_bpm=(120, 128),
        major_share=0.3,
        swing=0.52,
        instruments=_band(
            keys="polysaw, piano, organ",
            pad="pad, strings",
            arp="pluck, arp",
            lead="lead, bell",
            bass="synthbass, subbass",
            drums="electronic",
        ),
        lift_share=0.15,
        neighbours=("synthwave", "pop"),
    ),
    "rock": Genre(
        tempo_bpm=(108, 144),
        major_share=0.55,
        instruments=_band(
            keys="powerguitar",
            pad="organ, strings",
            arp="guitar, -",
            lead="lead, guitar",
            bass="fingerbass",
            drums="acoustic",
        ),
        lift_share=0.3,
        neighbours=("pop", "folk"),
    ),
    "folk": Genre(
        tempo_bpm=(84, 112),
        major_share=0.75,
        instruments=_band(
            keys="guitar",
            pad="strings, organ",
            arp="guitar, pluck",
            lead="flute, guitar",
            bass="uprightbass, fingerbass",
            drums="brushes, acoustic",
        ),
        low_keys=True,
        lift_share=0.2,
        neighbours=("ballad", "rock"),
    ),
    "hiphop": Genre(
        tempo_bpm=(76, 96),
        major_share=0.2,
        swing=0.56,
        laziness_s=0.01,
        instruments=_band(
            keys="epiano, piano, guitar",
            pad="strings, pad",
            arp="-, pluck, bell",
            lead="bell, flute, lead",
            bass="subbass, synthbass, fingerbass",
            drums="lofi, electronic",
        ),
        neighbours=("lofi", "rnb"),
    ),
    "jazz": Genre(
        tempo_bpm=(92, 150),
        major_share=0.6,
        swing=0.64,
        swing_beats=1.0,
        laziness_s=0.006,
        instruments=_band(
            keys="piano, epiano, guitar",
            pad="organ, strings, -",
            arp="-",
            lead="flute, guitar, bell",
            bass="uprightbass",
            drums="brushes, acoustic",
        ),
        neighbours=("lofi", "rnb"),
    ),
    "ambient": Genre(
        tempo_bpm=(60, 80),
        major_share=0.5,
        instruments=_band(
            keys="piano, epiano, organ",
            pad="pad, strings",
            arp="bell, pluck, arp",
            lead="flute, bell, strings",
            bass="subbass, uprightbass",
            drums="-",
        ),
        low_keys=True,
        neighbours=("ballad", "lofi"),
    ),
    "rnb": Genre(
        tempo_bpm=(66, 92),
        major_share=0.4,
        swing=0.56,
        laziness_s=0.012,
        instruments=_band(
            keys="epiano, piano",
            pad="pad, strings",
            arp="-, pluck, guitar",
            lead="lead, bell, guitar",
            bass="fingerbass, synthbass, subbass",
            drums="electronic, lofi",
        ),
        lift_share=0.3,
        neighbours=("pop", "lofi", "hiphop"),
    ),
    "ballad": Genre(
        tempo_bpm=(62, 80),
        major_share=0.6,
        instruments=_band(
            keys="piano, epiano, guitar",
            pad="strings, pad",
            arp="-, bell, guitar",
            lead="strings, flute, piano",
            bass="fingerbass, uprightbass",
            drums="acoustic, brushes",
        ),
        low_keys=True,
        lift_share=0.5,
        neighbours=("pop", "folk"),
    ),
}

_LEFT_OUT: Final[Mapping[str, tuple[str, ...]]] = {
    "guitar": ("guitar", "powerguitar"),
    "piano": ("piano", "epiano"),
    "strings": ("strings",),
    "synth": ("polysaw", "pad", "arp", "lead", "synthbass"),
    "pad": ("pad",),
    "organ": ("organ",),
    "flute": ("flute",),
    "bell": ("bell",),
}
_PARTS: Final[Mapping[str, Part]] = {part.value: part for part in Part} | {
    "percussion": Part.DRUMS,
    "beat": Part.DRUMS,
    "melody": Part.LEAD,
}
_FALLBACK: Final[Mapping[Part, tuple[str, ...]]] = {
    Part.KEYS: ("piano", "organ", "guitar", "polysaw"),
    Part.PAD: ("strings", "organ", "pad"),
    Part.ARP: ("pluck", "bell"),
    Part.LEAD: ("bell", "flute", "lead"),
    Part.BASS: ("fingerbass", "synthbass"),
    Part.DRUMS: ("acoustic",),
}
_USUAL_KEYS: Final = tuple((tonic, 3.0 if tonic in (0, 2, 4, 5, 7, 9) else 1.5) for tonic in range(12))


def genre_of(name: str) -> Genre:
    """The tables of a genre; pop for a name that is not in the tables."""
    return GENRES.get(name, GENRES["pop"])


def usual_tempo(style: Style, seed: int) -> float:
    """A tempo of the genre, faster for excited moods and slower for calm ones."""
    low, high = genre_of(style.genre).tempo_bpm
    rng = generator("tempo", seed, style.genre)
    place = min(1.0, max(0.0, 0.5 + 0.4 * style.arousal + rng.uniform(-0.15, 0.15)))
    return float(round(low + (high - low) * place))


def usual_key(style: Style, seed: int) -> Key:
    """The key the prompt names, or one drawn by seed, minor the likelier the sadder the mood."""
    if style.key is not None:
        return parse_key(style.key)
    rng = generator("key", seed, style.genre)
    tonic = weighted(rng, _USUAL_KEYS)
    return Key(tonic=tonic, minor=rng.random() > genre_of(style.genre).major_share + 0.4 * style.valence)


def usual_lift(style: Style, seed: int) -> int:
    """How many semitones the final chorus is raised: in some songs of some genres a whole or half tone, else 0."""
    rng = generator("lift", seed, style.genre)
    return rng.choice((2, 2, 1)) if rng.random() < genre_of(style.genre).lift_share else 0


def cast(style: Style, seed: int, temperature: float) -> dict[Part, str]:
    """Which patch plays each part. Parts the prompt leaves out are missing from the answer."""
    rng = generator("cast", seed, style.genre)
    barred = {patch for word in style.without for patch in _LEFT_OUT.get(_singular(word), ())}
    silent = {_PARTS.get(_singular(word)) for word in style.without} | {_PARTS.get(word) for word in style.without}
    players: dict[Part, str] = {}
    for part, choices in genre_of(style.genre).instruments.items():
        allowed = [choice for choice in choices if choice[0] not in barred]
        spare = [(patch, 1.0) for patch in _FALLBACK[part] if patch not in barred]
        patch = weighted(rng, allowed or spare or [("", 1.0)], temperature)
        if patch and part not in silent:
            players[part] = patch
    return players


def _singular(word: str) -> str:
    return word.lower() if word.lower() in _PARTS else word.lower().removesuffix("s")
