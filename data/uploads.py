"""The one gate for files from people: whatever comes in here leaves as a file that we wrote, or not at all.

This process looks at the first bytes and no further. A child without network, without files and with little memory and
time does the decoding (`data.upload_child`), and what it answers is written anew: samples as a plain WAV, pixels as a
plain WebP, both without a word of metadata. The name and the media type that came with a file are never used.
"""

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from data import audio_files
from data.upload_limits import LIFE_S, Limits
from studio.errors import MelodeonError

SOUND_BYTES_MAX: Final = 50_000_000
PICTURE_BYTES_MAX: Final = 20_000_000
RATES_HZ: Final = (8_000, 96_000)
"""Lowest and highest sample rate that is taken."""
_FRAME_BYTES: Final = 2 * 4
_REPORT_BYTES: Final = 4_096
_HEAD_BYTES: Final = 64


class BadUpload(MelodeonError):
    """A file that somebody sent is not one that is taken here."""

    code = "bad_upload"

    def __init__(self, why: str) -> None:
        super().__init__(f"This file cannot be used: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSound:
    """A sound that somebody sent, written anew.

    Attributes:
        path: a WAV of 32-bit floats, full scale ±1, one or two channels, every sample finite.
        form: what it came as: ``wav``, ``flac``, ``ogg`` or ``mp3``.
        rate_hz: 8,000 … 96,000.
    """

    path: Path
    form: str
    duration_s: float
    rate_hz: int
    channels: int


def checked_sound(
    source: Path | bytes, *, into: Path, most_s: float, most_bytes: int = SOUND_BYTES_MAX
) -> CheckedSound:
    """Read a WAV, FLAC, OGG (Vorbis, Opus, FLAC) or MP3 that somebody sent and write it anew into the folder ``into``.

    Args:
        source: its bytes, or a file that holds them; a link is not followed.
        most_s: a longer sound is refused, whatever its header says.

    Raises:
        BadUpload: it is none of these, damaged, empty, too long or too large, has more than two channels, an odd rate
            or samples that are no numbers; or reading it takes more than 20 s or 512 MB.
    """
    with _opened(source, most_bytes) as file, tempfile.TemporaryDirectory(prefix="melodeon-upload-") as folder:
        form = _sound_form(file)
        frames_bytes = int(most_s * RATES_HZ[1]) * _FRAME_BYTES
        limits = Limits(form=form, most_s=most_s, rates_hz=RATES_HZ, out_bytes=frames_bytes)
        raw = Path(folder) / "samples"
        report = _decode(file, raw, limits)
        rate_hz, channels = int(report["rate_hz"]), int(report["channels"])
        path = into / f"sound_{uuid.uuid4().hex}.wav"
        frames = audio_files.write_float_wav(raw, path, rate_hz=rate_hz, channels=channels)
    return CheckedSound(path=path, form=form, duration_s=frames / rate_hz, rate_hz=rate_hz, channels=channels)


def checked_picture(
    content: bytes, *, most_pixels: int = 16_000_000, side_px: int = 2_048, most_bytes: int = PICTURE_BYTES_MAX
) -> bytes:
    """Read a PNG, JPEG or WebP that somebody sent and answer its first frame as a WebP without metadata.

    Args:
        side_px: a larger picture is made smaller, to so many pixels along its longer side.

    Raises:
        BadUpload: it is none of these, damaged, too large or has more than ``most_pixels`` pixels; or reading it takes
            more than 20 s or 512 MB.
    """
    with _opened(content, most_bytes) as file, tempfile.TemporaryDirectory(prefix="melodeon-upload-") as folder:
        form = _picture_form(file)
        limits = Limits(form=form, most_pixels=most_pixels, side_px=side_px, out_bytes=PICTURE_BYTES_MAX)
        painted = Path(folder) / "picture"
        _decode(file, painted, limits)
        return painted.read_bytes()


@contextmanager
def _opened(source: Path | bytes, most_bytes: int) -> Iterator[BinaryIO]:
    """The file at its beginning: a plain one, not empty, not too large."""
    if isinstance(source, bytes):
        # Without buffers everywhere: the child shares the descriptor and goes on from where that stands.
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(source[: most_bytes + 1])
            yield _sized(file, most_bytes)
        return
    try:
        # Not blocking: a pipe would wait for its writer for ever.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise BadUpload("it is no plain file.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadUpload("it is no plain file.")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield _sized(file, most_bytes)


def _sized(file: Any, most_bytes: int) -> BinaryIO:
    size_bytes = os.fstat(file.fileno()).st_size
    if not size_bytes:
        raise BadUpload("it is empty.")
    if size_bytes > most_bytes:
        raise BadUpload(f"it has more than {most_bytes // 1_000_000} MB.")
    opened: BinaryIO = file
    return opened


_MP3_FRAME: Final = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]", re.DOTALL)
"""Sync word, MPEG-1, -2 or -2.5 layer III, a bit rate that is neither free nor forbidden (ISO 11172-3, 2.4.2.3)."""


def _sound_form(file: BinaryIO) -> str:
    """Which of the four it is by its first bytes; names and media types prove nothing."""
    head = _head(file, 0)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS" and head[28:].startswith((b"\x01vorbis", b"OpusHead", b"\x7fFLAC")):
        return "ogg"
    if _MP3_FRAME.match(_head(file, _after_id3(head))):
        return "mp3"
    raise BadUpload("it is no sound that is read here. Send a WAV, FLAC, OGG or MP3 file.")


def _after_id3(head: bytes) -> int:
    """Where an MP3 begins behind its ID3v2 tag (id3.org, ID3v2.4.0, 3.1): its size in four bytes of seven bits."""
    if head[:3] != b"ID3":
        return 0
    a, b, c, d = head[6:10].ljust(4, b"\0")
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)


def _picture_form(file: BinaryIO) -> str:
    head = _head(file, 0)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    raise BadUpload("it is no picture that is read here. Send a PNG, JPEG or WebP file.")


def _head(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(_HEAD_BYTES)


def _decode(file: BinaryIO, out: Path, limits: Limits) -> dict[str, Any]:
    """Have the child read ``file`` and fill ``out``; what it says about it.

    Raises:
        BadUpload: the child refuses it, or did not live to say so.
    """
    file.seek(0)
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as answer:
        try:
            with out.open("xb") as filled:
                ended = _child_ended(file, filled, write_end, limits)
        finally:
            os.close(write_end)
        report = _report(answer.read(_REPORT_BYTES)) if ended == 0 else {}
    if not report:
        raise BadUpload("reading it takes more time or memory than a file like this should.")
    if "refused" in report:
        raise BadUpload(str(report["refused"]))
    return report


def _child_ended(file: BinaryIO, filled: BinaryIO, write_end: int, limits: Limits) -> int | None:
    """Exit status of the child; None: it had to be ended."""
    command = [sys.executable, "-I", "-m", "data.upload_child", str(write_end), limits.to_json()]
    quiet = subprocess.DEVNULL
    environment = {"OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    try:
        ended = subprocess.run(
            command,
            stdin=file,
            stdout=filled,
            stderr=quiet,
            pass_fds=(write_end,),
            env=environment,
            cwd="/",
            timeout=LIFE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.returncode


def _report(text: bytes) -> dict[str, Any]:
    try:
        report = json.loads(text)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
