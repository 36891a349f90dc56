"""The map of the pages: which there are, where they lie, who sees them in the menu."""

from pathlib import Path
from typing import Final, Literal

import streamlit as st

from studio.words.account import Account

SYMBOL: Final = str(Path(__file__).parent.parent / "shell" / "static" / "logo.svg")
_FOLDER: Final = Path(__file__).parent.parent / "pages"
DISCOVER: Final = _FOLDER / "discover.py"
CREATE: Final = _FOLDER / "create.py"
LIBRARY: Final = _FOLDER / "library.py"
SONG: Final = _FOLDER / "song.py"
ACCOUNT: Final = _FOLDER / "account.py"
SIGN_IN: Final = _FOLDER / "sign_in.py"


def pages(account: Account | None) -> list[st.Page]:
    """All pages, so that every address works for everybody; the menu shows those that make sense for this person."""
    own: Literal["visible", "hidden"] = "visible" if account is not None else "hidden"
    return [
        st.Page(DISCOVER, title="Discover", icon=":material/explore:", default=True),
        st.Page(CREATE, title="Create", icon=":material/auto_awesome:"),
        st.Page(LIBRARY, title="Library", icon=":material/library_music:", visibility=own),
        st.Page(ACCOUNT, title="Account", icon=":material/person:", visibility=own),
        st.Page(SONG, title="Song", icon=":material/music_note:", visibility="hidden"),
        st.Page(
            SIGN_IN,
            title="Sign in",
            icon=":material/login:",
            url_path="sign-in",
            visibility="hidden",
        ),
    ]
