"""People, as those see them who look after the place."""

from sqlalchemy import or_, select

from data.database import Session
from data.repositories import accounts
from data.repositories.texts import keepable
from data.tables import AccountRow
from studio.words.account import Account


def find(session: Session, words: str, *, limit: int) -> tuple[Account, ...]:
    """Accounts whose name, proved address or id holds these words, by name; all of them without words.

    The words are text: ``%`` and ``_`` in them stand for themselves.
    """
    wanted = words.strip()
    if not keepable(wanted):
        return ()
    held = or_(
        AccountRow.name.icontains(wanted, autoescape=True),
        AccountRow.email.icontains(wanted, autoescape=True),
        AccountRow.id == wanted,
    )
    found = session.execute(
        select(AccountRow.id).where(AccountRow.deleted_at.is_(None), held).order_by(AccountRow.name).limit(limit)
    ).scalars()
    return accounts.by_ids(session, found.all())
