"""Account: who you are, how you sign in, what programs may do for you, your credits, your data."""

import streamlit as st

from billing import ledger
from ui.widgets.account_data import draw_deletion, draw_export
from ui.widgets.account_keys import draw_keys, draw_new_key
from ui.widgets.account_profile import draw_email, draw_head, draw_picture
from ui.widgets.account_security import draw_devices, draw_proofs
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_heading, draw_title
from ui.widgets.map import STATEMENT, UPGRADE
from ui.widgets.statement import draw_balance, draw_statement
from ui.wiring import services

TABS = ["Profile", "Security", "API keys", "Credits", "Your data"]

account = need_account("Sign in to see your account.")
draw_title("Account")
draw_head(services(), account)
profile, security, keys, credit, data = st.tabs(TABS, key="tab", on_change="rerun", bind="query-params")
if profile.open:
    left, right = profile.columns(2, gap="large")
    with left:
        draw_heading("Picture")
        draw_picture(services(), account)
    with right:
        draw_heading("E-mail")
        draw_email(services(), account)
if security.open:
    left, right = security.columns(2, gap="large")
    with left:
        draw_proofs(services(), account)
    with right:
        draw_devices(services(), account)
if keys.open:
    left, right = keys.columns(2, gap="large")
    with left:
        draw_heading("New key")
        draw_new_key(services(), account)
    with right:
        draw_heading("Your keys")
        draw_keys(services(), account)
if credit.open:
    with credit, services().database.transaction() as session:
        draw_balance(ledger.balance(session, account.id))
        draw_statement(ledger.statement(session, account.id, 20))
        with st.container(horizontal=True):
            st.page_link(STATEMENT, label="Whole statement", icon=":material/receipt_long:")
            st.page_link(UPGRADE, label="Get credits", icon=":material/toll:")
if data.open:
    left, right = data.columns(2, gap="large")
    with left:
        draw_heading("Take it with you")
        draw_export()
    with right:
        draw_heading("Leave")
        draw_deletion(services(), account)
