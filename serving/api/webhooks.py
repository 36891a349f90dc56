"""The door that Stripe's messages come in by: check, keep once, answer; nothing else happens before the answer."""

from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from billing import inbox
from billing.payments import PaymentsOff
from billing.stripe_door import BadNotice
from serving.api.answers import good
from serving.api.identity import TheServices
from serving.api.services import Services

router = APIRouter(tags=["webhooks"])

_log = structlog.get_logger(__name__)


@router.post("/webhooks/stripe")
async def stripe_notice(request: Request, services: TheServices) -> dict[str, Any]:
    """Take one message of Stripe's. Its signature is what lets it in: no session and no header of ours is asked for.

    200 means that it is kept, also when it was before; 400 that it is not Stripe's; 503 that it may be sent again.
    """
    if services.payments is None:
        raise PaymentsOff
    payload = await request.body()
    header = request.headers.get("stripe-signature", "")
    new = await run_in_threadpool(_receive, services, payload, header)
    return good({"new": new})


def _receive(services: Services, payload: bytes, header: str) -> bool:
    if services.payments is None:
        raise PaymentsOff
    now = services.now()
    try:
        event = services.payments.door.verify(payload, header, now)
    except BadNotice as error:
        _log.warning("notice refused", why=error.why, size_bytes=len(payload))
        raise
    return inbox.receive(services.database, event, payload, now=now)
