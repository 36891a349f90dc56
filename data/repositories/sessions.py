"""Sessions: browsers that are signed in, and the one-time tickets that become sessions.

Tokens are 32 random bytes as URL-safe text. The database keeps only their SHA-256 (a fast hash is enough for 256
random bits), so a stolen backup opens no session. A session ends by its date, by `revoke`, or with every other one of
its account when the account's ``token_version`` moves on. Time here is the database's.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from data.database import Session
from data.ids import new_id
from data.repositories import accounts
from data.tables import AccountRow, SessionRow, TicketRow
from studio.words.account import Account
from studio.words.ids import AccountId, SessionId

TICKET_LIFE: Final = timedelta(seconds=30)
SESSIONS_MAX: Final = 100
_SEEN_EVERY: Final = timedelta(minutes=1)
_USER_AGENT_MAX: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A session that has begun, and the ticket by which the browser gets its cookie."""

    session_id: SessionId
    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """One browser that is signed in, as its owner sees it in the settings.

    Attributes:
        user_agent: what the browser calls itself; never trusted, at most 300 printable characters.
    """

    id: SessionId
    user_agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def begin(session: Session, account_id: AccountId, *, days: int, version: int | None = None) -> Begun:
    """Start a session for a page that has just checked a password.

    The page knows the session by its id at once; the browser gets the cookie by redeeming the ticket within 30
    seconds. Until then no token opens the session from outside. Where the account has `SESSIONS_MAX` already, the one
    that was not seen for longest ends.

    Args:
        days: life of the session.
        version: the account's ``token_version`` when the person proved who they are: a session that begins with an
            older one is dead from the start. None: the present one.
    """
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id, SessionRow.expires_at < func.now()))
    session_id, ticket = SessionId(new_id("session")), secrets.token_urlsafe(32)
    # Sign-ins of one account come one after another, so that none of them counts too few.
    present = session.execute(
        select(AccountRow.token_version).where(AccountRow.id == account_id).with_for_update(key_share=True)
    ).scalar_one()
    _end_unseen(session, account_id, keep=SESSIONS_MAX - 1)
    session.execute(
        insert(SessionRow).values(
            id=session_id,
            token_hash=secrets.token_bytes(32),
            account_id=account_id,
            token_version=present if version is None else version,
            expires_at=func.now() + timedelta(days=days),
        )
    )
    session.execute(
        insert(TicketRow).values(token_hash=_hash(ticket), session_id=session_id, expires_at=func.now() + TICKET_LIFE)
    )
    return Begun(session_id=session_id, ticket=ticket)


def redeem_ticket(session: Session, ticket: str, *, user_agent: str) -> str | None:
    """Turn a ticket into the token for the cookie.

    Returns:
        The token; None: the ticket is unknown, used or too old. Of several callers with one ticket, one wins.
    """
    session_id = session.execute(
        delete(TicketRow)
        .where(TicketRow.token_hash == _hash(ticket), TicketRow.expires_at > func.now())
        .returning(TicketRow.session_id)
    ).scalar_one_or_none()
    if session_id is None or _account_where(session, SessionRow.id == session_id) is None:
        return None
    token = secrets.token_urlsafe(32)
    session.execute(
        update(SessionRow)
        .where(SessionRow.id == session_id)
        .values(token_hash=_hash(token), user_agent=_printable(user_agent))
    )
    return token


def account_of(session: Session, token: str) -> Account | None:
    """Whose session this token opens; None: nobody's (any more). Notes that it was seen, at most once a minute."""
    found = _account_where(session, SessionRow.token_hash == _hash(token))
    return found[0] if found else None


def of_token(session: Session, token: str) -> tuple[Account, SessionId] | None:
    """Whose session this token opens, and which; None: nobody's (any more)."""
    return _account_where(session, SessionRow.token_hash == _hash(token))


def account_of_session(session: Session, session_id: SessionId) -> Account | None:
    """Whose session this is, for a page that began or found it itself; None: it has ended."""
    found = _account_where(session, SessionRow.id == session_id)
    return found[0] if found else None


def _account_where(session: Session, condition: ColumnElement[bool]) -> tuple[Account, SessionId] | None:
    found = session.execute(
        select(SessionRow.id, SessionRow.account_id, SessionRow.seen_at < func.now() - _SEEN_EVERY)
        .join(AccountRow, AccountRow.id == SessionRow.account_id)
        .where(
            condition,
            SessionRow.expires_at > func.now(),
            SessionRow.token_version == AccountRow.token_version,
            AccountRow.deleted_at.is_(None),
        )
    ).one_or_none()
    if found is None:
        return None
    session_id, account_id, long_unseen = found
    if long_unseen:
        session.execute(update(SessionRow).where(SessionRow.id == session_id).values(seen_at=func.now()))
    account = accounts.by_id(session, account_id)
    return (account, SessionId(session_id)) if account else None


def revoke(session: Session, token: str) -> None:
    """End the session of this token: signing out."""
    session.execute(delete(SessionRow).where(SessionRow.token_hash == _hash(token)))


def revoke_one(session: Session, account_id: AccountId, session_id: SessionId) -> None:
    """End one session of this account; nothing happens when it is another's."""
    session.execute(delete(SessionRow).where(SessionRow.id == session_id, SessionRow.account_id == account_id))


def revoke_all(session: Session, account_id: AccountId) -> None:
    """Sign the account out everywhere; tickets go with their sessions."""
    session.execute(
        update(AccountRow)
        .where(AccountRow.id == account_id)
        .values(token_version=AccountRow.token_version + 1, sessions_valid_after=func.now())
    )
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))


def revoke_others(session: Session, account_id: AccountId, *, keep: SessionId | None) -> None:
    """Sign the account out everywhere but in the session ``keep``; tickets go with their sessions."""
    session.execute(update(AccountRow).where(AccountRow.id == account_id).values(sessions_valid_after=func.now()))
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id, SessionRow.id.is_distinct_from(keep)))


def list_of(session: Session, account_id: AccountId) -> tuple[SignedIn, ...]:
    """The account's sessions, the last seen first."""
    rows = session.execute(
        select(SessionRow)
        .where(SessionRow.account_id == account_id, SessionRow.expires_at > func.now())
        .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
    ).scalars()
    return tuple(
        SignedIn(
            id=SessionId(row.id),
            user_agent=row.user_agent,
            created_at=row.created_at,
            seen_at=row.seen_at,
            expires_at=row.expires_at,
        )
        for row in rows
    )


def _end_unseen(session: Session, account_id: AccountId, *, keep: int) -> None:
    """End all sessions of the account but the ``keep`` that were seen last."""
    rest = (
        select(SessionRow.id)
        .where(SessionRow.account_id == account_id)
        .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
        .offset(keep)
    )
    session.execute(delete(SessionRow).where(SessionRow.id.in_(rest)))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _printable(user_agent: str) -> str:
    return "".join(letter for letter in user_agent[:_USER_AGENT_MAX] if letter.isprintable())
