"""Blocks of credits: which are spent first, what expires, what is taken back, owed and given again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from billing import ledger
from billing.ledger import Clawback
from data.database import Database, Session
from data.ids import new_id
from serving.sweep import expire_credits
from studio.words.account import Account
from studio.words.credit import Balance, BlockKind, MovementKind
from studio.words.ids import AccountId, JobId

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(days=1), NOW + timedelta(days=30)


@pytest.fixture
def buyer(make_account: Callable[..., Account]) -> AccountId:
    """Somebody without a credit."""
    return make_account(credits=0).id


def new_job(session: Session, account_id: AccountId) -> JobId:
    job_id = JobId(new_id("job"))
    session.execute(
        text(
            "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
            " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
        ),
        {"id": job_id, "account": account_id},
    )
    return job_id


def hold(session: Session, account_id: AccountId, amount: int, *, now: datetime = NOW) -> JobId:
    job_id = new_job(session, account_id)
    ledger.hold(session, account_id, job_id, amount, key=f"hold {job_id}", now=now)
    return job_id


def spend(session: Session, account_id: AccountId, amount: int) -> None:
    job_id = hold(session, account_id, amount)
    ledger.settle(session, job_id, captured=amount, key=f"spend {job_id}", now=NOW)


def remaining(session: Session, account_id: AccountId) -> list[int]:
    """What remains of the account's blocks, in the order of booking."""
    query = text("SELECT remaining FROM grant_block WHERE account_id = :id ORDER BY number")
    return list(session.execute(query, {"id": account_id}).scalars())


def purse(session: Session, account_id: AccountId) -> tuple[int, int, int]:
    balance = ledger.balance(session, account_id)
    return balance.available_credits, balance.held_credits, balance.owed_credits


def sound(session: Session) -> bool:
    assert ledger.verify(session) == ()
    return True


def test_plan_goes_before_promo_before_paid_and_the_earliest_expiry_first(database: Database, buyer: AccountId) -> None:
    blocks = [
        (BlockKind.PAID, None),
        (BlockKind.PAID, SOON),
        (BlockKind.PROMO, None),
        (BlockKind.PROMO, LATER),
        (BlockKind.PROMO, SOON),
        (BlockKind.PLAN, LATER),
        (BlockKind.PLAN, LATER),
    ]
    with database.transaction() as session:
        for number, (kind, expires_at) in enumerate(blocks):
            ledger.grant(session, buyer, 1, key=f"g{number}", note="", now=NOW, kind=kind, expires_at=expires_at)
        emptied = []
        for _ in blocks:
            before = remaining(session, buyer)
            spend(session, buyer, 1)
            after = remaining(session, buyer)
            emptied += [number for number in range(len(blocks)) if before[number] != after[number]]
        assert emptied == [5, 6, 4, 3, 2, 1, 0]
        assert sound(session)


def test_what_was_drawn_first_is_spent_first_and_the_rest_goes_back_where_it_came_from(
    database: Database, buyer: AccountId
) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 3, key="paid", note="", now=NOW, kind=BlockKind.PAID)
        ledger.grant(session, buyer, 2, key="promo", note="", now=NOW)
        ledger.grant(session, buyer, 2, key="plan", note="", now=NOW, kind=BlockKind.PLAN)
        job_id = hold(session, buyer, 6)
        assert remaining(session, buyer) == [1, 0, 0]
        ledger.settle(session, job_id, captured=3, key="s", now=NOW)
        # two of the plan and one of the promotion are spent
        assert remaining(session, buyer) == [3, 1, 0]
        assert purse(session, buyer) == (4, 0, 0)
        assert sound(session)


def test_credits_are_there_until_they_expire(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 2, key="a", note="", now=NOW, expires_at=SOON)
        ledger.grant(session, buyer, 3, key="b", note="", now=NOW, expires_at=LATER)
        moment_before = SOON - timedelta(microseconds=1)
        assert ledger.expire(session, now=moment_before) == 0
        hold(session, buyer, 1, now=moment_before)
        assert purse(session, buyer) == (4, 1, 0)
        assert ledger.expire(session, now=SOON) == 1
        assert purse(session, buyer) == (3, 1, 0)
        assert ledger.expire(session, now=SOON) == 0
        (line, *_) = ledger.statement(session, buyer)
        assert (line.kind, line.amount_credits, line.change_credits) == (MovementKind.EXPIRE, 1, -1)
        assert sound(session)


def test_a_hold_does_not_draw_what_has_expired(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 2, key="a", note="", now=NOW, expires_at=SOON)
        ledger.grant(session, buyer, 1, key="b", note="", now=NOW)
        with pytest.raises(ledger.NoCredits) as caught:
            hold(session, buyer, 2, now=SOON)
        assert (caught.value.needed, caught.value.available) == (2, 1)
        assert purse(session, buyer) == (1, 0, 0)
        assert sound(session)


def test_what_comes_back_after_its_time_expires_in_its_turn(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 2, key="a", note="", now=NOW, expires_at=SOON)
        job_id = hold(session, buyer, 2)
        assert ledger.expire(session, now=LATER) == 0
        ledger.settle(session, job_id, captured=0, key="s", now=LATER)
        assert purse(session, buyer) == (2, 0, 0)
        assert ledger.expire(session, now=LATER) == 1
        assert purse(session, buyer) == (0, 0, 0)
        assert sound(session)


def test_expiry_passes_over_who_is_busy_and_takes_no_more_than_asked_for(
    database: Database, make_account: Callable[..., Account]
) -> None:
    people = [make_account(credits=0).id for _ in range(4)]
    with database.transaction() as session:
        for account_id in people:
            ledger.grant(session, account_id, 1, key=f"g {account_id}", note="", now=NOW, expires_at=SOON)
    with database.transaction() as busy:
        busy.execute(text("SELECT ledger_lock(:id)"), {"id": people[0]})
        with database.transaction() as session:
            assert ledger.expire(session, now=SOON, most=2) == 2
            assert ledger.expire(session, now=SOON, most=2) == 1
    assert expire_credits(database, now=SOON) == 1
    with database.transaction() as session:
        assert [purse(session, account_id) for account_id in people] == [(0, 0, 0)] * 4
        assert sound(session)


def test_a_repeated_grant_is_the_same_in_every_detail_or_refused(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        details = {"kind": BlockKind.PAID, "expires_at": LATER, "cost_minor": 999, "currency": "eur"}
        ask = {"key": "g", "note": "ten", "now": NOW}
        first = ledger.grant(session, buyer, 10, **ask, **details)
        assert ledger.grant(session, buyer, 10, **ask, **details) == first
        others = [{"kind": BlockKind.PLAN}, {"expires_at": None}, {"cost_minor": 998}, {"currency": "usd"}]
        for other in others:
            with pytest.raises(ledger.KeyReused):
                ledger.grant(session, buyer, 10, **ask, **{**details, **other})
        block = session.execute(text("SELECT * FROM grant_block")).one()
        assert (block.kind, block.amount, block.remaining, block.expires_at) == ("paid", 10, 10, LATER)
        assert (block.cost_minor, block.currency, block.transfer_id) == (999, "eur", first)
        with pytest.raises(ValueError, match="cost at least 0"):
            ledger.grant(session, buyer, 1, key="n", note="", now=NOW, cost_minor=-1)
    with database.transaction() as session:
        sources = session.execute(text("SELECT debit FROM transfer WHERE kind = 'grant'")).scalars()
        assert list(sources) == ["sales"]


def test_taking_back_begins_with_the_grant_itself(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 5, key="plan", note="", now=NOW, kind=BlockKind.PLAN)
        ledger.grant(session, buyer, 5, key="pack", note="", now=NOW, kind=BlockKind.PAID)
        taken = ledger.clawback(session, buyer, 3, key="c", grant_key="pack", note="refunded", now=NOW)
        assert taken == Clawback(taken_credits=3, owed_credits=0)
        assert remaining(session, buyer) == [5, 2]
        # again: the same answer, no more effect
        assert ledger.clawback(session, buyer, 3, key="c", grant_key="pack", note="refunded", now=NOW) == taken
        more = ledger.clawback(session, buyer, 4, key="c2", grant_key="pack", note="refunded", now=NOW)
        assert more == Clawback(taken_credits=4, owed_credits=0)
        assert remaining(session, buyer) == [3, 0]
        with pytest.raises(ledger.KeyReused):
            ledger.clawback(session, buyer, 2, key="c", grant_key="pack", note="refunded", now=NOW)
        (line, *_) = ledger.statement(session, buyer)
        assert (line.kind, line.amount_credits, line.change_credits) == (MovementKind.REFUND, 4, -4)
        assert line.note == "refunded"
        assert sound(session)


def test_what_is_not_there_any_more_is_owed_and_what_is_held_stays(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 10, key="pack", note="", now=NOW, kind=BlockKind.PAID)
        spend(session, buyer, 3)
        job_id = hold(session, buyer, 4)
        taken = ledger.clawback(session, buyer, 10, key="c", grant_key="pack", note="", now=NOW)
        assert taken == Clawback(taken_credits=3, owed_credits=7)
        assert ledger.clawback(session, buyer, 10, key="c", grant_key="pack", note="", now=NOW) == taken
        assert ledger.balance(session, buyer) == Balance(
            account_id=buyer, available_credits=0, held_credits=4, owed_credits=7
        )
        with pytest.raises(ledger.OwesCredits, match="You owe 7 credits") as caught:
            hold(session, buyer, 1)
        assert (caught.value.code, caught.value.owed, caught.value.needed) == ("owes_credits", 7, 1)
        # the song goes on; what it gives back pays the debt
        ledger.settle(session, job_id, captured=1, key="s", now=NOW)
        assert purse(session, buyer) == (0, 0, 4)
        assert sound(session)


def test_new_credits_pay_the_debt_first(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 5, key="pack", note="", now=NOW)
        spend(session, buyer, 5)
        ledger.clawback(session, buyer, 5, key="c", grant_key="pack", note="", now=NOW)
        ledger.grant(session, buyer, 2, key="more", note="", now=NOW)
        assert purse(session, buyer) == (0, 0, 3)
        ledger.grant(session, buyer, 10, key="enough", note="", now=NOW)
        assert purse(session, buyer) == (7, 0, 0)
        assert remaining(session, buyer) == [0, 0, 7]
        kinds = [(line.kind, line.change_credits) for line in ledger.statement(session, buyer, 2)]
        assert kinds == [(MovementKind.DEBT, -3), (MovementKind.GRANT, 10)]
        hold(session, buyer, 7)
        assert sound(session)


def test_what_was_never_given_is_not_taken_back(database: Database, buyer: AccountId, account: Account) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 5, key="pack", note="", now=NOW)
        job_id = new_job(session, buyer)
        ledger.hold(session, buyer, job_id, 1, key="h", now=NOW)
        for whose, grant_key in [(account.id, "pack"), (buyer, "nothing"), (buyer, "h")]:
            with pytest.raises(ledger.NoGrant):
                ledger.clawback(session, whose, 1, key="c", grant_key=grant_key, note="", now=NOW)
        with pytest.raises(ledger.NoClawback):
            ledger.restore(session, buyer, key="r", clawback_key="c", now=NOW)
        assert purse(session, buyer) == (4, 1, 0)


@pytest.mark.parametrize(
    ("spent", "bought_later", "end"), [(0, 0, (10, 0, 0)), (4, 0, (6, 0, 0)), (4, 3, (9, 0, 0)), (10, 12, (12, 0, 0))]
)
def test_a_dispute_won_leaves_everything_as_if_it_had_never_been(
    database: Database, buyer: AccountId, spent: int, bought_later: int, end: tuple[int, int, int]
) -> None:
    with database.transaction() as session:
        ledger.grant(session, buyer, 10, key="pack", note="", now=NOW, kind=BlockKind.PAID, cost_minor=1000)
        if spent:
            spend(session, buyer, spent)
        ledger.clawback(session, buyer, 10, key="c", grant_key="pack", note="disputed", now=NOW)
        if bought_later:
            ledger.grant(session, buyer, bought_later, key="later", note="", now=NOW)
        for _ in range(2):
            ledger.restore(session, buyer, key="r", clawback_key="c", now=NOW)
            assert purse(session, buyer) == end
        with pytest.raises(ledger.NoClawback):
            ledger.restore(session, buyer, key="r2", clawback_key="c", now=NOW)
        with pytest.raises(ledger.KeyReused):
            ledger.restore(session, buyer, key="r", clawback_key="c2", now=NOW)
        block = session.execute(text("SELECT * FROM grant_block ORDER BY number DESC LIMIT 1")).one()
        assert (block.kind, block.expires_at, block.cost_minor) == ("paid", None, 100 * block.amount)
        assert sound(session)


def test_a_dispute_won_while_more_is_owed_only_lessens_the_debt(database: Database, buyer: AccountId) -> None:
    with database.transaction() as session:
        for key in ("one", "two"):
            ledger.grant(session, buyer, 5, key=key, note="", now=NOW)
        spend(session, buyer, 10)
        for key in ("one", "two"):
            ledger.clawback(session, buyer, 5, key=f"c {key}", grant_key=key, note="", now=NOW)
        ledger.restore(session, buyer, key="r", clawback_key="c one", now=NOW)
        assert purse(session, buyer) == (0, 0, 5)
        (line, *_) = ledger.statement(session, buyer)
        assert (line.kind, line.amount_credits, line.change_credits) == (MovementKind.RESTORE, 5, 0)
        assert sound(session)
