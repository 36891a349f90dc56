"""Credits: our unit of account, an integer."""

from dataclasses import dataclass

from studio.words.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an Account has: ``available`` to spend, ``held`` for Jobs under way. Both are ≥ 0."""

    account_id: AccountId
    available_credits: int
    held_credits: int
