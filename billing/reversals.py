"""Money that went back: the credits it had bought are taken by the same share, and given again if a dispute is won.

What should be taken follows from the charge (or the dispute) alone, and what was taken stands in `Reversal`s, so every
message may come twice, late or never: booking moves the one to the other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from billing import ledger
from billing.fulfilment import label_of
from billing.standing_orders import Overtaken
from billing.stripe_door import StripeDoor
from billing.stripe_records import ChargeRecord, DisputeRecord
from data.database import Database, Session
from data.repositories import purchases, subscriptions
from studio.errors import MelodeonError
from studio.words.purchase import Purchase, PurchaseState, Reversal, ReversalKind

TAKING: Final = ("needs_response", "under_review", "lost")
"""States of a dispute in which the bank has the money; an inquiry (``warning_…``) has taken nothing."""

_log = structlog.get_logger(__name__)


class NotBooked(MelodeonError):
    """Money went back for something that was not booked here, or not yet."""

    code = "not_booked"

    def __init__(self, charge_id: str) -> None:
        super().__init__(
            f"Money of the charge {charge_id} went back, but no purchase paid by it is known here. "
            "It is tried again; if it stays, nothing was bought with it, and nothing is to be taken back."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyBack:
    """What Stripe tells of money that went back.

    Attributes:
        subject: id of the charge that was refunded, or of the dispute.
        back_minor: how much of ``charge`` is gone now.
        bought: what the charge had paid for, with the revisions that stood here before Stripe was asked.
    """

    kind: ReversalKind
    subject: str
    back_minor: int
    charge: ChargeRecord
    bought: tuple[Purchase, ...]


def read_charge(database: Database, door: StripeDoor, charge_id: str) -> tuple[MoneyBack, ...]:
    """Ask Stripe how much of a charge was refunded, and how every dispute about it stands.

    Raises:
        NotBooked: an account of ours paid it for something that is not known here.
    """
    bought = _bought(database, door.charge(charge_id))
    charge, disputes = door.charge(charge_id), door.disputes_of(charge_id)
    return (_of_refunds(charge, bought), *(_of_dispute(dispute, charge, bought) for dispute in disputes))


def read_dispute(database: Database, door: StripeDoor, dispute_id: str) -> tuple[MoneyBack, ...]:
    """The same of the charge that a dispute is about: when one is won, refunds and other disputes count again.

    Raises:
        NotBooked: an account of ours paid it for something that is not known here.
    """
    return read_charge(database, door, door.dispute(dispute_id).charge)


def book(session: Session, backs: Sequence[MoneyBack], *, now: datetime) -> None:
    """Take back what should be taken of everything one charge had paid for, or give back what was taken too much.

    Raises:
        Overtaken: something else was booked meanwhile; nothing was written.
    """
    bought = backs[0].bought
    locked = purchases.lock(session, [purchase.id for purchase in bought])
    if [each.revision for each in locked] != [each.revision for each in bought]:
        raise Overtaken(backs[0].charge.id)
    for purchase in locked:
        _give_back(session, backs, purchase, now=now)
        _take_back(session, backs, purchase, now=now)
        state = _state_of(backs, purchases.reversals(session, [purchase.id]))
        purchases.change(session, purchase.id, state=state, now=now)


def due_credits(purchase: Purchase, back_minor: int, charge_minor: int) -> int:
    """How many credits of a purchase are to be taken: its share of the money, rounded down; all for all of it."""
    return purchase.credits * min(back_minor, charge_minor) // max(charge_minor, 1)


def taken_credits(reversals: Iterable[Reversal], *, subject: str | None = None) -> int:
    """How many credits are taken at the moment: for one refund or dispute, or for all."""
    return sum(each.credits for each in reversals if not each.restored_at and subject in (None, each.subject))


def differ(backs: Sequence[MoneyBack], reversals: Sequence[Reversal]) -> bool:
    """Whether something is to be booked, given everything taken of the purchases so far."""
    return any(
        _target(back, purchase, of_it) != taken_credits(of_it, subject=back.subject)
        for back in backs
        for purchase in back.bought
        for of_it in [tuple(each for each in reversals if each.purchase_id == purchase.id)]
    )


def refund_of(database: Database, charge: ChargeRecord) -> MoneyBack:
    """How much of a charge just read was refunded, and of what: for comparing.

    Raises:
        NotBooked: an account of ours paid it for something that is not known here.
    """
    return _of_refunds(charge, _bought(database, charge))


def _of_refunds(charge: ChargeRecord, bought: tuple[Purchase, ...]) -> MoneyBack:
    gone = charge.refunded_minor
    return MoneyBack(kind=ReversalKind.REFUND, subject=charge.id, back_minor=gone, charge=charge, bought=bought)


def _of_dispute(dispute: DisputeRecord, charge: ChargeRecord, bought: tuple[Purchase, ...]) -> MoneyBack:
    gone = dispute.amount_minor if dispute.status in TAKING else 0
    return MoneyBack(kind=ReversalKind.DISPUTE, subject=dispute.id, back_minor=gone, charge=charge, bought=bought)


def _bought(database: Database, charge: ChargeRecord) -> tuple[Purchase, ...]:
    with database.transaction() as session:
        found = purchases.of_charge(session, payment_intent=charge.payment_intent or "", invoice=charge.invoice or "")
        ours = subscriptions.account_of(session, charge.customer or "")
    if ours is not None and not found:
        raise NotBooked(charge.id)
    return tuple(sorted((each for each in found if each.state.was_paid), key=lambda purchase: purchase.id))


def _target(back: MoneyBack, purchase: Purchase, of_it: Sequence[Reversal]) -> int:
    """How many credits are to be taken for one refund or dispute; the shares of both together are rounded once."""
    refunded = due_credits(purchase, back.charge.refunded_minor, back.charge.amount_minor)
    due = refunded
    if back.kind is ReversalKind.DISPUTE:
        gone_minor = back.charge.refunded_minor + back.back_minor
        due = due_credits(purchase, gone_minor, back.charge.amount_minor) - refunded
    for_others = taken_credits(each for each in of_it if each.subject != back.subject)
    return min(due, purchase.credits - for_others)


def _give_back(session: Session, backs: Sequence[MoneyBack], purchase: Purchase, *, now: datetime) -> None:
    """Undo, newest first, what was taken for a refund or dispute beyond what is due now."""
    for back in backs:
        of_it = purchases.reversals(session, [purchase.id])
        target, taken = _target(back, purchase, of_it), taken_credits(of_it, subject=back.subject)
        for reversal in reversed(of_it):
            if taken > target and reversal.subject == back.subject and not reversal.restored_at:
                key = f"restore:{reversal.id}"
                ledger.restore(session, purchase.account_id, key=key, clawback_key=reversal.id, now=now)
                purchases.mark_restored(session, reversal.id, now=now)
                taken -= reversal.credits


def _take_back(session: Session, backs: Sequence[MoneyBack], purchase: Purchase, *, now: datetime) -> None:
    for back in backs:
        of_it = purchases.reversals(session, [purchase.id])
        missing = _target(back, purchase, of_it) - taken_credits(of_it, subject=back.subject)
        if missing > 0:
            number = 1 + sum(each.subject == back.subject for each in of_it)
            _take(session, back, purchase, missing, number, now=now)


def _take(session: Session, back: MoneyBack, purchase: Purchase, amount: int, number: int, *, now: datetime) -> None:
    key = f"{back.kind}:{back.subject}:{purchase.id}:{number}"
    why = "Refunded" if back.kind is ReversalKind.REFUND else "Disputed"
    taken = ledger.clawback(
        session,
        purchase.account_id,
        amount,
        key=key,
        grant_key=purchase.grant_key,
        note=f"{why}: {label_of(purchase.item)}",
        now=now,
    )
    reversal = Reversal(id=key, purchase_id=purchase.id, kind=back.kind, subject=back.subject, credits=amount)
    purchases.add_reversal(session, reversal, now=now)
    told = {"account_id": purchase.account_id, "credits": amount, "owed_credits": taken.owed_credits}
    _log.warning("credits taken back", purchase_id=purchase.id, kind=str(back.kind), subject=back.subject, **told)


def _state_of(backs: Sequence[MoneyBack], of_it: Sequence[Reversal]) -> PurchaseState:
    charge = backs[0].charge
    if charge.amount_minor and charge.refunded_minor >= charge.amount_minor:
        return PurchaseState.REFUNDED
    told = any(back.kind is ReversalKind.DISPUTE and back.back_minor for back in backs)
    stands = any(each.kind is ReversalKind.DISPUTE and not each.restored_at for each in of_it)
    return PurchaseState.DISPUTED if told or stands else PurchaseState.PAID
