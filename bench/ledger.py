"""Postings a second: promised are 1,000 over many accounts and 300 on one account, each call under 50 ms (p99).

    python bench/ledger.py [--quick] [--json] [--csv FILE]

What is timed is what the product does for a song: hold two credits, commit, settle them (one captured, one released),
commit; three postings in two transactions. Processes of several threads each, every thread with a connection; the
server listens on the same machine and syncs every commit to the disk. Afterwards the books are audited.
"""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from harness import durable_postgres, run
from report import percentile
from sqlalchemy import text

from billing import ledger
from data.database import Database, migrate
from data.ids import new_id
from studio.words.ids import AccountId, JobId

PROCESSES: Final = 4
THREADS: Final = 2
SONGS, QUICK_SONGS = 8_000, 800
PROMISE_MANY_PER_S, PROMISE_ONE_PER_S, PROMISE_P99_MS = 1_000.0, 300.0, 50.0
POSTINGS_A_SONG: Final = 3

Work = tuple[AccountId, JobId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """When one process began and ended (system-wide monotonic clock), and how long each of its calls took."""

    begin_s: float
    end_s: float
    calls_ms: list[float]


def fill(database: Database, accounts: int, songs: int) -> list[Work]:
    """So many accounts with plenty of credits, and Jobs spread evenly over them."""
    account_ids = [AccountId(new_id("account")) for _ in range(accounts)]
    work = [(account_ids[number % accounts], JobId(new_id("job"))) for number in range(songs)]
    now = datetime.now(UTC)
    with database.transaction() as session:
        session.execute(
            text("INSERT INTO account (id, name, role) VALUES (:id, :name, 'creator')"),
            [{"id": account_id, "name": account_id[-32:]} for account_id in account_ids],
        )
        session.execute(
            text(
                "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash)"
                " VALUES (:id, :account, 'song', 'queued', '{}', 2, :id, '')"
            ),
            [{"id": job_id, "account": account_id} for account_id, job_id in work],
        )
        for account_id in account_ids:
            ledger.grant(session, account_id, 2 * songs, key=f"bench:{account_id}", note="", now=now)
    return work


def pay(database: Database, work: Sequence[Work]) -> list[float]:
    """Hold and settle for each song; the times of the calls with their commits, in ms."""
    times_ms = []
    for account_id, job_id in work:
        now = datetime.now(UTC)
        begin = time.perf_counter()
        with database.transaction() as session:
            ledger.hold(session, account_id, job_id, 2, key=f"hold:{job_id}", now=now)
        held = time.perf_counter()
        with database.transaction() as session:
            ledger.settle(session, job_id, captured=1, key=f"settle:{job_id}", now=now)
        times_ms += [(held - begin) * 1000, (time.perf_counter() - held) * 1000]
    return times_ms


def one_process(url: str, work: Sequence[Work], threads: int) -> Measured:
    """The share of one process, over its threads."""
    database = Database(url, pool_size=threads)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: database.ping(), range(threads)))
            begin_s = time.monotonic()
            shares = pool.map(lambda number: pay(database, work[number::threads]), range(threads))
            calls_ms = [time_ms for share in shares for time_ms in share]
            return Measured(begin_s=begin_s, end_s=time.monotonic(), calls_ms=calls_ms)
    finally:
        database.dispose()


def case(url: str, name: str, *, accounts: int, songs: int, promise_per_s: float) -> dict[str, object]:
    """Fill, run over all processes, audit."""
    database = Database(url, statement_timeout_s=600)
    try:
        work = fill(database, accounts, songs)
        with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
            shares = [pool.submit(one_process, url, work[number::PROCESSES], THREADS) for number in range(PROCESSES)]
            measured = [share.result() for share in shares]
        with database.transaction() as session:
            faults = ledger.faults(session)
    finally:
        database.dispose()
    if faults:
        raise RuntimeError("\n".join(faults))
    seconds = max(one.end_s for one in measured) - min(one.begin_s for one in measured)
    calls_ms = [time_ms for one in measured for time_ms in one.calls_ms]
    per_s, p99_ms = songs * POSTINGS_A_SONG / seconds, percentile(calls_ms, 0.99)
    return {
        "case": name,
        "accounts": accounts,
        "postings": songs * POSTINGS_A_SONG,
        "postings_per_s": per_s,
        "p50_ms": percentile(calls_ms, 0.50),
        "p99_ms": p99_ms,
        "promise": f">= {promise_per_s:,.0f}/s, p99 <= {PROMISE_P99_MS:.0f} ms",
        "kept": per_s >= promise_per_s and p99_ms <= PROMISE_P99_MS,
    }


def measure(songs: int) -> list[dict[str, object]]:
    """Both cases on a server of their own that syncs to the disk."""
    with durable_postgres() as server:
        migrate(server.url)
        return [
            case(server.url, "many accounts", accounts=1_000, songs=songs, promise_per_s=PROMISE_MANY_PER_S),
            case(server.url, "one account", accounts=1, songs=songs // 4, promise_per_s=PROMISE_ONE_PER_S),
        ]


if __name__ == "__main__":
    sys.exit(run("ledger", __doc__, measure, full=SONGS, quick=QUICK_SONGS, smaller=f"{QUICK_SONGS:,} songs only"))
