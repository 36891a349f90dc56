"""Signing in by streamlit-authenticator's forms over our own accounts, sessions and password hashes.

The library draws the forms and keeps ``authentication_status``. Everything that decides is ours: its controller is
replaced by one that asks Postgres, its hashing is never called, and its JavaScript cookie gives way to an opaque
HttpOnly one, which the browser fetches with a one-time ticket (see ``docs/decisions``).
"""

from typing import Any

import streamlit as st
import streamlit_authenticator as stauth
from streamlit_authenticator.controllers import AuthenticationController

from data.repositories import sessions
from serving import account_sessions, accounts
from serving.account_identities import IdentityRefused, account_for_identity
from serving.accounts import CodeNeeded
from serving.api.identity import cookie_name
from serving.api.services import Services
from serving.refusals import note_refusal
from studio.words.account import Account
from ui import oidc, state


class _NoCookie:
    """Stands where the library keeps its JavaScript cookie: ours is HttpOnly and set by the HTTP door."""

    def get_cookie(self) -> None:
        """The library never learns of a session from a cookie."""

    def set_cookie(self) -> None:
        """Done by the ticket instead."""

    def delete_cookie(self) -> None:
        """Done by the door instead."""


class _Controller(AuthenticationController):  # type: ignore[misc] # the library carries no types
    """The library's controller, deciding by our accounts."""

    def __init__(self, services: Services) -> None:
        super().__init__({"usernames": {}}, auto_hash=False, secret_key=services.secrets.cookie_secret)
        self._services = services

    def login(self, username: str = "", password: str = "", *_: Any, **__: Any) -> bool:
        """Check a password and start a session, or ask for a code; raises `WrongPassword` or `SignInLocked`."""
        try:
            check_in(self._services, username or "", password or "")
        except CodeNeeded:
            state.set_code_step(state.CodeStep(login=username, password=password))
            st.rerun()
        return True


class SignInForms(stauth.Authenticate):  # type: ignore[misc]
    """The library's sign-in form, and a sign-up form that asks only for what an account needs."""

    def __init__(self, services: Services) -> None:
        self.api_key = None
        self.attrs = {"login_sleep_time": 0}
        self.path = None
        self.cookie_controller = _NoCookie()
        self.authentication_controller = _Controller(services)
        self._services = services

    def sign_in(self) -> None:
        """Draw the sign-in form and act on it."""
        fields = {"Form name": "Welcome back", "Username": "Name", "Password": "Password", "Login": "Sign in"}
        self.login(key="sign_in", fields=fields)

    def sign_up(self) -> None:
        """Draw the sign-up form and act on it; a new account is signed in at once."""
        with st.form("sign_up"):
            st.subheader("Make your account", anchor=False)
            name = st.text_input("Name", max_chars=32, help="How listeners see you.", autocomplete="username")
            email = st.text_input("E-mail (optional)", max_chars=254, autocomplete="email")
            password = st.text_input(
                "Password",
                type="password",
                help="8 characters or more; a few words are best.",
                autocomplete="new-password",
            )
            pressed = st.form_submit_button("Make my account", type="primary", width="stretch")
        if not pressed:
            return
        services = self._services
        accounts.allow_sign_up(services.database, here())
        with services.database.transaction() as session:
            account = accounts.sign_up(
                session,
                name=name,
                email=email,
                password=password,
                signup_credits=services.settings.signup_credits,
                now=services.now(),
            )
        start_session(services, account)


def here() -> str:
    """The network address that this tab is used from; empty when it is this machine."""
    return st.context.ip_address or ""


def check_in(services: Services, login: str, password: str, code: str = "") -> None:
    """Sign this tab in by password, and by a code where one is asked for.

    Raises:
        WrongPassword, SignInLocked: with a sentence for the person.
        CodeNeeded, WrongCode: the password is right.
    """
    account = accounts.sign_in(
        services.database, login, password, code=code, address=here(), box=services.box, now=services.now()
    )
    state.set_code_step(None)
    start_session(services, account)
    st.session_state["authentication_status"] = True


def start_session(services: Services, account: Account) -> None:
    """Sign this tab in and let the browser fetch its cookie with a one-time ticket."""
    with services.database.transaction() as session:
        begun = sessions.begin(
            session, account.id, days=services.settings.web.session_days, version=account.token_version
        )
    state.set_signed_in(state.SignedIn(account_id=account.id, session_id=begun.session_id))
    state.set_exchange("sign_in", begun.ticket)


def current_account(services: Services) -> Account | None:
    """Who is signed in in this tab, looked up on every run, so that a session ended elsewhere ends here too."""
    who = state.signed_in()
    if who is not None:
        with services.database.transaction() as session:
            account = sessions.account_of_session(session, who.session_id)
        if account is None:
            forget()
        return account
    # The cookies are those of the moment the tab connected: after signing out in it they are void.
    token = None if state.signed_out() else st.context.cookies.get(cookie_name(services))
    found = None
    if token:
        with services.database.transaction() as session:
            found = sessions.of_token(session, token)
    if found is None:
        return None if state.signed_out() else _by_identity(services)
    state.set_signed_in(state.SignedIn(account_id=found[0].id, session_id=found[1]))
    return found[0]


def _by_identity(services: Services) -> Account | None:
    """Whoever has just come back from another provider; their tab gets a session of ours, like after a password."""
    found = oidc.identity(services)
    if found is None:
        return None
    try:
        with services.database.transaction() as session:
            account = account_for_identity(
                session,
                found.issuer,
                found.subject,
                email=found.email,
                email_verified=bool(found.email),
                name=found.name,
                now=services.now(),
                signup_credits=services.settings.signup_credits,
                issued_at=found.issued_at,
            )
    except IdentityRefused as error:
        note_refusal(error.code, place="proof")
        # Once: the identity stays with this tab, and the person may sign in another way.
        state.set_signed_in(None)
        state.set_message(error.sentence)
        return None
    start_session(services, account)
    return account


def sign_out(services: Services) -> None:
    """End this tab's session; the browser hands back its cookie and the music stops."""
    who = state.signed_in()
    if who is not None:
        with services.database.transaction() as session:
            sessions.revoke_one(session, who.account_id, who.session_id)
    forget()
    state.set_exchange("sign_out")


def forget() -> None:
    """Forget in this tab who was signed in and what they typed: the next person here may be somebody else."""
    st.session_state.clear()
    state.set_signed_in(None)


def change_password(services: Services, account: Account, old: str, new: str, *, revoke_keys: bool) -> None:
    """Set a new password after checking the old one; every other session ends, this tab gets a new one."""
    changed = accounts.change_password(services.database, account, old, new, revoke_keys=revoke_keys, address=here())
    start_session(services, changed)


def sign_out_everywhere(services: Services, account: Account) -> None:
    """End every session of the account, this one too."""
    with services.database.transaction() as session:
        account_sessions.sign_out_everywhere(session, account.id, actor=account.id, keys_too=False)
    forget()
    state.set_exchange("sign_out")
