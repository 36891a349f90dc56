"""The supervisor with real child processes."""

import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from configs.settings import Settings
from serving.processes import ChildProcess, FolderNotOurs, end_leftovers, private_folder
from serving.stack import NoFreePort, ProcessPart, port_is_free, ray_folder, with_free_ports
from serving.supervisor import PartNotReady, Supervisor

PATIENCE_S = 90.0


def wait_until(happened: threading.Event | None = None, *, question: object = None) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        if happened is not None and happened.is_set():
            return
        if callable(question) and question():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def child(var: Path, name: str, code: str, *, grace_s: float = 3.0) -> ChildProcess:
    return ChildProcess(name, [sys.executable, "-c", code], var=var, grace_s=grace_s)


SLEEP = "import time\nprint('hello', flush=True)\ntime.sleep(600)"
WITH_GRANDCHILD = (
    "import subprocess, sys, time\n"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print(p.pid, flush=True)\n"
    "time.sleep(600)"
)


WITH_HELPER = (
    "import subprocess, sys, time\n"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], process_group=0)\n"
    "print(p.pid, flush=True)\n"
    "time.sleep(600)"
)


@pytest.fixture
def ending() -> Iterator[list[ChildProcess]]:
    children: list[ChildProcess] = []
    yield children
    for one in children:
        one.stop()


def log_of(var: Path, name: str) -> str:
    path = var / "log" / f"{name}.log"
    return path.read_text() if path.exists() else ""


def test_stop_ends_grandchildren_in_sessions_of_their_own(tmp_path: Path, ending: list[ChildProcess]) -> None:
    one = child(tmp_path, "one", WITH_GRANDCHILD)
    ending.append(one)
    one.start()
    wait_until(question=lambda: log_of(tmp_path, "one").strip())
    grandchild = int(log_of(tmp_path, "one"))
    one.stop()
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_stop_ends_a_child_that_ignores_the_polite_signal(tmp_path: Path, ending: list[ChildProcess]) -> None:
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
    )
    one = child(tmp_path, "deaf", code, grace_s=0.3)
    ending.append(one)
    one.start()
    wait_until(question=lambda: "deaf" in log_of(tmp_path, "deaf"))
    one.stop()
    assert not one.running()


def test_a_leftover_of_a_killed_supervisor_is_ended_but_no_stranger(tmp_path: Path, ending: list[ChildProcess]) -> None:
    first = child(tmp_path, "one", SLEEP)
    ending.append(first)
    first.start()
    left = first.pid
    second = child(tmp_path, "one", SLEEP)
    ending.append(second)
    second.start()
    assert left is not None
    wait_until(question=lambda: not first.running())
    # The same pid with another start time is somebody else: here, this test itself.
    note = tmp_path / "run" / "one.process"
    note.write_text(f'{{"pid": {os.getpid()}, "created": 1.0, "grace_s": 1.0}}')
    third = child(tmp_path, "one", "pass")
    ending.append(third)
    third.start()
    assert psutil.pid_exists(os.getpid())
    second.stop()


def test_helpers_of_a_leader_that_was_killed_are_ended_before_the_next_start(
    tmp_path: Path, ending: list[ChildProcess]
) -> None:
    """They have no parent of ours any more and call themselves what they like; their session tells whose they are."""
    one = child(tmp_path, "one", WITH_HELPER)
    ending.append(one)
    one.start()
    wait_until(question=lambda: log_of(tmp_path, "one").strip())
    helper = psutil.Process(int(log_of(tmp_path, "one")))
    assert one.pid is not None
    os.kill(one.pid, signal.SIGKILL)
    wait_until(question=lambda: not one.running())
    assert helper.is_running()
    assert end_leftovers(tmp_path) == ["one"]
    wait_until(question=lambda: not helper.is_running())
    assert end_leftovers(tmp_path) == []


def test_a_note_from_before_the_machine_was_started_is_about_nobody(tmp_path: Path, ending: list[ChildProcess]) -> None:
    one = child(tmp_path, "one", SLEEP)
    ending.append(one)
    one.start()
    note = tmp_path / "run" / "one.process"
    note.write_text(json.dumps({"pid": one.pid, "created": psutil.boot_time() - 3600, "grace_s": 1.0}))
    assert end_leftovers(tmp_path) == []
    assert one.running()


def test_what_dies_is_started_again_and_told(tmp_path: Path, ending: list[ChildProcess]) -> None:
    one = child(tmp_path, "one", SLEEP)
    ending.append(one)
    said: list[str] = []
    supervisor = Supervisor([ProcessPart(one, ready=lambda: True)], say=said.append)
    stopping = threading.Event()
    supervisor.start(stopping)
    watcher = threading.Thread(target=supervisor.watch, args=(stopping,))
    watcher.start()
    try:
        first = one.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(question=lambda: one.pid not in (None, first) and one.running())
        wait_until(question=lambda: any("is back" in line for line in said))
        assert any("has stopped" in line for line in said)
    finally:
        stopping.set()
        watcher.join()
        supervisor.stop()
    assert not one.running()


def test_a_part_that_dies_at_once_is_told_with_its_last_words(tmp_path: Path, ending: list[ChildProcess]) -> None:
    one = child(tmp_path, "one", "raise SystemExit('no such song')")
    ending.append(one)
    supervisor = Supervisor([ProcessPart(one, ready=lambda: False)], say=lambda _: None)
    with pytest.raises(PartNotReady, match="no such song"):
        supervisor.start(threading.Event())


def test_a_part_that_never_gets_ready_is_told(tmp_path: Path, ending: list[ChildProcess]) -> None:
    one = child(tmp_path, "one", SLEEP)
    ending.append(one)
    supervisor = Supervisor([ProcessPart(one, ready=lambda: False)], say=lambda _: None, ready_timeout_s=0.5)
    with pytest.raises(PartNotReady, match="did not get ready"):
        supervisor.start(threading.Event())


def test_a_taken_port_is_told_and_the_next_free_one_used(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not port_is_free(port)
        settings = Settings(var=tmp_path, web={"port": port})  # type: ignore[arg-type]
        said: list[str] = []
        used = with_free_ports(settings, say=said.append)
    assert used.web.port > port
    assert any(str(port) in line and str(used.web.port) in line for line in said)


def test_no_two_parts_get_the_same_port(tmp_path: Path) -> None:
    settings = Settings(var=tmp_path, web={"port": 28_611}, serve={"http_port": 28_611})  # type: ignore[arg-type]
    used = with_free_ports(settings, say=lambda _: None)
    serve = used.serve
    ports = [used.web.port, used.database.port, serve.http_port, serve.gcs_port, serve.dashboard_port, serve.agent_port]
    assert len(set(ports)) == len(ports)


def test_no_free_port_is_a_sentence() -> None:
    assert "MELODEON_WEB__PORT" in NoFreePort("MELODEON_WEB__PORT", 8600).sentence


def test_ray_gets_a_short_folder_whatever_the_path(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 80)
    assert len(str(ray_folder(deep))) < 60
    assert ray_folder(Path("/srv/melodeon")) == Path("/srv/melodeon/ray/temp")


def test_a_start_can_be_broken_off(tmp_path: Path, ending: list[ChildProcess]) -> None:
    one = child(tmp_path, "one", SLEEP)
    ending.append(one)
    supervisor = Supervisor([ProcessPart(one, ready=lambda: False)], say=lambda _: None)
    stopping = threading.Event()
    threading.Timer(0.5, stopping.set).start()
    supervisor.start(stopping)
    supervisor.stop()
    assert not one.running()


def test_folders_that_only_we_may_enter_are_closed_and_strangers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    assert stat.S_IMODE(private_folder(folder).stat().st_mode) == 0o700
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderNotOurs):
        private_folder(tmp_path / "link")
