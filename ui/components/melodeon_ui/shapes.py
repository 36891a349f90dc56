"""The JSON shapes that the components take. Lengths of time are seconds; all text is shown as text, never as HTML."""

from typing import Literal, NotRequired, TypedDict

Status = Literal["queued", "processing", "processed", "failed", "no credits", "cancelled"]

PLAY_NEXT = "play_next"
"""Id of a menu item that the browser does by itself: play this song after the current one."""
ADD_TO_QUEUE = "add_to_queue"
"""Id of a menu item that the browser does by itself: play this song after all others."""


class Song(TypedDict):
    """One playable song.

    ``src`` answers Range requests with the sound; ``peaks`` answers with a JSON list of floats 0-1, or with
    ``{"peaks": [...]}``; ``cover_small`` is the picture for rows and the player. Addresses are same-origin and
    stable: they stay in the listener's queue for days. ``page`` is opened by a middle click or in a new tab.
    """

    id: str
    title: str
    artist: str
    cover: str
    cover_small: str
    src: str
    peaks: str
    duration_s: float
    tags: list[str]
    tempo_bpm: float | None
    engine_label: str
    page: str


class MenuItem(TypedDict):
    """One entry of a card's menu; ``icon`` is a Material Symbols name such as ``"download"``."""

    id: str
    label: str
    icon: NotRequired[str]
    danger: NotRequired[bool]


class SongCard(TypedDict, total=False):
    """A song as a card. Only ``id`` is always needed; whatever a song does not have yet may be missing or empty.

    ``loading`` draws a skeleton. A ``status`` other than ``processed`` covers the picture with ``status_text``
    (or the status in words) and takes the play button away. ``menu`` replaces the menu given for all cards.
    Beside the artist's name stands ``artist_picture``, or their first letter in white on ``artist_colour``; without
    either, nothing.
    """

    id: str
    title: str
    artist: str
    artist_picture: str
    artist_colour: str
    cover: str
    cover_small: str
    src: str
    peaks: str
    duration_s: float
    tags: list[str]
    tempo_bpm: float | None
    engine_label: str
    page: str
    loading: bool
    status: Status
    status_text: str
    badges: list[str]
    menu: list[MenuItem]


class Line(TypedDict):
    """One sung line, from ``start_s`` to ``end_s``; lines are in order of time."""

    start_s: float
    end_s: float
    text: str


class Section(TypedDict):
    """One part of the form (Intro, Verse 1, Chorus); sections with the same name share a colour."""

    name: str
    start_s: float
    end_s: float
