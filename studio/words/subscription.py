"""Subscription: an Account's standing order for a Plan."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from studio.words.ids import AccountId

ENTITLING: Final = ("active", "trialing", "past_due")
"""The states in which the plan is had. With ``past_due`` Stripe still tries to collect; it ends that by itself."""

ENDED: Final = ("canceled", "incomplete_expired")
"""The states that a subscription never leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An Account's standing order for a Plan.

    Attributes:
        id: Stripe's.
        plan: name of the plan, a key of ``configs/plans.toml``; empty when its price is none of ours.
        status: Stripe's word for how it stands.
        current_period_end: until when it is paid, aware UTC.
        cancel_at_period_end: whether it ends then.
        revision: goes up with every change.
    """

    id: str
    account_id: AccountId
    plan: str
    status: str
    current_period_end: datetime | None
    cancel_at_period_end: bool
    revision: int = 0

    @property
    def entitles(self) -> bool:
        """Whether its account has the plan."""
        return self.status in ENTITLING
