"""What the letters say. Plain text: nothing to load, nothing to click but the link that was asked for."""

from dataclasses import dataclass, field
from typing import Final

from studio.words.account import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One letter, ready to go."""

    to_address: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


_SIGNATURE: Final = "\n\nMelodeon, at {web_url}\n"
_NOT_YOU: Final = (
    "If that was not you, set a new password at {web_url}/reset: that signs every device out and ends every API key."
)


def verify_email(to_address: str, token: str, web_url: str) -> Letter:
    """The link that proves the address. No word of it is chosen by whoever entered the address."""
    text = (
        "Hello,\n\n"
        "please follow this link to tell us that this address is yours. It works for 24 hours and once:\n\n"
        f"{web_url}/verify?token={token}\n\n"
        f"If you did not enter this address at {web_url}, somebody mistyped theirs; then do nothing."
    )
    return _letter(to_address, "Is this your address?", text, web_url)


def address_in_use(to_address: str, owner: Account, web_url: str) -> Letter:
    """The owner of an address learns that somebody wanted it for another account."""
    text = (
        f"Hello {owner.name},\n\n"
        "somebody, perhaps you, entered this address for another account. It belongs to your account "
        f"“{owner.name}” already, so nothing was changed.\n\n"
        f"You can sign in as “{owner.name}” at {web_url}. If you forgot the password, ask for a new one at "
        f"{web_url}/reset. If it was not you, do nothing."
    )
    return _letter(to_address, "You have an account already", text, web_url)


def reset_password(to_address: str, name: str, token: str, web_url: str) -> Letter:
    """The link by which a new password is set."""
    text = (
        f"Hello {name},\n\n"
        f"somebody asked for a new password for your account “{name}”. If that was you, choose one here within the "
        "next hour; the link works once:\n\n"
        f"{web_url}/reset?token={token}\n\n"
        "If it was not you, do nothing: your password stays as it is."
    )
    return _letter(to_address, "A new password", text, web_url)


def password_changed(to_address: str, name: str, web_url: str) -> Letter:
    """The password is another one now."""
    text = f"Hello {name},\n\nthe password of your account was changed, and every device was signed out. "
    return _letter(to_address, "Your password was changed", text + _NOT_YOU.format(web_url=web_url), web_url)


def email_changed(to_address: str, name: str, web_url: str) -> Letter:
    """The account moved to another address; this goes to the old one."""
    text = (
        f"Hello {name},\n\nyour account has another e-mail address now; this is the last letter to this one. "
        f"If that was not you, answer to whoever runs {web_url} at once."
    )
    return _letter(to_address, "Your address was changed", text, web_url)


def second_factor_changed(to_address: str, name: str, web_url: str) -> Letter:
    """The second factor was switched on or off."""
    text = f"Hello {name},\n\nthe second factor of your account was switched on or off. "
    return _letter(to_address, "Your second factor was changed", text + _NOT_YOU.format(web_url=web_url), web_url)


def _letter(to_address: str, subject: str, text: str, web_url: str) -> Letter:
    return Letter(
        to_address=to_address, subject=f"{subject} · Melodeon", text=text + _SIGNATURE.format(web_url=web_url)
    )
