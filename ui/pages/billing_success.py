"""Your purchase: where a paid checkout leads; what was bought is given here too, should its notice be late."""

import streamlit as st

from serving.api import buying
from ui.widgets.checkout import draw_arrival, draw_pretended
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_title
from ui.widgets.map import CREATE, STATEMENT, UPGRADE
from ui.widgets.problem import told
from ui.wiring import services

account = need_account("Sign in to see what your payment brought.")
draw_title("Your purchase")
draw_pretended(services())
with told():
    draw_arrival(buying.look(services(), account, st.query_params.get("session", "")))
with st.container(horizontal=True):
    if st.button("Make a song", type="primary", icon=":material/auto_awesome:"):
        st.switch_page(CREATE)
    if st.button("Statement", icon=":material/receipt_long:"):
        st.switch_page(STATEMENT)
    if st.button("Prices", icon=":material/toll:"):
        st.switch_page(UPGRADE)
