"""Library: the person's own songs in every state."""

import streamlit as st

from data.repositories import songs
from studio.words.job import JobState
from ui.widgets.gate import need_account
from ui.widgets.map import CREATE
from ui.widgets.paging import draw_more, pages_shown
from ui.widgets.problem import told
from ui.widgets.song_cards import draw_songs
from ui.wiring import services

PAGE = 24
SHOW = {
    "All": None,
    "Ready": JobState.PROCESSED,
    "In the queue": JobState.QUEUED,
    "Failed": JobState.FAILED,
    "Needs credits": JobState.NO_CREDITS,
}

account = need_account("Sign in to see your songs.")
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.title("Library", anchor=False)
    if st.button("Create a song", icon=":material/auto_awesome:", type="primary"):
        st.switch_page(CREATE)
shown = st.pills("Show", list(SHOW), default="All", required=True, key="library_shown", label_visibility="collapsed")

wanted = PAGE * pages_shown("library")
with services().database.transaction() as session:
    found = songs.library(session, account.id, before=None, limit=wanted, status=SHOW[shown or "All"])
with told():
    draw_songs(
        found,
        viewer=account,
        key="library",
        layout="list",
        empty="Nothing here yet. Describe a song and two takes of it will lie here in a minute.",
    )
draw_more("library", more=len(found) == wanted)
