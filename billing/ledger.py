"""Credits: grant, hold, settle, take back, give back, let expire, look. The ledger's face for the rooms above.

Every function works in the caller's transaction and none commits. Of the errors below, none aborts that transaction:
the ledger answers a refusal, it does not fail, so the caller may record it and commit.

Every movement takes an idempotency key. The same key with the same request is harmless for ever (a retry gets the
first result); with another request it is `KeyReused`.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from data.database import Session
from data.repositories import ledger
from data.repositories.ledger import Answer, Outcome
from studio.errors import MelodeonError
from studio.words.credit import Balance, BlockKind, Movement
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


class OwesCredits(NoCredits):
    """The account owes credits that were taken back with their payment after they were spent."""

    code = "owes_credits"

    def __init__(self, needed: int, owed: int) -> None:
        MelodeonError.__init__(
            self,
            f"You owe {_credits(owed)}: a payment was taken back after its credits were spent. "
            "Get more credits, which settle that first.",
        )
        self.needed = needed
        self.available = 0
        self.owed = owed


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


class NoGrant(MelodeonError):
    """Credits were to be taken back that this account was never given."""

    code = "no_grant"

    def __init__(self, account_id: AccountId, grant_key: str) -> None:
        super().__init__(f"Account {account_id} was given no credits under the key {grant_key}; nothing to take back.")
        self.account_id = account_id
        self.grant_key = grant_key


class NoClawback(MelodeonError):
    """Credits were to be given back that were never taken back, or were given back before."""

    code = "no_clawback"

    def __init__(self, account_id: AccountId, clawback_key: str) -> None:
        super().__init__(
            f"No credits of account {account_id} were taken back under the key {clawback_key}, "
            "or they were given back before."
        )
        self.account_id = account_id
        self.clawback_key = clawback_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Clawback:
    """What was taken back: ``taken_credits`` that were available, and ``owed_credits`` that became a debt. Both ≥ 0."""

    taken_credits: int
    owed_credits: int


def open_account(session: Session, account_id: AccountId) -> None:
    """Give a new account its empty purse; harmless when it has one."""
    ledger.open_account(session, account_id)


def open_with_signup_grant(session: Session, account_id: AccountId, *, amount: int, now: datetime) -> None:
    """Open a new account's purse with its welcome credits (≥ 0), once for ever."""
    open_account(session, account_id)
    if amount:
        grant(session, account_id, amount, key=f"signup:{account_id}", note="Welcome to Melodeon", now=now)


def grant(
    session: Session,
    account_id: AccountId,
    amount: int,
    *,
    key: str,
    note: str,
    now: datetime,
    kind: BlockKind = BlockKind.PROMO,
    expires_at: datetime | None = None,
    cost_minor: int = 0,
    currency: str = "",
) -> TransferId:
    """Give an account ``amount`` credits (> 0), opening its purse if need be. What it owes is paid from them at once.

    Args:
        session: the caller's transaction.
        account_id: whose.
        amount: in credits.
        key: idempotency key.
        note: stands in the account's statement.
        now: when it happens.
        kind: what for; plan credits are spent first, paid ones last.
        expires_at: from when on what is left is lost; None: never.
        cost_minor: what was paid for them (≥ 0), in the currency's minor unit.
        currency: ISO 4217, or empty.

    Raises:
        KeyReused: ``key`` was used for another request.
    """
    _check(amount, key)
    if cost_minor < 0:
        raise ValueError(f"credits cost at least 0, not {cost_minor}")
    answer = ledger.grant(
        session,
        account_id,
        amount,
        key=key,
        note=note,
        now=now,
        kind=kind,
        expires_at=expires_at,
        cost_minor=cost_minor,
        currency=currency,
    )
    _refuse_reuse(answer.outcome, key)
    return _transfer_of(answer)


def hold(session: Session, account_id: AccountId, job_id: JobId, amount: int, *, key: str, now: datetime) -> HoldId:
    """Set ``amount`` credits (> 0) aside for a Job. The Job's row may be inserted later in the same transaction.

    What has expired by ``now`` is lost first, also when the request is then refused. The rest is drawn plan before
    promo before paid credits, and of one kind what expires earliest first.

    Raises:
        NoCredits: too few are available; nothing was held, and the same key may be used again.
        OwesCredits: the account owes credits; the same holds.
        HoldOpen: the Job holds credits under another key.
        KeyReused: ``key`` was used for another request.
    """
    _check(amount, key)
    answer = ledger.hold(session, account_id, job_id, amount, key=key, now=now)
    if answer.outcome is Outcome.NO_CREDITS:
        raise NoCredits(amount, answer.available_credits)
    if answer.outcome is Outcome.OWES_CREDITS:
        raise OwesCredits(amount, answer.owed_credits)
    if answer.outcome is Outcome.HOLD_OPEN:
        raise HoldOpen(job_id)
    _refuse_reuse(answer.outcome, key)
    if answer.hold_id is None:
        raise AssertionError("a hold was booked without its row")
    return answer.hold_id


def settle(session: Session, job_id: JobId, *, captured: int, key: str, now: datetime) -> None:
    """End a Job's hold: spend ``captured`` credits (0 … held) and give the rest back to the blocks they came from.

    What was drawn first is spent first. An account that owes pays with what it gets back.

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
    _refuse_reuse(answer.outcome, key)


def clawback(
    session: Session, account_id: AccountId, amount: int, *, key: str, grant_key: str, note: str, now: datetime
) -> Clawback:
    """Take ``amount`` credits (> 0) back because their payment was taken back.

    They are drawn from what is left of the grant that had the key ``grant_key``, then from other credits; what is not
    there becomes a debt. What is held stays with its Jobs. The caller sees to it that no more is taken back than was
    granted.

    Raises:
        NoGrant: the account has no grant of that key.
        KeyReused: ``key`` was used for another request.
    """
    _check(amount, key)
    taken = ledger.clawback(session, account_id, amount, key=key, grant_key=grant_key, note=note, now=now)
    if taken.outcome is Outcome.NO_GRANT:
        raise NoGrant(account_id, grant_key)
    _refuse_reuse(taken.outcome, key)
    return Clawback(taken_credits=taken.taken_credits, owed_credits=taken.owed_credits)


def restore(session: Session, account_id: AccountId, *, key: str, clawback_key: str, now: datetime) -> None:
    """Undo a clawback, once: a debt is settled first, the rest is available again and does not expire.

    Raises:
        NoClawback: the account has no clawback of that key, or it was undone before.
        KeyReused: ``key`` was used for another request.
    """
    _check_key(key)
    answer = ledger.restore(session, account_id, key=key, clawback_key=clawback_key, now=now)
    if answer.outcome is Outcome.NO_CLAWBACK:
        raise NoClawback(account_id, clawback_key)
    _refuse_reuse(answer.outcome, key)


def expire(session: Session, *, now: datetime, most: int = 1000) -> int:
    """Book as lost what has expired by ``now``, of at most ``most`` accounts; how many accounts it was.

    Accounts that are busy at this moment are passed over; `hold` does the same for its own account.
    """
    return ledger.expire(session, now=now, most=most)


def balance(session: Session, account_id: AccountId) -> Balance:
    """What the account has and owes; noughts if it never had a purse."""
    return ledger.balance(session, account_id)


def statement(
    session: Session, account_id: AccountId, limit: int = 100, before: int | None = None
) -> tuple[Movement, ...]:
    """The account's last movements, newest first; with ``before``, those before the movement of that number."""
    return ledger.movements(session, account_id, limit, before)


_COLUMNS: Final = ("number", "at", "kind", "amount", "change", "available", "note", "job", "id")


def statement_csv(session: Session, account_id: AccountId) -> Iterator[str]:
    """The whole statement as CSV (RFC 4180), oldest first, line by line; the first line names the columns.

    ``change`` is what the movement did to the available credits, ``available`` what there was afterwards. A note that a
    spreadsheet would take for a formula is made text by an apostrophe (OWASP, CSV injection).
    """
    yield _csv_line(_COLUMNS)
    available = 0
    for line in ledger.all_movements(session, account_id):
        available += line.change_credits
        at, note, job = line.at.isoformat(), _no_formula(line.note), line.job_id or ""
        moved = (line.amount_credits, line.change_credits, available)
        yield _csv_line((line.number, at, line.kind.value, *moved, note, job, line.id))


def heads(session: Session) -> dict[AccountId, str]:
    """The hash at the end of each account's chain (64 hexadecimal digits), of those who have one.

    Kept elsewhere, they prove later that nothing booked until now was changed, not even by who owns the database: see
    `verify`.
    """
    return ledger.heads(session)


def verify(session: Session, kept: Mapping[AccountId, str] = MappingProxyType({})) -> tuple[tuple[str, str], ...]:
    """Audit the books: (rule, subject) for each thing that is wrong, none when they are right.

    Everything is counted again from the entries, and every account's chain of hashes is walked.

    Args:
        kept: `heads` of another day. Each must still be a link of its account's chain.
    """
    gone = ledger.without_link(session, kept)
    return (*ledger.faults(session), *(("a head that was kept is in its account's chain", each) for each in gone))


def faults(session: Session) -> tuple[str, ...]:
    """What `verify` finds, a sentence each."""
    return tuple(f"Broken rule “{rule}”: {subject}." for rule, subject in verify(session))


def _csv_line(cells: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _no_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell


def _check(amount: int, key: str) -> None:
    if amount <= 0:
        raise ValueError(f"an amount of credits is above 0, not {amount}")
    _check_key(key)


def _check_key(key: str) -> None:
    if not 0 < len(key) <= KEY_MAX:
        raise ValueError(f"an idempotency key has 1 to {KEY_MAX} characters, not {len(key)}")


def _refuse_reuse(outcome: Outcome, key: str) -> None:
    if outcome is Outcome.KEY_REUSED:
        raise KeyReused(key)


def _transfer_of(answer: Answer) -> TransferId:
    if answer.transfer_id is None:
        raise AssertionError(f"the ledger answered “{answer.outcome}” without a transfer")
    return answer.transfer_id


def _credits(amount: int) -> str:
    return "1 credit" if amount == 1 else f"{amount} credits"
