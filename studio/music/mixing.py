"""How each part is mixed in each genre: the settings of the desk."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from studio.music.score import Part, Score
from studio.sound.effects import Compressor
from studio.sound.filters import Band
from studio.sound.mix import Curve, Room, Strip
from studio.sound.tone import Tone

VOICE_OVER_BACKING_DB: Final = 3.0
VOICE_DUCK_DB: Final = 2.0

_KICKS: Final = (35, 36)
_QUIETEST_DB: Final = -2.8
"""What a section of energy 0 loses against one of energy 1."""


def _cut(frequency_hz: float) -> Band:
    return Band(kind="high_pass", frequency_hz=frequency_hz)


def _bell(frequency_hz: float, gain_db: float, q: float = 0.8) -> Band:
    return Band(kind="peak", frequency_hz=frequency_hz, gain_db=gain_db, q=q)


_PRESENCE: Final = Band(kind="high_shelf", frequency_hz=1_700.0, gain_db=4.0, q=0.6)
_MALE_PRESENCE: Final = _bell(2_700.0, 3.0, 0.7)
"""A man's voice has less between 1.5 and 5 kHz, where words are told apart."""

_STRIPS: Final[Mapping[Part, Strip]] = {
    Part.DRUMS: Strip(
        level_lufs=-17.0,
        bands=(_cut(30.0), _bell(80.0, 1.5), _bell(400.0, -3.0, 1.0)),
        compressor=Compressor(threshold_db=-14.0, ratio=3.0, attack_s=0.008, release_s=0.09),
        reverb=0.08,
    ),
    Part.BASS: Strip(
        level_lufs=-19.0,
        bands=(_cut(32.0), _bell(250.0, -2.0, 1.0), _bell(800.0, 2.0, 1.0)),
        compressor=Compressor(threshold_db=-18.0, ratio=4.0, attack_s=0.01, release_s=0.1),
        pumped=True,
    ),
    Part.KEYS: Strip(level_lufs=-20.0, bands=(_cut(100.0), _bell(320.0, -2.5)), width=0.25, reverb=0.18, pumped=True),
    Part.PAD: Strip(level_lufs=-24.0, bands=(_cut(160.0), _bell(320.0, -2.5)), width=0.45, reverb=0.32, pumped=True),
    Part.ARP: Strip(level_lufs=-24.0, bands=(_cut(220.0),), width=0.4, echo=0.2, reverb=0.22, pumped=True),
    Part.LEAD: Strip(level_lufs=-19.5, bands=(_cut(180.0), _bell(320.0, -1.5)), width=0.12, echo=0.22, reverb=0.25),
    Part.HARMONY: Strip(
        level_lufs=-24.0,
        bands=(_cut(180.0), _bell(300.0, -2.0, 1.0), _PRESENCE),
        compressor=Compressor(threshold_db=-22.0, ratio=3.5, attack_s=0.004, release_s=0.09),
        reverb=0.35,
    ),
    Part.VOCAL: Strip(
        level_lufs=-17.0,
        bands=(_cut(110.0), _bell(300.0, -2.0, 1.0), _PRESENCE),
        compressor=Compressor(threshold_db=-22.0, ratio=3.5, attack_s=0.004, release_s=0.09),
        echo=0.1,
        reverb=0.2,
    ),
}

_LEVELS_DB: Final[Mapping[str, Mapping[Part, float]]] = {
    "jazz": {Part.DRUMS: -5.0, Part.KEYS: 2.0, Part.PAD: -7.0},
    "ambient": {Part.PAD: 5.0, Part.KEYS: 2.0, Part.BASS: 1.0},
    "lofi": {Part.DRUMS: -1.0, Part.PAD: -1.0},
    "house": {Part.DRUMS: 2.0, Part.BASS: 1.0},
    "rock": {Part.KEYS: 2.0, Part.DRUMS: 1.0, Part.PAD: -4.0},
    "ballad": {Part.DRUMS: -4.0, Part.KEYS: 3.0},
    "folk": {Part.DRUMS: -6.0, Part.KEYS: 3.0, Part.BASS: 1.0},
    "hiphop": {Part.BASS: 2.0, Part.DRUMS: 1.0},
}
"""What a genre adds to the levels; genres that are not here take them as they are."""

_ROOMS: Final[Mapping[str, Room]] = {
    "ambient": Room(decay_s=4.8, damping=0.4),
    "ballad": Room(decay_s=2.6),
    "synthwave": Room(decay_s=2.4, damping=0.35),
    "jazz": Room(decay_s=1.3),
    "lofi": Room(decay_s=1.3, damping=0.6),
    "hiphop": Room(decay_s=1.2),
    "rock": Room(decay_s=1.5),
}
_PUMP: Final[Mapping[str, float]] = {"house": 0.7, "synthwave": 0.35}
"""How far the pumped parts duck under the bass drum: the share of their level they lose."""

_TILT_DB: Final[Mapping[str, float]] = {"lofi": -0.9, "jazz": -0.5, "ambient": -1.3, "ballad": -0.4, "folk": -0.3}

_DULL: Final = (Band(kind="low_pass", frequency_hz=5_500.0),)


def strip(score: Score, part: Part) -> Strip:
    """The strip of ``part``: its level and colour in this genre."""
    base = _STRIPS[part]
    bands = base.bands
    if score.genre == "lofi" and part in (Part.KEYS, Part.PAD, Part.ARP, Part.LEAD):
        bands += _DULL
    if part in (Part.KEYS, Part.PAD, Part.ARP) and score.of_part(Part.VOCAL):
        bands += (_bell(2_600.0, -3.0, 0.7),)
    if part in (Part.VOCAL, Part.HARMONY) and score.voice == "male":
        bands += (_MALE_PRESENCE,)
    return replace(base, bands=bands, level_lufs=base.level_lufs + _LEVELS_DB.get(score.genre, {}).get(part, 0.0))


def room(score: Score) -> Room:
    """The room the song is played in."""
    return _ROOMS.get(score.genre, Room(decay_s=1.8))


def tone(score: Score) -> Tone:
    """The tonal balance the mix is brought to."""
    return Tone(tilt_db=_TILT_DB.get(score.genre, 0.0))


def echo_s(score: Score) -> float:
    """A dotted eighth."""
    return score.seconds(0.75)


def ride(score: Score) -> Curve | None:
    """The dynamics of the form: sections of low energy are quieter, over half a second at each border."""
    if not score.sections:
        return None
    times, gains = [], []
    for section in score.sections:
        start = score.seconds(section.start_bar * score.beats_per_bar)
        end = score.seconds((section.start_bar + section.bars) * score.beats_per_bar)
        gain = 10 ** (_QUIETEST_DB * (1 - section.energy) / 20)
        times += [start, max(start + 0.01, end - 0.25)]
        gains += [gain, gain]
    return Curve(times_s=np.array(times), gains=np.array(gains))


def pump(score: Score) -> Curve | None:
    """The ducking under the bass drum, or None where the genre does not pump."""
    depth = _PUMP.get(score.genre, 0.0)
    kicks = sorted({score.seconds(n.start_beats) for n in score.of_part(Part.DRUMS) if n.pitch in _KICKS})
    if not depth or not kicks:
        return None
    offsets = np.array([0.0, 0.03, 0.06, 0.1, 0.15, 0.22])
    recovery = 1 - depth * np.exp(-offsets / 0.09) * np.clip((0.22 - offsets) / 0.05, 0, 1)
    times, gains = [0.0], [1.0]
    for here, following in zip(kicks, [*kicks[1:], float("inf")], strict=True):
        times.append(max(times[-1] + 1e-4, here - 0.004))
        gains.append(gains[-1])
        for offset, gain in zip(offsets, recovery, strict=True):
            if here + offset < following - 0.005:
                times.append(max(times[-1] + 1e-4, here + offset))
                gains.append(float(gain))
    return Curve(times_s=np.array(times), gains=np.array(gains))
