"""AuditNote: one thing that somebody did to an account, kept for ever."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditNote:
    """One line of the audit log.

    Attributes:
        number: 1, 2, 3 … in the order of writing (gaps are possible).
        actor: id of the account that acted; ``operator`` for the command line.
        action: a stable word, ``account.role``.
        subject: id of what it was done to.
        detail: what else is worth knowing; never a secret, a name or an address.
    """

    number: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: str
