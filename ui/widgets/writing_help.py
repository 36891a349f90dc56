"""Help with writing: lyrics and styles from the words engine, shown while they are being written."""

import secrets
from typing import Any, Final

import streamlit as st

from serving import catalogue
from studio.errors import MelodeonError
from studio.units import SEED_MAX
from studio.words.brief import Brief, BriefKind, Controls
from studio.words.take import Words
from ui import state
from ui.widgets.plain import escape
from ui.widgets.problem import show_problem
from ui.wiring import services

DEADLINE_S: Final = 120.0
WISH_MAX: Final = 500


def take_over_written() -> None:
    """Put what was written in the last run into its field. Call it before the fields are drawn."""
    st.session_state.update(state.written())


def draw_expand_style(style: str) -> None:
    """A button that makes a full style of a few words."""
    if not catalogue.catalogue().makes(BriefKind.PROMPT):
        return
    if st.button("Expand style", key="expand_style", icon=":material/auto_fix_high:", disabled=not style.strip()):
        words = _write(BriefKind.PROMPT, {"description": style}, length_s=None)
        if words is not None:
            state.set_written({"prompt": words.prompt})
            st.rerun()


def draw_write_lyrics(style: str, lyrics: str, *, length_s: float | None) -> None:
    """A button that opens the lyric writer: for new lyrics, or for changes to those that are there.

    Args:
        style: of the song.
        lyrics: those in the field.
        length_s: how long the song will be.
    """
    rewriting = bool(lyrics.strip())
    if not catalogue.catalogue().makes(BriefKind.REFINE if rewriting else BriefKind.LYRICS):
        return
    if st.button("Rewrite lyrics" if rewriting else "Write lyrics", key="write_lyrics", icon=":material/edit_note:"):
        state.set_draft("")
        _lyric_writer(style, lyrics, length_s)


@st.dialog("Lyrics", icon=":material/edit_note:", width="medium")
def _lyric_writer(style: str, lyrics: str, length_s: float | None) -> None:
    rewriting = bool(lyrics.strip())
    wish = st.text_area(
        "What should change?" if rewriting else "What are they about?", key="lyrics_wish", max_chars=WISH_MAX, height=80
    )
    if st.button("Write", key="write", type="primary"):
        about = {"description": wish, "lyrics": lyrics} if rewriting else {"described_lyrics": wish or style}
        kind = BriefKind.REFINE if rewriting else BriefKind.LYRICS
        words = _write(kind, {"prompt": style, **about}, length_s=length_s)
        if words is not None:
            state.set_draft(words.lyrics)
    elif state.draft():
        _show(st.empty(), state.draft())
    if state.draft() and st.button("Use these lyrics", key="use_lyrics", icon=":material/check:"):
        state.set_written({"lyrics": state.draft()})
        st.rerun()


def _write(kind: BriefKind, texts: dict[str, str], *, length_s: float | None) -> Words | None:
    """Have it written, shown as it comes; None when it could not be, which is told."""
    place, so_far = st.empty(), [""]

    def hear(text: str) -> None:
        so_far[0] += text
        _show(place, so_far[0])

    try:
        with st.spinner("Writing", show_time=True):
            return services().gateway.write(_brief(kind, texts, length_s), hear, deadline_s=DEADLINE_S)
    except MelodeonError as error:
        show_problem(error)
        return None


def _brief(kind: BriefKind, texts: dict[str, Any], length_s: float | None) -> Brief:
    engine = catalogue.default_engine(kind)
    knows_length = catalogue.spec_of(engine).control("duration_s") is not None
    controls = Controls(duration_s=length_s if knows_length else None, seed=secrets.randbelow(SEED_MAX + 1))
    return Brief(kind=kind, engine=engine, takes=1, controls=controls, **texts)


def _show(place: Any, text: str) -> None:
    place.markdown("  \n".join(escape(text).split("\n")))
