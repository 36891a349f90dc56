"""Telling a genuine message of Stripe's from anything else that may be posted to us, before a byte of it is believed.

The signature is computed by Stripe's own library (``billing.stripe_door`` hands it in); the checks round it are ours,
because the library accepts messages dated in the future, raises UnicodeDecodeError on bad UTF-8 and TypeError on a
signature outside ASCII, and takes any JSON for an event (seen in stripe 16.1).
"""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from billing.stripe_records import EventRecord
from studio.errors import MelodeonError

MOST_BYTES: Final = 1_000_000
"""Size of the largest message taken; Stripe's are some kilobytes."""

MOST_SKEW_S: Final = 300
"""How far a message's date may lie from our clock, either way."""

_MOST_HEADER: Final = 4_096
_DATE: Final = re.compile(r"[0-9]{1,12}")
_EVENT_ID: Final = re.compile(r"evt_[A-Za-z0-9_]{1,250}")
_TYPE: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+){1,9}")
_OBJECT_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,255}")


class BadNotice(MelodeonError):
    """A message to the webhook that is not Stripe's, or not one that we can read; always answered with 400."""

    code = "bad_notice"

    def __init__(self, why: str) -> None:
        super().__init__(f"This is not a message of Stripe's to this installation: {why}.")
        self.why = why


def read_body(payload: bytes) -> str:
    """The message's text.

    Raises:
        BadNotice: it is too large or not UTF-8.
    """
    if len(payload) > MOST_BYTES:
        raise BadNotice(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise BadNotice("its body is not UTF-8") from None


def check_header(header: str, now: datetime) -> None:
    """Whether the ``Stripe-Signature`` header can be one at all, and its date is near ``now`` (aware UTC).

    Raises:
        BadNotice: it is missing, too long, not ASCII, without exactly one date, or more than 300 s off either way.
    """
    if not header:
        raise BadNotice("it bears no Stripe-Signature header")
    if len(header) > _MOST_HEADER or not header.isascii():
        raise BadNotice("its Stripe-Signature header is malformed")
    dates = [value for name, _, value in (part.partition("=") for part in header.split(",")) if name == "t"]
    if len(dates) != 1 or not _DATE.fullmatch(dates[0]):
        raise BadNotice("its Stripe-Signature header has no single date")
    if abs(int(dates[0]) - now.timestamp()) > MOST_SKEW_S:
        raise BadNotice(f"it is dated more than {MOST_SKEW_S} s from now")


def read_event(text: str, *, livemode: bool) -> EventRecord:
    """The event in a message whose signature is right.

    Args:
        livemode: what our own key is for; a message of the other kind is refused.

    Raises:
        BadNotice: it is no JSON object of Stripe's kind ``event`` (a "thin" event of API v2, a list …).
    """
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise BadNotice("its body is not JSON") from None
    if not isinstance(event, dict):
        raise BadNotice("its body is not an object")
    if event.get("object") != "event":
        raise BadNotice("it is no snapshot event (“thin” events need an endpoint of their own)")
    if event.get("livemode") is not livemode:
        raise BadNotice("live and test keys are mixed up")
    return EventRecord(
        id=_matching(event.get("id"), _EVENT_ID, "its id"),
        type=_matching(event.get("type"), _TYPE, "its type"),
        object_id=_object_id(event.get("data")),
        created=_moment(event.get("created")),
        livemode=livemode,
    )


def _matching(value: Any, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or len(value) > 255 or not pattern.fullmatch(value):
        raise BadNotice(f"{what} is malformed")
    return value


def _object_id(data: Any) -> str:
    """The id of what the event is about; a few kinds (``balance.available``) have none."""
    if not isinstance(data, dict) or not isinstance(data.get("object"), dict):
        raise BadNotice("it is about no object")
    value = data["object"].get("id")
    return "" if value is None else _matching(value, _OBJECT_ID, "its object's id")


def _moment(value: Any) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**11:
        raise BadNotice("its date is malformed")
    return datetime.fromtimestamp(value, UTC)
