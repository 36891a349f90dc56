"""The calls of Stripe's API that the fake answers: an address, the parameters it knows, and what it does."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from billing.testing import objects
from billing.testing.checkouts import Checkouts
from billing.testing.expansion import expand
from billing.testing.payments import Payments
from billing.testing.refusal import Refusal
from billing.testing.shelves import Json, Shelves, public
from billing.testing.subscriptions import Subscriptions

_CURRENCIES: Final = ("usd", "eur", "gbp", "chf")
_EVENTS_KEPT_S: Final = 30 * 86_400
_PAGING: Final = frozenset({"limit", "starting_after", "ending_before", "created", "expand"})


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked: the id in the address (``""`` without one) and the parameters."""

    object_id: str
    params: Json

    def need(self, *names: str) -> None:
        """Refuses the call unless all these parameters are there."""
        for name in names:
            if self.params.get(name) in (None, ""):
                raise Refusal(f"Missing required param: {name}.", reason="parameter_missing", param=name)


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    address: re.Pattern[str]
    known: frozenset[str]
    act: Callable[[Call], Json]


class Api:
    """Stripe's API over the fake's shelves."""

    def __init__(
        self,
        shelves: Shelves,
        payments: Payments,
        subscriptions: Subscriptions,
        checkouts: Checkouts,
        base_url: Callable[[], str],
    ) -> None:
        self._shelves = shelves
        self._payments = payments
        self._subscriptions = subscriptions
        self._checkouts = checkouts
        self._base_url = base_url
        self._routes: list[_Route] = []
        self._add_catalogue()
        self._add_checkout()
        self._add_money()
        self._add_billing()
        self._add_events()

    def answer(self, method: str, path: str, params: Json) -> Json:
        """The object asked for or made.

        Raises:
            Refusal: Stripe would refuse it too.
        """
        for route in self._routes:
            found = route.address.fullmatch(path)
            if route.method != method or found is None:
                continue
            for name in params:
                if name not in route.known and name != "expand":
                    raise Refusal(f"Received unknown parameter: {name}", reason="parameter_unknown", param=name)
            with self._shelves.lock:
                made = public(route.act(Call(found[1] if found.groups() else "", params)))
                return expand(self._shelves, made, params.get("expand", []))
        raise Refusal(f"Unrecognized request URL ({method}: {path}).", status=404)

    def _add(self, method: str, address: str, known: str, act: Callable[[Call], Json]) -> None:
        pattern = re.compile("/v1/" + address.replace("ID", "([A-Za-z0-9_-]+)"))
        self._routes.append(_Route(method, pattern, frozenset(known.split()), act))

    def _add_readers(self, kind: str, address: str, *filters: str) -> None:
        """An object by its id, and the list of its kind."""
        self._add("GET", f"{address}/ID", "", lambda call: self._shelves.get(kind, call.object_id))
        known = " ".join((*filters, *_PAGING))
        self._add("GET", address, known, lambda call: self._list(kind, f"/v1/{address}", call, filters))

    def _list(
        self, kind: str, url: str, call: Call, filters: tuple[str, ...], *, since: int = 0, keep: Any = None
    ) -> Json:
        wanted = {name: call.params[name] for name in filters if name in call.params}

        def kept(thing: Json) -> bool:
            alike = all(thing.get(name) == value for name, value in wanted.items())
            return alike and _within(thing["created"], call.params.get("created")) and (keep is None or keep(thing))

        first = max(since, _from(call.params.get("created")))
        things, has_more = self._shelves.page(kind, keep=kept, since=first, query=call.params)
        return objects.listed([public(thing) for thing in things], url, has_more=has_more)

    # products, prices, customers

    def _add_catalogue(self) -> None:
        self._add("POST", "products", "id name description metadata active", self._make_product)
        self._add("POST", "products/ID", "name description metadata active", lambda call: self._edit("product", call))
        self._add_readers("product", "products", "active")
        made = "currency unit_amount product lookup_key transfer_lookup_key metadata recurring nickname active"
        self._add("POST", "prices", made, self._make_price)
        self._add("POST", "prices/ID", "active metadata nickname", lambda call: self._edit("price", call))
        self._add("GET", "prices/ID", "", lambda call: self._shelves.get("price", call.object_id))
        known = " ".join(("active", "product", "currency", "type", "lookup_keys", *_PAGING))
        self._add("GET", "prices", known, self._prices)
        self._add("POST", "customers", "name email metadata description", self._make_customer)
        self._add("POST", "customers/ID", "name email metadata description", lambda call: self._edit("customer", call))
        self._add_readers("customer", "customers", "email")

    def _make_product(self, call: Call) -> Json:
        call.need("name")
        chosen = call.params.get("id")
        if chosen and self._shelves.find(chosen):
            raise Refusal("Product already exists.", reason="resource_already_exists", param="id")
        metadata = call.params.get("metadata", {})
        made = objects.product(self._shelves, product_id=chosen, name=call.params["name"], metadata=metadata)
        self._shelves.emit("product.created", self._shelves.put(made))
        return made

    def _make_price(self, call: Call) -> Json:
        call.need("currency", "product", "unit_amount")
        params = call.params
        product = self._shelves.get("product", params["product"], param="product")
        amount, currency = params["unit_amount"], str(params["currency"]).lower()
        if not isinstance(amount, int) or amount < 0:
            raise Refusal("Invalid integer: unit_amount", reason="parameter_invalid_integer", param="unit_amount")
        if currency not in _CURRENCIES:
            raise Refusal(f"Invalid currency: {currency}.", param="currency")
        recurring = params.get("recurring") or {}
        made = objects.price(
            self._shelves,
            product_id=product["id"],
            amount=amount,
            currency=currency,
            interval=recurring.get("interval"),
        )
        made.update(metadata=params.get("metadata", {}), lookup_key=self._take_lookup_key(params))
        self._shelves.emit("price.created", self._shelves.put(made))
        return made

    def _take_lookup_key(self, params: Json) -> str | None:
        """The lookup key asked for; it belongs to one price and wanders only on demand."""
        wanted: str | None = params.get("lookup_key")
        for price in self._shelves.all("price"):
            if wanted and price["lookup_key"] == wanted:
                if not params.get("transfer_lookup_key"):
                    raise Refusal("A price already uses that lookup key.", param="lookup_key")
                price["lookup_key"] = None
        return wanted

    def _prices(self, call: Call) -> Json:
        keys = call.params.get("lookup_keys")
        filters = ("active", "product", "currency", "type")
        return self._list(
            "price", "/v1/prices", call, filters, keep=lambda price: keys is None or price["lookup_key"] in keys
        )

    def _make_customer(self, call: Call) -> Json:
        params = call.params
        email = params.get("email")
        if email and "@" not in email:
            raise Refusal(f"Invalid email address: {email}", reason="email_invalid", param="email")
        made = objects.customer(
            self._shelves, name=params.get("name"), email=email, metadata=params.get("metadata", {})
        )
        self._shelves.emit("customer.created", self._shelves.put(made))
        return made

    def _edit(self, kind: str, call: Call) -> Json:
        held = self._shelves.get(kind, call.object_id)
        changes = {name: value for name, value in call.params.items() if name != "expand" and held[name] != value}
        before = {name: held[name] for name in changes}
        if changes:
            held.update(changes)
            self._shelves.emit(f"{kind}.updated", held, before)
        return held

    # checkout and portal

    def _add_checkout(self) -> None:
        known = (
            "mode customer client_reference_id line_items success_url cancel_url metadata payment_intent_data "
            "subscription_data"
        )
        self._add("POST", "checkout/sessions", known, self._open_checkout)
        self._add("POST", "checkout/sessions/ID/expire", "", lambda call: self._checkouts.expire(call.object_id))
        self._add("GET", "checkout/sessions/ID/line_items", " ".join(_PAGING), self._line_items)
        self._add_readers(
            "checkout.session", "checkout/sessions", "customer", "payment_intent", "subscription", "status"
        )
        self._add("POST", "billing_portal/sessions", "customer return_url", self._open_portal)

    def _open_checkout(self, call: Call) -> Json:
        call.need("mode", "line_items", "success_url")
        params = call.params
        if params.get("customer"):
            self._shelves.get("customer", params["customer"], param="customer")
        items = [self._line_item(each, params["mode"]) for each in params["line_items"]]
        return self._checkouts.open(params, items, base_url=self._base_url())

    def _line_item(self, wanted: Json, mode: str) -> Json:
        price = self._shelves.get("price", wanted.get("price", ""), param="line_items[0][price]")
        if not price["active"]:
            raise Refusal("The price specified is inactive.", param="line_items[0][price]")
        if (price["type"] == "recurring") != (mode == "subscription"):
            raise Refusal(f"You specified `{mode}` mode but passed a {price['type']} price.", param="line_items")
        name = self._shelves.get("product", price["product"])["name"]
        return objects.line_item(self._shelves, price, name, wanted.get("quantity", 1))

    def _line_items(self, call: Call) -> Json:
        items: Json = self._shelves.get("checkout.session", call.object_id)["_line_items"]
        return items

    def _open_portal(self, call: Call) -> Json:
        call.need("customer")
        self._shelves.get("customer", call.params["customer"], param="customer")
        made = objects.portal_session(
            self._shelves,
            customer_id=call.params["customer"],
            return_url=call.params.get("return_url"),
            base_url=self._base_url(),
        )
        return self._shelves.put(made)

    # payments, charges, refunds, disputes

    def _add_money(self) -> None:
        self._add_readers("payment_intent", "payment_intents", "customer")
        self._add_readers("charge", "charges", "customer", "payment_intent")
        self._add("POST", "refunds", "charge payment_intent amount reason metadata", self._refund)
        self._add_readers("refund", "refunds", "charge", "payment_intent")
        self._add_readers("dispute", "disputes", "charge", "payment_intent")
        self._add("POST", "disputes/ID/close", "", lambda call: self._payments.close_dispute(call.object_id, won=False))

    def _refund(self, call: Call) -> Json:
        params = call.params
        charge = params.get("charge")
        if charge is None:
            call.need("payment_intent")
            intent = self._shelves.get("payment_intent", params["payment_intent"], param="payment_intent")
            charge = intent["latest_charge"] or ""
        return self._payments.refund(
            charge, params.get("amount"), reason=params.get("reason"), metadata=params.get("metadata")
        )

    # invoices and subscriptions

    def _add_billing(self) -> None:
        self._add_readers("invoice", "invoices", "customer", "status", "collection_method")
        self._add("GET", "invoices/ID/lines", " ".join(_PAGING), self._invoice_lines)
        self._add("POST", "invoices/ID/pay", "", self._pay_invoice)
        self._add("GET", "invoice_payments/ID", "", lambda call: self._shelves.get("invoice_payment", call.object_id))
        known = " ".join(("invoice", "status", "payment", *_PAGING))
        self._add("GET", "invoice_payments", known, self._invoice_payments)
        self._add("POST", "subscriptions/ID", "cancel_at_period_end items proration_behavior", self._change)
        self._add("DELETE", "subscriptions/ID", "", lambda call: self._subscriptions.end(call.object_id))
        self._add_readers("subscription", "subscriptions", "customer", "status")

    def _invoice_lines(self, call: Call) -> Json:
        lines: Json = self._shelves.get("invoice", call.object_id)["lines"]
        return lines

    def _pay_invoice(self, call: Call) -> Json:
        invoice = self._shelves.get("invoice", call.object_id)
        if invoice["status"] != "open":
            raise Refusal("Invoice is already paid or closed.")
        self._subscriptions.retry(invoice)
        return invoice

    def _invoice_payments(self, call: Call) -> Json:
        intent = call.params.get("payment", {}).get("payment_intent")
        return self._list(
            "invoice_payment",
            "/v1/invoice_payments",
            call,
            ("invoice", "status"),
            keep=lambda tie: intent is None or tie["payment"]["payment_intent"] == intent,
        )

    def _change(self, call: Call) -> Json:
        held = self._shelves.get("subscription", call.object_id)
        for item in call.params.get("items", []):
            held = self._subscriptions.switch(call.object_id, item["price"])
        if "cancel_at_period_end" in call.params:
            wanted = bool(call.params["cancel_at_period_end"])
            held = self._subscriptions.cancel_at_period_end(call.object_id, wanted=wanted)
        return held

    # events

    def _add_events(self) -> None:
        self._add("GET", "events/ID", "", self._event)
        self._add("GET", "events", " ".join(("type", "types", "delivery_success", *_PAGING)), self._events)

    def _event(self, call: Call) -> Json:
        event = self._shelves.get("event", call.object_id)
        if event["created"] < self._shelves.now() - _EVENTS_KEPT_S:
            raise Refusal(f"No such event: '{call.object_id}'", status=404, reason="resource_missing", param="id")
        return event

    def _events(self, call: Call) -> Json:
        kinds = call.params.get("types") or ([call.params["type"]] if "type" in call.params else None)
        delivered = call.params.get("delivery_success")

        def keep(event: Json) -> bool:
            return (kinds is None or event["type"] in kinds) and delivered in (None, event["_delivered"])

        since = self._shelves.now() - _EVENTS_KEPT_S
        return self._list("event", "/v1/events", call, (), since=since, keep=keep)


def _from(created: Any) -> int:
    """The first moment that a filter by date lets through."""
    if isinstance(created, int):
        return created
    return max(created.get("gte", 0), created.get("gt", -1) + 1) if isinstance(created, dict) else 0


def _within(moment: int, created: Any) -> bool:
    if created is None:
        return True
    if isinstance(created, int):
        return moment == created
    tests: dict[str, Callable[[int], bool]] = {
        "gte": lambda edge: moment >= edge,
        "gt": lambda edge: moment > edge,
        "lte": lambda edge: moment <= edge,
        "lt": lambda edge: moment < edge,
    }
    return all(tests[name](edge) for name, edge in created.items())
