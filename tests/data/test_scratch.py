"""Folders for files under way: gone after their block, gone after a kill, never taken from whoever still uses them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from data.scratch import scratch_folder, sweep

HOLD = """
import sys, time
from pathlib import Path
from data.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "half.csv").write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


def holder(parent: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_folder_is_empty_the_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "scratch") as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_process_leaves_is_swept_and_what_a_living_one_uses_stays(tmp_path: Path) -> None:
    killed, alive = holder(tmp_path), holder(tmp_path)
    try:
        with scratch_folder(tmp_path) as ours:
            assert sweep(tmp_path) == 0
            os.kill(killed.pid, signal.SIGKILL)
            killed.wait()
            assert len(list(tmp_path.iterdir())) == 3
            assert sweep(tmp_path) == 1
            assert ours.is_dir()
        assert [(folder / "half.csv").read_text() for folder in tmp_path.iterdir()] == ["half"]
    finally:
        alive.kill()
        alive.wait()
        for process in (killed, alive):
            assert process.stdout is not None
            process.stdout.close()
    assert sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_folders_of_other_kinds_go_when_they_are_old_and_links_lead_nowhere(tmp_path: Path) -> None:
    parent, outside = tmp_path / "scratch", tmp_path / "precious"
    for folder in (outside, parent / "tmp_young", parent / "tmp_old"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    (parent / "held-link").symlink_to(outside)
    yesterday = time.time() - 90_000
    os.utime(parent / "tmp_old", (yesterday, yesterday))
    assert sweep(parent) == 1
    assert {path.name for path in parent.iterdir()} == {"tmp_young", "held-link"}
    assert (outside / "file").exists()


def test_where_there_is_no_folder_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nothing") == 0
