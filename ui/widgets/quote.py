"""What a click will cost, said before it."""

import streamlit as st

from studio.words.credit import Balance
from ui.widgets.map import UPGRADE
from ui.widgets.plain import credits_text


def quote_text(price: int, balance: Balance, *, what: str = "This costs") -> str:
    """The price of a click, what the person has and what will be left of it.

    ``what`` begins the sentence, with its verb.
    """
    have = balance.available_credits
    if price == 0:
        return f"Free · you have {credits_text(have)}"
    if price > have:
        return f"{what} {credits_text(price)} · you have {have:,}"
    return f"{what} {credits_text(price)} · you have {have:,}, {have - price:,} left afterwards"


def draw_quote(price: int, balance: Balance, *, what: str = "This costs", more: str = "") -> None:
    """The quote in small print, with what else is to be said of it; with too few credits also the way to more."""
    st.caption(" · ".join(text for text in (quote_text(price, balance, what=what), more) if text))
    if price > balance.available_credits:
        st.page_link(UPGRADE, label="Get credits", icon=":material/toll:")
