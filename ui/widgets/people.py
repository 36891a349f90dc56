"""People and what was done to their accounts, for administrators."""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from billing.plans import plans
from data import access
from serving import accounts
from serving.account_sessions import end_of_account
from serving.api.services import Services
from studio.words.account import Account, Role
from studio.words.audit import AuditNote
from ui import state
from ui.widgets.avatar import draw_avatar
from ui.widgets.plain import escape
from ui.widgets.problem import told

ROLES: Final = {
    Role.CREATOR: "Creator",
    Role.ANALYST: "Analyst",
    Role.ENGINEER: "ML engineer",
    Role.MODERATOR: "Moderator",
    Role.ADMIN: "Administrator",
}
MEANINGS: Final = (
    "Creators make songs. Analysts and ML engineers have no pages of their own yet. Moderators also see private songs "
    "and can take published ones back. Administrators see all of that, the accounts and this page, and give roles."
)

ACTIONS: Final = {
    "account_made": "made an account",
    "account_deleted": "deleted the account",
    "role_set": "changed the role",
    "password_set": "set a new password",
    "email_proved": "confirmed an e-mail address",
    "email_change_asked": "asked for another e-mail address",
    "second_factor_on": "switched the second step on",
    "second_factor_off": "switched the second step off",
    "signed_out_everywhere": "signed out everywhere",
    "signed_out_elsewhere": "signed out everywhere else",
    "identity_linked": "linked another way to sign in",
    "identity_unlinked": "took a way to sign in away",
    "key_made": "made an API key",
    "key_revoked": "revoked an API key",
    "song_hidden": "hid a published song",
}
"""What was done, in a person's words."""


def draw_people(services: Services, viewer: Account, people: Sequence[Account]) -> None:
    """Accounts, each with its role, which can be changed."""
    st.caption(MEANINGS)
    if not people:
        st.caption("Nobody is called so.")
    for person in people:
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            draw_avatar(services, name=person.name, avatar_key=person.avatar_key, width_px=36)
            with st.container(gap="xxsmall", width="stretch"):
                st.markdown(f"**{escape(person.name)}**")
                # As text: Markdown would make a link of an address.
                st.text(person.email or "no confirmed address")
            st.badge(plan_text(person), color="gray")
            st.caption(f"since {person.created_at:%d %b %Y}", width="content")
            chosen = st.selectbox(
                f"Role of {person.name}",
                [role.value for role in Role],
                index=list(Role).index(person.role),
                format_func=lambda value: ROLES[Role(value)],
                key=f"role_{person.id}_{person.role}",
                label_visibility="collapsed",
                width=180,
            )
            _draw_sign_out(services, viewer, person)
        if chosen != person.role.value:
            _set_role(services, viewer, person, Role(chosen))


def plan_text(account: Account) -> str:
    """Somebody's plan as a badge says it: by its label, or by its bare name when it is no longer offered."""
    offered = plans().get(account.plan)
    return escape(f"{offered.label if offered else account.plan} plan")


def _draw_sign_out(services: Services, viewer: Account, person: Account) -> None:
    with st.popover("Sign out", icon=":material/logout:"):
        st.markdown(
            "Ends every session and every API key of this account at once. Its owner can sign in again: when somebody "
            "else knows the password, have them set a new one."
        )
        if st.button("End all of them", type="primary", key=f"end_all_{person.id}"):
            with told():
                with services.database.transaction() as session:
                    end_of_account(session, viewer, person.id)
                state.set_message(f":material/logout: {escape(person.name)} is signed out everywhere.")
                st.rerun()


def _set_role(services: Services, viewer: Account, person: Account, role: Role) -> None:
    with told():
        if not access.may_administrate(viewer):
            raise access.NotFound("page")
        with services.database.transaction() as session:
            accounts.set_role(session, viewer.id, person, role)
        state.set_message(f":material/badge: {escape(person.name)}: {ROLES[role]}")
        st.rerun()


def draw_log(notes: Sequence[AuditNote], names: Mapping[str, str]) -> None:
    """The audit log, newest first."""
    if not notes:
        st.caption("Nothing was written down yet.")
        return

    def named(account_id: str) -> str:
        return names.get(account_id, account_id)

    rows = [
        {
            "When": note.at,
            "Who": named(note.actor),
            "What": ACTIONS.get(note.action, note.action),
            "Whose account": named(note.subject),
            "Detail": note.detail,
        }
        for note in notes
    ]
    when = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width=150)
    st.dataframe(
        rows, hide_index=True, width="stretch", column_config={"When": when}, alt="The audit log, newest first"
    )
