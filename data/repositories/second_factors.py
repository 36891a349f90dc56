"""Second factors: a sealed secret per account, the last time step that was used up, and recovery codes."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from data.database import Session
from data.one_time_codes import bare_recovery_code, step_of
from data.repositories.tokens import hash_of
from data.sealed import SealedBox
from data.tables import RecoveryCodeRow, TotpRow
from studio.words.ids import AccountId


def begin(session: Session, account_id: AccountId, secret: str, box: SealedBox) -> None:
    """Keep a secret that is not in force yet; it takes the place of another one that never was."""
    sealed = box.seal(secret, of=account_id)
    session.execute(
        upsert(TotpRow)
        .values(account_id=account_id, sealed_secret=sealed)
        .on_conflict_do_update(
            index_elements=["account_id"],
            set_={"sealed_secret": sealed, "last_step": 0, "created_at": func.now()},
            where=TotpRow.confirmed_at.is_(None),
        )
    )


def is_on(session: Session, account_id: AccountId) -> bool:
    """Whether the account is asked for a code."""
    confirmed = select(TotpRow.confirmed_at).where(TotpRow.account_id == account_id)
    return session.execute(confirmed).scalar_one_or_none() is not None


def confirm(session: Session, account_id: AccountId, recovery_codes: Iterable[str]) -> None:
    """Put the secret in force, with these recovery codes and no others."""
    session.execute(update(TotpRow).where(TotpRow.account_id == account_id).values(confirmed_at=func.now()))
    session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.account_id == account_id))
    hashes = [hash_of(bare_recovery_code(code)) for code in recovery_codes]
    session.execute(insert(RecoveryCodeRow), [{"account_id": account_id, "code_hash": kept} for kept in hashes])


def use_code(session: Session, account_id: AccountId, code: str, box: SealedBox, *, now: datetime) -> bool:
    """Whether this is a code of the account's authenticator; it and every earlier one are used up then (RFC 6238, 5.2).

    Of several callers with one code, one wins.
    """
    sealed = session.execute(select(TotpRow.sealed_secret).where(TotpRow.account_id == account_id)).scalar_one_or_none()
    if sealed is None:
        return False
    step = step_of(box.open(sealed, of=account_id), code, now)
    if step is None:
        return False
    used = session.execute(
        update(TotpRow)
        .where(TotpRow.account_id == account_id, TotpRow.last_step < step)
        .values(last_step=step)
        .returning(TotpRow.account_id)
    ).scalar_one_or_none()
    return used is not None


def use_recovery_code(session: Session, account_id: AccountId, code: str) -> bool:
    """Whether this is one of the account's recovery codes; it is used up then."""
    used = session.execute(
        delete(RecoveryCodeRow)
        .where(RecoveryCodeRow.account_id == account_id, RecoveryCodeRow.code_hash == hash_of(bare_recovery_code(code)))
        .returning(RecoveryCodeRow.account_id)
    ).scalar_one_or_none()
    return used is not None


def recovery_codes_left(session: Session, account_id: AccountId) -> int:
    """How many recovery codes the account has left."""
    count = select(func.count()).where(RecoveryCodeRow.account_id == account_id)
    return int(session.execute(count).scalar_one())


def end(session: Session, account_id: AccountId) -> None:
    """Ask this account for no code any more; its secret and its recovery codes are gone."""
    session.execute(delete(TotpRow).where(TotpRow.account_id == account_id))
    session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.account_id == account_id))
