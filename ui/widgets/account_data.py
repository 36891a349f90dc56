"""Your data: take it with you, or take it away."""

import streamlit as st

from serving import privacy
from serving.account_confirm import NotConfirmed, confirm
from serving.api.services import Services
from serving.api.views import PREFIX
from studio.words.account import Account
from ui import auth, state
from ui.widgets.account_proof import asked_of, draw_proof
from ui.widgets.plain import escape
from ui.widgets.problem import told


def draw_export() -> None:
    """The way to everything that is kept of somebody."""
    st.markdown(
        "One archive with everything this place keeps of you: your songs with their files and lyrics, every request, "
        "every movement of your credits, your sessions and keys, as plain files."
    )
    st.link_button("Download everything", f"{PREFIX}/account/export", icon=":material/download:", type="primary")
    st.caption("Large libraries take a while; the archive is made while it is downloaded.")


def draw_deletion(services: Services, account: Account) -> None:
    """Delete the account, after its name was typed and the person proved once more who they are."""
    st.markdown(
        "Your songs disappear for everybody, with their files; what is being made is cancelled; a subscription ends; "
        "your credits are gone. Only the books keep their lines, under a number instead of your name. "
        "**Nobody can bring it back.**"
    )
    asked = asked_of(services, account)
    with st.form("delete_account", clear_on_submit=True):
        typed = st.text_input(f"Type your name to confirm: {escape(account.name)}", autocomplete="off")
        shown = draw_proof(asked, key="delete_account")
        pressed = st.form_submit_button("Delete my account for ever", icon=":material/delete_forever:")
    if not pressed:
        return
    with told():
        if typed.strip() != account.name:
            raise NotConfirmed("What you typed is not your name.")
        confirm(services, account, shown)
        privacy.delete(services, account)
        auth.forget()
        state.set_exchange("sign_out")
        state.set_message("Your account is deleted. Thank you for the music.")
        st.rerun()
