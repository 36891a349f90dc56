"""Refusals in the log, one line each: who was not let in where. Ids alone: no name, no address, nothing they sent."""

from typing import Final

import structlog

REFUSALS: Final = frozenset(
    {
        "not_signed_in", "wrong_password", "code_needed", "wrong_code", "bad_api_key", "wrong_key", "bad_token",
        "bad_notice", "cross_site", "unknown_host", "bad_link", "key_refused", "not_confirmed", "not_found",
        "identity_refused", "factor_demanded", "upgrade_required", "sign_in_locked", "too_many_requests",
        "too_many_queued", "too_many_streams", "bad_request", "too_large",
    }
)  # fmt: skip
"""What is a refusal: a proof that failed, a right that is missing, a limit that is met, a request that no page of ours
sends. ``not_found`` is one of them, because what is somebody else's is refused as if it were not there."""

log = structlog.get_logger(__name__)


def note_refusal(code: str, *, place: str, account_id: str = "", key_id: str = "") -> None:
    """Write a refusal down; errors that are none leave no line.

    Args:
        code: of the error.
        place: the door by its route ("GET /songs/{song_id}"), "page /library", "proof" …, never an address with ids.
        account_id: who asked, or whose proof failed; empty: nobody knows.
        key_id: the API key by which they asked, if one did.
    """
    if code in REFUSALS:
        who = {name: value for name, value in (("account_id", account_id), ("key_id", key_id)) if value}
        log.info("refused", error=code, place=place, **who)
