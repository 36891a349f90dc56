"""Signing in by another provider (OpenID Connect): whose account an identity there opens."""

import unicodedata
from datetime import datetime
from typing import Final

from billing import ledger
from data.database import Session
from data.repositories import accounts, audit, identities, personal
from data.repositories.accounts import BadEmail, BadName, EmailTaken, NameTaken, checked_email, checked_name
from studio.errors import MelodeonError
from studio.words.account import Account

IDENTITIES_MAX: Final = 10
_NAME_TRIES: Final = 50
_NAME_MAX: Final = 32


class IdentityRefused(MelodeonError):
    """This identity at another provider opens no account here."""

    code = "identity_refused"


def account_for_identity(
    session: Session,
    iss: str,
    sub: str,
    *,
    email: str,
    email_verified: bool,
    name: str,
    now: datetime,
    signup_credits: int = 0,
    issued_at: datetime | None = None,
) -> Account:
    """The account that this identity opens; made when it is new here.

    An account that exists is never taken over: one with the same address is opened only when its owner links the
    identity while signed in (`link_identity`). Issuer and subject decide, never the address.

    Args:
        session: in whose transaction.
        iss: issuer, as its provider's token says.
        sub: subject there.
        email: its address there; kept only when ``email_verified`` and nobody else has proved it.
        email_verified: whether the provider says so.
        name: what the person is called there; a free name like it is chosen.
        now: the moment of signing in.
        signup_credits: first credits of a new account.
        issued_at: when the provider's token was made; older than the account's last "sign out everywhere" is refused.

    Raises:
        IdentityRefused: the address belongs to an account that this identity does not open, or the token is too old.
    """
    if not iss or not sub or len(iss) + len(sub) > 1000:
        raise IdentityRefused("The provider did not say who you are. Please sign in another way.")
    account_id = identities.account_id_of(session, iss, sub)
    if account_id is None:
        email = email if email_verified else ""
        return _new_account(session, iss, sub, email=email, name=name, now=now, signup_credits=signup_credits)
    account = accounts.by_id(session, account_id)
    if account is None:
        raise IdentityRefused("This account was deleted.")
    valid_after = accounts.sessions_valid_after(session, account_id)
    if issued_at is not None and valid_after is not None and issued_at < valid_after:
        raise IdentityRefused("You signed out everywhere since. Please sign in again.")
    return account


def link_identity(session: Session, account: Account, iss: str, sub: str) -> None:
    """Let an identity open the account of somebody who is signed in and has just proved the identity too.

    Raises:
        IdentityRefused: it opens another account, or the account has as many as it may.
    """
    # Two at once wait for each other here, and the second sees what the first has linked.
    personal.lock(session, account.id)
    linked = {(one.issuer, one.subject) for one in identities.list_of(session, account.id)}
    if len(linked) >= IDENTITIES_MAX and (iss, sub) not in linked:
        raise IdentityRefused(
            f"An account has at most {IDENTITIES_MAX} other ways to sign in. Unlink one that you no longer need."
        )
    if not identities.link(session, account.id, iss, sub) and identities.account_id_of(session, iss, sub) != account.id:
        raise IdentityRefused("This identity opens another account already.")
    audit.note(session, account.id, "identity_linked", account.id, iss)


def unlink_identity(session: Session, account: Account, iss: str, sub: str) -> None:
    """Let an identity open the account no more.

    Raises:
        IdentityRefused: nothing else would open it.
    """
    # Of two at once one waits here, and sees what the other left.
    personal.lock(session, account.id)
    known = accounts.credentials(session, account.name)
    others = [one for one in identities.list_of(session, account.id) if (one.issuer, one.subject) != (iss, sub)]
    if not others and (known is None or known.password_hash is None):
        raise IdentityRefused("This is the only way into your account. Set a password or link another way first.")
    if identities.unlink(session, account.id, iss, sub):
        audit.note(session, account.id, "identity_unlinked", account.id, iss)


def _new_account(
    session: Session, iss: str, sub: str, *, email: str, name: str, now: datetime, signup_credits: int
) -> Account:
    try:
        email = checked_email(email)
    except BadEmail:
        email = ""
    if email and accounts.by_email(session, email) is not None:
        raise IdentityRefused(
            "There is an account with this e-mail address already. Sign in with its password, "
            "then link this way of signing in on your account page."
        )
    account = _with_free_name(session, name)
    if not identities.link(session, account.id, iss, sub):
        raise IdentityRefused("This identity was used in the same moment elsewhere. Please sign in again.")
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    if email:
        try:
            accounts.set_proved_email(session, account.id, email)
        except EmailTaken:
            raise IdentityRefused("There is an account with this e-mail address already.") from None
    audit.note(session, account.id, "account_made", account.id, iss)
    return accounts.by_id(session, account.id) or account


def _with_free_name(session: Session, name: str) -> Account:
    wished = _name_like(name)
    for number in range(1, _NAME_TRIES + 1):
        tail = "" if number == 1 else f"-{number}"
        try:
            return accounts.create(session, name=wished[: _NAME_MAX - len(tail)] + tail, password_hash=None)
        except NameTaken:
            continue
    raise IdentityRefused("No free name was found for you. Please make an account with a name and a password.")


def _name_like(name: str) -> str:
    """A name that an account can have and that resembles ``name``; "listener" when nothing of it is left."""
    name = unicodedata.normalize("NFKC", name)[: 4 * _NAME_MAX]
    kept = "".join(letter if unicodedata.category(letter)[0] in "LMN" else "_" for letter in name)
    kept = "_".join(part for part in kept.split("_") if part)[: _NAME_MAX - 3].rstrip("_")
    try:
        return checked_name(kept)
    except BadName:
        return "listener"
