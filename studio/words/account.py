"""Account: who signs in, owns songs and pays."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from studio.words.ids import AccountId


class Role(StrEnum):
    """What an Account may see beyond its own things."""

    CREATOR = "creator"
    ANALYST = "analyst"
    ENGINEER = "engineer"
    MODERATOR = "moderator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who signs in, owns songs and pays. Never carries the password hash.

    Attributes:
        name: unique handle to sign in with and shown as the artist, 2-32 characters.
        plan: name of the plan, a key of ``configs/plans.toml``.
    """

    id: AccountId
    name: str
    email: str
    role: Role
    plan: str
    created_at: datetime
