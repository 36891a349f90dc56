"""Profile: the picture by which people recognise somebody, and the address that letters go to."""

import streamlit as st

from data.upload_limits import LIFE_S
from serving import account_proofs, avatars
from serving.api.services import Services
from studio.words.account import Account
from ui import auth, state
from ui.widgets.avatar import draw_avatar
from ui.widgets.people import ROLES, plan_text
from ui.widgets.plain import escape
from ui.widgets.problem import told

_PICTURE_MB = 10


def draw_head(services: Services, account: Account) -> None:
    """Who somebody is, at the head of their page."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        draw_avatar(services, name=account.name, avatar_key=account.avatar_key, width_px=56)
        with st.container(gap="xxsmall", width="stretch"):
            st.markdown(f"**{escape(account.name)}**")
            with st.container(horizontal=True, gap="small"):
                st.badge(ROLES[account.role], icon=":material/badge:", color="gray")
                st.badge(plan_text(account), icon=":material/loyalty:", color="gray")


def draw_picture(services: Services, account: Account) -> None:
    """Choose a picture, or go back to the letter."""
    with st.form("picture", clear_on_submit=True, border=False):
        chosen = st.file_uploader(
            "A square or nearly square picture looks best",
            type=["png", "jpg", "jpeg", "webp"],
            max_upload_size=_PICTURE_MB,
            help="PNG, JPEG or WebP. It is made small; whatever else the file tells, such as where it was taken, is "
            "thrown away.",
        )
        pressed = st.form_submit_button("Use this picture", icon=":material/image:")
    if pressed and chosen is not None:
        with told(), st.spinner(f"Looking at it, at most {LIFE_S:g} s"):
            avatars.set_avatar(services, account, chosen.getvalue())
            st.rerun()
    if account.avatar_key and st.button("Remove the picture", type="tertiary", icon=":material/delete:"):
        avatars.remove_avatar(services, account)
        st.rerun()


def draw_email(services: Services, account: Account) -> None:
    """The address, whether it is proved, and how to change it."""
    pending = account_proofs.pending_email(services.database, account)
    if account.email:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text(account.email)
            st.badge("Confirmed", icon=":material/check:", color="green")
    elif not pending:
        st.caption("You have no address yet. With one you can set a new password should you ever forget it.")
    if pending:
        _draw_pending(services, account, pending)
    with st.form("change_email", clear_on_submit=True):
        label = "New e-mail address" if account.email else "E-mail address"
        email = st.text_input(label, type="email", max_chars=254, autocomplete="email")
        password = st.text_input("Your password", type="password", autocomplete="current-password")
        pressed = st.form_submit_button("Send a link to it", icon=":material/outgoing_mail:")
    if pressed and email.strip():
        with told():
            account_proofs.change_email(services.database, account, password, email, address=auth.here())
            state.set_message(":material/mail: A letter is on its way. The address counts once you follow its link.")
            st.rerun()


def _draw_pending(services: Services, account: Account, pending: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text(pending)
        st.badge("Waits for you to follow the link", icon=":material/schedule:", color="orange")
    if st.button("Send the link again", type="tertiary", icon=":material/refresh:", key="again_on_page"):
        send_again(services, account)


def send_again(services: Services, account: Account) -> None:
    """Send the link to the pending address once more, and say so."""
    with told():
        account_proofs.ask_verification(services.database, account, address=auth.here())
        state.set_message(":material/mail: Another letter is on its way.")
        st.rerun()


def _where_letters_go(services: Services) -> str:
    if services.settings.mail.smtp_url is None:
        return "no mail server is set here; whoever runs this place finds the letter with the link in var/mail."
    return "we have sent a link there."


def draw_banner(services: Services, account: Account) -> None:
    """A quiet line for those whose address waits to be confirmed; gone for this tab once it is put away."""
    if account.email or st.session_state.get("banner_away"):
        return
    pending = account_proofs.pending_email(services.database, account)
    if not pending:
        return
    with st.container(border=True, key="unconfirmed"):
        told_here, asked_here = st.columns((3, 1), vertical_alignment="center")
        # As text: Markdown would make a link of the address.
        told_here.text(f"Please confirm {pending}: {_where_letters_go(services)}")
        with asked_here.container(horizontal=True, horizontal_alignment="right", gap="small"):
            if st.button("Send it again", type="tertiary", icon=":material/mail:", key="again_in_banner"):
                send_again(services, account)
            if st.button("Later", type="tertiary", key="banner_later"):
                st.session_state["banner_away"] = True
                st.rerun()
