"""Discover: published songs, newest first."""

import streamlit as st

from data.repositories import songs
from ui.widgets.heading import draw_title
from ui.widgets.paging import draw_more, pages_shown
from ui.widgets.song_cards import draw_songs
from ui.wiring import services

PAGE = 24

viewer = st.session_state.get("account")
draw_title("Discover", create=True)
st.caption("New songs from everybody here. All of them are AI-generated.")

wanted = PAGE * pages_shown("discover")
with services().database.transaction() as session:
    found = songs.discover(session, before=None, limit=wanted + 1)
draw_songs(
    found[:wanted],
    viewer=viewer,
    key="discover",
    empty="Nothing is published yet. Make a song and publish it: it will be the first here.",
)
draw_more("discover", more=len(found) > wanted)
