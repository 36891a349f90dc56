"""The map of the pages: which there are, where they lie, who sees them in the menu."""

from pathlib import Path
from typing import Final, Literal

import streamlit as st

from data import access
from studio.words.account import Account

SYMBOL: Final = str(Path(__file__).parent.parent / "shell" / "static" / "logo.svg")
_FOLDER: Final = Path(__file__).parent.parent / "pages"
DISCOVER: Final = _FOLDER / "discover.py"
CREATE: Final = _FOLDER / "create.py"
LIBRARY: Final = _FOLDER / "library.py"
SONG: Final = _FOLDER / "song.py"
ACCOUNT: Final = _FOLDER / "account.py"
SIGN_IN: Final = _FOLDER / "sign_in.py"
VERIFY: Final = _FOLDER / "verify.py"
RESET: Final = _FOLDER / "reset.py"
ADMIN: Final = _FOLDER / "admin.py"
UPGRADE: Final = _FOLDER / "upgrade.py"
STATEMENT: Final = _FOLDER / "statement.py"
BILLING_SUCCESS: Final = _FOLDER / "billing_success.py"
BILLING_CANCEL: Final = _FOLDER / "billing_cancel.py"


def pages(account: Account | None) -> list[st.Page]:
    """All pages, so that every address works for everybody; the menu shows those that make sense for this person."""
    own: Literal["visible", "hidden"] = "visible" if account is not None else "hidden"
    admin: Literal["visible", "hidden"] = "visible" if access.may_administrate(account) else "hidden"
    return [
        st.Page(DISCOVER, title="Discover", icon=":material/explore:", default=True),
        st.Page(CREATE, title="Create", icon=":material/auto_awesome:"),
        st.Page(LIBRARY, title="Library", icon=":material/library_music:", visibility=own),
        st.Page(UPGRADE, title="Credits", icon=":material/toll:", url_path="upgrade"),
        st.Page(ACCOUNT, title="Account", icon=":material/person:", visibility=own),
        st.Page(ADMIN, title="Administration", icon=":material/shield_person:", url_path="admin", visibility=admin),
        st.Page(SONG, title="Song", icon=":material/music_note:", visibility="hidden"),
        st.Page(
            SIGN_IN,
            title="Sign in",
            icon=":material/login:",
            url_path="sign-in",
            visibility="hidden",
        ),
        st.Page(
            VERIFY,
            title="Confirm your address",
            icon=":material/mark_email_read:",
            url_path="verify",
            visibility="hidden",
        ),
        st.Page(RESET, title="New password", icon=":material/lock_reset:", url_path="reset", visibility="hidden"),
        st.Page(STATEMENT, title="Statement", icon=":material/receipt_long:", visibility="hidden"),
        st.Page(
            BILLING_SUCCESS,
            title="Your purchase",
            icon=":material/check_circle:",
            url_path="billing-success",
            visibility="hidden",
        ),
        st.Page(
            BILLING_CANCEL,
            title="Nothing was bought",
            icon=":material/undo:",
            url_path="billing-cancel",
            visibility="hidden",
        ),
    ]
