"""Statement: every movement of the person's credits."""

import streamlit as st

from billing import ledger
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_title
from ui.widgets.map import UPGRADE
from ui.widgets.paging import draw_more, pages_shown
from ui.widgets.statement import draw_balance, draw_csv, draw_statement
from ui.wiring import services

PAGE = 50

account = need_account("Sign in to see the movements of your credits.")
draw_title("Statement")
wanted = PAGE * pages_shown("statement")
with services().database.transaction() as session:
    balance = ledger.balance(session, account.id)
    movements = ledger.statement(session, account.id, wanted + 1)
draw_balance(balance)
draw_statement(movements[:wanted])
draw_more("statement", more=len(movements) > wanted)
with st.container(horizontal=True):
    draw_csv()
    if st.button("Get credits", icon=":material/toll:"):
        st.switch_page(UPGRADE)
