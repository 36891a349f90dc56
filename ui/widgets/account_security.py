"""Security: the second step of signing in, and the ways in by other providers."""

import base64
import io
from typing import Final

import segno
import streamlit as st

from data.repositories import identities, second_factors, sessions
from serving import account_factors, account_identities
from serving.account_factors import NewFactor
from serving.api.services import Services
from studio.words.account import Account
from ui import auth, oidc
from ui.widgets.account_forms import draw_password_form, draw_sessions
from ui.widgets.account_proof import asked_of, draw_proof
from ui.widgets.heading import draw_heading
from ui.widgets.map import RESET
from ui.widgets.plain import escape
from ui.widgets.problem import told

_QR_PX: Final = 220


def draw_proofs(services: Services, account: Account) -> None:
    """By what somebody proves who they are: their password and the second step."""
    draw_heading("Password")
    if not asked_of(services, account).password:
        st.markdown(
            "You sign in by another provider, so you have no password here, and no second step: that is the provider's."
        )
        if account.email and st.button("Set a password by a letter", icon=":material/mail:"):
            st.switch_page(RESET)
        return
    with told():
        draw_password_form(services, account)
    draw_heading("Second step")
    draw_second_step(services, account)


def draw_devices(services: Services, account: Account) -> None:
    """Where somebody is signed in, and by whom else they may."""
    with services.database.transaction() as session:
        signed_in = sessions.list_of(session, account.id)
    draw_heading("Where you are signed in")
    draw_sessions(services, account, signed_in)
    if services.settings.oidc:
        draw_heading("Other ways to sign in")
        draw_other_ways(services, account)


def draw_second_step(services: Services, account: Account) -> None:
    """The second step: off, being set up, just switched on, or on."""
    with services.database.transaction() as session:
        is_on = second_factors.is_on(session, account.id)
        codes_left = second_factors.recovery_codes_left(session, account.id)
    if codes := st.session_state.get("recovery_codes"):
        _draw_recovery_codes(codes)
    elif is_on:
        _draw_on(services, account, codes_left)
    elif begun := st.session_state.get("new_factor"):
        _draw_setting_up(services, account, begun)
    else:
        _draw_off(services, account)


def _draw_off(services: Services, account: Account) -> None:
    st.markdown(
        "With it, a stolen password alone opens nothing: "
        "signing in also asks for a code that an app on your phone shows."
    )
    with st.form("begin_factor", clear_on_submit=True):
        password = st.text_input("Your password", type="password", autocomplete="current-password")
        pressed = st.form_submit_button("Set it up", icon=":material/phonelink_lock:")
    if pressed:
        with told():
            st.session_state["new_factor"] = account_factors.totp_begin(
                services.database, account, services.box, password=password, source=auth.here()
            )
            st.rerun()


def _draw_setting_up(services: Services, account: Account, begun: NewFactor) -> None:
    st.markdown("**1.** Scan this with an authenticator app, or type the key into it.")
    drawn = base64.b64encode(qr_svg(begun.address).encode()).decode()
    st.markdown(f"![The picture that an authenticator app reads](data:image/svg+xml;base64,{drawn})", width=_QR_PX)
    st.code(begun.secret, language=None, wrap_lines=True)
    st.markdown("**2.** Enter the code that the app shows.")
    with st.form("confirm_factor", clear_on_submit=True):
        code = st.text_input("Code from the app", max_chars=10, autocomplete="one-time-code")
        pressed = st.form_submit_button("Switch it on", type="primary")
    if pressed:
        with told():
            st.session_state["recovery_codes"] = account_factors.totp_confirm(
                services.database, account, services.box, code, now=services.now()
            )
            st.session_state.pop("new_factor", None)
            st.rerun()
    if st.button("Not now", type="tertiary"):
        st.session_state.pop("new_factor", None)
        st.rerun()


def _draw_recovery_codes(codes: tuple[str, ...]) -> None:
    st.success("The second step is on.", icon=":material/verified_user:")
    st.markdown(
        "**Keep these recovery codes** where you keep your passwords. Each opens your account once without the app, "
        "and they are never shown again."
    )
    st.code("\n".join(codes), language=None)
    if st.button("I have kept them", type="primary"):
        st.session_state.pop("recovery_codes", None)
        st.rerun()


def _draw_on(services: Services, account: Account, codes_left: int) -> None:
    st.badge("On", icon=":material/verified_user:", color="green")
    st.caption(f"Recovery codes left: {codes_left}.")
    asked = asked_of(services, account)
    with st.form("end_factor", clear_on_submit=True):
        shown = draw_proof(asked, key="end_factor")
        pressed = st.form_submit_button("Switch it off")
    if pressed:
        with told():
            account_factors.totp_end(services, account, shown)
            st.rerun()


def draw_other_ways(services: Services, account: Account) -> None:
    """The providers by which somebody may sign in, and the one they have just come back from."""
    with services.database.transaction() as session:
        linked = identities.list_of(session, account.id)
    # The only way in stays.
    may_unlink = len(linked) > 1 or asked_of(services, account).password
    for one in linked:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", border=True):
            st.text(f"{oidc.provider_label(services, one.issuer)}\nlast seen {one.seen_at:%d %b %Y}")
            if may_unlink and st.button("Unlink", key=f"unlink_{one.issuer}_{one.subject}"):
                with told():
                    _unlink(services, account, one.issuer, one.subject)
    found = oidc.identity(services)
    if found is not None and not any((one.issuer, one.subject) == (found.issuer, found.subject) for one in linked):
        where = escape(oidc.provider_label(services, found.issuer))
        st.info(f"You have just proved who you are at {where} ({escape(found.email or found.name)}).")
        if st.button("Let it open this account", type="primary", key="link"):
            with told(), services.database.transaction() as session:
                account_identities.link_identity(session, account, found.issuer, found.subject)
            st.rerun()
        return
    oidc.draw_buttons(services, words="Link")


def _unlink(services: Services, account: Account, issuer: str, subject: str) -> None:
    with services.database.transaction() as session:
        account_identities.unlink_identity(session, account, issuer, subject)
    st.rerun()


def qr_svg(address: str) -> str:
    """A text as a QR code (ISO/IEC 18004), drawn as SVG: black on white with its quiet zone, in either theme."""
    drawn = io.BytesIO()
    segno.make(address, error="m", micro=False).save(drawn, kind="svg", scale=6, border=4, light="white", xmldecl=False)
    return drawn.getvalue().decode()
