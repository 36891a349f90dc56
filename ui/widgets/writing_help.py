"""Help with writing: lyrics and styles from the words engine, shown while they are being written."""

import secrets
from collections.abc import Callable
from typing import Final

import streamlit as st

from serving import catalogue
from studio.words.brief import Brief, BriefKind, Controls
from studio.words.take import Words
from ui import state
from ui.widgets.plain import escape
from ui.widgets.problem import told
from ui.wiring import services

DEADLINE_S: Final = 120.0


def take_over_written() -> None:
    """Put what was written in the last run into its field. Call it before the fields are drawn."""
    st.session_state.update(state.written())


def draw_write_lyrics(brief: Brief) -> None:
    """A button that writes lyrics about what is described, or rewrites those that are there."""
    rewriting = bool(brief.lyrics.strip())
    kind = BriefKind.REFINE if rewriting else BriefKind.LYRICS
    if not catalogue.catalogue().makes(kind):
        return
    with st.popover("Rewrite lyrics" if rewriting else "Write lyrics", icon=":material/edit_note:"):
        wish = st.text_input(
            "What should change?" if rewriting else "What are they about?", key="lyrics_wish", max_chars=500
        )
        if st.button("Write", key="write_lyrics", type="primary", disabled=not (wish or "").strip()):
            asked = {"described_lyrics": wish} if not rewriting else {"description": wish, "lyrics": brief.lyrics}
            _write(kind, {"prompt": brief.prompt, **asked}, brief.controls, field="lyrics", of=lambda it: it.lyrics)


def draw_expand_style(brief: Brief) -> None:
    """A button that makes a full style of a few words."""
    if not catalogue.catalogue().makes(BriefKind.PROMPT) or not brief.prompt.strip():
        return
    if st.button("Expand style", key="expand_style", icon=":material/auto_fix_high:"):
        _write(BriefKind.PROMPT, {"description": brief.prompt}, Controls(), field="prompt", of=lambda it: it.prompt)


def _write(
    kind: BriefKind, texts: dict[str, str], controls: Controls, *, field: str, of: Callable[[Words], str]
) -> None:
    engine = catalogue.default_engine(kind)
    length = catalogue.spec_of(engine).control("duration_s")
    known = Controls(duration_s=controls.duration_s if length else None, seed=secrets.randbelow(2**31))
    place, so_far = st.empty(), []

    def show(text: str) -> None:
        so_far.append(text)
        place.markdown("  \n".join(escape("".join(so_far)).split("\n")))

    with told(), st.spinner("Writing", show_time=True):
        brief = Brief(kind=kind, engine=engine, takes=1, controls=known, **texts)  # type: ignore[arg-type]
        answer = services().gateway.write(brief, show, deadline_s=DEADLINE_S)
        state.set_written({field: of(answer)})
        st.rerun()
