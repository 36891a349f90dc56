"""Signing in: promised is an answer within 300 ms, one person after the other.

    python bench/sign_in.py [--quick] [--json] [--csv FILE]

The doors run alone in a process of their own over a real Postgres that syncs to disk, and are asked as a client asks
them: name and password, by HTTP, over a connection of their own. Nearly all of the time is the password's hash
(Argon2id, 19 MiB), for which a wrong password and an unknown name must take as long as the right one. Each case once
one after the other and once with 8 at once, which is 8 hashes at once: on fewer cores they wait for each other.
``--quick`` tries 8 times a case instead of 200.
"""

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from harness import doors, durable_postgres, migrated, row, run
from report import Row, percentile

from data.database import Database
from data.passwords import hash_password
from data.repositories import accounts

PROMISE_MS: Final = 300.0
DOOR: Final = "/api/v1/auth/session"
AT_ONCE: Final = 8
WARM_UP: Final = 8
RIGHT: Final = "a passphrase of the bench"
CASES: Final = (
    ("right", "person", RIGHT, http.HTTPStatus.NO_CONTENT),
    ("wrong password", "person", "another passphrase", http.HTTPStatus.UNAUTHORIZED),
    ("unknown name", "nobody", RIGHT, http.HTTPStatus.UNAUTHORIZED),
)
"""What is tried: its name, who tries, with which password, and the status of the answer that is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How often each case is tried."""

    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a try was answered."""

    status: int
    took_ms: float


def measure(size: Size) -> Sequence[Row]:
    """Let people in, one after the other and many at once."""
    with durable_postgres() as server, tempfile.TemporaryDirectory(prefix="melodeon-bench-") as folder:
        url = migrated(server, "sign_in")
        settle(url, max(size.tries, WARM_UP))
        with doors(url, Path(folder)) as port:
            knock = knocker(port)
            for number in range(WARM_UP):
                knock(f"person{number}", RIGHT)
            return [line for case in CASES for line in rows_of(case, knock, size)]


def settle(url: str, people: int) -> None:
    """Make as many accounts as there are tries: tries with one name are counted, and few are allowed."""
    hashed = hash_password(RIGHT)
    database = Database(url)
    with database.transaction() as session:
        for number in range(people):
            accounts.create(session, name=f"person{number}", password_hash=hashed)
    database.dispose()


def knocker(port: int) -> Callable[[str, str], Answer]:
    """Who tries to sign in; every try comes from an address of its own, as a proxy in front of the doors tells it."""
    numbers = count(1)

    def knock(name: str, password: str) -> Answer:
        number = next(numbers)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        headers = {"Content-Type": "application/json", "X-Melodeon": "1", "X-Forwarded-For": address}
        body = json.dumps({"name": name, "password": password})
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", DOOR, body, headers)
        answer = connection.getresponse()
        answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        connection.close()
        return Answer(status=answer.status, took_ms=took_ms)

    return knock


def rows_of(case: tuple[str, str, str, int], knock: Callable[[str, str], Answer], size: Size) -> list[Row]:
    """The figures of one case."""
    what, who, password, due = case
    names = [f"{who}{number}" for number in range(size.tries)]
    alone = [knock(name, password) for name in names]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = list(pool.map(lambda name: knock(name, password), names))
    promise = PROMISE_MS if due == http.HTTPStatus.NO_CONTENT else None
    return [
        row(f"{what}, p50", percentile([each.took_ms for each in alone], 0.5), "ms", None),
        row(f"{what}, p99", percentile([each.took_ms for each in alone], 0.99), "ms", promise),
        row(f"{what}, {AT_ONCE} at once, p50", percentile([each.took_ms for each in together], 0.5), "ms", None),
        row(f"{what}, {AT_ONCE} at once, p99", percentile([each.took_ms for each in together], 0.99), "ms", None),
        row(f"{what}, answered otherwise", sum(each.status != due for each in alone + together), "tries", 0),
    ]


if __name__ == "__main__":
    sys.exit(run("sign_in", __doc__, measure, full=Size(tries=200), quick=Size(tries=8), smaller="try 8 times a case"))
