"""Who an account is at other providers (OpenID Connect): issuer and subject there."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from data.database import Session
from data.tables import AccountRow, IdentityRow
from studio.words.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherIdentity:
    """One way to sign in elsewhere, as its owner sees it."""

    issuer: str
    subject: str
    created_at: datetime
    seen_at: datetime


def account_id_of(session: Session, issuer: str, subject: str) -> AccountId | None:
    """Whose identity this is, noting that it was seen; None: nobody's here."""
    found = session.execute(
        update(IdentityRow)
        .where(
            IdentityRow.issuer == issuer,
            IdentityRow.subject == subject,
            IdentityRow.account_id == AccountRow.id,
            AccountRow.deleted_at.is_(None),
        )
        .values(seen_at=func.now())
        .returning(IdentityRow.account_id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if found is None else AccountId(found)


def link(session: Session, account_id: AccountId, issuer: str, subject: str) -> bool:
    """Let this identity open the account; False: it opens one already."""
    made = session.execute(
        insert(IdentityRow)
        .values(issuer=issuer, subject=subject, account_id=account_id)
        .on_conflict_do_nothing()
        .returning(IdentityRow.account_id)
    ).scalar_one_or_none()
    return made is not None


def unlink(session: Session, account_id: AccountId, issuer: str, subject: str) -> bool:
    """Let this identity open the account no more; False: it did not."""
    gone = session.execute(
        delete(IdentityRow)
        .where(IdentityRow.issuer == issuer, IdentityRow.subject == subject, IdentityRow.account_id == account_id)
        .returning(IdentityRow.account_id)
    ).scalar_one_or_none()
    return gone is not None


def list_of(session: Session, account_id: AccountId) -> tuple[OtherIdentity, ...]:
    """The account's identities elsewhere, oldest first."""
    rows = session.execute(
        select(IdentityRow).where(IdentityRow.account_id == account_id).order_by(IdentityRow.created_at)
    ).scalars()
    return tuple(
        OtherIdentity(issuer=row.issuer, subject=row.subject, created_at=row.created_at, seen_at=row.seen_at)
        for row in rows
    )
