"""What a person can do with a song: rename, publish, download, run again, delete, reuse."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from billing import ledger
from data import access
from data.repositories import songs
from serving import jobs
from serving.api.views import PREFIX
from studio.words.account import Account
from studio.words.brief import TITLE_MAX, Brief, BriefMode, Controls
from studio.words.job import JobState
from studio.words.song import Song
from ui import state
from ui.widgets.map import CREATE
from ui.widgets.plain import credits_text, escape
from ui.widgets.problem import told
from ui.widgets.quote import draw_quote
from ui.wiring import services


def act(item: str, song: Song, *, viewer: Account | None) -> None:
    """Do one item of a song's menu for this person."""
    if item == "download":
        _download(song)
        return
    allows = access.may_hide if item == "unpublish" else access.may_edit
    if viewer is None or not allows(viewer, song):
        raise access.NotFound("song")
    ACTIONS[item](song, viewer)


@st.dialog("Download", icon=":material/download:")
def _download(song: Song) -> None:
    st.markdown("The files carry their title, artist and the words “AI-generated”.")
    for form, label in (("wav", "WAV, 24 bit"), ("mp3", "MP3, 192 kbit/s"), ("cover", "Cover, PNG")):
        st.link_button(
            label, f"{PREFIX}/songs/{song.id}/download?form={form}", icon=":material/download:", width="stretch"
        )


@st.dialog("Rename", icon=":material/edit:")
def _rename(song: Song, viewer: Account) -> None:  # noqa: ARG001 - every action has the same shape
    with st.form("rename", border=False):
        title = st.text_input("Title", song.title, max_chars=TITLE_MAX)
        pressed = st.form_submit_button("Save", type="primary")
    if pressed:
        with told():
            with services().database.transaction() as session:
                songs.rename(session, song.id, title)
            st.rerun()


@st.dialog("Delete this song?", icon=":material/delete:")
def _delete(song: Song, viewer: Account) -> None:  # noqa: ARG001
    st.markdown("It will be gone for everybody, with its files. This cannot be undone.")
    if st.button("Delete for ever", type="primary", icon=":material/delete:"):
        with told():
            with services().database.transaction() as session:
                songs.delete(session, song.id)
            st.rerun()


def _publish(song: Song, viewer: Account) -> None:  # noqa: ARG001
    with services().database.transaction() as session:
        songs.publish(session, song.id)
    state.set_message(":material/public: Published: everybody can find it now.")
    st.rerun()


def _unpublish(song: Song, viewer: Account) -> None:
    if not access.may_edit(viewer, song):
        _hide(song, viewer)
        return
    with services().database.transaction() as session:
        songs.unpublish(session, song, actor=viewer.id)
    state.set_message(":material/lock: Private again.")
    st.rerun()


@st.dialog("Hide this song?", icon=":material/visibility_off:")
def _hide(song: Song, viewer: Account) -> None:
    artist = escape(song.artist)
    st.markdown(
        f"“{escape(song.title)}” becomes private: besides {artist}, only moderators and administrators see it then. "
        f"{artist} can publish it again."
    )
    if st.button("Hide from others", type="primary", icon=":material/visibility_off:"):
        with told():
            with services().database.transaction() as session:
                songs.unpublish(session, song, actor=viewer.id)
            state.set_message(":material/visibility_off: Hidden: it is private now.")
            st.rerun()


@st.dialog("Run again?", icon=":material/refresh:")
def _run_again(song: Song, viewer: Account) -> None:
    with told():
        with services().database.transaction() as session:
            price = jobs.price_again(session, viewer, song.job_id)
            balance = ledger.balance(session, viewer.id)
        st.markdown("The whole request once more, with the same words and settings.")
        draw_quote(price, balance)
        if st.button(f"Run again · {credits_text(price)}", type="primary", icon=":material/refresh:", key="run_again"):
            job = services().ask_again(viewer, song.job_id)
            if job.state is not JobState.NO_CREDITS:
                state.set_message(":material/refresh: It is in the queue again.")
            st.rerun()


def _cancel(song: Song, viewer: Account) -> None:
    with services().database.transaction() as session:
        jobs.cancel(session, viewer, song.job_id, now=services().now())
    state.set_message(":material/close: Cancelled; the credits come back.")
    st.rerun()


def _reuse(song: Song, viewer: Account) -> None:  # noqa: ARG001
    state.set_reuse(brief_of(song))
    st.switch_page(CREATE)


def brief_of(song: Song) -> Brief:
    """The wish that makes this very song again: its style, its lyrics, its numbers."""
    controls = Controls(
        duration_s=song.duration_s,
        tempo_bpm=round(song.tempo_bpm) if song.tempo_bpm else None,
        key=song.key,
        seed=song.seed,
        steps=song.steps,
        guidance_scale=song.guidance_scale,
    )
    return Brief(
        mode=BriefMode.LYRICS,
        prompt=song.prompt,
        lyrics=song.lyrics,
        title=song.title,
        # a wish in words ("no vocals") also makes songs without lyrics
        instrumental=song.instrumental or not song.lyrics.strip(),
        engine=song.engine,
        controls=controls,
    )


ACTIONS: Final[dict[str, Callable[[Song, Account], None]]] = {
    "rename": _rename,
    "publish": _publish,
    "unpublish": _unpublish,
    "delete": _delete,
    "run_again": _run_again,
    "cancel": _cancel,
    "reuse": _reuse,
}
