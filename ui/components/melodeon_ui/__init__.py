"""Melodeon's Streamlit components: player, song cards, song view, job rail, session bridge, departure.

The sound comes from one engine in the browser's window, not from these components: they only show it. Playing,
seeking and queueing never reach Python; what does reach it is what a page must act on, as one-run triggers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from melodeon_ui.labels import JOB_LABELS
from melodeon_ui.shapes import (
    ADD_TO_QUEUE,
    PLAY_NEXT,
    Line,
    MenuItem,
    Section,
    Song,
    SongCard,
    Status,
)

__all__ = [
    "ADD_TO_QUEUE",
    "JOB_LABELS",
    "PLAY_NEXT",
    "CardAction",
    "CardEvents",
    "JobEvents",
    "Line",
    "MenuItem",
    "PlayerEvents",
    "Section",
    "SessionEvents",
    "Song",
    "SongCard",
    "Status",
    "departure",
    "job_rail",
    "player",
    "session_bridge",
    "song_cards",
    "song_view",
]


@cache
def _component(name: str) -> ComponentRenderer:
    """The mounting command of one component, registered when first drawn.

    Not on import: without a running Streamlit, as in a plain test, there is nothing to register with.
    """
    return st.components.v2.component(f"melodeon-ui.{name}", js=f"{name}-*.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayerEvents:
    """``open``: id of the song whose title was clicked in this run, else None."""

    open: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAction:
    """A chosen menu item: ids of the song and of the item."""

    song: str
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardEvents:
    """``open``: id of the song whose page is wanted; ``action``: the chosen menu item. None in all other runs."""

    open: str | None
    action: CardAction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvents:
    """``finished``: id of a job that was processed; ``ended``: of one that failed or was cancelled at work.

    Each job is told once to each mounted rail; in all other runs both are None.
    """

    finished: str | None
    ended: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvents:
    """``done``: did the server accept the exchange? None while nothing was asked or no answer has come."""

    done: bool | None


def _wake() -> None:
    """A trigger's callback: the rerun itself is all that is wanted."""


def player(api: str = "/api/v1", key: str = "player", *, stop: bool = False) -> PlayerEvents:
    """Draw the bar at the foot of the page; nothing is shown while nothing is queued.

    Call it in the entry script before the page runs, always with the same key: so the bar survives page changes.
    A play is counted after 30 s of listening, or half of a shorter song, by a beacon: ``POST
    {api}/songs/{id}/plays`` with ``{"listened_s": n}``.

    Args:
        stop: when this turns true (or is true at first), the music stops and the queue is forgotten.
    """
    result = _component("player")(key=key, data={"api": api, "stop": stop}, on_open_change=_wake)
    return PlayerEvents(open=result.open)


def song_cards(
    songs: Sequence[Song | SongCard],
    key: str,
    layout: Literal["grid", "list", "pair"] = "grid",
    menu: Sequence[MenuItem] = (),
    empty: str | None = None,
) -> CardEvents:
    """Draw songs as a grid of cards, as rows, or as two large takes side by side.

    Play buttons start the engine in the same click, with the playable songs as queue. Menu items with the ids
    ``PLAY_NEXT`` and ``ADD_TO_QUEUE`` are done in the browser; all others arrive as ``action``.

    Args:
        menu: the items behind "⋯" of every card that brings no menu of its own; no items, no button.
        empty: the sentence shown when there are no songs.
    """
    data = {"songs": list(songs), "layout": layout, "menu": list(menu), "empty": empty}
    result = _component("song_cards")(key=key, data=data, on_open_change=_wake, on_action_change=_wake)
    action = result.action
    return CardEvents(open=result.open, action=CardAction(**action) if action else None)


def song_view(
    song: Song,
    lines: Sequence[Line] = (),
    sections: Sequence[Section] = (),
    lyrics_text: str = "",
    *,
    key: str,
) -> None:
    """Draw one song's waveform with its sections, and lyrics that follow the music and seek on click.

    Works before the song plays: a click on the waveform, a section or a line starts it there.

    Args:
        lines: lyrics in time; without them ``lyrics_text`` is shown as it is.
    """
    data = {"song": song, "lines": list(lines), "sections": list(sections), "lyrics_text": lyrics_text}
    _component("song_view")(key=key, data=data)


def job_rail(
    api: str = "/api/v1",
    key: str = "jobs",
    labels: Mapping[str, str] | None = None,
    layout: Literal["rail", "panel"] = "rail",
) -> JobEvents:
    """Draw the account's running jobs from server-sent events, with stage, time left and Cancel.

    Reads ``{api}/events``: ``event: job`` with ``{id, title, state, stage, progress, message, reason, eta_s,
    song_ids, position}`` (progress 0-1; ``position`` 1-based in line, or null; ``reason`` says why it ended) and
    ``event: balance`` with ``{available_credits, held_credits}``, both as snapshots on connect and again on change.
    A job that has ended by the first snapshot, and was not seen at work, is old news and neither shown nor told.
    One that was seen at work and is not in the snapshot of a new connection is asked for: ``GET {api}/jobs/{id}``.
    Cancel is ``POST {api}/jobs/{id}/cancel`` with the header ``X-Melodeon: 1``. All views share one connection.

    Args:
        labels: other words for some of ``JOB_LABELS``.
        layout: ``rail`` is small and shows the credits; ``panel`` is a card per job with its stages.
    """
    data = {"api": api, "layout": layout, "labels": {**JOB_LABELS, **(labels or {})}}
    result = _component("job_rail")(key=key, data=data, on_finished_change=_wake, on_ended_change=_wake)
    return JobEvents(finished=result.finished, ended=result.ended)


def session_bridge(
    op: Literal["sign_in", "sign_out"] | None,
    nonce: str,
    ticket: str = "",
    key: str = "session_bridge",
    *,
    api: str = "/api/v1",
) -> SessionEvents:
    """Let the browser trade a one-time ticket for its HttpOnly session cookie, or hand the cookie back.

    Each new nonce sends one request to ``{api}/auth/session`` with ``{"ticket": ticket}`` and the header
    ``x-melodeon: 1``: POST to sign in, DELETE to sign out. Signing out first stops the music in every tab and
    forgets the queue. With ``op=None`` nothing happens; keep the component mounted all the same.
    """
    data = {"api": api, "op": op, "nonce": nonce, "ticket": ticket}
    result = _component("session_bridge")(key=key, data=data, on_done_change=_wake)
    return SessionEvents(done=result.done)


def departure(url: str, nonce: str, key: str = "departure") -> None:
    """Leave for ``url`` (http or https) in this tab, once for each nonce. The music stops, as at every page load."""
    _component("departure")(key=key, data={"url": url, "nonce": nonce})
