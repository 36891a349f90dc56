"""Subscriptions, the accounts that pay, and the plan that follows. ``now`` is the caller's, aware UTC."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.repositories.accounts import LOCAL_NAME
from data.tables import AccountRow, SubscriptionRow
from studio.words.ids import AccountId
from studio.words.subscription import ENDED, ENTITLING, Subscription

_NOT_PAYING: Final = "free"


def by_id(session: Session, subscription_id: str) -> Subscription | None:
    """The subscription with this id."""
    return _first(session.scalars(select(SubscriptionRow).where(SubscriptionRow.id == subscription_id)))


def entitling(session: Session, account_id: AccountId) -> Subscription | None:
    """The subscription that an account has its plan by: of several the one that lasts longest."""
    chosen = select(SubscriptionRow).where(
        SubscriptionRow.account_id == account_id, SubscriptionRow.status.in_(ENTITLING), SubscriptionRow.plan != ""
    )
    ordered = chosen.order_by(SubscriptionRow.current_period_end.desc().nulls_last(), SubscriptionRow.id)
    return _first(session.scalars(ordered.limit(1)))


def any_ever(session: Session, account_id: AccountId) -> bool:
    """Whether the account ever subscribed."""
    chosen = select(SubscriptionRow.id).where(SubscriptionRow.account_id == account_id).limit(1)
    return session.execute(chosen).first() is not None


def of_account(session: Session, account_id: AccountId) -> tuple[Subscription, ...]:
    """Every subscription that an account ever had."""
    chosen = select(SubscriptionRow).where(SubscriptionRow.account_id == account_id).order_by(SubscriptionRow.id)
    return tuple(_subscription_of(row) for row in session.scalars(chosen))


def overdue(session: Session, moment: datetime) -> tuple[Subscription, ...]:
    """Those not ended whose period was over at ``moment``: of them something should have been heard."""
    chosen = select(SubscriptionRow).where(
        SubscriptionRow.status.not_in(ENDED), SubscriptionRow.current_period_end < moment
    )
    return tuple(_subscription_of(row) for row in session.scalars(chosen.order_by(SubscriptionRow.id)))


def put(session: Session, subscription: Subscription, *, now: datetime) -> bool:
    """Keep how a subscription stands, and let its account's plan follow.

    Args:
        subscription: as Stripe has just told it; its ``revision`` is the one that stood here before Stripe was asked,
            0 for one that was not here.

    Returns:
        False when somebody else has changed it meanwhile: nothing was written, and Stripe is to be asked again.
    """
    values = {
        "plan": subscription.plan,
        "status": subscription.status,
        "current_period_end": subscription.current_period_end,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "revision": subscription.revision + 1,
        "updated_at": now,
    }
    # accounts first, here as everywhere: two subscriptions of one account take turns
    session.execute(
        select(AccountRow.id).where(AccountRow.id == subscription.account_id).with_for_update(key_share=True)
    )
    if subscription.revision:
        same = (SubscriptionRow.id == subscription.id, SubscriptionRow.revision == subscription.revision)
        written = session.execute(update(SubscriptionRow).where(*same).values(values).returning(SubscriptionRow.id))
    else:
        identity = {"id": subscription.id, "account_id": subscription.account_id, "created_at": now}
        new = insert(SubscriptionRow).values(values | identity).on_conflict_do_nothing()
        written = session.execute(new.returning(SubscriptionRow.id))
    if written.one_or_none() is None:
        return False
    _follow(session, subscription.account_id)
    return True


def customer_of(session: Session, account_id: AccountId) -> str:
    """The account's id at Stripe, empty while it has none."""
    chosen = select(AccountRow.stripe_customer_id).where(AccountRow.id == account_id)
    return session.execute(chosen).scalar_one_or_none() or ""


def keep_customer(session: Session, account_id: AccountId, customer: str) -> str:
    """Keep the account's id at Stripe unless it has one or is closed, and answer the one it has."""
    nobody = (AccountRow.id == account_id, AccountRow.stripe_customer_id == "", AccountRow.deleted_at.is_(None))
    session.execute(update(AccountRow).where(*nobody).values(stripe_customer_id=customer))
    return customer_of(session, account_id)


def account_of(session: Session, customer: str) -> AccountId | None:
    """Who pays as this customer, also when the account was closed since."""
    if not customer:
        return None
    found = session.execute(select(AccountRow.id).where(AccountRow.stripe_customer_id == customer)).scalar_one_or_none()
    return None if found is None else AccountId(found)


def exists(session: Session, account_id: str) -> bool:
    """Whether there is such an account, open or closed."""
    return session.execute(select(AccountRow.id).where(AccountRow.id == account_id)).one_or_none() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Somebody whom Stripe does not know yet."""

    account_id: AccountId
    name: str
    email: str


def without_customer(session: Session, *, most: int) -> tuple[Unknown, ...]:
    """People's accounts that are nobody at Stripe yet, newest first."""
    chosen = select(AccountRow.id, AccountRow.name, AccountRow.email).where(
        AccountRow.stripe_customer_id == "", AccountRow.deleted_at.is_(None), AccountRow.name != LOCAL_NAME
    )
    rows = session.execute(chosen.order_by(AccountRow.id.desc()).limit(most))
    return tuple(Unknown(account_id=AccountId(row.id), name=row.name, email=row.email) for row in rows)


def _follow(session: Session, account_id: AccountId) -> None:
    found = entitling(session, account_id)
    plan = found.plan if found else _NOT_PAYING
    session.execute(update(AccountRow).where(AccountRow.id == account_id, AccountRow.plan != plan).values(plan=plan))


def _first(rows: Iterable[SubscriptionRow]) -> Subscription | None:
    return next((_subscription_of(row) for row in rows), None)


def _subscription_of(row: SubscriptionRow) -> Subscription:
    return Subscription(
        id=row.id,
        account_id=AccountId(row.account_id),
        plan=row.plan,
        status=row.status,
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        revision=row.revision,
    )
