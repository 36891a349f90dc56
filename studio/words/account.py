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
        email: empty, or the address that the product writes to.
        plan: name of the plan, a key of ``configs/plans.toml``.
        email_verified: whether somebody followed a link that was sent to ``email``.
        avatar_key: object key of the picture; empty: none.
        stripe_customer_id: who this is at Stripe; empty: nobody yet.
        token_version: goes up when every session must end; a session begins with the one that was seen at sign-in.
    """

    id: AccountId
    name: str
    email: str
    role: Role
    plan: str
    created_at: datetime
    email_verified: bool = False
    avatar_key: str = ""
    stripe_customer_id: str = ""
    token_version: int = 1
