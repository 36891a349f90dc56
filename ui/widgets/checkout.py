"""The way out to the payment service and back: whether it is open, the checkout, the portal."""

import secrets
from typing import Final

import melodeon_ui
import streamlit as st

from billing.plans import Plan
from serving.api import buying
from serving.api.buying import Arrival
from serving.api.services import Services
from studio.words.account import Account
from studio.words.purchase import PurchaseState
from ui.widgets.plain import credits_text, escape


def draw_payments_state(services: Services) -> bool:
    """Whether anything can be bought here; says so when not, or when it is only pretended."""
    if services.payments is None:
        st.info(
            "Payments are off here: whoever runs this place has connected no payment service. Everything else works, "
            "and they can give you credits.",
            icon=":material/money_off:",
        )
        return False
    draw_pretended(services)
    return True


def draw_pretended(services: Services) -> None:
    """A banner while a fake stands for the payment service."""
    if buying.are_pretended(services):
        desk = services.settings.stripe.base_url
        st.warning(
            "Payments are pretended here: no card is charged. "
            f"At [the fake’s desk]({desk}) months pass and banks decide.",
            icon=":material/theater_comedy:",
        )


def leave_for_checkout(services: Services, account: Account, item: str) -> None:
    """Open a checkout for a pack or a plan and send the browser there."""
    url = buying.checkout_url(services, account, item, key=f"page:{services.draw_key()}")
    _leave_for(url, "Opening the checkout …")


def draw_portal(services: Services, account: Account, *, open_for_sale: bool) -> None:
    """The button to the billing portal, for whoever is known there."""
    if account.stripe_customer_id and st.button(
        "Manage subscription", icon=":material/receipt_long:", key="to_portal", disabled=not open_for_sale
    ):
        _leave_for(buying.portal_url(services, account), "Opening the billing portal …")


def draw_arrival(arrival: Arrival) -> None:
    """What a checkout brought, or what it still waits for."""
    what = escape(arrival.item.label) if arrival.item else "What you bought"
    if arrival.state is PurchaseState.PAID and isinstance(arrival.item, Plan):
        monthly = credits_text(arrival.item.monthly_credits)
        st.success(f"You are on {what}. Its {monthly} come within seconds, and again each month.", icon=_PARTY)
    elif arrival.state is PurchaseState.PAID:
        st.success(f"{what} arrived. There is nothing else to do.", icon=_PARTY)
    elif arrival.state is PurchaseState.OPEN:
        st.info(
            f"{what}: the payment is on its way. Some ways of paying take a few days; your credits come by themselves "
            "as soon as the money does, whether or not you keep this page open.",
            icon=":material/schedule:",
        )
        st.button("Look again", icon=":material/refresh:")
    elif arrival.state in (PurchaseState.REFUNDED, PurchaseState.DISPUTED):
        st.info(f"{what}: this payment went back to you, and its credits with it.", icon=":material/undo:")
    else:
        st.error(f"{what}: the payment did not go through. Nothing was charged; you can try again.", icon=_FAILED)
    have = arrival.balance.available_credits
    st.metric("You have", credits_text(have))


_PARTY: Final = ":material/celebration:"
_FAILED: Final = ":material/credit_card_off:"


def _leave_for(url: str, words: str) -> None:
    st.caption(words)
    melodeon_ui.departure(url, secrets.token_hex(8))
