"""The person's corner at the foot of the sidebar."""

import streamlit as st

from serving.api.services import Services
from studio.words.account import Account
from ui import auth
from ui.widgets.avatar import draw_avatar
from ui.widgets.map import ACCOUNT, SIGN_IN
from ui.widgets.plain import escape


def draw_account_menu(services: Services, account: Account | None) -> None:
    """Who is signed in and the way out, or the way in."""
    if account is None:
        if st.button("Sign in or sign up", icon=":material/login:", type="primary", width="stretch", key="to_sign_in"):
            st.switch_page(SIGN_IN)
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="person"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            draw_avatar(services, name=account.name, avatar_key=account.avatar_key, width_px=28)
            if st.button(escape(account.name), type="tertiary", key="to_account"):
                st.switch_page(ACCOUNT)
        st.button(
            "Sign out",
            icon=":material/logout:",
            type="tertiary",
            key="sign_out",
            on_click=auth.sign_out,
            args=(services,),
        )
