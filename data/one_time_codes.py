"""Codes that an authenticator app shows (TOTP, RFC 6238: SHA-1, six digits, 30 seconds) and recovery codes."""

import hmac
import secrets
from datetime import datetime
from typing import Final

import pyotp

STEP_S: Final = 30
RECOVERY_CODES: Final = 10
_ISSUER: Final = "Melodeon"
_STEPS_OFF: Final = 1
"""How far somebody's clock may be off, in steps (RFC 6238, 5.2)."""
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that are read as one another."""
_RECOVERY_LETTERS: Final = 16


def new_secret() -> str:
    """A fresh shared secret: 160 random bits in base 32 (RFC 4226, 4)."""
    return pyotp.random_base32(32)


def address_of(secret: str, account_name: str) -> str:
    """The ``otpauth://`` address that an authenticator app reads from a picture."""
    return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=account_name, issuer_name=_ISSUER)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, of those around ``now``; None: none of them."""
    digits = "".join(code.split())
    if not (digits.isascii() and digits.isdigit()):
        return None
    totp, here = pyotp.TOTP(secret, interval=STEP_S), int(now.timestamp()) // STEP_S
    steps = range(here - _STEPS_OFF, here + _STEPS_OFF + 1)
    return next((step for step in steps if hmac.compare_digest(totp.generate_otp(step), digits)), None)


def new_recovery_codes() -> tuple[str, ...]:
    """Ten fresh recovery codes of 79 random bits, ``abcd-efgh-jkmn-pqrs``."""
    return tuple(_recovery_code() for _ in range(RECOVERY_CODES))


def bare_recovery_code(code: str) -> str:
    """A recovery code as it is compared: small letters without anything between them."""
    return "".join(letter for letter in code.casefold() if letter.isalnum())


def _recovery_code() -> str:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_RECOVERY_LETTERS))
    return "-".join(letters[start : start + 4] for start in range(0, _RECOVERY_LETTERS, 4))
