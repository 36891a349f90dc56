"""Random faults while songs are made: none lost, none charged twice, no hold left, nobody with two songs at once.

    python bench/faults.py [--quick] [--json] [--csv FILE] [--seed N]

The whole product makes songs of 10 s by the built-in engines for several accounts. Again and again one of its
processes is killed (SIGKILL): worker, a replica, the gateway's replica, Serve's controller, Ray head, Postgres, pages.
A request is two songs. The faults are spread over the songs, and each kind comes as often as any other. Afterwards
every book is read: ledger, jobs, songs, and each stored object against its hash. The seed decides which process dies
and when; the rest is the machine's. A worker that died is missed after 8 s instead of 30. ``--quick`` judges too: a
law broken once is broken.
"""

import os
import random
import secrets
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from statistics import median
from typing import Final

from harness import conclude, options_of, row
from sqlalchemy import text

from billing import ledger
from data.database import DatabaseUnreachable
from data.repositories import accounts
from data.testing import coverless_songs
from serving import jobs
from studio.words.account import Account
from studio.words.brief import Brief, Controls
from studio.words.ids import JobId
from ui.testing import Stack, StackTrouble, all_well, faults_of, until, whole_stack

SETTINGS: Final = {
    "MELODEON_WORKER__LEASE_S": "8",
    "MELODEON_WORKER__HEARTBEAT_S": "2",
    "MELODEON_WORKER__SWEEP_S": "1",
}
LOOK_EVERY_S: Final = 0.05
STANDSTILL_S: Final = 300.0
"""When no song has ended for so long, those that are left count as lost."""
LONGEST_DELAY_S: Final = 2.0
TAKES: Final = 2

KILLS: Final[dict[str, Callable[[Stack, random.Random], int]]] = {
    "worker": lambda stack, _: stack.pid_of("worker"),
    "replica": lambda stack, chance: _replica(stack, chance.choice(("songs", "covers", "words")), chance),
    "gateway's replica": lambda stack, chance: _replica(stack, "gateway", chance),
    "Serve's controller": lambda stack, _: stack.ray_process("ray::ServeController"),
    "Ray head": lambda stack, _: stack.pid_of("engines"),
    "Postgres": lambda stack, _: stack.pid_of("postgres"),
    "pages": lambda stack, _: stack.pid_of("web"),
}
"""How the process is found that dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is broken and made."""

    faults: int
    songs: int
    accounts: int


FULL: Final = Size(faults=200, songs=1000, accounts=8)
QUICK: Final = Size(faults=7, songs=20, accounts=4)


@dataclass(slots=True)
class Watched:
    """What is seen while songs are made."""

    ended: int = 0
    """Jobs that have ended."""
    ended_at: float = field(default_factory=time.monotonic)
    """When the last of them was seen to have ended."""
    twice: set[str] = field(default_factory=set)
    """Accounts that were seen with two jobs in process."""


class Faults:
    """Songs under way on one stack, and its processes dying."""

    def __init__(self, stack: Stack, size: Size, chance: random.Random) -> None:
        self._stack = stack
        self._size = size
        self._chance = chance
        self._watched = Watched()
        self.asked: list[JobId] = []
        self.recovered_s: dict[str, list[float]] = defaultdict(list)

    def run(self) -> list[dict[str, object]]:
        """Ask, break, wait, read the books."""
        begun = time.monotonic()
        self._ask()
        for number, name in enumerate(self._deck()):
            self._wait(number * len(self.asked) // self._size.faults)
            self._pass(self._chance.uniform(0, LONGEST_DELAY_S))
            self._kill(name)
        self._wait(len(self.asked))
        took_s = time.monotonic() - begun
        unwell = 0
        try:
            until(lambda: all_well(self._stack), "every part works again", within_s=STANDSTILL_S)
        except StackTrouble:
            unwell = 1
        return [
            *self._kill_rows(),
            row("all songs made", took_s, "s", None),
            *self._book_rows(),
            row("stack that is not well afterwards", unwell, "stacks", 0),
        ]

    def _deck(self) -> Iterator[str]:
        """So many faults, every kind once before any comes again."""
        left = self._size.faults
        while left:
            kinds = self._chance.sample(sorted(KILLS), min(left, len(KILLS)))
            left -= len(kinds)
            yield from kinds

    def _ask(self) -> None:
        people = [self._account(number) for number in range(self._size.accounts)]
        for number in range(self._size.songs // TAKES):
            brief = Brief(description=f"folk about rain on roof {number}", controls=Controls(duration_s=10.0))
            with self._stack.services.database.transaction() as session:
                job = jobs.request(
                    session,
                    people[number % len(people)],
                    brief,
                    key=secrets.token_hex(8),
                    now=datetime.now(UTC),
                    draw_seed=lambda: self._chance.randrange(2**31),
                    queued_max=self._size.songs,
                )
            self.asked.append(job.id)

    def _account(self, number: int) -> Account:
        name = f"person{number}"
        with self._stack.services.database.transaction() as session:
            account = accounts.create(session, name=name, email=f"{name}@example.org", password_hash=None)
            amount = TAKES * self._size.songs
            ledger.open_with_signup_grant(session, account.id, amount=amount, now=datetime.now(UTC))
        return account

    def _kill(self, name: str) -> None:
        ended = self._watched.ended
        pid = until(lambda: self._pid(name), f"there is a {name} to kill", within_s=STANDSTILL_S)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        if ended < len(self.asked):
            self._wait(ended + 1)
            self.recovered_s[name].append(max(0.0, self._watched.ended_at - killed))

    def _pid(self, name: str) -> int | None:
        try:
            return KILLS[name](self._stack, self._chance)
        except (OSError, HTTPException, ValueError, IndexError, StackTrouble):
            return None  # it is just being started again

    def _pass(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._look()
            time.sleep(LOOK_EVERY_S)

    def _wait(self, ended: int) -> None:
        """Until so many jobs have ended, or nothing has for a long time."""
        while self._watched.ended < ended and time.monotonic() - self._watched.ended_at < STANDSTILL_S:
            self._look()
            time.sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        try:
            with self._stack.services.database.transaction() as session:
                ended = int(session.execute(text(_ENDED)).scalar_one())
                self._watched.twice.update(session.execute(text(_TWICE)).scalars())
        except DatabaseUnreachable:
            return
        if ended > self._watched.ended:
            self._watched.ended, self._watched.ended_at = ended, time.monotonic()

    def _kill_rows(self) -> list[dict[str, object]]:
        rows = [row("processes killed", sum(map(len, self.recovered_s.values())), "times", None)]
        for name, taken_s in sorted(self.recovered_s.items()):
            rows.append(row(f"{name} killed → next request made, median", median(taken_s), "s", None))
            rows.append(row(f"{name} killed → next request made, longest", max(taken_s), "s", None))
        return rows

    def _book_rows(self) -> list[dict[str, object]]:
        services = self._stack.services
        asked = {"asked": list(self.asked)}
        with services.database.transaction() as session:
            counts = {name: float(session.execute(text(sql), asked).scalar_one()) for name, sql in _COUNTS.items()}
            coverless = len(coverless_songs(session))
        wrong = faults_of(services.database, services.store)
        for sentence in wrong:
            print(sentence, file=sys.stderr)
        return [
            row("songs asked for", TAKES * len(self.asked), "songs", None),
            row("songs processed", counts["processed"], "songs", None),
            row("songs failed, credits given back", counts["failed"], "songs", None),
            row("songs without a cover", coverless, "songs", 0.0),
            row("attempts lost to faults", counts["lost"], "attempts", None),
            row("songs lost", TAKES * len(self.asked) - counts["processed"] - counts["failed"], "songs", 0),
            row("songs charged twice", counts["overpaid"], "songs", 0),
            row("holds left", counts["holds"], "holds", 0),
            row("accounts with two songs at once", len(self._watched.twice), "accounts", 0),
            row("faults in books and store", len(wrong), "faults", 0),
        ]


def _replica(stack: Stack, application: str, chance: random.Random) -> int:
    return chance.choice(stack.replicas(application))


_ENDED: Final = "SELECT count(*) FROM job WHERE state NOT IN ('queued', 'processing')"
_TWICE: Final = "SELECT account_id FROM job WHERE state = 'processing' GROUP BY account_id HAVING count(*) > 1"
_COUNTS: Final = {
    "processed": "SELECT count(*) FROM song WHERE job_id = ANY(:asked) AND status = 'processed'",
    "failed": "SELECT count(*) FROM song JOIN job ON job.id = song.job_id WHERE job_id = ANY(:asked)"
    " AND song.status = 'failed' AND (job.reason <> '' OR song.reason <> '')",
    "lost": "SELECT coalesce(sum(failures), 0) FROM job WHERE id = ANY(:asked)",
    "overpaid": "SELECT coalesce(sum(greatest(0, paid - made)), 0) FROM (SELECT"
    " (SELECT coalesce(sum(amount), 0) FROM transfer WHERE job_id = job.id AND kind = 'capture') AS paid,"
    " (SELECT count(*) FROM song WHERE job_id = job.id AND status = 'processed') AS made"
    " FROM job WHERE id = ANY(:asked)) AS bills",
    "holds": "SELECT count(*) FROM hold WHERE state = 'open'",
}
"""A failed song counts only with a sentence that says why; one without is lost."""


def measure(size: Size, seed: int) -> Sequence[dict[str, object]]:
    """Every figure, one row each, on a stack of its own."""
    with whole_stack(SETTINGS) as stack:
        return Faults(stack, size, random.Random(seed)).run()


def main() -> int:
    """Run the bench; 1 if a law was broken."""
    parser = options_of(__doc__, quick=f"{QUICK.faults} faults over {QUICK.songs} songs")
    parser.add_argument("--seed", type=int, default=1, help="decides which process dies and when")
    options = parser.parse_args()
    rows = measure(QUICK if options.quick else FULL, options.seed)
    return conclude("faults", rows, options, judge_quick=True)


if __name__ == "__main__":
    sys.exit(main())
