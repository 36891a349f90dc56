"""People, as those see them who look after the place."""

from sqlalchemy import or_, select

from data.database import Session
from data.repositories import accounts
from data.tables import AccountRow
from studio.words.account import Account


def find(session: Session, words: str, *, limit: int) -> tuple[Account, ...]:
    """Accounts whose name, proved address or id holds these words, by name; all of them without words.

    The words are text: ``%`` and ``_`` in them stand for themselves.
    """
    wanted = words.strip()
    held = or_(
        AccountRow.name.icontains(wanted, autoescape=True),
        AccountRow.email.icontains(wanted, autoescape=True),
        AccountRow.id == wanted,
    )
    rows = session.execute(
        select(AccountRow.id).where(AccountRow.deleted_at.is_(None), held).order_by(AccountRow.name).limit(limit)
    ).scalars()
    found = (accounts.by_id(session, account_id) for account_id in rows.all())
    return tuple(account for account in found if account is not None)
