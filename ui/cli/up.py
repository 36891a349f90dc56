"""``melodeon up``: start everything and keep it running."""

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import click

from billing.plans import offer
from configs.addresses import (
    Running,
    forget_running,
    gateway_url,
    local_web_url,
    pretended_stripe_port,
    read_running,
    web_url,
    write_running,
)
from configs.logs import configure
from configs.secrets import Secrets, load_or_create
from configs.settings import Settings, settings
from data.embedded_postgres import end_orphan
from serving.api.views import PREFIX
from serving.pretended import pretended_part, with_pretended_payments
from serving.processes import ChildProcess, end_leftovers, private_folder
from serving.stack import (
    RAY_PORTS,
    ProcessPart,
    answers,
    bring_up_to_date,
    child_environment,
    stack_parts,
    with_free_ports,
)
from serving.supervisor import Part, Supervisor
from studio.errors import MelodeonError


class AlreadyRunning(MelodeonError):
    """The product runs already under this folder."""

    code = "already_running"

    def __init__(self, running: Running | None) -> None:
        where = f" at {running.web_url}" if running and running.web_url else ""
        super().__init__(
            f"Melodeon is already running{where}; stop it with Ctrl-C there, or set MELODEON_VAR elsewhere."
        )


def web_part(chosen: Settings) -> Part:
    """The pages and the HTTP doors: one uvicorn process."""
    command = [sys.executable, "-m", "ui.server"]
    child = ChildProcess("web", command, var=chosen.var, env=child_environment(chosen))
    health = f"{local_web_url(chosen)}{PREFIX}/health"
    return ProcessPart(child, ready=lambda: answers(health))


@contextmanager
def only_one(chosen: Settings) -> Iterator[IO[str]]:
    """Hold the lock of this installation; a second supervisor would fight the first over every part."""
    folder = private_folder(chosen.var / "run")
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(read_running(chosen.var)) from None
        yield lock


@contextmanager
def running_stack(
    chosen: Settings,
    secrets: Secrets,
    *,
    with_web: bool,
    say: Callable[[str], None],
    stopping: threading.Event | None = None,
) -> Iterator[Settings]:
    """The product while the block runs, supervised; yields the settings with the ports really used.

    Args:
        chosen: the settings; a taken port is replaced by the next free one.
        secrets: of this installation.
        with_web: whether the pages and doors are started too.
        say: tells the person in front of the terminal one line.
        stopping: when it gets set during the start, the start is broken off and the block entered at once.
    """
    stopping = stopping or threading.Event()
    with only_one(chosen):
        _end_leftovers(chosen, say)
        used = with_free_ports(chosen, say=say)
        if used.database.url is not None:
            bring_up_to_date(used, secrets)
        parts = stack_parts(used, secrets)
        if pretended_stripe_port(used) is not None:
            parts.append(pretended_part(used, secrets))
        if with_web:
            parts.append(web_part(used))
        supervisor = Supervisor(parts, say=say)
        watching = threading.Event()
        watcher = threading.Thread(target=supervisor.watch, args=(watching,), name="watch", daemon=True)
        try:
            supervisor.start(stopping)
            if not stopping.is_set():
                write_running(used.var, _running(used, with_web=with_web))
                watcher.start()
            yield used
        finally:
            watching.set()
            if watcher.is_alive():
                watcher.join()
            forget_running(used.var)
            supervisor.stop()


def _end_leftovers(chosen: Settings, say: Callable[[str], None]) -> None:
    """A supervisor killed the hard way leaves its parts running, on the ports that we want."""
    ended = end_leftovers(chosen.var)
    if chosen.database.url is None and (chosen.var / "postgres").is_dir():
        end_orphan(chosen.var / "postgres")
    if ended:
        say(f"Ended what an earlier start had left running: {', '.join(ended)}.")


def _running(used: Settings, *, with_web: bool) -> Running:
    port = used.database.port if used.database.url is None else None
    ray_ports = {name: getattr(used.serve, name) for name in RAY_PORTS} if used.serve.gateway_url is None else {}
    return Running(
        pid=os.getpid(),
        web_url=web_url(used) if with_web else "",
        gateway_url=gateway_url(used),
        database_port=port,
        ray_ports=ray_ports,
        pretended_stripe_port=pretended_stripe_port(used),
    )


@click.command()
@click.option("--fake-stripe", is_flag=True, help="Pretend payments: a fake stands for Stripe and no money moves.")
def up(fake_stripe: bool) -> None:
    """Start everything and keep it running until Ctrl-C."""
    chosen = settings()
    offer()
    configure(chosen.logs.model_copy(update={"level": "WARNING"}), part="up")
    secrets = load_or_create(chosen.var)
    if fake_stripe:
        chosen = with_pretended_payments(chosen)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())

    def say(line: str) -> None:
        click.echo(line, err=True)

    say(f"Starting Melodeon under {chosen.var} …")
    with running_stack(chosen, secrets, with_web=True, say=say, stopping=stopping) as used:
        if not stopping.is_set():
            pretended = " (payments are pretended, no money moves)" if fake_stripe else ""
            click.echo(f"Melodeon is ready: {web_url(used)}{pretended}")
        stopping.wait()
        say("Stopping …")
