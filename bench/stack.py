"""The whole product: seconds to ready, memory at rest, a request from end to end, and back from a killed worker.

    python bench/stack.py [--quick] [--json] [--csv FILE]

`melodeon up` in a folder of its own with the laptop profile and the built-in engines. "First start" makes the
database and finds no installation; whether the sample loops are compiled already depends on the checkout. Memory is
PSS, so shared pages count once. ``--quick`` asks for one song a figure instead of three.
"""

import os
import secrets
import signal
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from statistics import median
from typing import Final

import psutil
from harness import run

from serving import accounts, jobs
from studio.words.brief import Brief, Controls
from studio.words.ids import JobId
from studio.words.job import Job, JobState, Stage
from ui.testing import Stack, whole_stack

LOOK_EVERY_S: Final = 0.02
SETTLE_S: Final = 5.0
PARTS: Final = ("up", "postgres", "engines", "worker", "web")


def measure(songs: int) -> list[dict[str, object]]:
    """Every figure, one row each."""
    begun = time.monotonic()
    with whole_stack() as stack:
        rows = [_row("first start → ready", time.monotonic() - begun, "s")]
        rows.append(_row("processor time of that start", _processor_s(stack), "s"))
        time.sleep(SETTLE_S)
        rows += _memory(stack)
        rows.append(_row("request of 30 s, two takes with covers and lyrics", _request_s(stack, songs), "s"))
        rows.append(_row("worker killed → its song is worked on again", _recovery_s(stack), "s"))
        rows.append(_row("stop", stack.stop(), "s"))
        rows.append(_row("second start → ready", stack.start(), "s"))
        rows.append(_row("processor time of that start", _processor_s(stack), "s"))
    return rows


def _row(figure: str, value: float, unit: str) -> dict[str, object]:
    return {"figure": figure, "value": round(value, 2), "unit": unit}


def _processor_s(stack: Stack) -> float:
    total_s = 0.0
    for process in stack.processes():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total_s += times.user + times.system
    return total_s


def _memory(stack: Stack) -> list[dict[str, object]]:
    leaders = {stack.pid_of(part): part for part in PARTS}
    postgres = stack.pid_of("postgres")
    found_mb: dict[str, float] = defaultdict(float)
    for process in stack.processes():
        try:
            # Each of Postgres' servers opens a session of its own; the others' processes stay in their part's.
            session = postgres if process.name() == "postgres" else os.getsid(process.pid)
            found_mb[leaders[session]] += process.memory_full_info().pss / 1e6
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    rows = [_row(f"memory at rest: {part}", found_mb[part], "MB") for part in PARTS]
    return [*rows, _row("memory at rest: all", sum(found_mb.values()), "MB")]


def _ask(stack: Stack, duration_s: float) -> JobId:
    services = stack.services
    brief = Brief(description="warm folk about rain on a tin roof", controls=Controls(duration_s=duration_s))
    with services.database.transaction() as session:
        account = accounts.local_account(session, signup_credits=100, now=datetime.now(UTC))
        job = jobs.request(
            session,
            account,
            brief,
            key=secrets.token_urlsafe(12),
            now=datetime.now(UTC),
            draw_seed=services.draw_seed,
        )
    return job.id


def _look(stack: Stack, job_id: JobId) -> Job:
    services = stack.services
    with services.database.transaction() as session:
        account = accounts.local_account(session, signup_credits=100, now=datetime.now(UTC))
        return jobs.get(session, account, job_id)


def _end_of(stack: Stack, job_id: JobId) -> None:
    while not (job := _look(stack, job_id)).state.ended:
        time.sleep(LOOK_EVERY_S)
    if job.state is not JobState.PROCESSED:
        raise SystemExit(f"The request ended as {job.state.value}: {job.reason}")


def _request_s(stack: Stack, songs: int) -> float:
    taken_s = []
    for _ in range(songs):
        begun = time.monotonic()
        _end_of(stack, _ask(stack, 30.0))
        taken_s.append(time.monotonic() - begun)
    return median(taken_s)


def _recovery_s(stack: Stack) -> float:
    job_id = _ask(stack, 30.0)
    while not ((job := _look(stack, job_id)).stage is Stage.MUSIC and job.progress > 0.2):
        time.sleep(LOOK_EVERY_S)
    begun = time.monotonic()
    os.kill(stack.pid_of("worker"), signal.SIGKILL)
    while _look(stack, job_id).attempt < 2:
        time.sleep(LOOK_EVERY_S)
    taken_s = time.monotonic() - begun
    _end_of(stack, job_id)
    return taken_s


if __name__ == "__main__":
    sys.exit(run("stack", __doc__, measure, full=3, quick=1, smaller="one song a figure instead of three"))
