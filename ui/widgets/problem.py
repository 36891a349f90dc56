"""How an error looks to a person: one sentence, an icon, and for some a way on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import streamlit as st

from billing.limits import UpgradeRequired
from serving.refusals import note_refusal
from studio.errors import MelodeonError
from ui import state
from ui.widgets.upgrade_dialog import draw_upgrade_dialog

ICONS: Final = {
    "not_found": ":material/search_off:",
    "no_credits": ":material/toll:",
    "payments_off": ":material/money_off:",
    "payments_unreachable": ":material/cloud_off:",
    "database_unreachable": ":material/cloud_off:",
    "store_unavailable": ":material/cloud_off:",
    "too_many_queued": ":material/hourglass_top:",
}


def show_problem(error: MelodeonError) -> None:
    """Show an error's sentence; where the plan is what stands in the way, with the way to a larger one.

    Refusals stand in the log as they do at the doors.
    """
    who = state.signed_in()
    note_refusal(error.code, place=f"page {_page()}", account_id=who.account_id if who else "")
    if isinstance(error, UpgradeRequired):
        draw_upgrade_dialog(error)
        return
    st.error(error.sentence, icon=ICONS.get(error.code, ":material/error:"))


def _page() -> str:
    """The path alone: what follows it may hold a link's token."""
    return urlsplit(st.context.url or "").path or "/"


@contextmanager
def told() -> Iterator[None]:
    """Show our own errors instead of passing them on."""
    try:
        yield
    except MelodeonError as error:
        show_problem(error)
