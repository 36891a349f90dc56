"""Workers that start in no time: forked from one process that has imported everything, and as mortal as any other."""

import datetime
import multiprocessing
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from data.database import Database

QUICK = {"lease_s": 2, "heartbeat_s": 0.4, "sweep_s": 0.3, "retry_base_s": 0.2, "poll_s": 0.1, "concurrency": 4}
"""Settings of a worker that is missed after two seconds."""

SHIFTED = {"configs", "studio", "data", "billing", "serving", "procrastinate"}
"""Whose clock can be set wrong."""

Start = Callable[[], BaseProcess]


def environment_of(database_url: str, gateway_url: str, folder: Path, **settings: float) -> dict[str, str]:
    """The environment of a worker; ``settings`` are those of the worker (`QUICK`, or none)."""
    return {
        "MELODEON_VAR": str(folder),
        "MELODEON_DATABASE__URL": database_url,
        "MELODEON_SERVE__GATEWAY_URL": gateway_url,
        **{f"MELODEON_WORKER__{name.upper()}": str(value) for name, value in settings.items()},
    }


@contextmanager
def workers(environment: dict[str, str], *, log: Path, clock_off_s: float = 0.0) -> Iterator[Start]:
    """Answers what starts another worker; those that still live are killed in the end.

    Args:
        environment: see `environment_of`.
        log: file for what the workers say.
        clock_off_s: how far their clock is ahead (or, below nought, behind).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["serving.worker", __name__])
    started: list[BaseProcess] = []

    def start() -> BaseProcess:
        process = context.Process(target=_work, args=(environment, str(log), clock_off_s))
        process.start()
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.join()


def behind(database: Database, port: int) -> str:
    """The address of this database by way of another port of this machine."""
    before, _, after = database.conninfo.partition("@127.0.0.1:")
    return f"{before}@127.0.0.1:{port}/{after.partition('/')[2]}"


def _work(environment: dict[str, str], log: str, clock_off_s: float) -> None:
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    from serving import worker

    if clock_off_s:
        _set_clock(clock_off_s)
    worker.main()


def _set_clock(off_s: float) -> None:
    """Let this process read a clock that is wrong: the product's modules and those of the queue."""
    right = time.time
    time.time = lambda: right() + off_s
    wrong = types.ModuleType("datetime")
    vars(wrong).update({**vars(datetime), "datetime": _wrong(timedelta(seconds=off_s))})
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in SHIFTED:
            for word in ("datetime", "dt"):
                known = getattr(module, word, None)
                if known is datetime:
                    setattr(module, word, wrong)
                elif known is datetime.datetime:
                    setattr(module, word, wrong.datetime)


def _wrong(off: timedelta) -> type:
    class AnyDatetime(type):
        def __instancecheck__(cls, other: object) -> bool:
            return isinstance(other, datetime.datetime)

    class Wrong(datetime.datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.now(tz) + off

    return Wrong
