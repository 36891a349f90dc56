"""What every kind of Notice calls for: Stripe is asked for the object first, then one transaction books it.

A Notice is handled in the same transaction that books it, so both happen or neither. A kind that calls for nothing is
handled too. What went wrong says when to try again: see `attempt`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import structlog

from billing import fulfilment, reversals, standing_orders
from billing.fulfilment import UnknownPrice
from billing.standing_orders import Overtaken
from billing.stripe_door import StripeDoor, StripeUnreachable
from configs.logs import stack_of
from data.database import Database, DatabaseUnreachable, Session
from data.repositories import notices
from studio.errors import MelodeonError
from studio.words.notice import Notice

ATTEMPTS_MAX: Final = 10
"""Attempts at a Notice before it is given up: with the pauses below nearly an hour and a half."""

PAUSE_BASE_S: Final = 10.0
UNREACHABLE_PAUSE_S: Final = 30.0
LEASE: Final = timedelta(minutes=5)
"""A Notice whose worker died is taken up again after so long; asking Stripe takes at most a few times 60 s."""

_READS_MAX: Final = 5

_log = structlog.get_logger(__name__)

Booking = Callable[[Session], None]


class Handled(StrEnum):
    """What became of one attempt."""

    DONE = "done"
    LATER = "later"
    UNREACHABLE = "unreachable"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where Notices are worked at: the database, Stripe and the time, aware UTC."""

    database: Database
    door: StripeDoor
    now: datetime


def _nothing(_: Session) -> None:
    """Books nothing."""


def _unasked(_desk: Desk, _notice: Notice) -> Booking:
    """A kind that calls for nothing."""
    return _nothing


def _checkout(desk: Desk, notice: Notice) -> Booking:
    record = desk.door.checkout_session(notice.object_id)
    failed = notice.type == "checkout.session.async_payment_failed"
    following = _subscription_of(desk, record.subscription)

    def booking(session: Session) -> None:
        if fulfilment.concerns_us(session, record):
            fulfilment.book(session, record, now=desk.now, failed=failed)
            following(session)

    return booking


def _invoice_paid(desk: Desk, notice: Notice) -> Booking:
    invoice = desk.door.invoice(notice.object_id)
    following = _subscription_of(desk, invoice.subscription)

    def booking(session: Session) -> None:
        standing_orders.book_invoice(session, invoice, now=desk.now)
        following(session)

    return booking


def _invoice_failed(desk: Desk, notice: Notice) -> Booking:
    return _subscription_of(desk, desk.door.invoice(notice.object_id).subscription)


def _subscription(desk: Desk, notice: Notice) -> Booking:
    return _subscription_of(desk, notice.object_id)


def _subscription_of(desk: Desk, subscription_id: str | None) -> Booking:
    if subscription_id is None:
        return _nothing
    seen = standing_orders.read(desk.database, desk.door, subscription_id)
    return lambda session: standing_orders.book(session, seen, now=desk.now)


def _charge(desk: Desk, notice: Notice) -> Booking:
    return _refund_of(desk, notice.object_id)


def _refund(desk: Desk, notice: Notice) -> Booking:
    # from Stripe's list no ids come along; the charge's own message tells the same
    charge_id = notice.payload.get("charge", "")
    return _refund_of(desk, charge_id) if charge_id else _nothing


def _refund_of(desk: Desk, charge_id: str) -> Booking:
    backs = reversals.read_charge(desk.database, desk.door, charge_id)
    return lambda session: reversals.book(session, backs, now=desk.now)


def _dispute(desk: Desk, notice: Notice) -> Booking:
    backs = reversals.read_dispute(desk.database, desk.door, notice.object_id)
    return lambda session: reversals.book(session, backs, now=desk.now)


HANDLERS: Final[Mapping[str, Callable[[Desk, Notice], Booking]]] = MappingProxyType(
    {
        "checkout.session.completed": _checkout,
        "checkout.session.async_payment_succeeded": _checkout,
        "checkout.session.async_payment_failed": _checkout,
        "checkout.session.expired": _checkout,
        "invoice.paid": _invoice_paid,
        "invoice.payment_failed": _invoice_failed,
        "customer.subscription.created": _subscription,
        "customer.subscription.updated": _subscription,
        "customer.subscription.deleted": _subscription,
        "charge.refunded": _charge,
        "refund.created": _refund,
        "refund.updated": _refund,
        "refund.failed": _refund,
        "charge.dispute.created": _dispute,
        "charge.dispute.closed": _dispute,
        "charge.dispute.funds_withdrawn": _dispute,
        "charge.dispute.funds_reinstated": _dispute,
    }
)
"""The kinds that call for something: exactly those that the endpoint at Stripe must send."""


def handle(desk: Desk, notice: Notice) -> bool:
    """Handle one Notice; False: somebody else had done so.

    Raises:
        MelodeonError: it cannot be handled, now or ever.
    """
    prepare = HANDLERS.get(notice.type, _unasked)
    for read in range(_READS_MAX):
        booking = prepare(desk, notice)
        try:
            with desk.database.transaction() as session:
                if not notices.lock(session, notice.id):
                    return False
                booking(session)
                notices.mark_handled(session, notice.id, now=desk.now)
                return True
        except Overtaken:
            if read == _READS_MAX - 1:
                raise
    raise AssertionError("every pass returns or raises")


def attempt(desk: Desk, notice: Notice) -> Handled:
    """Try to handle a claimed Notice, and note what went wrong.

    Stripe or the database away: nothing is counted, it only waits. A price that is none of ours: dead at once, an
    alarm for the operator. Anything else: again after a pause that doubles, dead after `ATTEMPTS_MAX` attempts.

    Raises:
        DatabaseUnreachable: not even that could be noted; the Notice is due again when its lease ends.
    """
    try:
        if notice.attempts > ATTEMPTS_MAX:
            return _bury(desk, notice, notice.last_error or "Every worker that took it up died.")
        handle(desk, notice)
    except StripeUnreachable as error:
        until = desk.now + timedelta(seconds=UNREACHABLE_PAUSE_S)
        with desk.database.transaction() as session:
            notices.postpone(session, notice.id, error.sentence, until=until, counted=False)
        return Handled.UNREACHABLE
    except DatabaseUnreachable:
        raise
    except UnknownPrice as error:
        return _bury(desk, notice, error.sentence)
    except MelodeonError as error:
        return _again(desk, notice, error.sentence)
    except Exception as error:  # noqa: BLE001 - one message that breaks us must not stop the others
        told = {"error": type(error).__name__, "stack": stack_of(error)}
        _log.error("notice broke its handler", notice_id=notice.id, type=notice.type, **told)
        return _again(desk, notice, f"It broke its handler ({type(error).__name__}); see the log of the worker.")
    _log.info("notice handled", notice_id=notice.id, type=notice.type, object_id=notice.object_id)
    return Handled.DONE


def _again(desk: Desk, notice: Notice, sentence: str) -> Handled:
    if notice.attempts >= ATTEMPTS_MAX:
        return _bury(desk, notice, sentence)
    pause_s = PAUSE_BASE_S * 2 ** (notice.attempts - 1)
    with desk.database.transaction() as session:
        notices.postpone(session, notice.id, sentence, until=desk.now + timedelta(seconds=pause_s), counted=True)
    _log.warning("notice failed", notice_id=notice.id, type=notice.type, attempts=notice.attempts, why=sentence)
    return Handled.LATER


def _bury(desk: Desk, notice: Notice, sentence: str) -> Handled:
    with desk.database.transaction() as session:
        notices.bury(session, notice.id, sentence)
    _log.error("notice given up", notice_id=notice.id, type=notice.type, object_id=notice.object_id, why=sentence)
    return Handled.DEAD


def claim(desk: Desk, *, most: int) -> tuple[Notice, ...]:
    """Take Notices that are due, for `LEASE`."""
    with desk.database.transaction() as session:
        return notices.claim(session, now=desk.now, until=desk.now + LEASE, most=most)


def work_off(desk: Desk, *, most: int = 50) -> int:
    """Handle every Notice that is due, one after the other, and answer how many were done.

    Stops early when Stripe does not answer: the rest would only wait for it too.
    """
    done = 0
    while claimed := claim(desk, most=most):
        for number, notice in enumerate(claimed):
            outcome = attempt(desk, notice)
            done += outcome is Handled.DONE
            if outcome is Handled.UNREACHABLE:
                _give_back(desk, claimed[number + 1 :])
                return done
    return done


def _give_back(desk: Desk, claimed: tuple[Notice, ...]) -> None:
    until = desk.now + timedelta(seconds=UNREACHABLE_PAUSE_S)
    with desk.database.transaction() as session:
        for notice in claimed:
            notices.postpone(session, notice.id, notice.last_error, until=until, counted=False)
