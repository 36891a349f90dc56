"""A child process with everything it starts: its log, its end, and what a dead supervisor left behind."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger(__name__)


class ChildProcess:
    """One command, run in its own session, with its output appended to one log file.

    `stop` ends exactly the processes that this command started: the descendants are listed before the first signal,
    because a grandchild whose parent has gone can no longer be told from a stranger.
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
        self._note = var / "run" / f"{name}.json"
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None before the first start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the command; first end what an earlier, killed supervisor may have left running under this name."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._end_leftover()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
                start_new_session=True,
            )
        started = psutil.Process(self._process.pid).create_time()
        self._note.write_text(json.dumps({"pid": self._process.pid, "created": started}))
        log.info("process.started", process=self.name, pid=self._process.pid)

    def running(self) -> bool:
        """Whether the command itself lives."""
        return self._process is not None and self._process.poll() is None

    def last_words(self, lines: int = 5) -> str:
        """The end of the log, for a message to the person who started us."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def stop(self) -> None:
        """End the command and all its descendants: a polite signal, some grace, then the hard way."""
        if self._process is None:
            return
        end_tree(self._process.pid, grace_s=self._grace_s)
        self._process.wait()
        self._process = None
        self._note.unlink(missing_ok=True)
        log.info("process.stopped", process=self.name)

    def _end_leftover(self) -> None:
        try:
            note = json.loads(self._note.read_text())
            left = psutil.Process(note["pid"])
            if abs(left.create_time() - note["created"]) < 1:
                log.warning("process.leftover_ended", process=self.name, pid=left.pid)
                end_tree(left.pid, grace_s=self._grace_s)
        except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
            pass


def end_tree(pid: int, *, grace_s: float) -> None:
    """End the process ``pid`` and its descendants, waiting up to ``grace_s`` seconds before killing."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    _signal([root], hard=False)
    _, alive = psutil.wait_procs([root], timeout=grace_s)
    # What the root started meanwhile or did not take along.
    family += [child for member in family for child in _children(member) if child not in family]
    _signal([member for member in family if member is not root], hard=False)
    _, alive = psutil.wait_procs(family, timeout=3)
    _signal(alive, hard=True)
    psutil.wait_procs(alive, timeout=3)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(processes: Sequence[psutil.Process], *, hard: bool) -> None:
    for process in processes:
        try:
            process.kill() if hard else process.terminate()
        except psutil.NoSuchProcess:
            continue
