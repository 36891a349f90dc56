"""Doors for buying: the price list, a checkout, the billing portal, what a checkout brought."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query

from billing import plans, pricing
from serving.api import buying
from serving.api.answers import good
from serving.api.bodies import Purchase
from serving.api.identity import TheAccount, TheServices
from serving.api.views import balance_json

router = APIRouter(prefix="/billing", tags=["billing"])

_KEY_MAX: Final = 120
CheckoutKey = Annotated[str, Header(alias="Idempotency-Key", max_length=_KEY_MAX)]


@router.get("/prices")
def prices(services: TheServices) -> Any:
    """Everything that can be bought, what a credit pays for, and whether anything is for sale at all."""
    offer = plans.offer()
    return good(
        {
            "for_sale": services.payments is not None,
            "pretended": buying.are_pretended(services),
            "packs": [pack.model_dump() for pack in offer.packs.values()],
            "plans": [plan.model_dump() for plan in offer.plans.values()],
            "credits_per_use": dict(pricing.CREDITS_PER_SERVICE),
            "refund_days": offer.refund_days,
        }
    )


@router.post("/checkout")
def checkout(body: Purchase, account: TheAccount, services: TheServices, key: CheckoutKey = "") -> Any:
    """Begin to buy a pack or a plan: the address of the page to pay at."""
    return good({"url": buying.checkout_url(services, account, body.item, key=f"door:{key or services.draw_key()}")})


@router.post("/portal")
def portal(account: TheAccount, services: TheServices) -> Any:
    """The address of the page for card, invoices and the end of a plan."""
    return good({"url": buying.portal_url(services, account)})


@router.get("/session")
def session(account: TheAccount, services: TheServices, id: Annotated[str, Query(max_length=255)]) -> Any:  # noqa: A002
    """How a checkout of this person stands; what was paid is given at once."""
    arrival = buying.look(services, account, id)
    return good(
        {
            "state": arrival.state.value,
            "item": arrival.item.name if arrival.item else None,
            "credits": arrival.credits,
            "balance": balance_json(arrival.balance),
        }
    )
