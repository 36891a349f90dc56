"""Credits: grant, hold, settle, look. The face of the ledger for the rooms above.

Every function works in the caller's transaction and none commits. Of the errors below, none aborts that transaction:
the ledger answers a refusal, it does not fail, so the caller may record it and commit.

Every movement takes an idempotency key. The same key with the same request is harmless for ever (a retry gets the
first result); with another request it is `KeyReused`.
"""

from datetime import datetime
from typing import Final

from data.database import Session
from data.repositories import ledger
from data.repositories.ledger import Answer, Outcome
from studio.errors import MelodeonError
from studio.words.credit import Balance, Movement
from studio.words.ids import AccountId, HoldId, JobId, TransferId

KEY_MAX: Final = 180
"""Longest idempotency key in characters; the ledger adds a few of its own."""


class NoCredits(MelodeonError):
    """The account has fewer credits available than the request costs."""

    code = "no_credits"

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(
            f"This costs {_credits(needed)} and you have {_credits(available)} available. "
            "Wait for your running songs to finish or get more credits."
        )
        self.needed = needed
        self.available = available


class KeyReused(MelodeonError):
    """An idempotency key came back with another request."""

    code = "key_reused"

    def __init__(self, key: str) -> None:
        # without the key itself: the rooms above put words of their own before a person's
        super().__init__("This idempotency key was already used for another request. Please use a new one.")
        self.key = key


class NoHold(MelodeonError):
    """A Job was to be settled that holds no credits."""

    code = "no_hold"

    def __init__(self, job_id: JobId) -> None:
        super().__init__(f"Job {job_id} holds no credits; it was settled before or never held any.")
        self.job_id = job_id


class HoldOpen(MelodeonError):
    """A Job was to hold credits twice."""

    code = "hold_open"

    def __init__(self, job_id: JobId) -> None:
        super().__init__(f"Job {job_id} holds credits already; settle them before holding others.")
        self.job_id = job_id


class OverHold(MelodeonError):
    """More credits were to be captured than the Job holds."""

    code = "over_hold"

    def __init__(self, job_id: JobId, captured: int) -> None:
        super().__init__(f"Job {job_id} holds fewer credits than the {captured} to be captured.")
        self.job_id = job_id
        self.captured = captured


def open_account(session: Session, account_id: AccountId) -> None:
    """Give a new account its empty purse; harmless when it has one."""
    ledger.open_account(session, account_id)


def open_with_signup_grant(session: Session, account_id: AccountId, *, amount: int, now: datetime) -> None:
    """Open a new account's purse with its welcome credits (≥ 0), once for ever."""
    open_account(session, account_id)
    if amount:
        grant(session, account_id, amount, key=f"signup:{account_id}", note="Welcome to Melodeon", now=now)


def grant(session: Session, account_id: AccountId, amount: int, *, key: str, note: str, now: datetime) -> TransferId:
    """Give an account ``amount`` credits (> 0), opening its purse if need be.

    Raises:
        KeyReused: ``key`` was used for another request.
    """
    _check(amount, key)
    answer = ledger.grant(session, account_id, amount, key=key, note=note, now=now)
    _refuse_reuse(answer, key)
    return _transfer_of(answer)


def hold(session: Session, account_id: AccountId, job_id: JobId, amount: int, *, key: str, now: datetime) -> HoldId:
    """Set ``amount`` credits (> 0) aside for a Job. The Job's row may be inserted later in the same transaction.

    Raises:
        NoCredits: too few are available; nothing was written, and the same key may be used again.
        HoldOpen: the Job holds credits under another key.
        KeyReused: ``key`` was used for another request.
    """
    _check(amount, key)
    answer = ledger.hold(session, account_id, job_id, amount, key=key, now=now)
    if answer.outcome is Outcome.NO_CREDITS:
        raise NoCredits(amount, answer.available_credits)
    if answer.outcome is Outcome.HOLD_OPEN:
        raise HoldOpen(job_id)
    _refuse_reuse(answer, key)
    if answer.hold_id is None:
        raise AssertionError("a hold was booked without its row")
    return answer.hold_id


def settle(session: Session, job_id: JobId, *, captured: int, key: str, now: datetime) -> None:
    """End a Job's hold: spend ``captured`` credits (0 … held) and give the rest back.

    Raises:
        NoHold: the Job has no open hold (a Job that costs nothing never has one).
        OverHold: ``captured`` is more than the Job holds.
        KeyReused: ``key`` was used for another request.
    """
    if captured < 0:
        raise ValueError(f"captured credits are at least 0, not {captured}")
    _check_key(key)
    answer = ledger.settle(session, job_id, captured=captured, key=key, now=now)
    if answer.outcome is Outcome.NO_HOLD:
        raise NoHold(job_id)
    if answer.outcome is Outcome.OVER_HOLD:
        raise OverHold(job_id, captured)
    _refuse_reuse(answer, key)


def balance(session: Session, account_id: AccountId) -> Balance:
    """What the account has; nought and nought if it never had a purse."""
    return ledger.balance(session, account_id)


def statement(session: Session, account_id: AccountId, limit: int = 100) -> tuple[Movement, ...]:
    """The account's last movements, newest first."""
    return ledger.movements(session, account_id, limit)


def faults(session: Session) -> tuple[str, ...]:
    """Audit the books: a sentence for each thing that is wrong, none when they are right. Reads every entry."""
    return tuple(f"Broken rule “{rule}”: {subject}." for rule, subject in ledger.faults(session))


def _check(amount: int, key: str) -> None:
    if amount <= 0:
        raise ValueError(f"an amount of credits is above 0, not {amount}")
    _check_key(key)


def _check_key(key: str) -> None:
    if not 0 < len(key) <= KEY_MAX:
        raise ValueError(f"an idempotency key has 1 to {KEY_MAX} characters, not {len(key)}")


def _refuse_reuse(answer: Answer, key: str) -> None:
    if answer.outcome is Outcome.KEY_REUSED:
        raise KeyReused(key)


def _transfer_of(answer: Answer) -> TransferId:
    if answer.transfer_id is None:
        raise AssertionError(f"the ledger answered “{answer.outcome}” without a transfer")
    return answer.transfer_id


def _credits(amount: int) -> str:
    return "1 credit" if amount == 1 else f"{amount} credits"
