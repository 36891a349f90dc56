"""The parts of the account page."""

import re
from collections.abc import Sequence
from typing import Final

import streamlit as st

from data.repositories.sessions import SESSIONS_MAX, SignedIn
from serving.account_sessions import end_session, sign_out_elsewhere
from serving.api.services import Services
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.ids import SessionId
from ui import auth, state
from ui.widgets.account_proof import Asked, asked_of, draw_proof
from ui.widgets.problem import told


class PasswordsDiffer(MelodeonError):
    """The new password was typed in two different ways."""

    code = "passwords_differ"

    def __init__(self) -> None:
        super().__init__("The two new passwords differ. Please type the same one twice.")


def draw_new_password(key: str, *, label: str) -> str | None:
    """A form for a new password, typed twice; None until it is sent.

    Raises:
        PasswordsDiffer: they are not the same.
    """
    with st.form(key, clear_on_submit=True):
        new = st.text_input(
            "New password",
            type="password",
            help="8 characters or more; a few words are best.",
            autocomplete="new-password",
        )
        again = st.text_input("New password again", type="password", autocomplete="new-password")
        pressed = st.form_submit_button(label, type="primary", width="stretch")
    if not pressed:
        return None
    if new != again:
        raise PasswordsDiffer
    return new


def draw_password_form(services: Services, account: Account) -> None:
    """Change the password; every other session ends, and every API key if so wished."""
    with st.form("change_password", clear_on_submit=True):
        old = st.text_input("Present password", type="password", autocomplete="current-password")
        new = st.text_input("New password", type="password", autocomplete="new-password")
        again = st.text_input("New password again", type="password", autocomplete="new-password")
        revoke_keys = st.checkbox(
            "Also revoke my API keys",
            help="Tick this when somebody may have known your password: they may have made a key with it.",
        )
        pressed = st.form_submit_button("Change password")
    if pressed:
        if new != again:
            raise PasswordsDiffer
        auth.change_password(services, account, old, new, revoke_keys=revoke_keys)
        state.set_message(":material/check: Your password is changed; other devices are signed out.")
        st.rerun()


_BROWSERS: Final = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """A browser in a person's words: "Firefox on Linux"; what it calls itself is a hint, not a fact."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or re.sub(r"\s+", " ", user_agent)[:40] or "Unknown browser"


def _draw_end(services: Services, account: Account, asked: Asked, session_id: SessionId) -> None:
    with st.popover("End"), st.form(f"end_{session_id}", clear_on_submit=True, border=False):
        shown = draw_proof(asked, key=f"end_{session_id}")
        pressed = st.form_submit_button("End this session", type="primary")
    if pressed:
        with told():
            end_session(services, account, session_id, shown)
            st.rerun()


def _draw_end_others(services: Services, account: Account, asked: Asked) -> None:
    with st.popover("Sign out everywhere else"), st.form("elsewhere", clear_on_submit=True, border=False):
        shown = draw_proof(asked, key="elsewhere")
        pressed = st.form_submit_button("End all other sessions", type="primary")
    if pressed:
        with told():
            sign_out_elsewhere(services, account, shown)
            st.rerun()


def draw_sessions(services: Services, account: Account, signed_in: Sequence[SignedIn]) -> None:
    """The browsers that are signed in, each with a way to end it."""
    here = state.signed_in()
    asked = asked_of(services, account)
    for browser in signed_in:
        current = here is not None and browser.id == here.session_id
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", border=True):
            st.text(f"{browser_name(browser.user_agent)}\nlast seen {browser.seen_at:%d %b %Y, %H:%M} UTC")
            if current:
                st.badge("This one", color="green")
            else:
                _draw_end(services, account, asked, browser.id)
    if len(signed_in) > 1:
        _draw_end_others(services, account, asked)
    st.button(
        "Sign out everywhere",
        icon=":material/logout:",
        key="everywhere",
        on_click=auth.sign_out_everywhere,
        args=(services, account),
    )
    st.caption(
        "Signing out everywhere ends this session too, and asks for nothing. Your API keys go on working. At most "
        f"{SESSIONS_MAX} browsers can be signed in: one more ends the one that was not seen for longest."
    )
