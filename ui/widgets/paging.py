"""Longer lists on demand."""

import streamlit as st

_MOST_PAGES = 20


def pages_shown(name: str) -> int:
    """How many pages of the list ``name`` this tab shows."""
    return int(st.session_state.get(f"pages_{name}", 1))


def _one_more(name: str) -> None:
    st.session_state[f"pages_{name}"] = pages_shown(name) + 1


def draw_more(name: str, *, more: bool) -> None:
    """The button below a list that shows its next page."""
    if more and pages_shown(name) < _MOST_PAGES:
        st.button("Show more", key=f"more_{name}", icon=":material/expand_more:", on_click=_one_more, args=(name,))
