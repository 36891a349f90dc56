"""One song, drawn large: cover, heading, actions, sound with lyrics, details."""

from typing import Final
from urllib.parse import urlsplit

import melodeon_ui
import streamlit as st

from data import access
from serving.api.services import Services
from serving.api.views import song_urls
from studio.words.account import Account
from studio.words.job import JobState
from studio.words.song import Song
from ui.widgets.avatar import draw_avatar
from ui.widgets.plain import counted, escape
from ui.widgets.song_actions import act
from ui.widgets.song_cards import STATUS_TEXT, as_playable, engine_label, menu, title_of

STATUS_ICON: Final = {
    JobState.FAILED: ":material/error:",
    JobState.CANCELLED: ":material/cancel:",
    JobState.NO_CREDITS: ":material/toll:",
}


def has_cover(song: Song) -> bool:
    """Whether there is a cover, or one is being made."""
    return "cover_512" in song_urls(song) or not song.status.ended


def draw_cover(song: Song) -> None:
    """The cover, or a quiet place for it while it is being made."""
    path = song_urls(song).get("cover_512")
    if path is None:
        st.skeleton(220)
        return
    here = urlsplit(st.context.url or "")
    st.image(f"{here.scheme}://{here.netloc}{path}", width="stretch", alt=f"Cover of {title_of(song)}")


def draw_heading(song: Song, services: Services) -> None:
    """Badges, title, artist with their picture."""
    with st.container(horizontal=True, gap="small"):
        st.badge("AI-generated", icon=":material/auto_awesome:", color="violet")
        if song.status is not JobState.PROCESSED:
            st.badge(STATUS_TEXT[song.status], color="orange")
        elif song.published_at is None:
            st.badge("Private", icon=":material/lock:", color="gray")
        for tag in song.tags[:4]:
            st.badge(escape(tag), color="gray")
    # Titles are text, never Markdown: st.title would read formatting and links in them.
    st.title(escape(title_of(song)), anchor=False)
    plays = f" · {counted(song.play_count, 'play')}" if song.play_count else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        draw_avatar(services, name=song.artist, avatar_key=song.artist_avatar, width_px=28)
        st.markdown(f"**{escape(song.artist)}**{plays}")


def draw_actions(song: Song, *, viewer: Account | None) -> None:
    """The menu of the song as buttons."""
    player_items = {melodeon_ui.PLAY_NEXT, melodeon_ui.ADD_TO_QUEUE}
    with st.container(horizontal=True):
        for item in menu(song, viewer=viewer):
            if item["id"] in player_items:
                continue
            icon = f":material/{item['icon']}:"
            if st.button(item["label"], icon=icon, key=f"do_{item['id']}"):
                act(item["id"], song, viewer=viewer)


def draw_sound(song: Song, *, viewer: Account | None) -> None:
    """Waveform with its sections, and the lyrics in time; before that, how far the song is or why there is none."""
    if not song.status.ended:
        # The panel shows the jobs of whoever looks: anybody else would see their own there.
        owner = access.may_edit(viewer, song)
        rest = "this page shows it as soon as it is." if owner else "only its owner sees how far it is."
        st.info(f"It is not ready yet; {rest}", icon=":material/hourglass_top:")
        if owner:
            melodeon_ui.job_rail(key="panel", layout="panel")
        return
    if song.status is not JobState.PROCESSED:
        st.warning(escape(song.reason or STATUS_TEXT[song.status]), icon=STATUS_ICON[song.status])
        return
    melodeon_ui.song_view(
        as_playable(song),
        [{"start_s": line.start_s, "end_s": line.end_s, "text": line.text} for line in song.lines],
        [{"name": part.name, "start_s": part.start_s, "end_s": part.end_s} for part in song.sections],
        song.lyrics,
        key=f"view_{song.id}",
    )


def _rows(song: Song, *, viewer: Account | None) -> list[tuple[str, str]]:
    rows = [
        ("Engine", f"{engine_label(song)} {song.engine_version}".strip()),
        ("Length", f"{song.duration_s:.0f} s" if song.duration_s else ""),
        ("Tempo", f"{song.tempo_bpm:.0f} bpm" if song.tempo_bpm else ""),
        ("Key", song.key or ""),
        ("Loudness", f"{song.loudness_lufs:.1f} LUFS" if song.loudness_lufs is not None else ""),
        ("True peak", f"{song.true_peak_dbtp:.1f} dBTP" if song.true_peak_dbtp is not None else ""),
    ]
    if access.may_edit(viewer, song):
        rows += [
            ("Seed", str(song.seed) if song.seed is not None else ""),
            ("Guidance", f"{song.guidance_scale:g}" if song.guidance_scale is not None else ""),
            ("Steps", str(song.steps) if song.steps else ""),
        ]
    return [(name, value) for name, value in rows if value]


def draw_details(song: Song, *, viewer: Account | None) -> None:
    """How the song was made."""
    with st.container(border=True):
        st.markdown("**How it was made**")
        if song.note and access.may_edit(viewer, song):
            st.info(escape(song.note), icon=":material/info:")
        for name, value in _rows(song, viewer=viewer):
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.caption(name)
                st.text(value)
        if access.may_edit(viewer, song) and song.prompt:
            st.caption("Style")
            st.text(song.prompt)
