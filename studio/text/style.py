"""Style: what a prompt says about the music, read once and handed to the composer and the painter."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What a prompt asks for.

    Attributes:
        genre: a key of the genre tables ("pop", "synthwave", "lofi", …).
        moods: the mood words found, in order.
        valence, arousal: each -1 … 1; sad … happy, calm … excited (Russell, 1980).
        tempo_bpm: quarter notes per minute if the prompt names it.
        key: canonical key name ("A minor") if the prompt names it.
        duration_s: length if the prompt names it.
        instrumental: the prompt asks for no voice.
        voice: "female" or "male".
        without: parts to leave out ("drums", "bass", …).
    """

    genre: str = "pop"
    moods: tuple[str, ...] = ()
    valence: float = 0.0
    arousal: float = 0.0
    tempo_bpm: int | None = None
    key: str | None = None
    duration_s: float | None = None
    instrumental: bool = False
    voice: str = "female"
    without: tuple[str, ...] = field(default=())
