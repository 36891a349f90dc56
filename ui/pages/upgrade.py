"""Credits: what there is to buy, what it brings, and the way to the checkout."""

import streamlit as st

from billing import ledger
from data.repositories import subscriptions
from studio.words.account import Account
from ui import state
from ui.widgets.checkout import draw_payments_state, draw_portal, leave_for_checkout
from ui.widgets.gate import need_account
from ui.widgets.heading import draw_title
from ui.widgets.prices import draw_packs, draw_plans, draw_terms, draw_worth
from ui.widgets.problem import told
from ui.wiring import services

account: Account | None = st.session_state.get("account")
if state.wants_to_buy():
    account = need_account("Sign in first: what you buy belongs to your account. Then choose again.")
    state.set_wants_to_buy(wants=False)

draw_title("Credits")
open_for_sale = draw_payments_state(services())
balance = subscription = None
if account is not None:
    with services().database.transaction() as session:
        balance = ledger.balance(session, account.id)
        subscription = subscriptions.entitling(session, account.id)
draw_worth(balance)
chosen_pack = draw_packs(open_for_sale=open_for_sale)
chosen_plan = draw_plans(account, subscription, open_for_sale=open_for_sale)
with told():
    if account is not None:
        draw_portal(services(), account, open_for_sale=open_for_sale)
    chosen = chosen_pack or chosen_plan
    if chosen is not None and account is None:
        state.set_wants_to_buy(wants=True)
        st.rerun()
    if chosen is not None and account is not None:
        leave_for_checkout(services(), account, chosen)
draw_terms()
