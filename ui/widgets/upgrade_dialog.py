"""The ways to more: what stands in somebody's way, and a button to where it can be bought."""

from typing import Final

import streamlit as st

from billing.limits import Feature, UpgradeRequired
from studio.words.job import Job
from ui.widgets.map import UPGRADE

GAIN: Final = {
    Feature.MULTI_PROJECT: "With Pro you keep as many projects side by side as you like.",
    Feature.DAILY_RELEASE_LIMIT: "With Pro there is no limit to the releases of a day.",
}
"""What the larger plan would change, by the limit that was met."""


@st.dialog("Your plan allows no more", icon=":material/rocket_launch:")
def draw_upgrade_dialog(error: UpgradeRequired) -> None:
    """Say which limit of the plan was met, and lead to the plans."""
    st.markdown(error.sentence)
    st.markdown(GAIN[error.feature])
    _draw_ways("See the plans")


@st.dialog("Not enough credits", icon=":material/toll:")
def draw_no_credits_dialog(job: Job) -> None:
    """Say what is missing for a request that was kept, and lead to the packs."""
    st.markdown(job.reason)
    st.markdown("The request is kept in your library; run it from there once you have more.")
    _draw_ways("Get credits")


def _draw_ways(label: str) -> None:
    with st.container(horizontal=True):
        if st.button(label, type="primary", icon=":material/arrow_forward:", key="to_upgrade"):
            st.switch_page(UPGRADE)
        if st.button("Not now", key="not_now"):
            st.rerun()
