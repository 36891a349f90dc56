"""Folders for files under way. Whatever ends a process, its folders are found and taken away at the next start.

A folder is somebody's for as long as a process holds its lock (``flock`` on the folder itself); the system gives the
lock back however the process ends, also by SIGKILL.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HELD: Final = "held-"
_OTHERS_LIFE_S: Final = 86_400.0
"""From which age a folder without a lock, made by another program or an older Melodeon, is nobody's."""


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent`` (made when missing, for the owner only) that is gone after the block."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _open(parent) as gate:
        # No sweep looks between the making of a folder and its lock.
        fcntl.flock(gate, fcntl.LOCK_SH)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=_HELD))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def sweep(parent: Path) -> int:
    """Delete the folders that processes which died have left behind; answers how many.

    Folders in use stay, whichever process uses them.
    """
    if not parent.is_dir():
        return 0
    with _open(parent) as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        left = [folder for folder in parent.iterdir() if not folder.is_symlink() and _is_left(folder)]
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def _is_left(folder: Path) -> bool:
    try:
        if not folder.name.startswith(_HELD):
            return time.time() - folder.stat().st_mtime > _OTHERS_LIFE_S
        with _open(folder) as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        # in use, or gone meanwhile
        return False


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
