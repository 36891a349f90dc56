"""Comparing our books with Stripe's, and healing what differs: the safety net under lost messages.

Messages are lost when the endpoint is away for longer than Stripe tries (three days), and Stripe forgets events after
30 days. So one run looks at everything of the last 30 days, by the objects themselves and not by the messages.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog

from billing import fulfilment, handlers, inbox, reversals, standing_orders
from billing.handlers import Desk
from billing.reversals import MoneyBack, NotBooked
from billing.stripe_door import StripeRefused, StripeUnreachable
from billing.stripe_records import ChargeRecord, CheckoutMode, DisputeRecord, InvoiceRecord, SessionRecord
from data.database import Database, DatabaseUnreachable
from data.repositories import notices, purchases, subscriptions
from studio.errors import MelodeonError
from studio.words.purchase import Purchase

SPAN: Final = timedelta(days=30)
"""How far back is looked: as long as Stripe keeps its events."""

CHECKOUT_LIFE: Final = timedelta(hours=24)
"""Stripe closes a checkout by then; of one that is open here for longer something was not heard."""

SETTLING: Final = timedelta(hours=1)
"""A period may have ended that long ago without news: Stripe finalises the next invoice after an hour."""

_BATCH: Final = 500
_log = structlog.get_logger(__name__)


class Kind(StrEnum):
    """What differs."""

    UNHEARD = "event not heard"
    UNGRANTED = "paid, not granted"
    UNPAID = "granted, not paid"
    OPEN = "checkout open for too long"
    INVOICE = "invoice paid, not granted"
    REFUND = "refund not booked"
    DISPUTE = "dispute not booked"
    SUBSCRIPTION = "subscription out of date"
    DEAD = "dead letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that Stripe and we do not agree on.

    Attributes:
        subject: id of the object or message, ours or Stripe's.
        sentence: what to know about it, if anything is to be known beyond the kind.
    """

    kind: Kind
    subject: str
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A difference and what heals it; None: only a person can."""

    difference: Difference
    heal: Callable[[], object] | None


def check(desk: Desk) -> tuple[Difference, ...]:
    """Everything that differs; empty when the books agree. Writes nothing.

    Raises:
        StripeUnreachable, StripeRefused, DatabaseUnreachable: it could not be compared.
    """
    return tuple(found.difference for found in _differences(desk))


def heal(desk: Desk) -> tuple[Difference, ...]:
    """Heal what differs, and answer what still does. Safe beside the worker, and twice at once.

    Raises:
        StripeUnreachable, DatabaseUnreachable: it could not be compared.
    """
    _hear(desk)
    handlers.work_off(desk)
    for found in list(_differences(desk)):
        if found.heal is None:
            continue
        try:
            found.heal()
        except (StripeUnreachable, DatabaseUnreachable):
            raise
        except MelodeonError as error:  # the others are healed all the same; this one stays in the list
            _log.error(
                "not healed", kind=str(found.difference.kind), subject=found.difference.subject, why=error.sentence
            )
    left = check(desk)
    _log.info("reconciled", differences=len(left))
    return left


def _differences(desk: Desk) -> Iterator[_Found]:
    yield from _unheard(desk)
    yield from _sessions(desk)
    yield from _ledger(desk)
    yield from _invoices(desk)
    yield from _refunds(desk)
    yield from _disputes(desk)
    yield from _subscriptions(desk)
    yield from _dead(desk)


def _unheard(desk: Desk) -> Iterator[_Found]:
    events = [
        event
        for event in desk.door.events(since=desk.now - SPAN, undelivered_only=True)
        if event.type in handlers.HANDLERS
    ]
    for start in range(0, len(events), _BATCH):
        part = events[start : start + _BATCH]
        with desk.database.transaction() as session:
            known = notices.known(session, [event.id for event in part])
        for event in part:
            if event.id not in known:
                yield _Found(difference=Difference(kind=Kind.UNHEARD, subject=event.id, sentence=event.type), heal=None)


def _hear(desk: Desk) -> None:
    for event in desk.door.events(since=desk.now - SPAN, undelivered_only=True):
        if event.type in handlers.HANDLERS:
            inbox.receive(desk.database, event, None, now=desk.now)


def _sessions(desk: Desk) -> Iterator[_Found]:
    """Checkouts against purchases, both ways."""
    since = desk.now - SPAN
    records = {record.id: record for record in desk.door.sessions(since=since)}
    with desk.database.transaction() as session:
        paid = {each.id: each for each in purchases.paid_since(session, since) if ":" not in each.id}
        stale = {each.id for each in purchases.open_before(session, desk.now - CHECKOUT_LIFE)}
    for record in records.values():
        if _is_paid(record) and record.id not in paid:
            yield _Found(
                difference=Difference(kind=Kind.UNGRANTED, subject=record.id), heal=_fulfilling(desk, record.id)
            )
    for purchase in paid.values():
        if _is_unpaid(purchase, records.get(purchase.id), since=since):
            yield _Found(difference=Difference(kind=Kind.UNPAID, subject=purchase.id), heal=None)
    for purchase_id in sorted(stale):
        record_here = records.get(purchase_id)
        # a delayed payment is complete and unpaid for days: there is nothing to hear yet
        if record_here is None or record_here.status == "expired":
            yield _Found(difference=Difference(kind=Kind.OPEN, subject=purchase_id), heal=_closing(desk, purchase_id))


def _is_paid(record: SessionRecord) -> bool:
    return record.status == "complete" and record.payment_status == "paid"


def _is_unpaid(purchase: Purchase, record: SessionRecord | None, *, since: datetime) -> bool:
    """Whether Stripe knows nothing of a payment that it should know."""
    if record is None:
        return purchase.created_at > since + SETTLING
    return record.mode == CheckoutMode.PAYMENT and not _is_paid(record)


def _fulfilling(desk: Desk, session_id: str) -> Callable[[], object]:
    return lambda: fulfilment.fulfil(desk.database, desk.door, session_id, now=desk.now)


def _closing(desk: Desk, session_id: str) -> Callable[[], object]:
    """A checkout that even Stripe has forgotten is over."""

    def close() -> None:
        try:
            fulfilment.fulfil(desk.database, desk.door, session_id, now=desk.now)
        except StripeRefused:
            with desk.database.transaction() as session:
                fulfilment.close_forgotten(session, session_id, now=desk.now)

    return close


def _ledger(desk: Desk) -> Iterator[_Found]:
    """The ledger against the purchases: the two are written together, so only tampering parts them."""
    with desk.database.transaction() as session:
        granted, bought = purchases.grants_without_purchase(session), purchases.without_grant(session)
    for key in granted:
        yield _Found(difference=Difference(kind=Kind.UNPAID, subject=key), heal=None)
    for purchase_id in bought:
        yield _Found(difference=Difference(kind=Kind.UNGRANTED, subject=purchase_id), heal=None)


def _invoices(desk: Desk) -> Iterator[_Found]:
    since = desk.now - SPAN
    with desk.database.transaction() as session:
        booked = {each.id for each in purchases.paid_since(session, since - SPAN)}
    for invoice in desk.door.invoices(since=since):
        lines = [line for line in invoice.lines if line.amount_minor > 0]
        missing = [line for line in lines if standing_orders.line_purchase_id(invoice, line) not in booked]
        if invoice.status == "paid" and invoice.subscription and missing:
            difference = Difference(kind=Kind.INVOICE, subject=invoice.id)
            yield _Found(difference=difference, heal=_booking_invoice(desk, invoice))


def _booking_invoice(desk: Desk, invoice: InvoiceRecord) -> Callable[[], object]:
    def book() -> None:
        with desk.database.transaction() as session:
            standing_orders.book_invoice(session, invoice, now=desk.now)

    return book


def _refunds(desk: Desk) -> Iterator[_Found]:
    for charge in desk.door.charges(since=desk.now - SPAN):
        if charge.paid and _refund_differs(desk.database, charge):
            difference = Difference(kind=Kind.REFUND, subject=charge.id)
            yield _Found(difference=difference, heal=_booking_charge(desk, charge.id))


def _refund_differs(database: Database, charge: ChargeRecord) -> bool:
    with suppress(NotBooked):
        return _any_differs(database, (reversals.refund_of(database, charge),))
    return charge.refunded_minor > 0


def _booking_charge(desk: Desk, charge_id: str) -> Callable[[], object]:
    def book() -> None:
        backs = reversals.read_charge(desk.database, desk.door, charge_id)
        with desk.database.transaction() as session:
            reversals.book(session, backs, now=desk.now)

    return book


def _disputes(desk: Desk) -> Iterator[_Found]:
    for dispute in desk.door.disputes(since=desk.now - SPAN):
        if _dispute_differs(desk, dispute):
            difference = Difference(kind=Kind.DISPUTE, subject=dispute.id)
            yield _Found(difference=difference, heal=_booking_charge(desk, dispute.charge))


def _dispute_differs(desk: Desk, dispute: DisputeRecord) -> bool:
    with suppress(NotBooked):
        return _any_differs(desk.database, reversals.read_charge(desk.database, desk.door, dispute.charge))
    return dispute.status in reversals.TAKING


def _any_differs(database: Database, backs: tuple[MoneyBack, ...]) -> bool:
    with database.transaction() as session:
        bought = [purchase.id for purchase in backs[0].bought]
        return reversals.differ(backs, purchases.reversals(session, bought))


def _subscriptions(desk: Desk) -> Iterator[_Found]:
    """Those whose period is over and that were not renewed or ended here."""
    with desk.database.transaction() as session:
        overdue = subscriptions.overdue(session, desk.now - SETTLING)
    for here in overdue:
        there = desk.door.subscription(here.id)
        facts = (there.status, there.current_period_end, there.cancel_at_period_end)
        if facts != (here.status, here.current_period_end, here.cancel_at_period_end):
            difference = Difference(kind=Kind.SUBSCRIPTION, subject=here.id, sentence=there.status)
            yield _Found(difference=difference, heal=_following(desk, here.id))


def _following(desk: Desk, subscription_id: str) -> Callable[[], object]:
    def follow() -> None:
        seen = standing_orders.read(desk.database, desk.door, subscription_id)
        with desk.database.transaction() as session:
            standing_orders.book(session, seen, now=desk.now)

    return follow


def _dead(desk: Desk) -> Iterator[_Found]:
    with desk.database.transaction() as session:
        buried = notices.dead(session, most=_BATCH)
    for notice in buried:
        difference = Difference(kind=Kind.DEAD, subject=notice.id, sentence=f"{notice.type}: {notice.last_error}")
        yield _Found(difference=difference, heal=None)
