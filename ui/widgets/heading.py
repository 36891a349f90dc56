"""The first line of a page."""

import streamlit as st

from ui.widgets.map import CREATE


def draw_title(title: str, *, create: bool = False) -> None:
    """The page's title; with ``create``, the way to a new song stands at its right."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(title, anchor=False)
        if create and st.button("Create a song", icon=":material/auto_awesome:", type="primary"):
            st.switch_page(CREATE)


def draw_heading(text: str) -> None:
    """A heading within a page, without the empty line that Streamlit puts above one."""
    with st.container(horizontal=True):
        st.header(text, anchor=False)
