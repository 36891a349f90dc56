"""Accounts: who signs in. Time here is the database's."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from data.database import Session
from data.ids import new_id
from data.repositories.texts import keepable
from data.tables import AccountRow, SessionRow, TotpRow
from studio.errors import MelodeonError
from studio.words.account import Account, Role
from studio.words.ids import AccountId, is_id

LOCAL_NAME: Final = "local"
_FIRST_ADMIN_LOCK: Final = 0x61646D69  # any number, the same in every process
_NAME_MIN, _NAME_MAX, _EMAIL_MAX = 2, 32, 254
_ATOM: Final = r"[^@\s.\x00-\x1f\x7f\"(),:;<>\[\\\]]+"
_EMAIL: Final = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(\.{_ATOM})*@{_ATOM}(\.{_ATOM})+")
"""RFC 5321's unquoted form, letters of any script (RFC 6531): nothing in it can end a header or begin a second one."""
_COLUMNS: Final = (
    AccountRow.id, AccountRow.name, AccountRow.email, AccountRow.role, AccountRow.plan, AccountRow.created_at,
    AccountRow.email_verified_at, AccountRow.avatar_key, AccountRow.stripe_customer_id, AccountRow.token_version,
)  # fmt: skip


class BadName(MelodeonError):
    """The name is not one that an account can have."""

    code = "bad_name"

    def __init__(self) -> None:
        super().__init__(
            f"A name has {_NAME_MIN} to {_NAME_MAX} letters or digits of any script, with _ . - between them."
        )


class NameTaken(MelodeonError):
    """Another account has this name, or it is kept for the product itself."""

    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"The name “{name}” is taken. Please choose another one.")


class BadEmail(MelodeonError):
    """The text is no e-mail address."""

    code = "bad_email"

    def __init__(self) -> None:
        super().__init__("This does not look like an e-mail address. Please check it.")


class EmailTaken(MelodeonError):
    """Another account has this e-mail address."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("There is an account with this e-mail address already. Sign in instead?")


class LastAdmin(MelodeonError):
    """Nobody would be left who may give roles."""

    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("This is the last administrator. Make somebody else an administrator first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What signing in needs to know of an account.

    Attributes:
        password_hash: None: this account cannot sign in by password.
        second_factor: whether a code is asked for beside the password.
        token_version: of the moment this was read; another one later says that the password may be another, too.
    """

    account_id: AccountId
    password_hash: str | None = field(repr=False)
    second_factor: bool
    token_version: int


def checked_name(name: str) -> str:
    """The name as it is kept: Unicode form NFKC, 2-32 letters (with their marks), digits and ``_ . -``.

    It begins and ends with a letter, mark or digit, so that it reads as one word wherever it is shown.

    Raises:
        BadName: otherwise.
    """
    if len(name) > 4 * _NAME_MAX:
        raise BadName
    name = unicodedata.normalize("NFKC", name)
    kinds = [unicodedata.category(character) for character in name]
    allowed = all(kind[0] in "LM" or kind == "Nd" or letter in "_.-" for kind, letter in zip(kinds, name, strict=True))
    if not _NAME_MIN <= len(name) <= _NAME_MAX or not allowed:
        raise BadName
    if (kinds[0][0] != "L" and kinds[0] != "Nd") or name[-1] in "_.-":
        raise BadName
    return name


def checked_email(email: str) -> str:
    """The address without spaces around it; empty is allowed: an account need not have one.

    Raises:
        BadEmail: it does not have the shape ``somebody@somewhere.tld`` or is longer than 254 characters (RFC 5321).
    """
    email = email.strip()
    if email and (len(email) > _EMAIL_MAX or not _EMAIL.fullmatch(email) or not keepable(email)):
        raise BadEmail
    return email


def create(session: Session, *, name: str, email: str = "", password_hash: str | None) -> Account:
    """Make an account. The first one of all (besides the command line's own) becomes the admin, exactly one.

    Raises:
        BadName, NameTaken, BadEmail, EmailTaken: with the transaction still usable.
    """
    name, email = checked_name(name), checked_email(email)
    if name.casefold() == LOCAL_NAME:
        raise NameTaken(name)
    role = Role.ADMIN if _is_first(session) else Role.CREATOR
    return _insert(session, name=name, email=email, password_hash=password_hash, role=role)


def local_account(session: Session) -> Account:
    """The account that the command line acts as; made on first use. It has no password, so nobody signs in as it."""
    found = by_name(session, LOCAL_NAME)
    if found is not None:
        return found
    try:
        return _insert(session, name=LOCAL_NAME, email="", password_hash=None, role=Role.ADMIN)
    except NameTaken:  # another command line was faster, and has committed
        found = by_name(session, LOCAL_NAME)
        if found is None:
            raise
        return found


def by_id(session: Session, account_id: str) -> Account | None:
    """The account with this id; None also for a text that is no id."""
    return _one(session, AccountRow.id == account_id) if is_id(account_id, noun="account") else None


def by_ids(session: Session, ids: Collection[str]) -> tuple[Account, ...]:
    """The accounts with these ids, by name; what is the id of none is left out."""
    rows = session.execute(
        select(*_COLUMNS).where(AccountRow.id.in_(ids), AccountRow.deleted_at.is_(None)).order_by(AccountRow.name)
    )
    return tuple(_account_of(row) for row in rows)


def by_name(session: Session, name: str) -> Account | None:
    """The account with this name, whatever the case of its letters."""
    condition = _named(name)
    return None if condition is None else _one(session, condition)


def by_email(session: Session, email: str) -> Account | None:
    """The account that has proved this address to be its own; None: nobody has."""
    condition = _with_email(email)
    return None if condition is None else _one(session, condition)


def credentials(session: Session, login: str) -> Credentials | None:
    """What is needed to check the password of the account with this name or proved address; None: there is none."""
    condition = _with_email(login) if "@" in login else _named(login)
    if condition is None:
        return None
    confirmed = select(literal(1)).where(TotpRow.account_id == AccountRow.id, TotpRow.confirmed_at.is_not(None))
    row = session.execute(
        select(AccountRow.id, AccountRow.password_hash, confirmed.exists(), AccountRow.token_version).where(
            condition, AccountRow.deleted_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    return Credentials(account_id=AccountId(row[0]), password_hash=row[1], second_factor=row[2], token_version=row[3])


def set_password(session: Session, account_id: AccountId, password_hash: str) -> None:
    """Keep a new password and end every session and ticket of the account."""
    session.execute(
        update(AccountRow)
        .where(AccountRow.id == account_id)
        .values(
            password_hash=password_hash,
            token_version=AccountRow.token_version + 1,
            sessions_valid_after=func.now(),
        )
    )
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))


def set_proved_email(session: Session, account_id: AccountId, email: str) -> None:
    """Keep an address that was proved by a letter to be this account's.

    Raises:
        EmailTaken: another account proved it first; the transaction stays usable.
    """
    _give_up_unproved(session, email, but=account_id)
    try:
        with session.begin_nested():
            session.execute(
                update(AccountRow)
                .where(AccountRow.id == account_id)
                .values(email=checked_email(email), email_verified_at=func.now())
            )
    except IntegrityError as error:
        if _constraint(error) == "uq_account_email_lower":
            raise EmailTaken from None
        raise


def sessions_valid_after(session: Session, account_id: AccountId) -> datetime | None:
    """When the account was last signed out everywhere; None: never."""
    return session.execute(
        select(AccountRow.sessions_valid_after).where(AccountRow.id == account_id)
    ).scalar_one_or_none()


def set_role(session: Session, account_id: AccountId, role: Role) -> None:
    """Give the account this role.

    Raises:
        LastAdmin: nobody would be left who may give roles. Two changes at once wait for each other.
    """
    if role is not Role.ADMIN:
        refuse_last_admin(session, account_id)
    session.execute(update(AccountRow).where(AccountRow.id == account_id).values(role=role.value))


def refuse_last_admin(session: Session, account_id: AccountId) -> None:
    """Raise `LastAdmin` when this account is the only administrator who can sign in.

    Whoever asks next waits until this transaction ends: of two who leave at once, one stays.
    """
    session.execute(select(func.pg_advisory_xact_lock(_FIRST_ADMIN_LOCK)))
    admins = (
        select(AccountRow.id)
        .where(AccountRow.role == Role.ADMIN.value, AccountRow.name != LOCAL_NAME, AccountRow.deleted_at.is_(None))
        .limit(2)
    )
    if session.execute(admins).scalars().all() == [account_id]:
        raise LastAdmin


def set_avatar(session: Session, account_id: AccountId, key: str) -> None:
    """Keep the object key of the account's picture; empty: it has none."""
    session.execute(update(AccountRow).where(AccountRow.id == account_id).values(avatar_key=key))


def _is_first(session: Session) -> bool:
    """Whether nobody is here yet. Whoever sees an empty house waits for the lock and looks again."""
    somebody = select(literal(1)).where(AccountRow.name != LOCAL_NAME).limit(1)
    if session.execute(somebody).first() is not None:
        return False
    session.execute(select(func.pg_advisory_xact_lock(_FIRST_ADMIN_LOCK)))
    return session.execute(somebody).first() is None


def _insert(session: Session, *, name: str, email: str, password_hash: str | None, role: Role) -> Account:
    values = {"id": new_id("account"), "name": name, "email": email, "password_hash": password_hash, "role": role.value}
    try:
        with session.begin_nested():
            row = session.execute(insert(AccountRow).values(values).returning(*_COLUMNS)).one()
    except IntegrityError as error:
        broken = _constraint(error)
        if broken == "uq_account_name_lower":
            raise NameTaken(name) from None
        if broken == "uq_account_email_lower":
            raise EmailTaken from None
        raise
    return _account_of(row)


def _constraint(error: IntegrityError) -> str | None:
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None


def _named(name: str) -> ColumnElement[bool] | None:
    """The condition that finds the account called ``name``; None: nobody can be called so."""
    try:
        return func.lower(AccountRow.name) == func.lower(checked_name(name))
    except BadName:
        return None


def _with_email(email: str) -> ColumnElement[bool] | None:
    """The condition that finds whoever proved this address; an address that was only written down proves nothing."""
    try:
        email = checked_email(email)
    except BadEmail:
        return None
    if not email:
        return None
    return and_(func.lower(AccountRow.email) == func.lower(email), AccountRow.email_verified_at.is_not(None))


def _give_up_unproved(session: Session, email: str, *, but: AccountId) -> None:
    """Take an address from an account that wrote it down and never proved it."""
    session.execute(
        update(AccountRow)
        .where(
            func.lower(AccountRow.email) == func.lower(email),
            AccountRow.email_verified_at.is_(None),
            AccountRow.id != but,
        )
        .values(email="")
    )


def _one(session: Session, condition: ColumnElement[bool]) -> Account | None:
    row = session.execute(select(*_COLUMNS).where(condition, AccountRow.deleted_at.is_(None))).one_or_none()
    return None if row is None else _account_of(row)


def _account_of(row: Row[*tuple[Any, ...]]) -> Account:
    return Account(
        id=AccountId(row.id),
        name=row.name,
        email=row.email,
        role=Role(row.role),
        plan=row.plan,
        created_at=row.created_at,
        email_verified=row.email_verified_at is not None,
        avatar_key=row.avatar_key,
        stripe_customer_id=row.stripe_customer_id,
        token_version=row.token_version,
    )
