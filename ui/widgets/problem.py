"""How an error looks to a person: one sentence, an icon, and for some a way on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import streamlit as st

from billing.limits import UpgradeRequired
from studio.errors import MelodeonError
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
    """Show an error's sentence; where the plan is what stands in the way, with the way to a larger one."""
    if isinstance(error, UpgradeRequired):
        draw_upgrade_dialog(error)
        return
    st.error(error.sentence, icon=ICONS.get(error.code, ":material/error:"))


@contextmanager
def told() -> Iterator[None]:
    """Show our own errors instead of passing them on."""
    try:
        yield
    except MelodeonError as error:
        show_problem(error)
