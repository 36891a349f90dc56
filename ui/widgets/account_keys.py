"""API keys: by which programs act for somebody."""

from datetime import timedelta
from typing import Final

import streamlit as st

from data.repositories import api_keys
from data.repositories.api_keys import KEYS_MAX, LABEL_MAX
from serving.account_keys import make_key
from serving.api.services import Services
from studio.words.account import Account
from studio.words.api_key import ApiKey, Scope
from studio.words.ids import ApiKeyId
from ui.widgets.account_proof import asked_of, draw_proof
from ui.widgets.plain import escape
from ui.widgets.problem import told

SCOPES: Final = {
    Scope.READ: "Read: songs, jobs, credits",
    Scope.CREATE: "Create: ask for songs, change and delete them",
    Scope.BILLING: "Billing: begin purchases",
}
LIVES: Final = {"30 days": 30, "90 days": 90, "A year": 365, "Never": None}


def draw_keys(services: Services, account: Account) -> None:
    """The keys that work, each with a way to end it."""
    with services.database.transaction() as session:
        keys = api_keys.list_of(session, account.id)
    if keys:
        st.caption(
            f"At most {KEYS_MAX}. They go on working when you change your password, unless you say otherwise there; a "
            "new password by a link in a letter revokes them all."
        )
    else:
        st.caption("You have no keys. A program or a script of yours would use one instead of your password.")
    for key in keys:
        _draw_key(services, account, key)


def _draw_key(services: Services, account: Account, key: ApiKey) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{escape(key.label)}**")
            with st.popover("Revoke", type="tertiary"):
                st.markdown("Whatever uses it stops working at once.")
                st.button(
                    "Revoke this key",
                    key=f"revoke_{key.id}",
                    type="primary",
                    on_click=_revoke,
                    args=(services, account, key.id),
                )
        with st.container(horizontal=True, gap="small"):
            for scope in Scope:
                if scope in key.scopes:
                    st.badge(scope.value, color="gray")
            if key.expires_at is not None and key.expires_at <= services.now():
                st.badge("expired", color="red")
        st.caption(f"`{key.shown}…` · {_dates(key)}")


def _dates(key: ApiKey) -> str:
    ends = "never expires" if key.expires_at is None else f"expires {key.expires_at:%d %b %Y}"
    used = "never used" if key.last_used_at is None else f"last used {key.last_used_at:%d %b %Y, %H:%M} UTC"
    return f"made {key.created_at:%d %b %Y} · {ends} · {used}"


def _revoke(services: Services, account: Account, key_id: ApiKeyId) -> None:
    with services.database.transaction() as session:
        api_keys.revoke(session, account.id, key_id)


def draw_new_key(services: Services, account: Account) -> None:
    """Make a key, once the person proved once more who they are; its secret is shown once."""
    secret = st.session_state.get("new_key")
    if secret:
        st.success("Copy your new key now: it is never shown again.", icon=":material/key:")
        st.code(secret, language=None, wrap_lines=True)
        if st.button("I have copied it", type="primary"):
            st.session_state.pop("new_key", None)
            st.rerun()
        return
    asked = asked_of(services, account)
    with st.form("new_key_form", clear_on_submit=True):
        label = st.text_input("What is it for?", max_chars=LABEL_MAX, placeholder="My backup script")
        scopes = st.pills("What may it do?", list(Scope), selection_mode="multi", default=[Scope.READ],
                          format_func=SCOPES.__getitem__)  # fmt: skip
        life = st.selectbox("How long?", list(LIVES), index=1)
        shown = draw_proof(asked, key="new_key")
        pressed = st.form_submit_button("Make a key", type="primary", icon=":material/add:")
    if pressed:
        days = LIVES[life]
        expires_at = None if days is None else services.now() + timedelta(days=days)
        with told():
            _, secret = make_key(services, account, shown, label=label, scopes=scopes, expires_at=expires_at)
            st.session_state["new_key"] = secret
            st.rerun()
