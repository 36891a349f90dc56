"""Payments as the pages and doors use them: begin a checkout, go to the portal, fulfil. None when no key is set."""

from datetime import datetime

import structlog

from billing import fulfilment, plans
from billing.fulfilment import Fulfilment
from billing.plans import Pack, Plan
from billing.stripe_door import StripeDoor, StripeRefused
from billing.stripe_records import CheckoutMode, PriceItem
from configs.settings import StripeSettings
from data.database import Database
from data.repositories import purchases, subscriptions
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.ids import AccountId
from studio.words.purchase import Purchase

_log = structlog.get_logger(__name__)


class PaymentsOff(MelodeonError):
    """No key of the payment service is configured."""

    code = "payments_off"

    def __init__(self) -> None:
        super().__init__("Payments are off in this installation. Everything else works; ask whoever runs it.")


class AlreadySubscribed(MelodeonError):
    """The account has a paid plan; it is changed in the portal, not bought a second time."""

    code = "already_subscribed"

    def __init__(self) -> None:
        super().__init__("You have a plan already. Change or end it under “Manage subscription”.")


class NotSubscribed(MelodeonError):
    """The account never bought anything, so the payment service has no page for it."""

    code = "never_bought"

    def __init__(self) -> None:
        super().__init__("There is nothing to manage yet: you have not bought anything.")


class Payments:
    """What this installation sells, and how. Safe to share between threads.

    Args:
        door: to Stripe.
        database: where purchases stand.
    """

    def __init__(self, door: StripeDoor, database: Database) -> None:
        self.door = door
        self._database = database

    def start_checkout(
        self, account: Account, item_name: str, *, key: str, success_url: str, cancel_url: str, now: datetime
    ) -> str:
        """Begin buying a pack or a plan; answers the address of the page to pay at.

        Args:
            account: who buys.
            item_name: name of a pack or of a paid plan in ``configs/plans.toml``.
            key: of this wish, of the account's own: asked twice with it, one checkout is begun.
            success_url: where people come back to; ``{CHECKOUT_SESSION_ID}`` in it becomes the id for `fulfil`.
            cancel_url: where they come back to without having paid.
            now: aware UTC.

        Raises:
            UnknownItem: no such pack or plan is for sale.
            AlreadySubscribed: it is a plan, and the account has one.
            StripeUnreachable, StripeRefused: there is no checkout.
        """
        item = plans.item(item_name)
        trial_days = self._trial_days(account, item)
        checkout = self.door.checkout(
            lookup_key=item.lookup_key,
            mode=CheckoutMode.PAYMENT if isinstance(item, Pack) else CheckoutMode.SUBSCRIPTION,
            customer=self.ensure_customer(account),
            account_id=account.id,
            success_url=success_url,
            cancel_url=cancel_url,
            key=f"{account.id}:{key}",
            trial_days=trial_days,
        )
        purchase = Purchase(
            id=checkout.id,
            account_id=account.id,
            item=item.lookup_key,
            credits=item.credits if isinstance(item, Pack) else 0,
            amount_minor=item.amount_minor,
            currency=item.currency,
            created_at=now,
        )
        with self._database.transaction() as session:
            purchases.add(session, purchase)
        _log.info("checkout begun", account_id=account.id, item=item.lookup_key, purchase_id=checkout.id)
        return checkout.url

    def portal_url(self, account: Account, return_url: str) -> str:
        """The address of the page where the account changes or ends its plan and finds its invoices.

        Raises:
            NotSubscribed: it never bought anything.
            StripeUnreachable, StripeRefused: there is no such page now.
        """
        with self._database.transaction() as session:
            customer = subscriptions.customer_of(session, account.id)
        if not customer:
            raise NotSubscribed
        return self.door.portal(customer, return_url)

    def ensure_customer(self, account: Account) -> str:
        """The account's id at Stripe, made there if it has none. Of two makers at once the first one's stays."""
        with self._database.transaction() as session:
            customer = subscriptions.customer_of(session, account.id)
        if customer:
            return customer
        return self._make_customer(account.id, account.name, account.email)

    def forget(self, account: Account) -> None:
        """End the account's subscriptions at Stripe and have its name and address taken away there.

        Raises:
            StripeUnreachable, StripeRefused: it is not done, or only in part; again, it may be.
        """
        with self._database.transaction() as session:
            customer = subscriptions.customer_of(session, account.id)
        if customer:
            self.door.forget_customer(customer)

    def make_customers(self, *, most: int = 50) -> int:
        """Make customers of new accounts, so that signing up never waits for Stripe; answers how many."""
        with self._database.transaction() as session:
            found = subscriptions.without_customer(session, most=most)
        made = 0
        for somebody in found:
            try:
                self._make_customer(somebody.account_id, somebody.name, somebody.email)
                made += 1
            except StripeRefused as error:  # an address that Stripe will not have must not keep the others waiting
                _log.warning("no customer made", account_id=somebody.account_id, why=error.sentence)
        return made

    def _make_customer(self, account_id: AccountId, name: str, email: str) -> str:
        made = self.door.create_customer(account_id, name, email)
        with self._database.transaction() as session:
            kept = subscriptions.keep_customer(session, account_id, made)
        if kept != made:  # somebody else was faster, or the account was closed meanwhile
            self.door.forget_customer(made)
        return kept

    def fulfil(self, session_id: str, *, now: datetime) -> Fulfilment:
        """Give what a checkout has paid for, if it has; see `billing.fulfilment.fulfil`."""
        return fulfilment.fulfil(self._database, self.door, session_id, now=now)

    def sync_prices(self) -> int:
        """Write plans and packs to Stripe as its products and prices; answers how many prices were made."""
        return self.door.sync_prices(
            PriceItem(
                lookup_key=item.lookup_key,
                label=item.label,
                amount_minor=item.amount_minor,
                currency=item.currency,
                monthly=isinstance(item, Plan),
            )
            for item in plans.items()
        )

    def _trial_days(self, account: Account, item: Pack | Plan) -> int:
        if isinstance(item, Pack):
            return 0
        with self._database.transaction() as session:
            if subscriptions.entitling(session, account.id):
                raise AlreadySubscribed
            return 0 if subscriptions.any_ever(session, account.id) else item.trial_days


def open_payments(settings: StripeSettings, database: Database) -> Payments | None:
    """The payments of this process, or None when they are off."""
    if settings.api_key is None:
        return None
    secrets = tuple(secret.get_secret_value() for secret in settings.webhook_secrets)
    return Payments(StripeDoor(settings.api_key.get_secret_value(), secrets, settings.base_url), database)
