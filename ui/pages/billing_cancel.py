"""Nothing was bought: where a checkout leads that was left without paying."""

import streamlit as st

from ui.widgets.heading import draw_title
from ui.widgets.map import CREATE, UPGRADE

draw_title("Nothing was bought")
st.markdown("You left the checkout before paying. Your card was not charged and your credits are as before.")
with st.container(horizontal=True):
    if st.button("Back to the prices", type="primary", icon=":material/toll:"):
        st.switch_page(UPGRADE)
    if st.button("Make a song", icon=":material/auto_awesome:"):
        st.switch_page(CREATE)
