"""Fresh objects with every field that Stripe's have, in the pinned API version's shape."""

from typing import Any, Final

from billing.testing.fields import nulls
from billing.testing.shelves import Json, Shelves


def listed(things: list[Json], url: str, *, has_more: bool = False) -> Json:
    """Stripe's list."""
    return {"object": "list", "data": things, "has_more": has_more, "url": url}


def _made(shelves: Shelves, kind: str, **fields: Any) -> Json:
    base = {**nulls(kind), "id": shelves.new_id(kind), "created": shelves.now(), "livemode": False}
    return {**base, **fields}


def customer(shelves: Shelves, *, name: str | None, email: str | None, metadata: Json) -> Json:
    """A customer; the fake has a good card of every one until told otherwise."""
    return _made(
        shelves,
        "customer",
        name=name,
        email=email,
        metadata=metadata,
        balance=0,
        delinquent=False,
        invoice_prefix="FAKE",
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        next_invoice_sequence=1,
        preferred_locales=[],
        tax_exempt="none",
        _card_works=True,
    )


def product(shelves: Shelves, *, product_id: str | None, name: str, metadata: Json) -> Json:
    """A product; its id may be chosen by whoever makes it."""
    made = _made(
        shelves,
        "product",
        name=name,
        metadata=metadata,
        active=True,
        images=[],
        marketing_features=[],
        type="service",
        updated=shelves.now(),
    )
    return {**made, "id": product_id or made["id"]}


def price(shelves: Shelves, *, product_id: str, amount: int, currency: str, interval: str | None) -> Json:
    """A price, once or by the month."""
    recurring = {"interval": interval, "interval_count": 1, "meter": None, "trial_period_days": None}
    return _made(
        shelves,
        "price",
        product=product_id,
        active=True,
        billing_scheme="per_unit",
        currency=currency,
        metadata={},
        recurring={**recurring, "usage_type": "licensed"} if interval else None,
        tax_behavior="unspecified",
        type="recurring" if interval else "one_time",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )


def plan_of(of: Json) -> Json:
    """The older form in which a subscription item shows its price too."""
    return {
        **nulls("plan"),
        "id": of["id"],
        "active": of["active"],
        "amount": of["unit_amount"],
        "amount_decimal": of["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": of["created"],
        "currency": of["currency"],
        "interval": of["recurring"]["interval"],
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "product": of["product"],
        "usage_type": "licensed",
    }


def checkout_session(shelves: Shelves, params: Json, items: list[Json], *, base_url: str) -> Json:
    """An open checkout session of these line items; it expires after 24 hours."""
    total = sum(item["amount_total"] for item in items)
    recurring: Json = params.get("subscription_data") or {}
    about: Json = params.get("payment_intent_data") or recurring
    made = _made(
        shelves,
        "checkout.session",
        adaptive_pricing={"enabled": False},
        amount_subtotal=total,
        amount_total=total,
        automatic_tax={"enabled": False, "liability": None, "provider": None, "status": None},
        cancel_url=params.get("cancel_url"),
        client_reference_id=params.get("client_reference_id"),
        currency=items[0]["currency"],
        custom_fields=[],
        custom_text=dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        customer=params.get("customer"),
        discounts=[],
        expires_at=shelves.now() + 24 * 3600,
        metadata=params.get("metadata", {}),
        mode=params["mode"],
        payment_method_collection="always" if params["mode"] == "subscription" else None,
        payment_method_types=["card", "sepa_debit"],
        payment_status="unpaid",
        phone_number_collection={"enabled": False},
        shipping_options=[],
        status="open",
        success_url=params.get("success_url"),
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0, "breakdown": None},
        ui_mode="hosted_page",
        _trial_days=recurring.get("trial_period_days", 0),
        _about=about.get("metadata", {}),
        _settles_at=None,
    )
    made["url"] = f"{base_url}/c/pay/{made['id']}"
    made["_line_items"] = listed(items, f"/v1/checkout/sessions/{made['id']}/line_items")
    return made


def line_item(shelves: Shelves, of: Json, name: str, quantity: int) -> Json:
    """What a checkout sells."""
    amount = of["unit_amount"] * quantity
    return {
        **nulls("item"),
        "id": shelves.new_id("item"),
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": of["currency"],
        "description": name,
        "metadata": {},
        "price": of,
        "quantity": quantity,
    }


def payment_intent(shelves: Shelves, *, amount: int, currency: str, customer_id: str | None, metadata: Json) -> Json:
    """A payment that was not tried yet."""
    return _made(
        shelves,
        "payment_intent",
        amount=amount,
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        capture_method="automatic_async",
        confirmation_method="automatic",
        currency=currency,
        customer=customer_id,
        metadata=metadata,
        payment_method_types=["card", "sepa_debit"],
        status="requires_payment_method",
    )


_METHODS: Final = {
    "card": {
        "brand": "visa",
        "country": "DE",
        "exp_month": 12,
        "exp_year": 2040,
        "funding": "credit",
        "last4": "4242",
        "network": "visa",
    },
    "sepa_debit": {"country": "DE", "last4": "3000"},
}


def charge(shelves: Shelves, intent: Json, *, status: str, method: str) -> Json:
    """One try at a payment: ``succeeded``, ``pending`` or ``failed``; by ``card`` or ``sepa_debit``."""
    failed = status == "failed"
    return _made(
        shelves,
        "charge",
        amount=intent["amount"],
        amount_captured=0 if failed else intent["amount"],
        amount_refunded=0,
        billing_details=dict.fromkeys(("address", "email", "name", "phone", "tax_id")),
        captured=not failed,
        currency=intent["currency"],
        customer=intent["customer"],
        disputed=False,
        failure_code="card_declined" if failed else None,
        failure_message="The payment was declined." if failed else None,
        metadata=intent["metadata"],
        paid=status == "succeeded",
        payment_intent=intent["id"],
        payment_method_details={"type": method, method: _METHODS[method]},
        refunded=False,
        status=status,
    )


def refund(shelves: Shelves, of: Json, *, amount: int, reason: str | None, metadata: Json) -> Json:
    """Money given back."""
    return {
        **nulls("refund"),
        "id": shelves.new_id("refund"),
        "amount": amount,
        "charge": of["id"],
        "created": shelves.now(),
        "currency": of["currency"],
        "customer": of["customer"],
        "metadata": metadata,
        "payment_intent": of["payment_intent"],
        "reason": reason,
        "status": "succeeded",
    }


_EVIDENCE = """access_activity_log appeal billing_address cancellation_policy cancellation_policy_disclosure
cancellation_rebuttal customer_communication customer_email_address customer_name customer_purchase_ip
customer_signature duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description
receipt refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation
shipping_address shipping_carrier shipping_date shipping_documentation shipping_tracking_number uncategorized_file
uncategorized_text"""


def dispute(shelves: Shelves, of: Json, *, reason: str) -> Json:
    """A payment called back by the payer's bank; we have a week to answer."""
    return _made(
        shelves,
        "dispute",
        amount=of["amount"] - of["amount_refunded"],
        balance_transactions=[],
        charge=of["id"],
        currency=of["currency"],
        enhanced_eligibility_types=[],
        evidence={**dict.fromkeys(_EVIDENCE.split()), "enhanced_evidence": {}},
        evidence_details={
            "due_by": shelves.now() + 7 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=False,
        metadata={},
        payment_intent=of["payment_intent"],
        reason=reason,
        status="needs_response",
    )


def portal_session(shelves: Shelves, *, customer_id: str, return_url: str | None, base_url: str) -> Json:
    """A visit to the portal."""
    made = _made(
        shelves, "billing_portal.session", configuration="bpc_fake", customer=customer_id, return_url=return_url
    )
    return {**made, "url": f"{base_url}/p/session/{made['id']}"}
