"""Songs as cards: what the component shows of a song, and what its menu does."""

from collections.abc import Sequence
from typing import Final, Literal

import melodeon_ui
import streamlit as st
from melodeon_ui import MenuItem, SongCard

from data import access
from serving import catalogue
from serving.api.views import ARTIST, song_urls
from studio.words.account import Account
from studio.words.job import JobState
from studio.words.song import Song
from ui.widgets.avatar import colour_of
from ui.widgets.map import SONG
from ui.widgets.song_actions import act

STATUS_TEXT: Final = {state: melodeon_ui.JOB_LABELS[state.value] for state in JobState}
"""What a state is called everywhere: on cards, in the rail and in the library's filter."""


def engine_label(song: Song) -> str:
    """The engine's name for people; the bare key when the engine has left this installation."""
    try:
        return catalogue.spec_of(song.engine).label
    except catalogue.UnknownEngine:
        return song.engine


def as_playable(song: Song) -> melodeon_ui.Song:
    """A finished song as the player wants it."""
    urls = song_urls(song)
    return {
        "id": song.id,
        "title": title_of(song),
        "artist": song.artist,
        "cover": urls.get("cover_512", ""),
        "cover_small": urls.get("cover_128", ""),
        "src": urls["stream"],
        "peaks": urls.get("peaks", ""),
        "duration_s": song.duration_s or 0.0,
        "tags": list(song.tags[:3]),
        "tempo_bpm": song.tempo_bpm,
        "engine_label": engine_label(song),
        "page": urls["page"],
    }


def as_card(song: Song, *, viewer: Account | None) -> SongCard:
    """A song as a card, whatever state it is in."""
    badges = ["AI-generated"]
    if access.may_edit(viewer, song):
        badges = [f"Take {song.take_index + 1}", "Published" if song.published_at else "Private", *badges]
    card: SongCard = {"id": song.id, "status": song.status.value, "badges": badges, "menu": menu(song, viewer=viewer)}
    card |= {"artist_picture": song_urls(song).get(ARTIST, ""), "artist_colour": colour_of(song.artist)}
    if song.status is JobState.PROCESSED:
        card |= as_playable(song)
    else:
        card |= {"title": title_of(song), "artist": song.artist, "page": f"/song?id={song.id}"}
        card["status_text"] = song.reason or STATUS_TEXT[song.status]
    return card


def title_of(song: Song) -> str:
    """The song's title; before it has one, the beginning of what was asked for."""
    if song.title:
        return song.title
    text = song.description or song.described_lyrics or song.prompt or "Untitled"
    return text if len(text) <= 60 else text[:59].rstrip() + "…"


def menu(song: Song, *, viewer: Account | None) -> list[MenuItem]:
    """What this person can do with a song from its card."""
    ready, own = song.status is JobState.PROCESSED, access.may_edit(viewer, song)
    items: list[MenuItem] = []
    if ready:
        items += [
            {"id": melodeon_ui.PLAY_NEXT, "label": "Play next", "icon": "playlist_play"},
            {"id": melodeon_ui.ADD_TO_QUEUE, "label": "Add to queue", "icon": "queue_music"},
        ]
    if access.may_download(viewer, song):
        items.append({"id": "download", "label": "Download", "icon": "download"})
    if own and ready:
        publish: MenuItem = {"id": "publish", "label": "Publish", "icon": "public"}
        unpublish: MenuItem = {"id": "unpublish", "label": "Make private", "icon": "lock"}
        items.append(unpublish if song.published_at else publish)
        items.append({"id": "reuse", "label": "Reuse settings", "icon": "tune"})
    if not own and song.published_at and access.may_hide(viewer, song):
        items.append({"id": "unpublish", "label": "Hide from others", "icon": "visibility_off", "danger": True})
    if own and song.status in (JobState.FAILED, JobState.CANCELLED, JobState.NO_CREDITS):
        items.append({"id": "run_again", "label": "Run again", "icon": "refresh"})
    if own and not song.status.ended:
        items.append({"id": "cancel", "label": "Cancel", "icon": "close"})
    if own:
        items.append({"id": "rename", "label": "Rename", "icon": "edit"})
    if own and song.status.ended:
        items.append({"id": "delete", "label": "Delete", "icon": "delete", "danger": True})
    return items


def draw_songs(
    songs: Sequence[Song],
    *,
    viewer: Account | None,
    key: str,
    layout: Literal["grid", "list", "pair"] = "grid",
    empty: str | None = None,
) -> None:
    """Draw songs and do what was chosen on them."""
    cards = [as_card(song, viewer=viewer) for song in songs]
    events = melodeon_ui.song_cards(cards, key, layout, empty=empty)
    if events.open:
        st.switch_page(SONG, query_params={"id": events.open})
    if events.action:
        chosen = next((song for song in songs if song.id == events.action.song), None)
        if chosen is not None:
            act(events.action.item, chosen, viewer=viewer)
