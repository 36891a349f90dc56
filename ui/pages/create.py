"""Create: describe a song, watch it being made, hear its two takes."""

import melodeon_ui
import streamlit as st

from billing import ledger
from data.repositories import songs
from serving import jobs
from studio.words.brief import BriefKind
from studio.words.job import JobState
from ui import state
from ui.widgets.brief_form import draw_brief_form
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_heading, draw_title
from ui.widgets.problem import told
from ui.widgets.song_cards import draw_songs
from ui.widgets.upgrade_dialog import draw_no_credits_dialog
from ui.wiring import services

RECENT = 8

account = need_account("Sign in to make songs. Your first credits are a present.")
draw_title("Create")
left, right = st.columns([5, 6], gap="large")
with services().database.transaction() as session:
    balance = ledger.balance(session, account.id)
    pace = jobs.pace(session, BriefKind.SONG)

with left, told():
    brief = draw_brief_form(balance, pace=pace)
    if brief is not None:
        job = services().ask(account, brief, key=state.submit_key(brief, now=services().now()))
        if job.state is JobState.NO_CREDITS:
            draw_no_credits_dialog(job)
        else:
            state.set_message(":material/schedule: In the queue. Listen to something meanwhile.")
            # the balance above is from before the request
            st.rerun()

with right:
    draw_heading("Your newest songs")
    melodeon_ui.job_rail(key="panel", layout="panel")
    with services().database.transaction() as session:
        found = songs.library(session, account.id, before=None, limit=RECENT)
    draw_songs(found, viewer=account, key="newest", layout="pair", empty="Your songs will appear here, two at a time.")
