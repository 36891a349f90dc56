"""How often somebody may come: limits shared by all replicas, which unlock by themselves."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from data.database import Database, Session
from data.repositories import rate_limits
from studio.errors import MelodeonError


class TooManyRequests(MelodeonError):
    """Somebody comes more often than they may."""

    code = "too_many_requests"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"That was too often. Please wait {in_words(retry_after_s)} and try again.")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most ``most`` in any ``per_s`` seconds, half of them at once.

    Attributes:
        name: what is counted.
        most: at least 2.
    """

    name: str
    most: int
    per_s: float

    def bucket(self, who: str) -> str:
        """Where the tries of ``who`` are counted."""
        return f"{self.name}:{who}"


GUESSES: Final = Limit(name="guess", most=10, per_s=900)
"""Wrong passwords and codes for one account, also for one that does not exist."""
GUESSES_OF_ADDRESS: Final = Limit(name="guess-from", most=100, per_s=900)
SIGN_UPS_OF_ADDRESS: Final = Limit(name="sign-up-from", most=40, per_s=3600)
LETTERS_FROM_ADDRESS: Final = Limit(name="letter-from", most=40, per_s=3600)
LETTERS_TO: Final = Limit(name="letter-to", most=10, per_s=3600)
"""Letters to one mailbox: a form that sends mail to strangers must not be a means to flood them."""
TOKENS_FROM_ADDRESS: Final = Limit(name="token-from", most=60, per_s=900)


def take(database: Database, limit: Limit, who: str) -> None:
    """Count one try of ``who``, in a transaction of its own, so that it counts whatever becomes of it.

    Raises:
        TooManyRequests: it is one too many.
    """
    with database.transaction() as session:
        wait_s = rate_limits.hit(session, limit.bucket(who), most=limit.most, per_s=limit.per_s)
    if wait_s is not None:
        raise TooManyRequests(wait_s)


def count(session: Session, limit: Limit, who: str) -> None:
    """Count one try of ``who`` in the caller's transaction, so that it counts only if what was tried is done.

    Raises:
        TooManyRequests: it is one too many.
    """
    wait_s = rate_limits.hit(session, limit.bucket(who), most=limit.most, per_s=limit.per_s)
    if wait_s is not None:
        raise TooManyRequests(wait_s)


def network_of(address: str) -> str:
    """What an IP address is counted as: itself, or of IPv6 the /64 that one household has; empty stays empty."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def in_words(seconds: int) -> str:
    """Seconds as people say them: "40 seconds", "3 minutes"."""
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = -(-seconds // 60)
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
