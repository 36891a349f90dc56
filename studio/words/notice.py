"""Notice: one message from outside (a Stripe event), stored once and handled once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class NoticeState(StrEnum):
    """``received``: waits, also for another attempt. ``dead``: given up until somebody has it replayed."""

    RECEIVED = "received"
    HANDLED = "handled"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message from outside.

    Attributes:
        id: the sender's own, by which a second delivery is known.
        type: the sender's word for what happened, such as ``invoice.paid``.
        object_id: what it happened to; the object itself is read again when the Notice is handled.
        created_at: when it happened, by the sender's clock, aware UTC.
        payload: the ids that the message names beside ``object_id``; nothing personal is kept.
        attempts: how often handling it was begun, ≥ 0; waiting for a sender that does not answer is not counted.
        last_error: a sentence about the last attempt, empty when none failed.
    """

    id: str
    type: str
    object_id: str
    created_at: datetime
    payload: Mapping[str, str]
    state: NoticeState = NoticeState.RECEIVED
    attempts: int = 0
    last_error: str = ""
