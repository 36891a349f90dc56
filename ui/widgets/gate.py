"""The gate: pages for people who are signed in begin here."""

from typing import NoReturn

import streamlit as st

from studio.words.account import Account
from ui import auth, oidc, state
from ui.auth import SignInForms
from ui.widgets.account_security import draw_second_step
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


def _draw_demanded(account: Account) -> NoReturn:
    """The second step, which this place demands; the page ends here."""
    _, middle, _ = st.columns([1, 3, 1])
    with middle:
        st.title("One thing first", anchor=False)
        st.caption("This place asks a second step of you at signing in. Set it up, and everything is open to you.")
        draw_second_step(services(), account)
    st.stop()


def need_account(reason: str) -> Account:
    """Whoever is signed in; for anybody else the forms, and the page ends here.

    Who owes a second factor sets it up instead, and keeps its recovery codes, before any page opens.
    """
    account: Account | None = st.session_state.get("account")
    owing: Account | None = st.session_state.get("owing")
    if owing is not None:
        st.session_state["must_keep_codes"] = True
        _draw_demanded(owing)
    if account is not None and st.session_state.get("must_keep_codes") and st.session_state.get("recovery_codes"):
        _draw_demanded(account)
    if account is None:
        draw_sign_in(reason)
        st.stop()
    return account
