"""The calls to Stripe, each answered by one of our records."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import stripe

from billing import stripe_notices
from billing.stripe_door.reading import (
    ITEM,
    charge_record,
    dispute_record,
    event_record,
    id_of,
    is_price_of,
    moment,
    name_of,
    payment_of,
    seconds,
    session_record,
    subscription_record,
)
from billing.stripe_door.translation import API_VERSION, StripeRefused, once, translated
from billing.stripe_notices import BadNotice
from billing.stripe_records import (
    ChargeRecord,
    Checkout,
    CheckoutMode,
    DisputeRecord,
    EventRecord,
    InvoiceLineRecord,
    InvoiceRecord,
    PriceItem,
    SessionRecord,
    SubscriptionRecord,
)
from studio.words.subscription import ENDED

TIMEOUT_S: Final = 20.0
RETRIES: Final = 2
_PAGE: Final = 100
_RETRIED_FOR: Final = timedelta(days=92)
"""An open invoice is tried again for up to two months, so a charge may be that much younger than its tie to it."""


# the library would send timings of each call and write an id of this machine into the home folder
stripe.enable_telemetry = False


class StripeDoor:
    """Calls to Stripe with one key, and the check of its messages. Safe to share between threads.

    Args:
        api_key: a secret or restricted key of Stripe's, or the fake's.
        webhook_secrets: the endpoint's signing secrets; two while one is being replaced.
        base_url: another address than Stripe's own: the fake's.
    """

    def __init__(self, api_key: str, webhook_secrets: tuple[str, ...], base_url: str | None = None) -> None:
        self._secrets = webhook_secrets
        self._livemode = "_live_" in api_key
        self._http = stripe.RequestsClient(timeout=TIMEOUT_S)
        self._v1 = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": base_url.rstrip("/")} if base_url else None,
            max_network_retries=RETRIES,
            http_client=self._http,
        ).v1

    def close(self) -> None:
        """Closes this thread's connection; the door may be used again."""
        self._http.close()  # type: ignore[no-untyped-call]  # the library types its client but for this

    def verify(self, payload: bytes, header: str, now: datetime) -> EventRecord:
        """The event in a message posted to the webhook, if it is genuine.

        Args:
            payload: the body exactly as it came.
            header: the ``Stripe-Signature`` header, ``""`` if there was none.
            now: aware UTC; a message dated more than 300 s from it, either way, is refused.

        Raises:
            BadNotice: whatever is wrong with it.
        """
        text = stripe_notices.read_body(payload)
        stripe_notices.check_header(header, now)
        if not any(_signed_with(secret, text, header) for secret in self._secrets):
            raise BadNotice("its signature is not by the endpoint's secret")
        return stripe_notices.read_event(text, livemode=self._livemode)

    def create_customer(self, account_id: str, name: str, email: str) -> str:
        """Makes a customer for an Account and returns its id; asked again within a day it is the same customer."""
        digest = hashlib.sha256(f"{name}\n{email}".encode()).hexdigest()[:16]
        params: stripe.params.CustomerCreateParams = {
            "name": name,
            "email": email,
            "metadata": {"account_id": account_id},
        }
        with translated():
            return once(f"customer:{account_id}:{digest}", partial(self._v1.customers.create, params)).id

    def checkout(
        self,
        *,
        lookup_key: str,
        mode: CheckoutMode,
        customer: str,
        account_id: str,
        success_url: str,
        cancel_url: str,
        key: str,
        trial_days: int = 0,
    ) -> Checkout:
        """Opens a checkout of one item.

        Args:
            lookup_key: of its price, written by ``sync_prices``.
            success_url: may hold ``{CHECKOUT_SESSION_ID}``, which Stripe fills in.
            key: of this wish: asked twice with it, one session is made.
            trial_days: of a subscription, before the first payment; 0 for none.

        Raises:
            StripeRefused: there is no active price of that name, among other reasons.
            StripeUnreachable: Stripe did not answer.
        """
        about = {"account_id": account_id, ITEM: lookup_key}
        params: stripe.params.checkout.SessionCreateParams = {
            "mode": mode.value,
            "customer": customer,
            "client_reference_id": account_id,
            "line_items": [{"price": self._price_named(lookup_key), "quantity": 1}],
            "success_url": success_url,
            "cancel_url": cancel_url,
            "metadata": about,
        }
        if mode is CheckoutMode.PAYMENT:
            params["payment_intent_data"] = {"metadata": about}
        else:
            params["subscription_data"] = {"metadata": about}
            if trial_days:
                params["subscription_data"]["trial_period_days"] = trial_days
        with translated():
            session = once(f"checkout:{key}", partial(self._v1.checkout.sessions.create, params))
            if not session.url:
                raise StripeRefused("the checkout has no address.")
            return Checkout(id=session.id, url=session.url)

    def portal(self, customer: str, return_url: str) -> str:
        """The address of a page where the customer changes or ends the subscription and sees invoices."""
        with translated():
            return self._v1.billing_portal.sessions.create(params={"customer": customer, "return_url": return_url}).url

    def forget_customer(self, customer: str) -> None:
        """Ends the customer's subscriptions now and takes name and address off it; payments stay, for the books."""
        with translated():
            held = self._v1.subscriptions.list(params={"customer": customer, "limit": _PAGE})
            for subscription in held.auto_paging_iter():
                if subscription.status not in ENDED:
                    self._v1.subscriptions.cancel(subscription.id)
            self._v1.customers.update(customer, params={"name": "", "email": ""})

    def checkout_session(self, session_id: str) -> SessionRecord:
        """A checkout session as it stands now."""
        with translated():
            return session_record(
                self._v1.checkout.sessions.retrieve(session_id, params={"expand": ["line_items"]}),
            )

    def invoice(self, invoice_id: str) -> InvoiceRecord:
        """An invoice as it stands now, with all its lines."""
        with translated():
            return self._invoice(self._v1.invoices.retrieve(invoice_id, params={"expand": ["payments"]}), {})

    def subscription(self, subscription_id: str) -> SubscriptionRecord:
        """A subscription as it stands now."""
        with translated():
            return subscription_record(self._v1.subscriptions.retrieve(subscription_id))

    def charge(self, charge_id: str) -> ChargeRecord:
        """A charge as it stands now, with the invoice it paid."""
        with translated():
            charge = self._v1.charges.retrieve(charge_id)
            return charge_record(
                charge, self._invoices_paid({"payment": payment_of(charge)}) if charge.payment_intent else {}
            )

    def dispute(self, dispute_id: str) -> DisputeRecord:
        """A dispute as it stands now."""
        with translated():
            return dispute_record(self._v1.disputes.retrieve(dispute_id))

    def disputes_of(self, charge_id: str) -> tuple[DisputeRecord, ...]:
        """The disputes about a charge as they stand now, oldest first."""
        with translated():
            page = self._v1.disputes.list(params={"charge": charge_id, "limit": _PAGE})
            newest_first = [dispute_record(dispute) for dispute in page.auto_paging_iter()]
        return tuple(reversed(newest_first))

    def events(self, *, since: datetime, undelivered_only: bool) -> Iterator[EventRecord]:
        """The events since then, oldest first; Stripe keeps them for 30 days.

        Args:
            undelivered_only: only those that no delivery has succeeded for yet.
        """
        params: stripe.params.EventListParams = {"created": {"gte": seconds(since)}, "limit": _PAGE}
        if undelivered_only:
            params["delivery_success"] = False
        with translated():
            newest_first = [event_record(event) for event in self._v1.events.list(params=params).auto_paging_iter()]
        return reversed(newest_first)

    def sessions(self, *, since: datetime) -> Iterator[SessionRecord]:
        """The checkout sessions made since then, newest first."""
        with translated():
            page = self._v1.checkout.sessions.list(
                params={"created": {"gte": seconds(since)}, "limit": _PAGE, "expand": ["data.line_items"]}
            )
            for session in page.auto_paging_iter():
                yield session_record(session)

    def invoices(self, *, since: datetime) -> Iterator[InvoiceRecord]:
        """The invoices made since then, newest first."""
        names: dict[str, str] = {}
        with translated():
            page = self._v1.invoices.list(
                params={"created": {"gte": seconds(since)}, "limit": _PAGE, "expand": ["data.payments"]}
            )
            for invoice in page.auto_paging_iter():
                yield self._invoice(invoice, names)

    def charges(self, *, since: datetime) -> Iterator[ChargeRecord]:
        """The charges made since then, newest first."""
        span: stripe.params.InvoicePaymentListParams = {"created": {"gte": seconds(since - _RETRIED_FOR)}}
        with translated():
            paid = self._invoices_paid(span)
            page = self._v1.charges.list(params={"created": {"gte": seconds(since)}, "limit": _PAGE})
            for charge in page.auto_paging_iter():
                yield charge_record(charge, paid)

    def disputes(self, *, since: datetime) -> Iterator[DisputeRecord]:
        """The disputes opened since then, newest first."""
        with translated():
            page = self._v1.disputes.list(params={"created": {"gte": seconds(since)}, "limit": _PAGE})
            for dispute in page.auto_paging_iter():
                yield dispute_record(dispute)

    def sync_prices(self, items: Iterable[PriceItem]) -> int:
        """Makes Stripe's products and prices say what ours say; a second call changes nothing.

        A changed amount is a new price that takes over the lookup key; the old one stays, inactive, for those who
        subscribe to it.

        Returns:
            how many prices were made.
        """
        with translated():
            return sum(self._sync_price(item) for item in items)

    def _sync_price(self, item: PriceItem) -> bool:
        found = self._prices_named(item.lookup_key)
        if found and is_price_of(found[0], item):
            return False
        interval: stripe.params.PriceCreateParamsRecurring = {"interval": "month"}
        params: stripe.params.PriceCreateParams = {
            "currency": item.currency,
            "unit_amount": item.amount_minor,
            "product": self._product_of(item),
            "lookup_key": item.lookup_key,
            "transfer_lookup_key": True,
            "metadata": {ITEM: item.lookup_key},
        }
        if item.monthly:
            params["recurring"] = interval
        self._v1.prices.create(params=params)
        for old in found:
            self._v1.prices.update(old.id, params={"active": False})
        return True

    def _product_of(self, item: PriceItem) -> str:
        """The product of an item, named by us, so that two installations starting at once make one."""
        product_id = f"melodeon_{item.lookup_key}"
        try:
            self._v1.products.update(product_id, params={"name": item.label})
        except stripe.InvalidRequestError as error:
            if error.http_status != 404:
                raise
            self._v1.products.create(params={"id": product_id, "name": item.label})
        return product_id

    def _prices_named(self, lookup_key: str) -> list[stripe.Price]:
        return self._v1.prices.list(params={"lookup_keys": [lookup_key], "active": True}).data

    def _price_named(self, lookup_key: str) -> str:
        with translated():
            for price in self._prices_named(lookup_key):
                return price.id
        raise StripeRefused(f"it has no active price “{lookup_key}”. An operator must write the prices to it first.")

    def _invoices_paid(self, params: stripe.params.InvoicePaymentListParams) -> dict[str, str]:
        """Which invoice a payment intent paid: charges do not say so themselves since 2025."""
        page = self._v1.invoice_payments.list(params={**params, "limit": _PAGE})
        return {
            intent: invoice
            for each in page.auto_paging_iter()
            if each.payment.type == "payment_intent"
            and (intent := id_of(each.payment.payment_intent))
            and (invoice := id_of(each.invoice))
        }

    def _invoice(self, invoice: stripe.Invoice, names: dict[str, str]) -> InvoiceRecord:
        lines = tuple(self._invoice_line(line, names) for line in invoice.lines.auto_paging_iter())
        parent = invoice.parent
        details = parent.subscription_details if parent and parent.type == "subscription_details" else None
        intents = [
            intent
            for each in (invoice.payments.data if invoice.payments else [])
            if each.payment.type == "payment_intent" and (intent := id_of(each.payment.payment_intent))
        ]
        return InvoiceRecord(
            id=invoice.id,
            status=invoice.status or "draft",
            customer=id_of(invoice.customer),
            subscription=id_of(details.subscription) if details else None,
            lines=lines,
            amount_paid_minor=invoice.amount_paid,
            currency=invoice.currency,
            billing_reason=invoice.billing_reason or "",
            payment_intent=intents[0] if intents else None,
            created=moment(invoice.created),
        )

    def _invoice_line(self, line: stripe.InvoiceLineItem, names: dict[str, str]) -> InvoiceLineRecord:
        """A line; its price bears only an id here, so its name is asked for (once a price)."""
        details = line.pricing.price_details if line.pricing else None
        price_id = (id_of(details.price) or "") if details else ""
        if price_id and price_id not in names:
            names[price_id] = name_of(self._v1.prices.retrieve(price_id))
        parent = line.parent
        sold = (parent.subscription_item_details or parent.invoice_item_details) if parent else None
        return InvoiceLineRecord(
            id=line.id,
            lookup_key=names[price_id] if price_id else "",
            price_id=price_id,
            quantity=1 if line.quantity is None else line.quantity,
            amount_minor=line.amount,
            proration=sold.proration if sold else False,
            period_start=moment(line.period.start),
            period_end=moment(line.period.end),
        )


def _signed_with(secret: str, text: str, header: str) -> bool:
    try:
        return bool(secret) and stripe.WebhookSignature.verify_header(text, header, secret, tolerance=None)
    except stripe.SignatureVerificationError:
        return False
