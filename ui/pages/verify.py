"""Verify: the link of a letter leads here; one press and the address is proved."""

import streamlit as st

from serving.account_proofs import verify_email
from ui import auth, state
from ui.widgets.map import ACCOUNT, SIGN_IN
from ui.widgets.problem import told
from ui.wiring import services

token = st.query_params.get("token", "")
_, middle, _ = st.columns([1, 3, 1])
with middle:
    st.title("Confirm your e-mail address", anchor=False)
    st.markdown("Then we can reach you there, and you can set a new password should you ever forget it.")
    # By a press, not by the visit: programs that look through mail follow links too.
    pressed = st.button("Confirm this address", type="primary", icon=":material/mark_email_read:", disabled=not token)
    with told():
        if pressed:
            verify_email(services().database, token, address=auth.here())
            state.set_message("Thank you: your e-mail address is confirmed.")
            st.switch_page(ACCOUNT if st.session_state.get("account") is not None else SIGN_IN)
    if not token:
        st.info("Open the link in the letter that we sent you; it leads here.", icon=":material/mail:")
