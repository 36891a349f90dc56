"""Credits: our unit of account, an integer."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from studio.words.ids import AccountId, JobId, TransferId


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an Account has: ``available`` to spend, ``held`` for Jobs under way. Both are ≥ 0."""

    account_id: AccountId
    available_credits: int
    held_credits: int


class MovementKind(StrEnum):
    """What a movement did: gave credits, set them aside for a Job, spent them, or gave them back."""

    GRANT = "grant"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One line of an Account's statement.

    Attributes:
        amount_credits: how many credits moved, > 0; ``kind`` tells from where to where.
        job_id: the Job they were for; None for a grant.
        at: when it happened, aware UTC.
    """

    id: TransferId
    kind: MovementKind
    amount_credits: int
    job_id: JobId | None
    note: str
    at: datetime
