"""Somebody who is signed in proves once more who they are, before what cannot be undone or opens another way in."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from data.repositories import accounts, sessions
from serving.accounts import sign_in
from serving.api.services import Services
from serving.refusals import note_refusal
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.ids import SessionId

FRESH_FOR: Final = timedelta(minutes=10)


class NotConfirmed(MelodeonError):
    """Somebody who is signed in did not prove that it is they who want this."""

    code = "not_confirmed"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing was changed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What somebody shows to prove once more who they are.

    Attributes:
        password: as it was typed; empty for accounts that have none.
        code: of the authenticator, or a recovery code; empty: none was typed.
        address: network address of the request; empty: unknown.
        session_id: by which they are signed in.
    """

    password: str = field(default="", repr=False)
    code: str = field(default="", repr=False)
    address: str = field(default="", repr=False)
    session_id: SessionId | None = None


def confirm(services: Services, account: Account, shown: Shown) -> Account:
    """Have somebody prove once more who they are: by password and code, or, without a password, by a fresh session.

    Returns:
        The account as it was when they proved it.

    Raises:
        WrongPassword, CodeNeeded, WrongCode, SignInLocked: as at signing in.
        NotConfirmed: the account has no password, and its session is older than ten minutes.
    """
    with services.database.transaction() as session:
        known = accounts.credentials(session, account.name)
        signed_in = sessions.list_of(session, account.id)
        present = accounts.by_id(session, account.id)
    if known is None or present is None or known.password_hash is not None:
        return sign_in(
            services.database,
            account.name,
            shown.password,
            code=shown.code,
            address=shown.address,
            box=services.box,
            now=services.now(),
        )
    begun = [one.created_at for one in signed_in if one.id == shown.session_id]
    if not begun or services.now() - begun[0] > FRESH_FOR:
        note_refusal("not_confirmed", place="proof", account_id=account.id)
        raise NotConfirmed("Please sign out and in again by your provider first, then do this within ten minutes.")
    return present
