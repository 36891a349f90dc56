"""The inbox: what Stripe tells is kept before anything else happens, and handled later by the worker.

A Notice keeps the ids that a message names and nothing else of it: the objects are read again from Stripe when it is
handled, so neither the order of messages nor what they say matters, and nothing personal lies in the inbox.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import structlog

from billing.stripe_records import EventRecord
from data.database import Database
from data.repositories import notices
from studio.words.notice import Notice

_KEPT: Final = ("charge", "customer", "payment_intent", "subscription", "invoice")
_ID: Final = re.compile(r"[A-Za-z0-9_]{1,255}")

_log = structlog.get_logger(__name__)


def receive(database: Database, event: EventRecord, payload: bytes | None, *, now: datetime) -> bool:
    """Keep a message, once.

    Args:
        event: what was read of it.
        payload: the body as it came, whose signature was checked; None when the event comes from Stripe's list.

    Returns:
        False when it was here already.
    """
    notice = Notice(
        id=event.id,
        type=event.type,
        object_id=event.object_id,
        created_at=event.created,
        payload=ids_in(payload) if payload else {},
    )
    with database.transaction() as session:
        new = notices.receive(session, notice, now=now)
    _log.info("notice received", notice_id=event.id, type=event.type, object_id=event.object_id, new=new)
    return new


def ids_in(payload: bytes) -> Mapping[str, str]:
    """The ids of other objects that the object of a Stripe event names."""
    thing = json.loads(payload)["data"]["object"]
    named = {name: thing.get(name) for name in _KEPT}
    return {name: value for name, value in named.items() if isinstance(value, str) and _ID.fullmatch(value)}
