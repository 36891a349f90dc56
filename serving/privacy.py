"""What is a person's own: everything of it in one archive for them, and everything of it gone when they leave.

The archive is made while it is read: no more than a block of it is in memory, whatever somebody owns. What the tables
say is one picture of one moment, saved aside first; then the files follow from the object store.
"""

import io
import mimetypes
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import structlog

from billing import ledger
from data.database import Session
from data.object_store import NoObject
from data.repositories import accounts, audit, lanes, personal
from data.repositories import jobs as job_rows
from data.repositories.personal import OwnFile
from data.roles import read_books_of
from data.scratch import scratch_folder
from serving import job_ends
from serving.api.services import Services
from studio.words.account import Account
from studio.words.ids import AccountId, SongId
from studio.words.job import JobState

_JOBS_MAX: Final = 1_000_000
_ENDINGS: Final = {"audio/wav": ".wav", "audio/mpeg": ".mp3", "application/json": ".json"}
_READ_ME: Final = """This archive holds everything that this installation of Melodeon keeps of the account {name}.

tables/    what stands in the database, one table a file, one JSON object a line; times are UTC
songs/     the files of your songs: WAV, MP3, cover, waveform, and the lyrics as text
account/   your picture
credits.csv    every movement of your credits

Left out, because they would open doors and tell nothing: the hash of your password, of your sessions and of your keys.
Made {now:%d %B %Y, %H:%M} UTC.
"""

log = structlog.get_logger(__name__)


def export(services: Services, account: Account) -> Iterator[bytes]:
    """Everything of the account as a zip archive, in blocks.

    A file that vanishes meanwhile (its song was deleted a moment ago) is left out.
    """
    with scratch_folder(services.settings.var / "scratch") as folder:
        files = _save_aside(services, account, folder)
        pipe = _Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", _READ_ME.format(name=account.name, now=services.now()))
            for path in sorted(folder.rglob("*.*")):
                with path.open("rb") as content:
                    name = path.relative_to(folder).as_posix()
                    yield from _entry(archive, pipe, name, iter(lambda: content.read(1 << 16), b""))
            for file in files:
                try:
                    content_of = services.store.get(file.key)
                except NoObject:
                    continue
                # Sound and pictures are packed already.
                yield from _entry(archive, pipe, _name_of(file), content_of, packed=True)
        yield pipe.take()


def delete(services: Services, account: Account) -> None:
    """Take the account and everything of it away, for ever and at once.

    Whoever calls has made sure that the person means it. The payment service forgets them first, which ends their
    subscription: should that fail, nothing is deleted, and nobody goes on paying for nothing. Then, in one transaction:
    Jobs end and give their credits back, sessions end, texts are wiped, stored objects are released (the worker deletes
    them within minutes). The books keep their rows under the account's id.

    Raises:
        LastAdmin: nobody else administrates the place.
        PaymentsUnreachable, PaymentsRefused: the subscription could not be ended.
    """
    with services.database.transaction() as session:
        accounts.refuse_last_admin(session, account.id)
    if services.payments is not None:
        services.payments.forget(account)
    with services.database.transaction() as session:
        # First of all: whoever gives roles meanwhile takes the same lock before the account's row.
        accounts.refuse_last_admin(session, account.id)
        lanes.lock(session, account.id)
        if not personal.lock(session, account.id):
            return
        _end_jobs(session, account.id, now=services.now())
        personal.erase(session, account.id)
        audit.note(session, account.id, "account_deleted", account.id)
    log.info("account deleted", account_id=account.id)


class _Pipe(io.RawIOBase):
    """Takes what the archive writes and gives it away; it cannot be sought, so the archive never looks back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """As it says."""
        return True

    def write(self, block: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override] # a narrower buffer
        """Keep a block until it is taken."""
        self._parts.append(bytes(block))
        return len(block)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _entry(
    archive: zipfile.ZipFile, pipe: _Pipe, name: str, content: Iterator[bytes], *, packed: bool = False
) -> Iterator[bytes]:
    """One file of the archive, its bytes as they become ready."""
    about = zipfile.ZipInfo(name)
    about.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    about.external_attr = 0o600 << 16
    with archive.open(about, "w", force_zip64=True) as entry:
        for block in content:
            entry.write(block)
            yield pipe.take()


def _save_aside(services: Services, account: Account, folder: Path) -> tuple[OwnFile, ...]:
    """Write down what the tables say, all as of one moment; answers the stored objects that belong to it."""
    with services.database.transaction() as session:
        personal.one_moment(session)
        read_books_of(session, account.id)
        for table in personal.tables():
            _write_lines(folder / "tables" / f"{table}.jsonl", personal.rows(session, table, account.id))
        for song_id, title, words in personal.lyrics(session, account.id):
            _write_lines(folder / "songs" / _folder_of(song_id, title) / "lyrics.txt", iter((words,)))
        _write_lines(folder / "credits.csv", ledger.statement_csv(session, account.id), end="")
        return personal.files(session, account.id)


def _write_lines(path: Path, lines: Iterator[str], *, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        _write_all(file, lines, end)


def _write_all(file: IO[str], lines: Iterator[str], end: str) -> None:
    for line in lines:
        file.write(line + end)


def _folder_of(song_id: SongId, title: str) -> str:
    """A folder name that a person recognises; only letters, digits and dashes of the title, so it leads nowhere."""
    words = re.sub(r"[^\w]+", "-", title)[:60].strip("-_")
    return f"{words or 'song'}-{song_id[-8:]}"


def _name_of(file: OwnFile) -> str:
    ending = _ENDINGS.get(file.media_type) or mimetypes.guess_extension(file.media_type) or ""
    if file.song_id is None or file.role is None:
        return f"account/picture{ending}"
    return f"songs/{_folder_of(file.song_id, file.title)}/{file.role.value}{ending}"


def _end_jobs(session: Session, account_id: AccountId, *, now: datetime) -> None:
    """Every Job under way ends as cancelled and its hold is released. A worker at one of them is told and fenced."""
    lanes.lock(session, account_id)  # again: the account's first request may just have made it
    for job in job_rows.active(session, account_id, most=_JOBS_MAX):
        standing = job_rows.lock(session, job.id)
        if standing is None:
            continue
        if standing.state is JobState.PROCESSING:
            job_rows.ask_to_cancel(session, job.id)
        job_ends.end_cancelled(session, standing, now=now)
