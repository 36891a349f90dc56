"""Letters: what the product writes to people by mail, and what the links in them are good for."""

from enum import StrEnum


class LetterKind(StrEnum):
    """What a letter is about."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a word, no secret
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    EMAIL_CHANGED = "email_changed"
    SECOND_FACTOR_CHANGED = "second_factor_changed"


class TokenPurpose(StrEnum):
    """What a link in a letter is good for."""

    VERIFY = "verify"
    RESET = "reset"
