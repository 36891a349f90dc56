"""The statement: what came, what went, and why."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from serving.api.views import PREFIX
from studio.words.credit import Balance, Movement, MovementKind

WHAT: Final = {
    MovementKind.GRANT: "Received",
    MovementKind.HOLD: "Set aside for a song",
    MovementKind.CAPTURE: "Spent on a song",
    MovementKind.RELEASE: "Given back",
    MovementKind.REFUND: "Taken back with its payment",
    MovementKind.RESTORE: "Given back after a dispute",
    MovementKind.EXPIRE: "Expired",
    MovementKind.DEBT: "Paid what was owed",
}
"""A movement in the person's words, where it bears no note."""


def draw_balance(balance: Balance) -> None:
    """What the person has and what is set aside."""
    with st.container(horizontal=True, gap="large"):
        st.metric("Available", f"{balance.available_credits:,}", width="content")
        st.metric("Set aside", f"{balance.held_credits:,}", width="content")
        if balance.owed_credits:
            st.metric("Owed", f"{balance.owed_credits:,}", width="content")


def as_row(line: Movement) -> dict[str, object]:
    """One line of the statement as the table shows it; in brackets what had been set aside before."""
    change = line.change_credits
    return {
        "When": line.at,
        "What": line.note[:1].upper() + line.note[1:] or WHAT[line.kind],
        "Credits": f"{change:+,}".replace("-", "−") if change else f"({line.amount_credits:,})",
    }


def draw_statement(movements: Sequence[Movement]) -> None:
    """Movements as a table, newest first."""
    if not movements:
        st.caption("No credits have come or gone yet.")
        return
    st.dataframe(
        [as_row(line) for line in movements],
        hide_index=True,
        width="stretch",
        column_config={
            "When": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width="small"),
            "What": st.column_config.TextColumn(width="large"),
            "Credits": st.column_config.TextColumn(width="small"),
        },
        alt="The movements of your credits, newest first",
    )


def draw_csv() -> None:
    """The way to the whole statement as a file."""
    st.link_button("Download as CSV", f"{PREFIX}/credits/statement.csv", icon=":material/download:")
