"""The whole product for tests and benches: ``melodeon up`` as a child, in a folder and on ports of its own."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from billing import ledger
from configs.addresses import attach, read_running
from configs.secrets import load_or_create
from configs.settings import load
from data.database import Database
from data.ids import new_id
from data.object_store import NoObject, ObjectStore
from data.repositories import requests
from data.testing import broken_job_laws, stored_assets
from serving import health
from serving.api.services import Services, open_services
from serving.stack import answers
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.brief import Brief, BriefKind
from studio.words.ids import JobId
from studio.words.job import JobState

T = TypeVar("T")

READY_S: Final = 300.0
END_S: Final = 150.0
RESTART_S: Final = 60.0
PATIENCE_S: Final = 120.0
"""Longest wait for anything of a running product; a Ray that begins anew on a busy machine takes most of it."""
_FIRST_PORT: Final = 20_000
_PORTS: Final = 120
"""One stack's ports: web, Postgres, six of Ray, then a hundred for Ray's workers."""
_LOOK_S: Final = 0.1
_MELODEON: Final = str(Path(sys.executable).with_name("melodeon"))


class StackTrouble(MelodeonError):
    """The product did not start, or did not end cleanly."""

    code = "stack_trouble"


class Stack:
    """One installation: a folder, ports and settings, and ``melodeon up`` on them, started and ended at will.

    Args:
        var: its folder; short, because sockets stand in it, and open to others, because Postgres does not run as root.
        settings: further settings as environment variables, e.g. ``{"MELODEON_WORKER__SWEEP_S": "1"}``.
        options: of ``melodeon up``, e.g. ``("--fake-stripe",)``.
    """

    def __init__(self, var: Path, settings: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> None:
        self.var = var
        self.environment = {**_ports(), **(settings or {}), "MELODEON_VAR": str(var)}
        self._options = tuple(options)
        self._up: subprocess.Popen[bytes] | None = None
        self._services: Services | None = None

    def start(self) -> float:
        """Start and wait for the line that says it is ready; answers the seconds that took.

        Raises:
            StackTrouble: it ended or is not ready in time; the sentence quotes what it said.
        """
        begun = time.monotonic()
        if self._up is not None:
            self._up.wait()
        self.launch()
        while "Melodeon is ready" not in self.said():
            if self._process.poll() is not None:
                raise StackTrouble(f"melodeon up ended with {self._process.returncode}: {self.said()[-2000:]}")
            if time.monotonic() - begun > READY_S:
                raise StackTrouble(f"melodeon up is not ready after {READY_S:g} s: {self.said()[-2000:]}")
            time.sleep(_LOOK_S)
        return time.monotonic() - begun

    def launch(self) -> None:
        """Start and do not wait."""
        self._close_services()
        with self._output.open("wb") as output:
            self._up = subprocess.Popen(
                [_MELODEON, "up", *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environ(),
                start_new_session=True,
            )

    def melodeon(self, *words: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Another command of the same installation, run to its end."""
        command = [_MELODEON, *words]
        return subprocess.run(
            command, env=self._environ(), capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def stop(self) -> float:
        """End it as Ctrl-C does; answers the seconds that took.

        Raises:
            StackTrouble: it did not end with 0, or something it started is left.
        """
        begun = time.monotonic()
        sessions = {*self._sessions(), *(os.getsid(process.pid) for process in self.processes())}
        self._close_services()
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise StackTrouble(f"melodeon up did not end within {END_S:g} s: {self.said()[-2000:]}") from None
        taken_s = time.monotonic() - begun
        left = _words(self._members(sessions))
        if code != 0 or left:
            raise StackTrouble(f"melodeon up ended with {code} and left {left}: {self.said()[-2000:]}")
        return taken_s

    def kill(self) -> None:
        """End everything that is left, the hard way."""
        self._close_services()
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if self._up is not None:
            self._up.wait()

    @property
    def running(self) -> bool:
        """Whether the supervisor lives."""
        return self._up is not None and self._up.poll() is None

    @property
    def web_url(self) -> str:
        """Where the pages and doors are, without a trailing slash."""
        running = read_running(self.var)
        return running.web_url if running else f"http://127.0.0.1:{self.environment['MELODEON_WEB__PORT']}"

    @property
    def services(self) -> Services:
        """Database, store and gateway of the running product, opened here."""
        if self._services is None:
            with _as_environment(self.environment):
                chosen = load()
            self._services = open_services(attach(chosen), load_or_create(self.var), role="owner")
        return self._services

    def pid_of(self, part: str) -> int:
        """The process of ``up``, ``postgres`` (its postmaster), ``engines`` (``ray start``), ``worker`` or ``web``.

        A part that has just died is waited for until its supervisor has started it again.
        """
        if part == "up":
            return self._process.pid
        if part == "postgres":
            return int((self.var / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        mark = {"engines": "--head", "worker": "serving.worker", "web": "ui.server"}[part]
        until = time.monotonic() + RESTART_S
        while time.monotonic() < until:
            for child in psutil.Process(self._process.pid).children():
                try:
                    if mark in child.cmdline():
                        return child.pid
                except psutil.NoSuchProcess:  # it died a moment ago; a zombie is one of these
                    continue
            time.sleep(0.1)
        raise StackTrouble(f"{part} does not run: {self.said()[-2000:]}")

    def serve_door(self, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What Ray's own door says of Ray Serve; with a ``config``, that Serve file is applied first."""
        url = f"http://127.0.0.1:{self.services.settings.serve.dashboard_port}/api/serve/applications/"
        headers = {"Authorization": f"Bearer {self.services.secrets.ray_token}", "Content-Type": "application/json"}
        if config is not None:
            body = json.dumps(config).encode()
            put = urllib.request.Request(url, method="PUT", data=body, headers=headers)
            urllib.request.urlopen(put, timeout=20).close()  # noqa: S310 - our own dashboard
        get = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(get, timeout=20) as answer:  # noqa: S310
            seen: dict[str, Any] = json.load(answer)
        return seen

    def replicas(self, application: str) -> list[int]:
        """The processes of an application's running replicas, asked of Ray's own door."""
        serve = self.serve_door()
        deployments = serve["applications"].get(application, {}).get("deployments", {}).values()
        replicas = [replica for deployment in deployments for replica in deployment["replicas"]]
        return [replica["pid"] for replica in replicas if replica["state"] == "RUNNING"]

    def ray_process(self, words: str) -> int:
        """The process of this installation's Ray whose command line holds these words, once there is one."""

        def found() -> int | None:
            leader = self.pid_of("engines")
            for process in self.processes():
                try:
                    if words in " ".join(process.cmdline()) and os.getsid(process.pid) == leader:
                        return process.pid
                except (psutil.NoSuchProcess, ProcessLookupError):
                    continue
            return None

        return until(found, f"Ray has a process called {words}")

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to this installation and lives, whether or not its supervisor does."""
        return self._members(self._sessions())

    def said(self) -> str:
        """What ``melodeon up`` has told since it was started."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def log_of(self, part: str) -> str:
        """The part's log."""
        path = self.var / "log" / f"{part}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._up is None:
            raise StackTrouble("The product has not been started.")
        return self._up

    @property
    def _output(self) -> Path:
        return self.var / "up.txt"

    def _environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MELODEON_")}
        return {**inherited, **self.environment}

    def _sessions(self) -> set[int]:
        """The sessions of the parts: no part's process leaves its session, whatever it calls itself."""
        notes = [json.loads(path.read_text()) for path in (self.var / "run").glob("*.process")]
        started = {int(note["pid"]) for note in notes}
        return started | ({self._up.pid} if self._up is not None else set())

    def _members(self, sessions: set[int]) -> list[psutil.Process]:
        """The living processes of these sessions, and this installation's Postgres."""
        data = str((self.var / "postgres" / "data").resolve())
        found = []
        for process in psutil.process_iter():
            try:
                ours = os.getsid(process.pid) in sessions or process.cwd() == data
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
                continue
        return found

    def _close_services(self) -> None:
        if self._services is not None:
            self._services.database.dispose()
            self._services = None


def all_well(stack: Stack) -> bool:
    """Whether the doctor is content and the pages' process answers."""
    services = stack.services
    checks = health.quick_checks(services.settings, services.database, services.store, services.gateway)
    return all(check.ok for check in checks) and answers(f"{stack.web_url}/api/v1/health")


def faults_of(database: Database, store: ObjectStore) -> list[str]:
    """Everything that is wrong in the ledger, the jobs and the store; empty when all is well."""
    with database.transaction() as session:
        found = list(ledger.faults(session))
        for law, ids in broken_job_laws(session).items():
            found += [f"Not true that {law}: {name}" for name in ids]
        kept = stored_assets(session)
    for asset in kept:
        try:
            content = b"".join(store.get(asset.key))
        except NoObject:
            content = b""
        if (hashlib.sha256(content).hexdigest(), len(content)) != (asset.sha256, asset.size_bytes):
            found.append(f"{asset.key} is not what was stored.")
    return found


def until(answer: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S, every_s: float = 0.1) -> T:
    """Ask until the answer is true, and give it."""
    ends = time.monotonic() + within_s
    while True:
        found = answer()
        if found:
            return found
        if time.monotonic() > ends:
            raise StackTrouble(f"It did not happen within {within_s:g} s: {what}")
        time.sleep(every_s)


def spend(services: Services, account: Account, *, leave: int) -> None:
    """Take an account's credits down to ``leave`` as the books allow: by a finished Job whose hold was captured."""
    now, job_id = services.now(), JobId(new_id("job"))
    with services.database.transaction() as session:
        price = ledger.balance(session, account.id).available_credits - leave
        requests.insert(
            session,
            job_id=job_id,
            account_id=account.id,
            # of a kind that makes no songs, so that none is missing
            brief=Brief(kind=BriefKind.LYRICS, description="an earlier request", takes=1),
            song_ids=(),
            uses_guidance=False,
            state=JobState.PROCESSED,
            price_credits=price,
            key=f"spent:{job_id}",
            request_hash="",
            trace_id="",
            reason="",
            reason_code="",
        )
        ledger.hold(session, account.id, job_id, price, key=f"hold:{job_id}", now=now)
        ledger.settle(session, job_id, captured=price, key=f"settle:{job_id}", now=now)


@contextmanager
def whole_stack(settings: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> Iterator[Stack]:
    """The running product in a folder of its own; ended, looked after and removed afterwards."""
    var = Path(tempfile.mkdtemp(prefix="mel-", dir="/tmp"))
    var.chmod(0o755)
    stack = Stack(var, settings, options)
    try:
        stack.start()
        yield stack
        if stack.running:
            stack.stop()
    finally:
        stack.kill()
        shutil.rmtree(var, ignore_errors=True)


def _ports() -> dict[str, str]:
    """Settings with a block of ports that nobody listens on, below those the system gives out by itself."""
    names = ("WEB__PORT", "DATABASE__PORT", *(f"SERVE__{name}_PORT" for name in _RAY_PORTS))
    start = _FIRST_PORT + os.getpid() % 80 * _PORTS
    for first in [*range(start, 32_000, _PORTS), *range(_FIRST_PORT, start, _PORTS)]:
        if all(_is_free(first + offset) for offset in range(20)):
            ports = {f"MELODEON_{name}": str(first + offset) for offset, name in enumerate(names)}
            return {**ports, "MELODEON_SERVE__WORKER_PORTS_FROM": str(first + 20)}
    raise StackTrouble("No block of free ports was found between 20000 and 32000.")


_RAY_PORTS: Final = ("HTTP", "GCS", "DASHBOARD", "AGENT", "METRICS", "CLIENT")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _words(processes: list[psutil.Process]) -> list[str]:
    left = []
    for process in processes:
        try:
            left.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        except psutil.NoSuchProcess:
            continue
    return left


@contextmanager
def _as_environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("MELODEON_")]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
