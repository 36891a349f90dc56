"""ApiKey: by which a program acts for an Account."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from studio.words.ids import AccountId, ApiKeyId


class Scope(StrEnum):
    """What a key may do. None of them manages the account itself."""

    READ = "read"
    CREATE = "create"
    BILLING = "billing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as its owner sees it; the secret itself is shown once and never kept.

    Attributes:
        label: what its owner calls it, 1-60 characters.
        shown: the first characters of the secret, by which its owner knows it again.
        expires_at, revoked_at, last_used_at: None: never.
    """

    id: ApiKeyId
    account_id: AccountId
    label: str
    shown: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
