"""Administration: who is here, what each may see, and what was done to whose account."""

import streamlit as st

from data import access
from data.repositories import accounts, audit, people
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_title
from ui.widgets.paging import draw_more, pages_shown
from ui.widgets.people import draw_log, draw_people
from ui.wiring import services

PAGE = 25

viewer = need_account("Sign in as an administrator.")
if not access.may_administrate(viewer):
    raise access.NotFound("page")
draw_title("Administration")
accounts_tab, log_tab = st.tabs(["Accounts", "Audit log"], key="tab", on_change="rerun", bind="query-params")
if accounts_tab.open:
    with accounts_tab:
        words = (
            st.text_input("Find somebody", type="search", placeholder="Name, address or id", key="people_words") or ""
        )
        wanted = PAGE * pages_shown("people")
        with services().database.transaction() as session:
            found = people.find(session, words, limit=wanted + 1)
        draw_people(services(), viewer, found[:wanted])
        draw_more("people", more=len(found) > wanted)
if log_tab.open:
    with log_tab:
        wanted = PAGE * pages_shown("audit")
        with services().database.transaction() as session:
            notes = audit.latest(session, limit=wanted + 1)
            ids = {name for note in notes for name in (note.actor, note.subject)}
            names = {str(one.id): one.name for one in accounts.by_ids(session, ids)}
        draw_log(notes[:wanted], names)
        draw_more("audit", more=len(notes) > wanted)
