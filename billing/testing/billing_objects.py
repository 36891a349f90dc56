"""Fresh subscriptions and invoices with every field that Stripe's have, in the pinned API version's shape."""

from typing import Any

from billing.testing.fields import nulls
from billing.testing.objects import listed, plan_of
from billing.testing.shelves import Json, Shelves

_SELF = {"account": None, "type": "self"}


def subscription(
    shelves: Shelves, *, customer_id: str, price: Json, start: int, end: int, trial_end: int | None, metadata: Json
) -> Json:
    """A subscription to one price whose first period (or trial) is ``start`` to ``end``."""
    subscription_id = shelves.new_id("subscription")
    item = {
        **nulls("subscription_item"),
        "id": shelves.new_id("subscription_item"),
        "created": start,
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": {},
        "plan": plan_of(price),
        "price": price,
        "quantity": 1,
        "subscription": subscription_id,
        "tax_rates": [],
    }
    return {
        **nulls("subscription"),
        "id": subscription_id,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": end if trial_end else start,
        "billing_mode": {"flexible": None, "type": "classic", "updated_at": None},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": start,
        "currency": price["currency"],
        "customer": customer_id,
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": _SELF,
        },
        "items": listed([item], f"/v1/subscription_items?subscription={subscription_id}"),
        "livemode": False,
        "metadata": metadata,
        "start_date": start,
        "status": "trialing" if trial_end else "active",
        "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": start if trial_end else None,
    }


def invoice_line(
    shelves: Shelves, *, of: Json, price: Json, amount: int, what: str, span: tuple[int, int], proration: bool
) -> Json:
    """A line of an invoice for a subscription ``of`` which one item is sold at ``price``."""
    item_id = of["items"]["data"][0]["id"]
    return {
        **nulls("line_item"),
        "id": shelves.new_id("line_item"),
        "amount": amount,
        "currency": price["currency"],
        "description": what,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "livemode": False,
        "metadata": of["metadata"],
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None} if proration else None,
                "subscription": of["id"],
                "subscription_item": item_id,
            },
            "type": "subscription_item_details",
        },
        "period": {"start": span[0], "end": span[1]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": str(amount),
        },
        "quantity": 1,
        "quantity_decimal": "1",
        "subscription": of["id"],
        "subtotal": amount,
        "taxes": [],
    }


def invoice(
    shelves: Shelves, *, of: Json, customer: Json, lines: list[Json], reason: str, span: tuple[int, int]
) -> Json:
    """A finalized, unpaid invoice; what the customer has to his credit (a negative balance) is used up first."""
    invoice_id, now = shelves.new_id("invoice"), shelves.now()
    total = sum(line["amount"] for line in lines)
    due = max(0, total + customer["balance"])
    ending = total + customer["balance"] - due
    return {
        **nulls("invoice"),
        "id": invoice_id,
        **_sums(total, due),
        "account_country": "DE",
        "account_name": "Fake Stripe",
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": False,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": of["currency"],
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "effective_at": now,
        "ending_balance": ending,
        "issuer": _SELF,
        "lines": listed([{**line, "invoice": invoice_id} for line in lines], f"/v1/invoices/{invoice_id}/lines"),
        "livemode": False,
        "metadata": {},
        "number": f"FAKE-{invoice_id[-8:]}",
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": of["metadata"],
                "subscription": of["id"],
                "subscription_proration_date": None,
            },
            "type": "subscription_details",
        },
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_start": span[0],
        "period_end": span[1],
        "starting_balance": customer["balance"],
        "_tie": None,
        "status": "open",
        "status_transitions": {
            "finalized_at": now,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
    }


def _sums(total: int, due: int) -> dict[str, Any]:
    return {
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": due,
        "amount_shipping": 0,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


def invoice_payment(shelves: Shelves, of: Json, intent: Json) -> Json:
    """The tie between an invoice and the payment that is meant to pay it."""
    return {
        **nulls("invoice_payment"),
        "id": shelves.new_id("invoice_payment"),
        "amount_requested": of["amount_due"],
        "created": shelves.now(),
        "currency": of["currency"],
        "invoice": of["id"],
        "is_default": True,
        "livemode": False,
        "payment": {
            "charge": None,
            "payment_intent": intent["id"],
            "payment_record": None,
            "type": "payment_intent",
        },
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
