"""Fair turns, counted in starts: nobody waits behind a hog, and a pro account starts three times as often."""

import asyncio
import threading
import time
from collections import Counter

import pytest
from sqlalchemy import text


class Turnstile:
    """Work that writes down whose turn it is and waits until the test lets it end."""

    def __init__(self, finish) -> None:
        self.order: list[str] = []
        self._finish = finish
        self._permits = threading.Semaphore(0)

    async def work(self, claimed) -> None:
        self.order.append(claimed.account_id)
        await asyncio.to_thread(self._permits.acquire)
        await asyncio.to_thread(self._finish, claimed)

    def let_through(self, number: int) -> None:
        self._permits.release(number)

    def wait_for_starts(self, number: int) -> None:
        until = time.monotonic() + 90
        while len(self.order) < number:
            assert time.monotonic() < until, f"{len(self.order)} of {number} starts"
            time.sleep(0.005)


@pytest.fixture
def turnstile(finish):
    gate = Turnstile(finish)
    yield gate
    gate.let_through(100_000)


def test_a_newcomer_waits_for_at_most_one_start_of_a_hog(make_account, fill_queue, ask, run_worker, turnstile) -> None:
    hog = make_account("hog")
    fill_queue(hog, 500)
    run_worker(turnstile.work, sweep_s=3600.0)
    turnstile.wait_for_starts(1)
    turnstile.let_through(30)  # the hog is far ahead by now
    turnstile.wait_for_starts(31)
    for number in range(6):
        newcomer = make_account(f"newcomer{number}")
        started = len(turnstile.order)
        ask(newcomer)
        turnstile.let_through(2)
        turnstile.wait_for_starts(started + 2)
        assert newcomer.id in turnstile.order[started : started + 2]


def test_pro_accounts_start_three_times_as_often(make_account, fill_queue, run_worker, turnstile, database) -> None:
    free = [make_account(f"free{number}") for number in range(4)]
    pro = [make_account(f"pro{number}") for number in range(4)]
    for account in free:
        fill_queue(account, 80, start_cost=3)
    for account in pro:
        fill_queue(account, 80, start_cost=1)
    run_worker(turnstile.work, concurrency=2, sweep_s=3600.0)
    turnstile.let_through(160)
    turnstile.wait_for_starts(160)
    starts = Counter(turnstile.order[:160])
    pro_starts = [starts[account.id] for account in pro]
    free_starts = [starts[account.id] for account in free]
    assert 2.5 <= sum(pro_starts) / sum(free_starts) <= 3.5
    assert max(pro_starts) - min(pro_starts) <= 3
    assert max(free_starts) - min(free_starts) <= 2
    with database.transaction() as session:
        most = session.execute(text("SELECT count(*) FROM job WHERE state = 'processing' GROUP BY account_id"))
        assert all(number == 1 for number in most.scalars())


def test_turns_cannot_be_saved_up(make_account, fill_queue, run_worker, turnstile, ask, database) -> None:
    """An account that was idle for long starts beside the others, not in front of everything they did meanwhile."""
    idle, busy = make_account("idle"), make_account("busy")
    fill_queue(idle, 1)
    run_worker(turnstile.work, sweep_s=3600.0)
    turnstile.let_through(1)
    turnstile.wait_for_starts(1)
    fill_queue(busy, 60)
    turnstile.let_through(20)
    turnstile.wait_for_starts(22)
    for number in range(12):
        ask(idle, key=f"late {number}")
    turnstile.let_through(12)
    turnstile.wait_for_starts(34)
    later = Counter(turnstile.order[22:34])
    assert abs(later[idle.id] - later[busy.id]) <= 3
