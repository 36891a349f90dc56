"""How an error looks to a person: one sentence, an icon, and for some a way on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import streamlit as st

from studio.errors import MelodeonError

ICONS: Final = {
    "not_found": ":material/search_off:",
    "no_credits": ":material/toll:",
    "database_unreachable": ":material/cloud_off:",
    "store_unavailable": ":material/cloud_off:",
    "too_many_queued": ":material/hourglass_top:",
}


def show_problem(error: MelodeonError) -> None:
    """Show an error's sentence."""
    st.error(error.sentence, icon=ICONS.get(error.code, ":material/error:"))


@contextmanager
def told() -> Iterator[None]:
    """Show our own errors instead of passing them on."""
    try:
        yield
    except MelodeonError as error:
        show_problem(error)
