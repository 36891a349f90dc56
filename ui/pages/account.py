"""Account: who you are, your password, your sessions, your credits."""

import streamlit as st

from billing import ledger
from data.repositories import sessions
from ui.widgets.account_forms import draw_password_form, draw_sessions, draw_statement
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_heading, draw_title
from ui.widgets.problem import told
from ui.wiring import services

account = need_account("Sign in to see your account.")
draw_title("Account")
st.text(f"{account.name} · {account.role.value} · plan {account.plan}")

with services().database.transaction() as session:
    signed_in = sessions.list_of(session, account.id)
    balance = ledger.balance(session, account.id)
    movements = ledger.statement(session, account.id, 20)

left, right = st.columns(2, gap="large")
with left:
    draw_heading("Password")
    with told():
        draw_password_form(services(), account)
    draw_heading("Where you are signed in")
    draw_sessions(services(), account, signed_in)
with right:
    draw_heading("Credits")
    draw_statement(balance, movements)
