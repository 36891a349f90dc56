"""Library: the person's own songs in every state."""

import streamlit as st

from data.repositories import songs
from studio.words.job import JobState
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_title
from ui.widgets.paging import draw_more, pages_shown
from ui.widgets.problem import told
from ui.widgets.song_cards import STATUS_TEXT, draw_songs
from ui.wiring import services

PAGE = 24
SHOW = {"All": None, STATUS_TEXT[JobState.PROCESSED]: JobState.PROCESSED} | {STATUS_TEXT[one]: one for one in JobState}
NOTHING = "Nothing here yet. Describe a song and two takes of it will lie here in a minute."

account = need_account("Sign in to see your songs.")
draw_title("Library", create=True)
shown = st.pills("Show", list(SHOW), default="All", required=True, key="library_shown", label_visibility="collapsed")

status = SHOW[shown or "All"]
wanted = PAGE * pages_shown("library")
with services().database.transaction() as session:
    found = songs.library(session, account.id, before=None, limit=wanted + 1, status=status)
with told():
    draw_songs(
        found[:wanted],
        viewer=account,
        key="library",
        layout="list",
        empty=NOTHING if status is None else "None of your songs is in this state.",
    )
draw_more("library", more=len(found) > wanted)
