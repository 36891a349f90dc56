"""Sign in or sign up."""

import streamlit as st

from ui.widgets.gate import draw_sign_in
from ui.widgets.map import CREATE

if st.session_state.get("account") is not None:
    st.switch_page(CREATE)
draw_sign_in("Describe a song; a minute later two takes of it are yours.")
