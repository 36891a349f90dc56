"""Signing up and signing in, for the pages, the doors and the command line alike.

Nobody learns here who has an account: an address that is taken gets the same answer as one that is free (the letter to
it tells the difference), an unknown name takes the same time as a wrong password and is locked after as many tries.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from billing import ledger
from data.database import Database, Session
from data.passwords import check_password, hash_password, verify_password
from data.repositories import accounts, api_keys, audit, outbox, rate_limits, second_factors, verifications
from data.repositories.accounts import Credentials, checked_email
from data.sealed import SealedBox
from serving.limits import GUESSES, GUESSES_OF_ADDRESS, LETTERS_TO, SIGN_UPS_OF_ADDRESS, in_words, network_of, take
from serving.refusals import note_refusal
from studio.errors import MelodeonError
from studio.words.account import Account, Role
from studio.words.letter import LetterKind, TokenPurpose


class WrongPassword(MelodeonError):
    """Name and password do not belong together. Never says which of them is wrong."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The name or the password is wrong.")


class CodeNeeded(MelodeonError):
    """The password is right; this account asks for a code as well."""

    code = "code_needed"

    def __init__(self) -> None:
        super().__init__("Please enter the code that your authenticator app shows, or one of your recovery codes.")


class WrongCode(MelodeonError):
    """The code is wrong, too old, or was used before."""

    code = "wrong_code"

    def __init__(self) -> None:
        super().__init__("This code is wrong or was used before. Please wait for the next one.")


class SignInLocked(MelodeonError):
    """Too many wrong passwords in a row; the lock opens by itself."""

    code = "sign_in_locked"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many wrong passwords. Wait {in_words(retry_after_s)} and try again.")
        self.retry_after_s = retry_after_s


def allow_sign_up(database: Database, address: str) -> None:
    """Count a sign-up from this address; raises `TooManyRequests`. Call it before `sign_up`."""
    if address:
        take(database, SIGN_UPS_OF_ADDRESS, network_of(address))


def sign_up(session: Session, *, name: str, email: str, password: str, signup_credits: int, now: datetime) -> Account:
    """Make an account with its first credits. The first account of an installation is its administrator.

    The e-mail address becomes the account's when somebody follows the link in the letter that is sent to it. Until then
    it is nobody's, so that nobody can keep another one's address; and whether it is somebody's already, only the letter
    tells.

    Raises:
        WeakPassword, BadName, BadEmail, NameTaken: with a sentence for the person.
    """
    check_password(password, of=(name, email))
    email = checked_email(email)
    account = accounts.create(session, name=name, password_hash=hash_password(password))
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    if email:
        expect_email(session, account, email)
    return account


def expect_email(session: Session, account: Account, email: str) -> None:
    """Have a letter sent to ``email`` whose link makes it the account's; too many to one mailbox are left out."""
    verifications.expect(session, account.id, TokenPurpose.VERIFY, email)
    write_to(session, LetterKind.VERIFY_EMAIL, email, account)


def write_to(session: Session, kind: LetterKind, email: str, account: Account | None) -> None:
    """Have a letter sent that somebody asked for, unless this mailbox has got too many of them lately."""
    bucket = LETTERS_TO.bucket(email.casefold())
    if rate_limits.hit(session, bucket, most=LETTERS_TO.most, per_s=LETTERS_TO.per_s) is None:
        outbox.put(session, kind, email, None if account is None else account.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One try to get in, already counted."""

    known: Credentials | None
    account_bucket: str
    address_bucket: str


def sign_in(
    database: Database,
    login: str,
    password: str,
    *,
    code: str = "",
    address: str = "",
    box: SealedBox | None = None,
    now: datetime | None = None,
) -> Account:
    """The account that name (or proved address) and password belong to. Works in transactions of its own.

    An attempt is counted before the password is looked at and forgiven when it was right: many at once count like many
    in a row. No connection is held while the hash is computed.

    Args:
        database: where accounts are.
        login: name or e-mail address.
        password: as it was typed.
        code: of the authenticator, or a recovery code; empty: none was typed.
        address: where the try comes from; empty: only the account's limit counts.
        box: opens the secrets of second factors; without it nobody gets in who has one.
        now: the moment that the code must fit; the clock's when absent.

    Raises:
        WrongPassword: unknown login or wrong password; both take the same time.
        CodeNeeded: the password is right and a code is asked for.
        WrongCode: the password is right and the code is not.
        SignInLocked: too many wrong ones, for this login or from this address.
    """
    tried = _count(database, login, address)
    known = tried.known
    right = verify_password(known.password_hash if known else None, password)
    if known is None or not right:
        raise _noted(WrongPassword(), known)
    with database.transaction() as session:
        refused = _refused_code(session, known, code, box, now or datetime.now(UTC))
        if refused is None:
            rate_limits.forget(session, tried.account_bucket)
        if not isinstance(refused, WrongCode):
            _give_back(session, tried)
        account = accounts.by_id(session, known.account_id)
    # deleted in the meantime, or the password that was right is no longer the password
    if account is None or account.token_version != known.token_version:
        raise _noted(WrongPassword(), known)
    if refused is not None:
        raise _noted(refused, known)
    return account


def confirm_password(database: Database, account: Account, password: str, *, address: str = "") -> None:
    """Have somebody who is signed in prove once more who they are, before something that cannot be undone.

    Raises:
        WrongPassword, SignInLocked: as `sign_in`; also when the account has no password.
    """
    tried = _count(database, account.name, address)
    if not verify_password(tried.known.password_hash if tried.known else None, password):
        raise _noted(WrongPassword(), tried.known)
    with database.transaction() as session:
        _give_back(session, tried)


def change_password(
    database: Database, account: Account, old: str, new: str, *, revoke_keys: bool = False, address: str = ""
) -> Account:
    """Set a new password after checking the old one; every session of the account ends, this one too.

    API keys go on working unless they are to be revoked: whoever knows the old password changes it in peace.

    Returns:
        The account, by whose new version the next session may begin.

    Raises:
        WrongPassword, SignInLocked: the old one is not right.
        WeakPassword: the new one must not be chosen.
    """
    check_password(new, of=(account.name, account.email))
    confirm_password(database, account, old, address=address)
    kept = hash_password(new)
    with database.transaction() as session:
        put_password(session, account, kept, actor=account.id, revoke_keys=revoke_keys)
        return accounts.by_id(session, account.id) or account


def put_password(session: Session, account: Account, password_hash: str, *, actor: str, revoke_keys: bool) -> None:
    """Keep a new password, end every session, forgive wrong ones, write it down and tell the owner by letter.

    With ``revoke_keys`` every API key ends too: whoever sets a password without knowing the old one may have lost it
    to somebody who has made keys since.
    """
    accounts.set_password(session, account.id, password_hash)
    if revoke_keys:
        api_keys.revoke_all(session, account.id, actor=actor)
    verifications.void(session, account.id, TokenPurpose.RESET)
    rate_limits.forget(session, GUESSES.bucket(account.id))
    audit.note(session, actor, "password_set", account.id)
    if account.email and account.email_verified:
        outbox.put(session, LetterKind.PASSWORD_CHANGED, account.email, account.id)


def set_role(session: Session, actor: str, account: Account, role: Role) -> Account:
    """Give the account a role; written to the audit log.

    Args:
        session: in whose transaction.
        actor: id of the administrator who does it, or `audit.OPERATOR`; the caller has checked that they may.
        account: who gets it.
        role: the new one.

    Raises:
        LastAdmin: nobody would be left who may give roles.
    """
    accounts.set_role(session, account.id, role)
    audit.note(session, actor, "role_set", account.id, f"{account.role.value} to {role.value}")
    changed = accounts.by_id(session, account.id)
    return changed or account


def local_account(session: Session, *, signup_credits: int, now: datetime) -> Account:
    """The account ``local`` that the command line acts as; made, with its first credits, when first needed."""
    account = accounts.local_account(session)
    ledger.open_with_signup_grant(session, account.id, amount=signup_credits, now=now)
    return account


def _count(database: Database, login: str, address: str) -> _Try:
    """Count a try for the account and for the address, before anything is looked at."""
    with database.transaction() as session:
        known = accounts.credentials(session, login)
        who = known.account_id if known else f"nobody {login[:320].casefold()}"
        tried = _Try(
            known=known,
            account_bucket=GUESSES.bucket(who),
            address_bucket=GUESSES_OF_ADDRESS.bucket(network_of(address)) if address else "",
        )
        waits_s = [rate_limits.hit(session, tried.account_bucket, most=GUESSES.most, per_s=GUESSES.per_s)]
        if address:
            limit = GUESSES_OF_ADDRESS
            waits_s.append(rate_limits.hit(session, tried.address_bucket, most=limit.most, per_s=limit.per_s))
    wait_s = max((wait_s for wait_s in waits_s if wait_s is not None), default=None)
    if wait_s is not None:
        raise _noted(SignInLocked(wait_s), known)
    return tried


def _noted(error: MelodeonError, known: Credentials | None) -> MelodeonError:
    """The error, once it stands in the log whose proof failed."""
    note_refusal(error.code, place="proof", account_id=known.account_id if known else "")
    return error


def _give_back(session: Session, tried: _Try) -> None:
    """The password was right, so this try was no guess. Earlier guesses stay counted: a code may still be guessed."""
    rate_limits.give_back(session, tried.account_bucket, most=GUESSES.most, per_s=GUESSES.per_s)
    if tried.address_bucket:
        limit = GUESSES_OF_ADDRESS
        rate_limits.give_back(session, tried.address_bucket, most=limit.most, per_s=limit.per_s)


def _refused_code(
    session: Session, known: Credentials, code: str, box: SealedBox | None, now: datetime
) -> CodeNeeded | WrongCode | None:
    """Why somebody whose password is right does not get in all the same; None: they do. Uses the code up."""
    if not known.second_factor:
        return None
    if not code or box is None:
        return CodeNeeded()
    if second_factors.use_code(session, known.account_id, code, box, now=now):
        return None
    return None if second_factors.use_recovery_code(session, known.account_id, code) else WrongCode()
