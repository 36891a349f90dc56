"""Looking at a stranger's file for a mark, in a child whose memory and time are bounded.

The reader of marks is native code, and the file comes from anywhere: whatever it does to its reader, it does to nobody
else. ``python -m data.mark_examination PATH`` is the child; our own signers come to it on its standard input.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from data.marks import NotExaminable, examine
from studio.words.mark import Mark, MarkState

MEMORY_BYTES: Final = 1 << 30
CPU_S: Final = 60
LIFE_S: Final = 600.0
"""A file of the largest size is read and hashed in far less; a slow disk gets its time."""


def examine_apart(path: Path, *, ours: Mapping[str, str], life_s: float = LIFE_S) -> Mark:
    """What `data.marks.examine` says of the file.

    Raises:
        NotExaminable: as there; and when reading it takes too much time or memory.
    """
    command = [sys.executable, "-I", "-m", "data.mark_examination", str(path.absolute())]
    try:
        ended = subprocess.run(
            command, input=json.dumps(dict(ours)).encode(), capture_output=True, timeout=life_s, check=False
        )
        told: dict[str, Any] = json.loads(ended.stdout) if ended.returncode == 0 else {}
    except (subprocess.TimeoutExpired, ValueError):
        told = {}
    if "refused" in told:
        raise NotExaminable(path.name, told["refused"])
    if not told:
        raise NotExaminable(path.name, "reading it takes more time or memory than a file like this should.")
    return Mark(**told | {"state": MarkState(told["state"])})


def main() -> None:
    """Examine one file, say what it is, end."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    try:
        told = asdict(examine(Path(sys.argv[1]), ours=json.loads(sys.stdin.read())))
    except NotExaminable as error:
        told = {"refused": error.why}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
