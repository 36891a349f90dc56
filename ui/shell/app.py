"""The entry script: frame, player, navigation. Runs on every rerun of every page, so it stays cheap."""

from pathlib import Path

import melodeon_ui
import streamlit as st

from serving.account_factors import owes_factor
from studio.errors import MelodeonError
from ui import auth, state
from ui.widgets.account_menu import draw_account_menu
from ui.widgets.account_profile import draw_banner
from ui.widgets.map import SONG, SYMBOL, pages
from ui.widgets.problem import show_problem, told
from ui.wiring import services

st.set_page_config(page_title="Melodeon", page_icon=str(Path(__file__).parent / "static" / "icon.png"), layout="wide")
try:
    account = auth.current_account(services())
except MelodeonError as error:
    # Nobody is signed out by this, and the music plays on.
    st.navigation(pages(None), position="hidden")
    melodeon_ui.player()
    show_problem(error)
    st.button("Try again", icon=":material/refresh:")
    st.stop()
owing = account if account is not None and owes_factor(services(), account) else None
st.session_state["owing"], st.session_state["account"] = owing, None if owing else account
navigation = st.navigation(pages(st.session_state["account"]))
st.logo(SYMBOL, size="large")

# Before the page runs: so the player keeps its place in the tree and survives every page change.
player = melodeon_ui.player(stop=state.signed_out())
exchange = state.exchange()
melodeon_ui.session_bridge(exchange.op, exchange.nonce, exchange.ticket)
with st.sidebar:
    if account is not None and owing is None:
        rail = melodeon_ui.job_rail()
        if rail.finished:
            state.set_message(":material/music_note: Your songs are ready.")
    draw_account_menu(services(), account)
if player.open:
    st.switch_page(SONG, query_params={"id": player.open})
if sentence := state.message():
    st.toast(sentence, duration=state.MESSAGE_STANDS_S)
if account is not None:
    draw_banner(services(), account)
with told():
    navigation.run()
