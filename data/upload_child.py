"""The child that reads a file of somebody else: ``python -m data.upload_child REPORT_FD LIMITS``.

It reads descriptor 0, writes samples or a picture to descriptor 1 and one line of JSON to the report. Before the first
byte is read it gives up everything else: no descriptor can be opened any more, so no file and no socket; there is no
network around it where the kernel allows that (a namespace of its own); it is nobody where it was root; its memory,
time and output are bounded. A decoder that is taken over finds nothing to take.
"""

import ctypes
import json
import os
import resource
import sys
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import numpy as np

from data import audio_files, picture_files
from data.upload_limits import CPU_S, MEMORY_BYTES, Limits

_REPORT: Final = 3
_NOBODY: Final = 65_534
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_NO_NEW_PRIVILEGES: Final = 38
_SOUNDS: Final = ("wav", "flac", "ogg", "mp3")
_DAMAGED: Final = "it is damaged, or not what its first bytes say."


def _give_up_everything(report: int, limits: Limits) -> None:
    os.dup2(report, _REPORT)
    os.closerange(_REPORT + 1, 4_096)
    libc = ctypes.CDLL(None)
    # As root the namespace needs no other user; for anybody else the kernel may allow both together.
    if libc.unshare(_NEW_NETWORK) != 0:
        libc.unshare(_NEW_NETWORK | _NEW_USER)
    if os.getuid() == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, limits.out_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # Whatever has a number below this is open already, so nothing can be opened: no file, no socket.
        (resource.RLIMIT_NOFILE, _REPORT + 1),
    ):
        resource.setrlimit(kind, (most, most))


def _read_sound(limits: Limits) -> dict[str, Any]:
    frames = 0
    with audio_files.reading_as(0, limits.form) as (rate_hz, channels, blocks):
        low, high = limits.rates_hz
        if channels not in (1, 2):
            return {"refused": f"it has {channels} channels. Send one or two."}
        if not low <= rate_hz <= high:
            return {"refused": f"its rate is {rate_hz:,} Hz; {low:,} to {high:,} Hz are read here."}
        for block in blocks:
            frames += len(block)
            if frames > limits.most_s * rate_hz:
                return {"refused": f"it is longer than {limits.most_s:g} seconds."}
            if not np.isfinite(block).all():
                return {"refused": "it has samples that are no numbers."}
            _write(block.tobytes())
    if frames == 0:
        return {"refused": "there is no sound in it."}
    return {"rate_hz": rate_hz, "channels": channels}


def _read_picture(limits: Limits) -> dict[str, Any]:
    with os.fdopen(0, "rb", closefd=False) as file:
        content = file.read()
    picture = picture_files.cleaned(
        BytesIO(content), limits.form, most_pixels=limits.most_pixels, side_px=limits.side_px
    )
    if picture is None:
        return {"refused": f"it has more than {limits.most_pixels // 1_000_000} million pixels."}
    _write(picture)
    return {"written": len(picture)}


def _write(content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(1, rest) :]


def main() -> None:
    """Read one file, say what it was, end."""
    report, limits = int(sys.argv[1]), Limits.of_json(sys.argv[2])
    if limits.form not in _SOUNDS:
        picture_files.load_decoders()
    _give_up_everything(report, limits)
    try:
        told = _read_sound(limits) if limits.form in _SOUNDS else _read_picture(limits)
    except MemoryError:
        told = {"refused": "reading it takes more memory than a file like this should."}
    except Exception:  # noqa: BLE001 - whatever a decoder trips over, the answer is the same
        told = {"refused": _DAMAGED}
    os.write(_REPORT, json.dumps(told).encode())


if __name__ == "__main__":
    main()
