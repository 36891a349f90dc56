"""Postings a second: promised are 2,500 over many accounts and 500 on one account, each call under 50 ms (p99).

    python bench/ledger.py [--quick] [--json] [--csv FILE] [--pgledger FILE …]

What is timed is what the product does for a song: hold two credits, commit, settle them (one captured, one released),
commit; three postings in two transactions. Processes of several threads each, every thread with a connection; the
server listens on the same machine and syncs every commit to the disk. A connection pays some songs before the clock
runs: a new one plans each statement first, and a product keeps its connections. Afterwards the books are audited.

``ledger`` calls the SQL functions with nothing between, one round trip a transaction, and so does the yardstick beside
it. ``product`` goes through `billing.ledger` and the product's own transactions, where half of the time is Python's.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import psycopg
import yardstick
from harness import conclude, durable_postgres, options_of
from report import percentile
from sqlalchemy import text

from billing import ledger
from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres
from data.ids import new_id
from studio.words.ids import AccountId, JobId

PROCESSES: Final = 4
THREADS: Final = 4
SONGS, QUICK_SONGS = 8_000, 800
POSTINGS_A_SONG: Final = 3
WARM_UP_SONGS: Final = 10
"""That each connection pays before the clock runs: Postgres plans a statement five times before it keeps the plan."""
PROMISE_P99_MS: Final = 50.0
PROMISES_PER_S: Final = {
    ("ledger", "many accounts"): 2_500.0,
    ("ledger", "one account"): 500.0,
    ("product", "many accounts"): 1_000.0,
    ("product", "one account"): 300.0,
}

Work = tuple[AccountId, JobId]
PayOne = Callable[[Any], None]
"""Pays one song."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """When one thread began and ended (system-wide monotonic clock), and how long each of its songs took."""

    begin_s: float
    end_s: float
    songs_ms: list[float]


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


@contextmanager
def through_the_product(url: str) -> Iterator[PayOne]:
    """By `billing.ledger`, in transactions as the product makes them."""
    database = Database(url, pool_size=1)

    def pay(work: Work) -> None:
        account_id, job_id = work
        now = datetime.now(UTC)
        with database.transaction() as session:
            ledger.hold(session, account_id, job_id, 2, key=f"hold:{job_id}", now=now)
        with database.transaction() as session:
            ledger.settle(session, job_id, captured=1, key=f"settle:{job_id}", now=now)

    try:
        database.ping()
        yield pay
    finally:
        database.dispose()


@contextmanager
def by_its_functions(url: str) -> Iterator[PayOne]:
    """By the ledger's SQL functions, each call a transaction."""
    hold = b"SELECT outcome FROM ledger_hold(%s, %s, %s, %s, %s, %s, %s, %s)"
    settle = b"SELECT outcome FROM ledger_settle(%s, %s, %s, %s, %s, %s, %s)"
    with psycopg.connect(_plain(url), autocommit=True) as connection:

        def done(call: bytes, *values: object) -> None:
            row = connection.execute(call, values, prepare=True).fetchone()
            if row != ("done",):
                raise RuntimeError(f"the ledger answered {row}")

        def pay(work: Work) -> None:
            account_id, job_id = work
            now = datetime.now(UTC)
            new = [new_id("transfer") for _ in range(5)]
            done(hold, new_id("hold"), new[0], f"hold:{job_id}", account_id, job_id, 2, now, new[1])
            done(settle, new[2], new[3], new[4], f"settle:{job_id}", job_id, 1, now)

        yield pay


@contextmanager
def by_the_yardstick(url: str, other: yardstick.Yardstick) -> Iterator[PayOne]:
    """By the yardstick's calls."""
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        yield lambda song: yardstick.pay(connection, other, song)


Way = Callable[[str], Any]
"""Opens a connection and answers how to pay on it: one of the three above."""


def one_thread(url: str, way: Way, work: Sequence[Any]) -> Measured:
    """Pay for each song, from the moment at which every thread of every process has a connection that is warm."""
    songs_ms = []
    with way(url) as pay:
        for one in work[:WARM_UP_SONGS]:
            pay(one)
        _everybody[0].wait(timeout=_PATIENCE_S)
        begin_s = time.monotonic()
        for one in work[WARM_UP_SONGS:]:
            begin = time.perf_counter()
            pay(one)
            songs_ms.append((time.perf_counter() - begin) * 1000)
        return Measured(begin_s=begin_s, end_s=time.monotonic(), songs_ms=songs_ms)


def one_process(url: str, way: Way, work: Sequence[Any]) -> list[Measured]:
    """The share of one process, over its threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda number: one_thread(url, way, work[number::THREADS]), range(THREADS)))


_PATIENCE_S: Final = 60.0
_everybody: list[Barrier] = []
"""Where the threads of all processes meet; in each process of the pool."""


def meet_at(barrier: Barrier) -> None:
    """Tell a process of the pool where to meet."""
    _everybody.append(barrier)


def timed(url: str, way: Way, work: Sequence[Any]) -> tuple[float, list[float]]:
    """Over all processes: postings a second, and how long each song took in ms."""
    spawn = multiprocessing.get_context("spawn")
    meeting = spawn.Barrier(PROCESSES * THREADS)
    with ProcessPoolExecutor(PROCESSES, spawn, initializer=meet_at, initargs=(meeting,)) as pool:
        shares = [pool.submit(one_process, url, way, work[number::PROCESSES]) for number in range(PROCESSES)]
        measured = [one for share in shares for one in share.result()]
    seconds = max(one.end_s for one in measured) - min(one.begin_s for one in measured)
    songs_ms = [time_ms for one in measured for time_ms in one.songs_ms]
    return len(songs_ms) * POSTINGS_A_SONG / seconds, songs_ms


def row(who: str, case: str, per_s: float, songs_ms: Sequence[float]) -> dict[str, object]:
    """One line of the table. A call is half a song: a transaction with its commit."""
    promise_per_s = PROMISES_PER_S.get((who, case))
    p99_ms = percentile(songs_ms, 0.99) / 2
    kept = "" if promise_per_s is None else per_s >= promise_per_s and p99_ms <= PROMISE_P99_MS
    return {
        "who": who,
        "case": case,
        "postings": len(songs_ms) * POSTINGS_A_SONG,
        "postings_per_s": per_s,
        "p50_ms": percentile(songs_ms, 0.50) / 2,
        "p99_ms": p99_ms,
        "promise": "" if promise_per_s is None else f">= {promise_per_s:,.0f}/s, p99 <= {PROMISE_P99_MS:.0f} ms",
        "kept": kept,
    }


def ours(server: EmbeddedPostgres, who: str, way: Way, case: str, accounts: int, songs: int) -> dict[str, object]:
    """Our ledger in a database of its own: fill, run, audit."""
    url = _new_database(server)
    migrate(url)
    database = Database(url, statement_timeout_s=600)
    try:
        work = fill(database, accounts, songs)
        per_s, songs_ms = timed(url, way, work)
        with database.transaction() as session:
            faults = ledger.faults(session)
    finally:
        database.dispose()
    if faults:
        raise RuntimeError("\n".join(faults))
    return row(who, case, per_s, songs_ms)


def theirs(
    server: EmbeddedPostgres, other: yardstick.Yardstick, case: str, accounts: int, songs: int
) -> dict[str, object]:
    """Another ledger in a database of its own: fill, run."""
    url = _new_database(server)
    work = yardstick.fill(_plain(url), other, accounts, songs)
    per_s, songs_ms = timed(url, partial(by_the_yardstick, other=other), work)
    return row(other.name, case, per_s, songs_ms)


def measure(songs: int, others: Sequence[yardstick.Yardstick]) -> list[dict[str, object]]:
    """Every case on a server of its own that syncs to the disk."""
    rows = []
    with durable_postgres() as server:
        warm_up = PROCESSES * THREADS * WARM_UP_SONGS
        for case, accounts, number in (("many accounts", songs // 4, songs), ("one account", 1, songs // 4)):
            size = warm_up + number
            rows.append(ours(server, "ledger", by_its_functions, case, accounts, size))
            rows += [theirs(server, other, case, accounts, size) for other in others]
            rows.append(ours(server, "product", through_the_product, case, accounts, size))
    return rows


def _new_database(server: EmbeddedPostgres) -> str:
    name = f"bench_{time.monotonic_ns()}"
    with psycopg.connect(_plain(server.url_of("postgres")), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url_of(name)


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def main() -> int:
    """The command line; answers the exit code."""
    parser = options_of(__doc__, quick=f"{QUICK_SONGS:,} songs only")
    parser.add_argument(
        "--pgledger", type=Path, nargs="+", metavar="FILE", help="SQL files of pgledger, to be measured"
    )
    options = parser.parse_args()
    others = [yardstick.OURS_TO_COMPARE]
    if options.pgledger:
        others.append(yardstick.the_original(options.pgledger))
    return conclude("ledger", measure(QUICK_SONGS if options.quick else SONGS, others), options)


if __name__ == "__main__":
    sys.exit(main())
