"""The gate: pages for people who are signed in begin here."""

import streamlit as st

from studio.words.account import Account
from ui.auth import SignInForms
from ui.widgets.problem import told
from ui.wiring import services


def draw_sign_in(reason: str) -> None:
    """The sign-in and sign-up forms in the middle of the page; signed in, the page runs again."""
    forms = SignInForms(services())
    _, middle, _ = st.columns([1, 3, 1])
    with middle:
        st.title("Make music that is yours", anchor=False)
        st.caption(reason)
        sign_in, sign_up = st.tabs(["Sign in", "New here"])
        with sign_in, told():
            forms.sign_in()
        with sign_up, told():
            forms.sign_up()
    if st.session_state.get("signed_in") is not None:
        st.rerun()


def need_account(reason: str) -> Account:
    """Whoever is signed in; for anybody else the forms, and the page ends here."""
    account: Account | None = st.session_state.get("account")
    if account is None:
        draw_sign_in(reason)
        st.stop()
    return account
