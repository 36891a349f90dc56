"""Stripe's ``expand``: the object in place of its id, and the fields that are only shown when asked for."""

from typing import Any

from billing.testing.objects import listed
from billing.testing.refusal import Refusal
from billing.testing.shelves import Json, Shelves, public

DEPTH = 4
"""Stripe expands no deeper."""


def expand(shelves: Shelves, thing: Json, paths: list[str]) -> Json:
    """A copy of the object with the fields at these dotted paths expanded.

    Raises:
        Refusal: a path leads nowhere, or is too deep.
    """
    for path in paths:
        if path.count(".") >= DEPTH:
            raise Refusal("You cannot expand more than 4 levels of a property.", param="expand")
        thing = _expanded(shelves, thing, path.split("."), path)
    return thing


def _expanded(shelves: Shelves, value: Any, steps: list[str], path: str) -> Any:
    if not steps or value is None:
        return value
    if isinstance(value, list):
        return [_expanded(shelves, each, steps, path) for each in value]
    if not isinstance(value, dict):
        raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
    step, *rest = steps
    shown = _includable(shelves, value, step) or value.get(step, value)
    if shown is value:
        raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
    if isinstance(shown, str):
        found = shelves.find(shown)
        if found is None:
            raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
        shown = public(found)
    return {**value, step: _expanded(shelves, shown, rest, path)}


def _includable(shelves: Shelves, thing: Json, step: str) -> Json | None:
    """The fields that Stripe leaves out unless asked for."""
    match thing.get("object"), step:
        case "checkout.session", "line_items":
            items: Json = shelves.get("checkout.session", thing["id"])["_line_items"]
            return items
        case "charge", "refunds":
            refunds = [public(each) for each in shelves.all("refund") if each["charge"] == thing["id"]]
            return listed(refunds[::-1], f"/v1/charges/{thing['id']}/refunds")
        case "invoice", "payments":
            tie = shelves.get("invoice", thing["id"])["_tie"]
            ties = [public(shelves.get("invoice_payment", tie))] if tie else []
            return listed(ties, f"/v1/invoice_payments?invoice={thing['id']}")
        case _:
            return None
