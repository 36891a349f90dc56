"""A child process with everything it starts: its log, its end, and what a dead supervisor left behind."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil
import structlog

from studio.errors import MelodeonError

log = structlog.get_logger(__name__)

HARD_AFTER_S = 3.0
LAST_LINES = 5


class FolderNotOurs(MelodeonError):
    """A folder that only we should enter belongs to somebody else."""

    code = "folder_not_ours"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a folder of ours; remove it, or set MELODEON_VAR to another place.")


def private_folder(path: Path) -> Path:
    """Make the folder ``path`` and close it to everybody else; raises `FolderNotOurs`."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise FolderNotOurs(path)
    path.chmod(0o700)
    return path


class ChildProcess:
    """One command, run in its own session, with its output appended to one log file.

    A note with the process id outlives us, so that the next supervisor can end what a killed one left running.

    Args:
        name: of the part; also of its log and note.
        command: program and arguments.
        var: the installation's folder, for ``log/NAME.log`` and ``run/NAME.process``.
        env: added to our own environment.
        grace_s: how long the command may take to end when asked politely.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        var: Path,
        env: Mapping[str, str] | None = None,
        grace_s: float = 20.0,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._env = dict(env or {})
        self._log = var / "log" / f"{name}.log"
        self._note = var / "run" / f"{name}.process"
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None when it was never started or has been stopped."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the command; first end what an earlier, killed supervisor may have left running under this name."""
        private_folder(self._log.parent)
        private_folder(self._note.parent)
        _end_noted(self._note)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
                start_new_session=True,
            )
        created = psutil.Process(self._process.pid).create_time()
        self._note.write_text(json.dumps({"pid": self._process.pid, "created": created, "grace_s": self._grace_s}))
        log.info("process.started", process=self.name, pid=self._process.pid)

    def running(self) -> bool:
        """Whether the command itself lives."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """The end of the log, for a message to the person who started us."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        except FileNotFoundError:
            return ""

    def stop(self) -> None:
        """End the command and all that it started: a polite signal, some grace, then the hard way."""
        if self._process is None:
            return
        end_session(self._process.pid, grace_s=self._grace_s)
        self._process.wait()
        self._process = None
        self._note.unlink(missing_ok=True)
        log.info("process.stopped", process=self.name)


def end_leftovers(var: Path) -> list[str]:
    """End what a killed supervisor of this installation left running; answers the names of those parts."""
    return [note.stem for note in sorted((var / "run").glob("*.process")) if _end_noted(note)]


def end_session(leader: int, *, grace_s: float) -> bool:
    """End the session that process ``leader`` opened, living or dead, and every descendant of its members.

    The leader is asked first and gets ``grace_s`` seconds to take the others along; those that stay are asked, and
    after a moment killed. Answers whether there was anything to end.

    A program's helpers may leave its process group and outlive it (Ray's workers do both), but they stay in its
    session, and no new process gets a number that a living session bears.
    """
    family = _family(leader)
    if not family:
        return False
    first = [process for process in family if process.pid == leader]
    _signal(first, hard=False)
    psutil.wait_procs(first, timeout=grace_s)
    # What the leader started meanwhile or did not take along.
    family |= _family(leader)
    _signal(family, hard=False)
    _, alive = psutil.wait_procs(family, timeout=HARD_AFTER_S)
    _signal(alive, hard=True)
    psutil.wait_procs(alive, timeout=HARD_AFTER_S)
    return True


def _end_noted(path: Path) -> bool:
    """End the session that a note tells of, unless its number has gone to somebody else since."""
    try:
        note = json.loads(path.read_text())
        pid, created, grace_s = int(note["pid"]), float(note["created"]), float(note["grace_s"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    path.unlink(missing_ok=True)
    if created < psutil.boot_time() - 1 or _is_stranger(pid, created):
        return False
    found = end_session(pid, grace_s=grace_s)
    if found:
        log.warning("process.leftover_ended", process=path.stem, pid=pid)
    return found


def _is_stranger(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) > 1
    except psutil.NoSuchProcess:
        return False


def _family(leader: int) -> set[psutil.Process]:
    members = {process for process in psutil.process_iter() if _session_of(process.pid) == leader}
    for member in list(members):
        try:
            members.update(member.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    return members


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _signal(processes: Iterable[psutil.Process], *, hard: bool) -> None:
    for process in processes:
        try:
            process.kill() if hard else process.terminate()
        except psutil.NoSuchProcess:
            continue
