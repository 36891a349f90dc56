"""API keys: ``mel_`` and 256 random bits. Only their SHA-256 and their first characters are kept.

Making and revoking one stands in the audit log.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, insert, or_, select, update

from data.database import Session
from data.ids import new_id
from data.repositories import accounts, audit
from data.repositories.texts import check_keepable
from data.repositories.tokens import fresh_token, hash_of
from data.tables import AccountRow, ApiKeyRow
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.api_key import ApiKey, Scope
from studio.words.ids import AccountId, ApiKeyId

PREFIX: Final = "mel_"
KEYS_MAX: Final = 20
LABEL_MAX: Final = 60
_SHOWN: Final = len(PREFIX) + 6
_SEEN_EVERY: Final = timedelta(minutes=1)


class UnfitKey(MelodeonError):
    """The key that was asked for cannot be made."""

    code = "unfit_key"

    def __init__(self, field_name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field_name = field_name


class TooManyKeys(MelodeonError):
    """The account has as many keys as it may."""

    code = "too_many_keys"

    def __init__(self) -> None:
        super().__init__(f"An account has at most {KEYS_MAX} keys. Revoke one that you no longer need.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Whom a key acts for, and what it may do."""

    account: Account
    key_id: ApiKeyId
    scopes: frozenset[Scope]


def check_wish(label: str, scopes: Collection[Scope]) -> None:
    """Refuse what no key can be called or good for.

    Raises:
        UnfitKey: no label or a long one, or no scope.
        UnkeepableText: the label holds something that is no character.
    """
    check_keepable(label=label)
    if not 1 <= len(label.strip()) <= LABEL_MAX:
        raise UnfitKey("label", f"A key needs a label of 1 to {LABEL_MAX} characters, so that you know it again.")
    if not scopes:
        raise UnfitKey("scopes", "A key needs at least one scope: read, create or billing.")


def make(
    session: Session,
    account_id: AccountId,
    label: str,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; its secret is known only now.

    Raises:
        UnfitKey: no label or a long one, no scope, or a date that has passed.
        TooManyKeys: the account has enough of them.
        UnkeepableText: the label holds something that is no character.
    """
    check_wish(label, scopes)
    now = session.execute(select(func.now())).scalar_one()
    if expires_at is not None and expires_at <= now:
        raise UnfitKey("expires_at", "A key must expire in the future, or never.")
    _refuse_too_many(session, account_id)
    secret = PREFIX + fresh_token()
    row = session.execute(
        insert(ApiKeyRow)
        .values(
            id=new_id("api_key"),
            account_id=account_id,
            secret_hash=hash_of(secret),
            shown=secret[:_SHOWN],
            label=label.strip(),
            scopes=sorted({scope.value for scope in scopes}),
            expires_at=expires_at,
        )
        .returning(ApiKeyRow)
    ).scalar_one()
    audit.note(session, account_id, "key_made", account_id, row.id)
    return _key_of(row), secret


def of_secret(session: Session, secret: str) -> Opened | None:
    """Whom this key acts for; None: nobody (any more). Notes that it was used, at most once a minute."""
    row = session.execute(
        select(ApiKeyRow)
        .join(AccountRow, AccountRow.id == ApiKeyRow.account_id)
        .where(
            ApiKeyRow.secret_hash == hash_of(secret),
            ApiKeyRow.revoked_at.is_(None),
            or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > func.now()),
            AccountRow.deleted_at.is_(None),
        )
    ).scalar_one_or_none()
    if row is None:
        return None
    session.execute(
        update(ApiKeyRow)
        .where(
            ApiKeyRow.id == row.id,
            or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < func.now() - _SEEN_EVERY),
        )
        .values(last_used_at=func.now())
        .execution_options(synchronize_session=False)
    )
    account = accounts.by_id(session, row.account_id)
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return None if account is None else Opened(account=account, key_id=ApiKeyId(row.id), scopes=scopes)


def revoke(session: Session, account_id: AccountId, key_id: str) -> bool:
    """End a key of this account at once; False: it has no such key that works."""
    ended = session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == key_id, ApiKeyRow.account_id == account_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKeyRow.id)
    ).scalar_one_or_none()
    if ended is not None:
        audit.note(session, account_id, "key_revoked", account_id, key_id)
    return ended is not None


def revoke_all(session: Session, account_id: AccountId, *, actor: str) -> None:
    """End every key of this account at once.

    Args:
        session: in whose transaction.
        account_id: whose keys.
        actor: id of the account that does it, or `audit.OPERATOR`.
    """
    ended = session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.account_id == account_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKeyRow.id)
    ).scalars()
    for key_id in ended.all():
        audit.note(session, actor, "key_revoked", account_id, key_id)


def list_of(session: Session, account_id: AccountId) -> tuple[ApiKey, ...]:
    """The account's keys that were not revoked, newest first; those that expired are among them."""
    rows = session.execute(
        select(ApiKeyRow)
        .where(ApiKeyRow.account_id == account_id, ApiKeyRow.revoked_at.is_(None))
        .order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id.desc())
    ).scalars()
    return tuple(_key_of(row) for row in rows)


def _refuse_too_many(session: Session, account_id: AccountId) -> None:
    # two at once wait for each other at the account's row
    session.execute(select(AccountRow.id).where(AccountRow.id == account_id).with_for_update())
    if len(list_of(session, account_id)) >= KEYS_MAX:
        raise TooManyKeys


def _key_of(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(row.id),
        account_id=AccountId(row.account_id),
        label=row.label,
        shown=row.shown,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
