"""The gate: pages for people who are signed in begin here."""

import streamlit as st

from studio.words.account import Account
from ui import auth, oidc, state
from ui.auth import SignInForms
from ui.widgets.map import RESET
from ui.widgets.problem import told
from ui.wiring import services


def draw_sign_in(reason: str) -> None:
    """The sign-in and sign-up forms in the middle of the page; signed in, the page runs again."""
    _, middle, _ = st.columns([1, 3, 1])
    with middle:
        if state.code_step() is not None:
            _draw_code_step()
        else:
            st.title("Make music that is yours", anchor=False)
            st.caption(reason)
            _draw_ways_in()
    if st.session_state.get("signed_in") is not None:
        st.rerun()


def _draw_ways_in() -> None:
    forms = SignInForms(services())
    oidc.draw_buttons(services())
    sign_in, sign_up = st.tabs(["Sign in", "New here"])
    with sign_in, told():
        forms.sign_in()
        if st.button("Forgot your password?", type="tertiary", key="forgot"):
            st.switch_page(RESET)
    with sign_up, told():
        forms.sign_up()


def _draw_code_step() -> None:
    """The second step of signing in, for those who switched it on."""
    st.title("One more step", anchor=False)
    st.caption("Enter the code that your authenticator app shows, or one of your recovery codes.")
    with st.form("code_form"):
        code = st.text_input("Code", max_chars=40, autocomplete="one-time-code", icon=":material/pin:")
        pressed = st.form_submit_button("Sign in", type="primary", width="stretch")
    if st.button("Back", type="tertiary", icon=":material/arrow_back:", key="code_back"):
        state.set_code_step(None)
        st.rerun()
    step = state.code_step()
    if pressed and step is not None:
        with told():
            auth.check_in(services(), step.login, step.password, code.strip())


def need_account(reason: str) -> Account:
    """Whoever is signed in; for anybody else the forms, and the page ends here."""
    account: Account | None = st.session_state.get("account")
    if account is None:
        draw_sign_in(reason)
        st.stop()
    return account
