"""Ending sessions: all of an account, all but one, or one."""

from data import access
from data.database import Session
from data.repositories import accounts, api_keys, audit, sessions
from serving.account_confirm import Shown, confirm
from serving.api.services import Services
from studio.words.account import Account
from studio.words.ids import AccountId, SessionId


def sign_out_everywhere(session: Session, account_id: AccountId, *, actor: str, keys_too: bool) -> None:
    """End every session of the account, and every API key too if so wished; written to the audit log.

    It asks for no proof: whoever does it is out as well, and it must be quick when something was stolen.

    Args:
        session: in whose transaction.
        account_id: whose sessions.
        actor: id of the account that does it, or `audit.OPERATOR`; the caller has checked that they may.
        keys_too: whether programs stop, too.
    """
    sessions.revoke_all(session, account_id)
    if keys_too:
        api_keys.revoke_all(session, account_id, actor=actor)
    audit.note(session, actor, "signed_out_everywhere", account_id)


def sign_out_elsewhere(services: Services, account: Account, shown: Shown) -> None:
    """End every session of the account but the one that asks; written to the audit log.

    Raises:
        WrongPassword, CodeNeeded, WrongCode, SignInLocked, NotConfirmed: as `confirm`.
    """
    confirm(services, account, shown)
    with services.database.transaction() as session:
        sessions.revoke_others(session, account.id, keep=shown.session_id)
        audit.note(session, account.id, "signed_out_elsewhere", account.id)


def end_session(services: Services, account: Account, session_id: SessionId, shown: Shown) -> None:
    """End one session of the account. One's own ends without a proof, as by signing out.

    Raises:
        NotFound: the account has no such session.
        WrongPassword, CodeNeeded, WrongCode, SignInLocked, NotConfirmed: as `confirm`.
    """
    with services.database.transaction() as session:
        if session_id not in {one.id for one in sessions.list_of(session, account.id)}:
            raise access.NotFound("session")
    if session_id != shown.session_id:
        confirm(services, account, shown)
    with services.database.transaction() as session:
        sessions.revoke_one(session, account.id, session_id)


def end_of_account(session: Session, actor: Account, account_id: str) -> None:
    """An administrator ends every session and every API key of an account; written to the audit log.

    Raises:
        NotFound: the actor is no administrator, or there is no such account.
    """
    if not access.may_administrate(actor):
        raise access.NotFound("account")
    found = accounts.by_id(session, account_id)
    if found is None:
        raise access.NotFound("account")
    sign_out_everywhere(session, found.id, actor=actor.id, keys_too=True)
