"""Credits: our unit of account, an integer."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from studio.words.ids import AccountId, JobId, TransferId


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an Account has: ``available`` to spend, ``held`` for Jobs under way, ``owed`` to us. All are ≥ 0.

    Credits are owed when some were taken back (the payment was refunded or disputed) that were spent already. Who owes
    has none available.
    """

    account_id: AccountId
    available_credits: int
    held_credits: int
    owed_credits: int = 0


class BlockKind(StrEnum):
    """What a block of credits was granted for: bought, given as a promotion, part of a plan. Drawn in reverse order."""

    PAID = "paid"
    PROMO = "promo"
    PLAN = "plan"


class MovementKind(StrEnum):
    """What a movement did.

    It gave credits, set them aside for a Job, spent them or gave them back; took them back with their payment, or
    undid that; let them expire; paid with them what was owed.
    """

    GRANT = "grant"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    REFUND = "refund"
    RESTORE = "restore"
    EXPIRE = "expire"
    DEBT = "debt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One line of an Account's statement.

    Attributes:
        amount_credits: how many credits moved, > 0; ``kind`` tells from where to where.
        change_credits: what that did to the available credits: the amount, its negative, or 0.
        job_id: the Job they were for, if any.
        at: when it happened, aware UTC.
        number: grows from movement to movement of one Account; older ones are asked for by it.
    """

    id: TransferId
    kind: MovementKind
    amount_credits: int
    job_id: JobId | None
    note: str
    at: datetime
    change_credits: int
    number: int
