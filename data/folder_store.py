"""The object store that needs nothing outside: a folder.

The object ``songs/a/1.wav`` is the file of that name, as it is, and beside it lies ``1.wav@about`` with its hash and
media type. A plain copy of the folder is a backup. The note is only a memory of what the file itself says: where it is
missing (a crash between two renames, a file put there by hand) both are found out from the file again, so the note is
removed before the file changes and is never wrong.
"""

import errno
import fcntl
import hashlib
import json
import mimetypes
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from data.object_links import LINK_PATH, SignedLink, make_token, read_token
from data.object_rules import (
    BLOCK_BYTES,
    BadKey,
    NoObject,
    StoreUnavailable,
    blocks_of,
    check_key,
    check_prefix,
    resolve_range,
)
from studio.words.asset import Asset

_NOTE: Final = "@about"
_INCOMING: Final = ".incoming"
_STALE_S: Final = 86_400.0
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def _outages() -> Iterator[None]:
    """Errors of the disk become a sentence; that something is missing stays for the caller to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StoreUnavailable("its disk is full; free some space or give it a larger one.") from error
        raise StoreUnavailable(f"its folder cannot be used ({error.strerror}).") from error


def _clear_away(*paths: Path) -> None:
    """Remove what was written aside. On a store that fails this fails too, and must not hide the first error."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


class FolderStore:
    """Objects as files under ``folder``. Several processes may share it; a crash leaves no half object.

    Args:
        folder: made if need be.
        link_key: the secret that signs links.
        clock: Unix time in seconds, for the age of links.
    """

    def __init__(self, folder: Path, link_key: str, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder.absolute()
        self._incoming = self._folder / _INCOMING
        self._link_key = link_key
        self._clock = clock
        with _outages():
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()

    def put(self, key: str, content: BinaryIO | bytes | Path, *, media_type: str) -> Asset:
        """Store ``content``; it is on the disk when this returns. What stood under the key is replaced at once."""
        path = self._path(key)
        aside = self._incoming / uuid.uuid4().hex
        note = aside.with_name(aside.name + _NOTE)
        try:
            sha256, size_bytes = self._write_aside(aside, content)
            asset = Asset(key=key, sha256=sha256, media_type=media_type, size_bytes=size_bytes)
            self._write_aside(note, _note_of(asset))
            with _outages(), self._lock():
                self._move_in(aside, note, path)
        finally:
            _clear_away(aside, note)
        return asset

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes ``start`` … ``end`` (inclusive) in blocks; see `resolve_range`.

        Raises:
            NoObject, BadRange: at once, before the first block.
        """
        path = self._path(key)
        first, count = resolve_range(key, self._size(key, path), start, end)
        return _read(key, path, first, count)

    def head(self, key: str) -> Asset | None:
        """What is stored under the key, or None."""
        path = self._path(key)
        try:
            size_bytes = self._size(key, path)
            with _outages():
                note = json.loads(_note_beside(path).read_bytes())
            if note["size_bytes"] == size_bytes:
                return Asset(key=key, **note)
        except NoObject:
            return None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass
        return self._examine(key, path)

    def delete(self, key: str) -> None:
        """Remove the object; absent is fine."""
        path = self._path(key)
        with _outages(), self._lock():
            # A folder of this name holds other keys and stays.
            if path.is_file():
                _note_beside(path).unlink(missing_ok=True)
                path.unlink()
                self._prune(path.parent)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with ``prefix``, in the order of their bytes."""
        check_prefix(prefix)
        top, _, _ = prefix.rpartition("/")
        yield from self._walk(self._folder / top, f"{top}/" if top else "", prefix)

    def sign(self, key: str, *, life_s: int, download_name: str | None = None) -> str:
        """A path of our own HTTP door that lets its bearer read the object for ``life_s`` seconds."""
        link = SignedLink(key=key, download_name=download_name)
        return LINK_PATH + make_token(self._link_key, link, expires_s=int(self._clock()) + life_s)

    def verify_link(self, token: str) -> SignedLink:
        """What the last part of a signed path allows; raises `BadLink`."""
        return read_token(self._link_key, token, now_s=self._clock())

    def ping(self) -> None:
        """Raise `StoreUnavailable` unless something can be written."""
        probe = self._incoming / uuid.uuid4().hex
        try:
            self._write_aside(probe, b"ping")
        finally:
            _clear_away(probe)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._folder / key

    def _size(self, key: str, path: Path) -> int:
        try:
            with _outages():
                if path.is_file():
                    return path.stat().st_size
        except FileNotFoundError:
            pass
        raise NoObject(key)

    def _write_aside(self, aside: Path, content: BinaryIO | bytes | Path) -> tuple[str, int]:
        digest = hashlib.sha256()
        size_bytes = 0
        with _outages():
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        with file:
            # Only the writing is guarded: trouble with the content is its giver's, not the store's.
            for block in blocks_of(content):
                digest.update(block)
                size_bytes += len(block)
                with _outages():
                    _write_all(file, block)
            with _outages():
                os.fsync(file.fileno())
        return digest.hexdigest(), size_bytes

    def _move_in(self, aside: Path, note: Path, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.is_dir():
                raise BadKey(path.relative_to(self._folder).as_posix())
        except (FileExistsError, NotADirectoryError):
            raise BadKey(path.relative_to(self._folder).as_posix()) from None
        _note_beside(path).unlink(missing_ok=True)
        aside.replace(path)
        note.replace(_note_beside(path))
        _sync_folder(path.parent)

    def _examine(self, key: str, path: Path) -> Asset | None:
        digest = hashlib.sha256()
        size_bytes = 0
        try:
            with _outages():
                for block in blocks_of(path):
                    digest.update(block)
                    size_bytes += len(block)
        except FileNotFoundError:
            return None
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Asset(key=key, sha256=digest.hexdigest(), media_type=media_type, size_bytes=size_bytes)

    def _walk(self, folder: Path, before: str, prefix: str) -> Iterator[str]:
        if not folder.is_dir():
            return
        try:
            with _outages(), os.scandir(folder) as entries:
                # Sorting a folder by its name with "/" gives the order of whole keys.
                names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
        except FileNotFoundError:
            return
        for name in names:
            key = before + name
            if name.startswith(".") or name.endswith(_NOTE):
                continue
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / name, key, prefix)
            elif key.startswith(prefix):
                yield key

    def _prune(self, folder: Path) -> None:
        while folder != self._folder:
            try:
                folder.rmdir()
            except OSError:
                return  # it is not empty
            folder = folder.parent

    def _sweep(self) -> None:
        """Remove what puts left behind that were killed long ago."""
        for path in self._incoming.iterdir():
            try:
                if path.name != "lock" and self._clock() - path.stat().st_mtime > _STALE_S:
                    path.unlink()
            except FileNotFoundError:
                continue

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Held for a few renames, so that a file and its note change together and no folder vanishes meanwhile."""
        descriptor = os.open(self._incoming / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _note_beside(path: Path) -> Path:
    return path.with_name(path.name + _NOTE)


def _note_of(asset: Asset) -> bytes:
    note = {"sha256": asset.sha256, "media_type": asset.media_type, "size_bytes": asset.size_bytes}
    return json.dumps(note).encode()


def _write_all(file: BinaryIO, block: bytes) -> None:
    """An unbuffered file may take a part and say so."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _read(key: str, path: Path, first: int, count: int) -> Iterator[bytes]:
    try:
        with _outages(), path.open("rb") as file:
            file.seek(first)
            while count and (block := file.read(min(BLOCK_BYTES, count))):
                count -= len(block)
                yield block
    except FileNotFoundError:
        raise NoObject(key) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
