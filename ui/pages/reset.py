"""Reset: ask for a letter, and by its link set a new password."""

import streamlit as st

from serving.account_proofs import ask_reset, reset_password
from ui import auth, state
from ui.widgets.account_forms import draw_new_password
from ui.widgets.map import SIGN_IN
from ui.widgets.problem import told
from ui.wiring import services

SENT = "If there is an account with this address, a letter is on its way. The link in it works for an hour."

token = st.query_params.get("token", "")
_, middle, _ = st.columns([1, 3, 1])
with middle, told():
    if token:
        st.title("Choose a new password", anchor=False)
        st.caption("Every browser that is signed in will be signed out, and every API key of the account is revoked.")
        new = draw_new_password("reset", label="Set this password")
        if new is not None:
            account = reset_password(services().database, token, new, address=auth.here())
            state.set_message(f"Your new password is set, {account.name}. Sign in with it.")
            st.switch_page(SIGN_IN)
    else:
        st.title("Forgot your password?", anchor=False)
        st.caption("Enter the e-mail address of your account. If we know it, a letter with a link is on its way.")
        with st.form("ask_reset"):
            email = st.text_input("E-mail", type="email", max_chars=254, autocomplete="email")
            pressed = st.form_submit_button("Send me a link", type="primary", width="stretch")
        if pressed and email.strip():
            ask_reset(services().database, email, address=auth.here())
            st.success(SENT, icon=":material/outgoing_mail:")
        if st.button("Back to signing in", type="tertiary", icon=":material/arrow_back:"):
            st.switch_page(SIGN_IN)
