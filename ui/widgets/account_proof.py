"""The fields by which somebody who is signed in proves once more who they are."""

from dataclasses import dataclass

import streamlit as st

from data.repositories import accounts, second_factors
from serving.account_confirm import Shown
from serving.api.services import Services
from studio.words.account import Account
from ui import auth, state


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an account is asked for: its password, a code; without a password a fresh session proves enough."""

    password: bool
    code: bool


def asked_of(services: Services, account: Account) -> Asked:
    """What this account is asked for."""
    with services.database.transaction() as session:
        known = accounts.credentials(session, account.name)
        code = second_factors.is_on(session, account.id)
    return Asked(password=known is not None and known.password_hash is not None, code=code)


def draw_proof(asked: Asked, *, key: str) -> Shown:
    """The fields of a form, and what was typed into them.

    Args:
        asked: what the account is asked for.
        key: a word that no other such fields of the page have.
    """
    password = code = ""
    if asked.password:
        password = st.text_input(
            "Your password", type="password", autocomplete="current-password", key=f"{key}_password"
        )
    else:
        st.caption("You have no password here: sign out and in again by your provider, then come within 10 minutes.")
    if asked.code:
        code = st.text_input(
            "Code from your app, or a recovery code", max_chars=40, autocomplete="one-time-code", key=f"{key}_code"
        )
    who = state.signed_in()
    return Shown(password=password, code=code.strip(), address=auth.here(), session_id=who.session_id if who else None)
