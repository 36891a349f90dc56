"""The post round, in the worker: takes letters from the outbox, writes their text and their token, and sends them."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from configs.addresses import database_url, web_url
from configs.logs import stack_of
from configs.secrets import Secrets
from configs.settings import Settings
from data.database import Database, DatabaseUnreachable, Session
from data.repositories import accounts, outbox, rate_limits, verifications
from data.repositories.outbox import Waiting
from serving import letters
from serving.letters import Letter
from serving.mail import MailNotSent, Post, open_post
from studio.words.letter import LetterKind, TokenPurpose

ROUND_EVERY_S: Final = 1.0
_SWEEP_EVERY: Final = 600
_AT_ONCE: Final = 100

_log = structlog.get_logger(__name__)


def send_waiting(database: Database, post: Post, *, address: str, most: int = _AT_ONCE) -> int:
    """Send letters whose turn it is, at most ``most``; answers how many went.

    A letter whose sender dies is tried again later: rather twice than never.
    """
    gone = 0
    for _ in range(most):
        with database.transaction() as session:
            waiting = outbox.take(session)
        if waiting is None:
            break
        gone += _send(database, post, waiting, address)
    return gone


@asynccontextmanager
async def letters_sent(settings: Settings, secrets: Secrets) -> AsyncIterator[None]:
    """While it is open, letters go out as they come.

    They are written by the web process' login: whoever may make a token may set anybody's password, and the worker's
    own login must not.

    Raises:
        BadMailAddress: the SMTP server's address is not understood.
    """
    post = open_post(settings.mail, settings.var)
    database = Database(database_url(settings, secrets, role="app"), pool_size=1, application_name="melodeon letters")
    stop = asyncio.Event()
    task = asyncio.create_task(send_until(stop, database, post, address=web_url(settings)))
    try:
        yield
    finally:
        stop.set()
        await task
        database.dispose()


async def send_until(
    stop: asyncio.Event, database: Database, post: Post, *, address: str, every_s: float = ROUND_EVERY_S
) -> None:
    """Send letters as they come, until ``stop`` is set; the one that is on its way then is waited for."""
    for rounds in itertools.count():
        sent = 0
        try:
            if rounds % _SWEEP_EVERY == 0:
                await asyncio.to_thread(sweep, database)
            sent = await asyncio.to_thread(send_waiting, database, post, address=address, most=1)
        except DatabaseUnreachable:
            _log.warning("post round skipped: the database does not answer")
        except Exception as error:  # noqa: BLE001 - one bad letter must not stop all others
            _log.warning("post round failed", error=type(error).__name__, stack=stack_of(error))
        if not sent:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every_s)
        if stop.is_set():
            return


def sweep(database: Database) -> None:
    """Forget limits that are free again, links that are no longer good, letters that were given up long ago."""
    with database.transaction() as session:
        verifications.sweep(session)
        rate_limits.sweep(session)
        outbox.sweep(session)


def _send(database: Database, post: Post, waiting: Waiting, address: str) -> bool:
    try:
        with database.transaction() as session:
            letter = _written(session, waiting, address)
        if letter is not None:
            post.send(letter)
    except DatabaseUnreachable:
        raise
    except MailNotSent as error:
        _put_back(database, waiting, error.why, for_good=error.for_good)
        return False
    except Exception as error:
        # Nobody foresaw it; without a word here the letter would be tried for ever.
        _put_back(database, waiting, type(error).__name__, for_good=False)
        raise
    with database.transaction() as session:
        outbox.sent(session, waiting.id)
    return letter is not None


def _put_back(database: Database, waiting: Waiting, why: str, *, for_good: bool) -> None:
    with database.transaction() as session:
        given_up = outbox.failed(session, waiting.id, why, for_good=for_good)
    _log.warning("letter not sent", kind=waiting.kind, why=why, attempts=waiting.attempts, given_up=given_up)


def _written(session: Session, waiting: Waiting, address: str) -> Letter | None:
    """The letter in full, with a fresh token where it holds one; None: it need not go any more."""
    if waiting.kind is LetterKind.RESET_PASSWORD:
        return _reset_letter(session, waiting.to_address, address)
    account = None if waiting.account_id is None else accounts.by_id(session, waiting.account_id)
    if account is None:
        return None
    if waiting.kind is LetterKind.VERIFY_EMAIL:
        owner = accounts.by_email(session, waiting.to_address)
        if owner is not None and owner.id != account.id:
            return letters.address_in_use(waiting.to_address, owner, address)
        token = verifications.issue(session, account.id, TokenPurpose.VERIFY, waiting.to_address)
        return None if token is None else letters.verify_email(waiting.to_address, token, address)
    plain = {
        LetterKind.PASSWORD_CHANGED: letters.password_changed,
        LetterKind.EMAIL_CHANGED: letters.email_changed,
        LetterKind.SECOND_FACTOR_CHANGED: letters.second_factor_changed,
    }
    return plain[waiting.kind](waiting.to_address, account.name, address)


def _reset_letter(session: Session, email: str, address: str) -> Letter | None:
    """Whoever sends looks whose address it is: the one who asked was told nothing."""
    account = accounts.by_email(session, email)
    if account is None:
        return None
    verifications.expect(session, account.id, TokenPurpose.RESET, account.email)
    token = verifications.issue(session, account.id, TokenPurpose.RESET, account.email)
    return None if token is None else letters.reset_password(account.email, account.name, token, address)
