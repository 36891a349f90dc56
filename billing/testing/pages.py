"""The pages people see at the fake: checkout, portal, and a desk where time passes and banks decide."""

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import TypeVar

from billing.testing.checkouts import Checkouts
from billing.testing.html import button, link, money, page, row
from billing.testing.payments import Payments
from billing.testing.refusal import Refusal
from billing.testing.shelves import Json, Shelves
from billing.testing.subscriptions import Subscriptions

T = TypeVar("T")

_METHODS = {"card": "card", "sepa_debit": "bank transfer"}


class Pages:
    """The fake's pages over its shelves."""

    def __init__(
        self, shelves: Shelves, payments: Payments, subscriptions: Subscriptions, checkouts: Checkouts
    ) -> None:
        self._shelves = shelves
        self._payments = payments
        self._subscriptions = subscriptions
        self._checkouts = checkouts

    def show(self, path: str, query: Json) -> str:
        """The page at an address.

        Raises:
            Refusal: there is none.
        """
        with self._shelves.lock:
            match path.strip("/").split("/"):
                case ["c", "pay", session_id]:
                    return self._checkout(self._shelves.get("checkout.session", session_id), query)
                case ["p", "session", portal_id]:
                    return self._portal(self._shelves.get("billing_portal.session", portal_id))
                case [""]:
                    return self._desk()
        raise Refusal("There is no such page.", status=404)

    def act(self, path: str) -> str:
        """Does what a button asks and returns the address to go to next.

        Raises:
            Refusal: it cannot be done.
        """
        with self._shelves.lock:
            match path.strip("/").split("/"):
                case ["c", "pay", session_id, deed]:
                    return self._at_checkout(session_id, deed)
                case ["p", "session", portal_id, deed, object_id]:
                    self._at_portal(self._shelves.get("billing_portal.session", portal_id), deed, object_id)
                    return f"/p/session/{portal_id}"
                case ["desk", deed, object_id]:
                    self._at_desk(deed, object_id)
                    return "/"
        raise Refusal("There is no such button.", status=404)

    # checkout

    def _checkout(self, session: Json, query: Json) -> str:
        if session["status"] != "open":
            back = link("Back", session["cancel_url"] or "/")
            return page("Checkout", f"<h1>This checkout is {escape(session['status'])}.</h1><form>{back}</form>")
        base = f"/c/pay/{session['id']}"
        total = money(session["amount_total"], session["currency"])
        monthly = session["mode"] == "subscription"
        body = f"<h1>{'Subscribe' if monthly else 'Pay'}</h1>"
        body += '<p class="bad" role="alert">Your card was declined. Try again.</p>' if "declined" in query else ""
        for item in session["_line_items"]["data"]:
            each = money(item["amount_total"], item["currency"]) + (" a month" if monthly else "")
            body += row(f"{item['quantity']} × {item['description']}", each)
        if session["_trial_days"]:
            body += row("Free trial", f"{session['_trial_days']} days")
            total = money(0, session["currency"])
        body += row("To pay today", total, total=True)
        body += button(f"Pay {total}", f"{base}/pay", main=True)
        body += button("Pay later by bank transfer (SEPA)", f"{base}/later")
        body += button("Card is declined", f"{base}/decline") if session["amount_total"] else ""
        body += f"<form>{link('Cancel', session['cancel_url'] or '/')}</form>"
        return page("Checkout", body)

    def _at_checkout(self, session_id: str, deed: str) -> str:
        session = self._shelves.get("checkout.session", session_id)
        if session["status"] == "open" and deed == "decline":
            self._checkouts.decline(session_id)
            return f"/c/pay/{session_id}?declined=1"
        if session["status"] == "open":
            deeds: dict[str, Callable[[str], Json]] = {"pay": self._checkouts.pay, "later": self._checkouts.pay_later}
            _known(deeds, deed)(session_id)
        return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session_id)

    # portal

    def _portal(self, visit: Json) -> str:
        customer = self._shelves.get("customer", visit["customer"])
        body = f"<h1>Your subscription</h1><p class='soft'>{escape(customer['email'] or customer['id'])}</p>"
        held = [each for each in self._subscriptions.living() if each["customer"] == customer["id"]]
        body += "".join(self._held(each, f"/p/session/{visit['id']}") for each in held)
        body += "" if held else "<p>You have no subscription.</p>"
        deed, label = ("spoil", "Let my card be declined") if customer["_card_works"] else ("mend", "Use a good card")
        body += button(label, f"/p/session/{visit['id']}/{deed}/{customer['id']}")
        invoices = [each for each in self._shelves.all("invoice") if each["customer"] == customer["id"]]
        body += "<h2>Invoices</h2>" if invoices else ""
        for invoice in reversed(invoices):
            amount = money(invoice["total"], invoice["currency"])
            body += row(f"{_day(invoice['created'])} · {invoice['number']}", f"{amount} · {invoice['status']}")
        return page("Portal", f"{body}<form>{link('Back', visit['return_url'] or '/')}</form>")

    def _held(self, held: Json, base: str) -> str:
        item = held["items"]["data"][0]
        price, until = item["price"], _day(item["current_period_end"])
        ending = held["cancel_at_period_end"]
        words = {"trialing": f"Free trial until {until}", "past_due": "The last payment failed"}
        state = f"Ends on {until}" if ending else words.get(held["status"], f"Renews on {until}")
        body = row(self._name(price), money(price["unit_amount"], price["currency"]) + " a month", total=True)
        body += f"<p>{escape(state)}</p>"
        deed, label = ("resume", "Keep my subscription") if ending else ("cancel", "Cancel at the end of the period")
        body += button(label, f"{base}/{deed}/{held['id']}", main=ending)
        for other in self._shelves.all("price"):
            if other["active"] and other["recurring"] and other["id"] != price["id"]:
                cost = money(other["unit_amount"], other["currency"])
                body += button(f"Switch to {self._name(other)} ({cost})", f"{base}/switch-{other['id']}/{held['id']}")
        return body

    def _at_portal(self, visit: Json, deed: str, object_id: str) -> None:
        customer = self._shelves.get("customer", visit["customer"])
        if deed in ("spoil", "mend"):
            self.set_card(customer["id"], works=deed == "mend")
            return
        if self._shelves.get("subscription", object_id)["customer"] != customer["id"]:
            raise Refusal("There is no such subscription.", status=404)
        if deed.startswith("switch-"):
            self._subscriptions.switch(object_id, deed.removeprefix("switch-"))
        else:
            wanted = _known({"cancel": True, "resume": False}, deed)
            self._subscriptions.cancel_at_period_end(object_id, wanted=wanted)

    def set_card(self, customer_id: str, *, works: bool) -> None:
        """A good card, or one that is declined; with a good one the open invoices are paid at once."""
        self._shelves.get("customer", customer_id)["_card_works"] = works
        for invoice in self._subscriptions.open_invoices():
            if works and invoice["customer"] == customer_id and invoice["next_payment_attempt"]:
                self._subscriptions.retry(invoice)

    # desk

    def _desk(self) -> str:
        body = "<h1>The fake’s desk</h1><p class='soft'>Here time passes and banks decide.</p>"
        waiting = [each for each in self._shelves.all("checkout.session") if each["_settles_at"]]
        body += "<h2>Bank transfers under way</h2>" if waiting else ""
        for each in waiting:
            body += row(each["id"], money(each["amount_total"], each["currency"]))
            body += _inline(each["id"], ("arrives", "The money arrives"), ("bounces", "It does not come"))
        body += "<h2>Subscriptions</h2>"
        for each in self._subscriptions.living():
            item = each["items"]["data"][0]
            body += row(self._name(item["price"]), f"{each['status']} until {_day(item['current_period_end'])}")
            body += _inline(each["id"], ("month", "A month later"), ("end", "End now"))
        body += "<h2>Charges</h2>"
        for each in self._shelves.all("charge")[:-11:-1]:
            method = _METHODS[each["payment_method_details"]["type"]]
            body += row(f"{_day(each['created'])} · {method}", f"{self._worth(each)} · {each['status']}")
            if each["paid"] and not each["refunded"] and not each["disputed"]:
                body += _inline(each["id"], ("refund", "Refund"), ("half", "Refund half"), ("dispute", "Dispute"))
        for each in self._shelves.all("dispute"):
            body += row("Dispute", f"{money(each['amount'], each['currency'])} · {each['status']}")
            if each["status"] == "needs_response":
                body += _inline(each["id"], ("won", "We win it"), ("lost", "We lose it"))
        return page("The fake’s desk", body)

    def _at_desk(self, deed: str, object_id: str) -> None:
        deeds: dict[str, Callable[[], Json]] = {
            "arrives": lambda: self._checkouts.settle(object_id, good=True),
            "bounces": lambda: self._checkouts.settle(object_id, good=False),
            "month": lambda: self._subscriptions.renew(object_id),
            "end": lambda: self._subscriptions.end(object_id),
            "refund": lambda: self._payments.refund(object_id),
            "half": lambda: self._payments.refund(object_id, self._shelves.get("charge", object_id)["amount"] // 2),
            "dispute": lambda: self._payments.dispute(object_id),
            "won": lambda: self._payments.close_dispute(object_id, won=True),
            "lost": lambda: self._payments.close_dispute(object_id, won=False),
        }
        _known(deeds, deed)()

    def _worth(self, charge: Json) -> str:
        back = charge["amount_refunded"]
        text = money(charge["amount"], charge["currency"])
        return f"{text} ({money(back, charge['currency'])} given back)" if back else text

    def _name(self, price: Json) -> str:
        return str(self._shelves.get("product", price["product"])["name"])


def _inline(object_id: str, *deeds: tuple[str, str]) -> str:
    return "".join(button(label, f"/desk/{deed}/{object_id}", inline=True) for deed, label in deeds)


def _known(deeds: dict[str, T], deed: str) -> T:
    if deed not in deeds:
        raise Refusal("There is no such button.", status=404)
    return deeds[deed]


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")
