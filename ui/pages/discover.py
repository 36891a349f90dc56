"""Discover: published songs, newest first."""

import streamlit as st

from data.repositories import songs
from ui.widgets.map import CREATE
from ui.widgets.paging import draw_more, pages_shown
from ui.widgets.song_cards import draw_songs
from ui.wiring import services

PAGE = 24

viewer = st.session_state.get("account")
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.title("Discover", anchor=False)
    if st.button("Create a song", icon=":material/auto_awesome:", type="primary"):
        st.switch_page(CREATE)
st.caption("New songs from everybody here. All of them are AI-generated.")

wanted = PAGE * pages_shown("discover")
with services().database.transaction() as session:
    found = songs.discover(session, before=None, limit=wanted)
draw_songs(
    found,
    viewer=viewer,
    key="discover",
    empty="Nothing is published yet. Make a song and publish it: it will be the first here.",
)
draw_more("discover", more=len(found) == wanted)
