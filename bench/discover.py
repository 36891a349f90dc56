"""Pages of songs among 100,000: promised is a p95 under 20 ms for a page of Discover, wherever one has scrolled to.

    python bench/discover.py [--quick] [--json] [--csv FILE]

What is timed is what a door does: take a connection from the pool, read one page of 24 songs with artist, tags and
assets in one statement, translate it into words, and give the connection back. One caller, tables just analysed and
in memory; the database listens on the same machine. ``cpu_ms`` is the caller's own processor time for a page, which
other work on the machine disturbs less than the wall clock.
"""

import random
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from harness import run
from report import percentile
from sqlalchemy import text

from data.database import Database
from data.repositories import songs
from data.testing import fresh_database, postgres_server
from studio.words.ids import AccountId, SongId

PROMISE_MS: Final = 20.0
FULL: Final = (100_000, 1_000)
"""Songs there are and pages read."""
QUICK: Final = (5_000, 200)
SONGS_EACH: Final = 200
SEED: Final = 7

_LYRICS: Final = "[verse]\n" + "A line of some ordinary length about the rain\n" * 24
_LINES: Final = (
    "[" + ",".join('{"start_s": 1.5, "end_s": 4.25, "text": "A line about the rain"}' for _ in range(24)) + "]"
)
_SECTIONS: Final = "[" + ",".join('{"name": "verse", "start_s": 0.0, "end_s": 20.0}' for _ in range(7)) + "]"
_TAGS: Final = ("folk", "rain", "warm", "acoustic", "slow", "night", "piano", "hopeful")
_FILL: Final = (
    "INSERT INTO account (id, name, role) SELECT 'acc_' || lpad(n::text, 32, '0'), 'person' || n, 'creator'"
    " FROM generate_series(0, :accounts - 1) n",
    "INSERT INTO job (id, account_id, kind, state, brief, price_credits, idempotency_key, request_hash, finished_at)"
    " SELECT 'job_' || lpad(n::text, 32, '0'), 'acc_' || lpad((n % :accounts)::text, 32, '0'), 'song', 'processed',"
    " '{}', 2, n::text, '', now() FROM generate_series(0, :songs / 2 - 1) n",
    "INSERT INTO song (id, account_id, job_id, take_index, status, title, prompt, lyrics, lines, sections, engine,"
    " duration_s, published_at, created_at)"
    " SELECT 'song_' || md5(n::text), 'acc_' || lpad((n / 2 % :accounts)::text, 32, '0'),"
    " 'job_' || lpad((n / 2)::text, 32, '0'), n % 2, 'processed', 'Song number ' || n, 'warm folk, 96 bpm', :lyrics,"
    " CAST(:lines AS jsonb), CAST(:sections AS jsonb), 'builtin', 180.0, now() - n * interval '1 second',"
    " now() - n * interval '1 second' FROM generate_series(0, :songs - 1) n",
    "INSERT INTO tag SELECT unnest(CAST(:tags AS text[]))",
    "INSERT INTO song_tag (song_id, tag, position)"
    " SELECT 'song_' || md5(n::text), (CAST(:tags AS text[]))[1 + (n + k) % 8], k"
    " FROM generate_series(0, :songs - 1) n, generate_series(0, 3) k",
    "INSERT INTO asset (id, key, sha256, media_type, size_bytes)"
    " SELECT 'ast_' || md5(n || role), 'songs/' || n || '/' || role, repeat('ab', 32), 'audio/wav', 1000"
    " FROM generate_series(0, :songs - 1) n, unnest(ARRAY['wav', 'stream', 'peaks', 'cover', 'cover_512']) role",
    "INSERT INTO song_asset (song_id, role, asset_id) SELECT 'song_' || md5(n::text), role, 'ast_' || md5(n || role)"
    " FROM generate_series(0, :songs - 1) n, unnest(ARRAY['wav', 'stream', 'peaks', 'cover', 'cover_512']) role",
    "ANALYZE",
)


def fill(database: Database, number_of_songs: int) -> None:
    """Publish so many songs, each with words, four tags and five objects."""
    values = {"accounts": number_of_songs // SONGS_EACH, "songs": number_of_songs, "lyrics": _LYRICS, "lines": _LINES}
    values |= {"sections": _SECTIONS, "tags": list(_TAGS)}
    with database.transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _FILL:
            session.execute(text(statement), values)


def case(name: str, read: Callable[[], int], pages: int) -> dict[str, object]:
    """Time ``read`` so many times, after a few that warm it up."""
    for _ in range(10):
        read()
    times_ms = []
    cpu_begin = time.process_time()
    for _ in range(pages):
        begin = time.perf_counter()
        found = read()
        times_ms.append((time.perf_counter() - begin) * 1000)
        if found != 24:
            raise RuntimeError(f"{name}: a page has {found} songs instead of 24")
    cpu_ms = (time.process_time() - cpu_begin) * 1000 / pages
    p50_ms, p95_ms, p99_ms = (percentile(times_ms, share) for share in (0.50, 0.95, 0.99))
    return {"page": name, "pages": pages, "p50_ms": p50_ms, "p95_ms": p95_ms, "p99_ms": p99_ms, "cpu_ms": cpu_ms,
            "promise": f"p95 < {PROMISE_MS:.0f} ms", "kept": p95_ms < PROMISE_MS}  # fmt: skip


def measure(size: tuple[int, int]) -> list[dict[str, object]]:
    """Fill a fresh database and time its pages."""
    number_of_songs, pages = size
    chance = random.Random(SEED)
    with postgres_server() as server, fresh_database(server) as database:
        fill(database, number_of_songs)
        with database.transaction() as session:
            moments: list[tuple[datetime, SongId]] = [
                (row[0], SongId(row[1]))
                for row in session.execute(
                    text("SELECT published_at, id FROM song ORDER BY published_at DESC LIMIT :most"),
                    {"most": number_of_songs - 24},
                )
            ]

        def first() -> int:
            with database.transaction() as session:
                return len(songs.discover(session))

        def anywhere() -> int:
            with database.transaction() as session:
                return len(songs.discover(session, before=chance.choice(moments)))

        def library() -> int:
            account_id = AccountId(f"acc_{chance.randrange(number_of_songs // SONGS_EACH):032d}")
            with database.transaction() as session:
                return len(songs.library(session, account_id))

        cases = {"discover, first page": first, "discover, anywhere": anywhere, "library, first page": library}
        rows = [case(name, read, pages) for name, read in cases.items()]
    return [{"songs": number_of_songs, **row} for row in rows]


if __name__ == "__main__":
    sys.exit(run("discover", __doc__, measure, full=FULL, quick=QUICK, smaller=f"{QUICK[0]:,} songs only"))
