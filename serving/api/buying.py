"""Buying as doors and pages do it: where a checkout comes back to is decided here, never by who asks."""

import hashlib
from dataclasses import dataclass
from typing import Final

from billing import ledger, plans
from billing.payments import Payments, PaymentsOff
from billing.plans import Pack, Plan
from configs.addresses import web_url
from data import access
from data.repositories import purchases
from data.repositories.texts import keepable
from serving.api.services import Services
from studio.words.account import Account
from studio.words.credit import Balance
from studio.words.purchase import PurchaseState

SUCCESS_PATH: Final = "/billing-success"
CANCEL_PATH: Final = "/billing-cancel"
PRICES_PATH: Final = "/upgrade"
_SESSION: Final = "{CHECKOUT_SESSION_ID}"
"""The payment service puts the id of the checkout in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What became of a checkout, for its buyer.

    Attributes:
        item: what was bought; None when it is no longer sold.
        credits: how many it brings; those of a plan come with its invoices.
        balance: the buyer's, now.
    """

    state: PurchaseState
    item: Pack | Plan | None
    credits: int
    balance: Balance


def payments_of(services: Services) -> Payments:
    """The payments of this installation.

    Raises:
        PaymentsOff: there are none.
    """
    if services.payments is None:
        raise PaymentsOff
    return services.payments


def are_pretended(services: Services) -> bool:
    """Whether a fake stands for the payment service."""
    return services.payments is not None and services.settings.stripe.base_url is not None


def checkout_url(services: Services, account: Account, item: str, *, key: str) -> str:
    """The address of a new checkout for a pack or a paid plan.

    Args:
        services: of this process.
        account: who buys.
        item: name of the pack or plan.
        key: idempotency key of this account, whatever its characters; with another item it is another wish.

    Raises:
        PaymentsOff, UnknownItem, AlreadySubscribed: it cannot be bought.
        StripeUnreachable, StripeRefused: there is no checkout now.
    """
    here = web_url(services.settings)
    return payments_of(services).start_checkout(
        account,
        item,
        key=hashlib.sha256(f"{item}\n{key}".encode()).hexdigest()[:32],
        success_url=f"{here}{SUCCESS_PATH}?session={_SESSION}",
        cancel_url=f"{here}{CANCEL_PATH}",
        now=services.now(),
    )


def portal_url(services: Services, account: Account) -> str:
    """The address of the page where this person changes the card, ends the plan and finds invoices.

    Raises:
        PaymentsOff, NotSubscribed: there is none for this person.
        StripeUnreachable, StripeRefused: there is none now.
    """
    return payments_of(services).portal_url(account, f"{web_url(services.settings)}{PRICES_PATH}")


def look(services: Services, account: Account, session_id: str) -> Arrival:
    """How a checkout of this account stands. What was paid is given here, should its notice be late.

    Raises:
        NotFound: this account began no such checkout.
        PaymentsOff, StripeUnreachable, StripeRefused: how it stands cannot be asked now.
    """
    if not keepable(session_id):
        raise access.NotFound("purchase")
    with services.database.transaction() as session:
        purchase = purchases.by_id(session, session_id)
    if purchase is None or purchase.account_id != account.id:
        raise access.NotFound("purchase")
    state = purchase.state
    if not state.was_paid:
        state = payments_of(services).fulfil(session_id, now=services.now()).state
    with services.database.transaction() as session:
        balance = ledger.balance(session, account.id)
    return Arrival(state=state, item=plans.by_lookup_key(purchase.item), credits=purchase.credits, balance=balance)
