"""What people do by the links in letters: prove an address, set a new password, move to another address."""

from data.database import Database
from data.passwords import check_password, hash_password
from data.repositories import accounts, audit, outbox, verifications
from data.repositories.accounts import checked_email
from data.repositories.verifications import BadToken
from serving.accounts import confirm_password, expect_email, put_password, write_to
from serving.limits import LETTERS_FROM_ADDRESS, TOKENS_FROM_ADDRESS, network_of, take
from studio.words.account import Account
from studio.words.letter import LetterKind, TokenPurpose


def verify_email(database: Database, token: str, *, address: str = "") -> Account:
    """Make the address whose letter held this token the account's. Its former address gets a note.

    Raises:
        BadToken: the link is no longer good.
        EmailTaken: another account proved the address meanwhile.
        TooManyRequests: too many links were tried from this address.
    """
    _count_token(database, address)
    with database.transaction() as session:
        proof = verifications.use(session, TokenPurpose.VERIFY, token)
        before = accounts.by_id(session, proof.account_id)
        if before is None:
            raise BadToken
        accounts.set_proved_email(session, proof.account_id, proof.email)
        audit.note(session, proof.account_id, "email_proved", proof.account_id)
        if before.email_verified and before.email.casefold() != proof.email.casefold():
            outbox.put(session, LetterKind.EMAIL_CHANGED, before.email, proof.account_id)
        return accounts.by_id(session, proof.account_id) or before


def pending_email(database: Database, account: Account) -> str:
    """The address that waits to be proved; empty: none does."""
    with database.transaction() as session:
        return verifications.pending_email(session, account.id)


def ask_verification(database: Database, account: Account, *, address: str = "") -> None:
    """Send the link once more to the address that waits to be proved; nothing happens when none does.

    Raises:
        TooManyRequests: too many letters were asked for from this address.
    """
    _count_letter(database, address)
    with database.transaction() as session:
        pending = verifications.pending_email(session, account.id)
        unproved = "" if account.email_verified else account.email
        if pending or unproved:
            expect_email(session, account, pending or unproved)


def change_email(database: Database, account: Account, password: str, email: str, *, address: str = "") -> None:
    """Move to another address: it counts when the link in the letter to it is followed; until then the old one does.

    Raises:
        WrongPassword, SignInLocked: the password is not right.
        BadEmail: this is no address.
    """
    email = checked_email(email)
    confirm_password(database, account, password, address=address)
    _count_letter(database, address)
    with database.transaction() as session:
        if email:
            expect_email(session, account, email)
            audit.note(session, account.id, "email_change_asked", account.id)


def ask_reset(database: Database, email: str, *, address: str = "") -> None:
    """Have a link for a new password sent to whoever proved this address to be theirs.

    The same is done for every address; only the one who sends the letter looks whose it is. So neither the answer nor
    its time tells whether somebody has an account.

    Raises:
        BadEmail: this is no address.
        TooManyRequests: too many letters were asked for from this network address.
    """
    email = checked_email(email)
    _count_letter(database, address)
    if email:
        with database.transaction() as session:
            write_to(session, LetterKind.RESET_PASSWORD, email, None)


def reset_password(database: Database, token: str, new: str, *, address: str = "") -> Account:
    """Set a new password by the token of a letter; every session and every API key of the account ends.

    Raises:
        BadToken: the link is no longer good; of several who use one at once, one wins.
        WeakPassword: the new one must not be chosen; the link stays good.
        TooManyRequests: too many links were tried from this address.
    """
    check_password(new)
    _count_token(database, address)
    with database.transaction() as session:
        owner = accounts.by_id(session, verifications.look(session, TokenPurpose.RESET, token).account_id)
    check_password(new, of=(owner.name, owner.email) if owner else ())
    kept = hash_password(new)
    with database.transaction() as session:
        proof = verifications.use(session, TokenPurpose.RESET, token)
        account = accounts.by_id(session, proof.account_id)
        if account is None or account.email.casefold() != proof.email.casefold():
            raise BadToken
        put_password(session, account, kept, actor=account.id, revoke_keys=True)
    return account


def _count_letter(database: Database, address: str) -> None:
    if address:
        take(database, LETTERS_FROM_ADDRESS, network_of(address))


def _count_token(database: Database, address: str) -> None:
    if address:
        take(database, TOKENS_FROM_ADDRESS, network_of(address))
