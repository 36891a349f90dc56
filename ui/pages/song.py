"""Song: everything about one song."""

import streamlit as st

from data import access
from data.repositories import songs
from studio.words.ids import SongId, is_id
from ui.widgets.heading import draw_title
from ui.widgets.map import DISCOVER
from ui.widgets.problem import show_problem, told
from ui.widgets.song_view import draw_actions, draw_cover, draw_details, draw_heading, draw_sound, has_cover
from ui.wiring import services

viewer = st.session_state.get("account")
song_id = st.query_params.get("id", "")
song = None
if is_id(song_id, noun="song"):
    with services().database.transaction() as session:
        song = songs.by_id(session, SongId(song_id))
if song is None or not access.may_see(viewer, song):
    draw_title("Song")
    show_problem(access.NotFound("song"))
    if st.button("Discover other songs", icon=":material/explore:"):
        st.switch_page(DISCOVER)
    st.stop()

heading = st.container()
if has_cover(song):
    picture, heading = st.columns([1, 3], gap="medium", vertical_alignment="bottom")
    with picture:
        draw_cover(song)
with heading:
    draw_heading(song, services())
    with told():
        draw_actions(song, viewer=viewer)
left, right = st.columns([3, 2], gap="large")
with left:
    draw_sound(song, viewer=viewer)
with right:
    draw_details(song, viewer=viewer)
