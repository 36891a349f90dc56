"""What a browser tab remembers between two runs of a page. Everything precious is in Postgres instead."""

import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

import streamlit as st

from studio.words.brief import Brief
from studio.words.ids import AccountId, SessionId

SAME_CLICK: Final = timedelta(seconds=5)
MESSAGE_STANDS_S: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Who signed in in this tab, and by which session; the session is looked up again on every run."""

    account_id: AccountId
    session_id: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What the browser is to do with its session cookie. A new nonce makes it do so once."""

    op: Literal["sign_in", "sign_out"] | None = None
    nonce: str = ""
    ticket: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeStep:
    """Who gave the right password in this tab and still owes a code. Lives in the server's memory only."""

    login: str
    password: str = field(repr=False)


def code_step() -> CodeStep | None:
    """Who still owes a code in this tab."""
    found: CodeStep | None = st.session_state.get("code_step")
    return found


def set_code_step(step: CodeStep | None) -> None:
    """Remember or forget who still owes a code."""
    st.session_state["code_step"] = step


def message() -> str:
    """The sentence (Markdown) that stands before the person now, else nothing.

    Every run of its ten seconds draws it again: a toast goes with its run, and where the next one begins before the
    browser has loaded what draws it, nobody ever saw it. One that stands already is not shown a second time.
    """
    sentence, until = st.session_state.get("message", ("", 0.0))
    return sentence if time.monotonic() < until else ""


def set_message(sentence: str) -> None:
    """Have a sentence (Markdown) stand before the person for ten seconds, from the next run of this tab on."""
    st.session_state["message"] = (sentence, time.monotonic() + MESSAGE_STANDS_S)


def signed_in() -> SignedIn | None:
    """Who signed in in this tab since it was opened."""
    found: SignedIn | None = st.session_state.get("signed_in")
    return found


def set_signed_in(who: SignedIn | None) -> None:
    """Remember or forget who signed in in this tab."""
    st.session_state["signed_in"] = who


def signed_out() -> bool:
    """Whether the person was signed out in this tab; the cookies it showed when it was opened are then void."""
    return "signed_in" in st.session_state and st.session_state["signed_in"] is None


def exchange() -> Exchange:
    """What the browser is to do with its session cookie."""
    found: Exchange = st.session_state.get("exchange", Exchange())
    return found


def set_exchange(op: Literal["sign_in", "sign_out"], ticket: str = "") -> None:
    """Let the browser fetch or hand back its session cookie."""
    st.session_state["exchange"] = Exchange(op=op, nonce=secrets.token_hex(8), ticket=ticket)


def submit_key(brief: Brief, *, now: datetime) -> str:
    """The idempotency key of a click on Create: the same for the same wish within seconds, so a double click is one."""
    last: tuple[Brief, datetime, str] | None = st.session_state.get("last_submit")
    if last is not None and last[0] == brief and now - last[1] < SAME_CLICK:
        return last[2]
    key = f"page:{secrets.token_hex(16)}"
    st.session_state["last_submit"] = (brief, now, key)
    return key


def written() -> dict[str, str]:
    """What was written for fields of the create form, by their keys; once."""
    found: dict[str, str] = st.session_state.pop("written", {})
    return found


def set_written(fields: dict[str, str]) -> None:
    """Have these fields of the create form filled on the next run."""
    st.session_state["written"] = fields


def draft() -> str:
    """The lyrics that the lyric writer shows."""
    found: str = st.session_state.get("draft", "")
    return found


def set_draft(lyrics: str) -> None:
    """Have the lyric writer show these lyrics."""
    st.session_state["draft"] = lyrics


def reuse() -> Brief | None:
    """The settings that a song page asked the create page to start from, once."""
    found: Brief | None = st.session_state.pop("reuse", None)
    return found


def set_reuse(brief: Brief) -> None:
    """Let the create page start from these settings."""
    st.session_state["reuse"] = brief


def wants_to_buy() -> bool:
    """Whether somebody who is not signed in pressed a button that buys."""
    return bool(st.session_state.get("wants_to_buy"))


def set_wants_to_buy(*, wants: bool) -> None:
    """Remember or forget that somebody who is not signed in pressed a button that buys."""
    st.session_state["wants_to_buy"] = wants
