"""A backup that is kept up while the product runs: a lost machine costs the last minute, not the last day.

    FOLDER/chains/20261120T165500Z/
        base/           the cluster's files when the chain began (pg_basebackup)
        wal/            the write-ahead log since then (pg_receivewal); the newest file ends in .partial
        chain.json      of which cluster, and which program made it
        marks.jsonl     one line a moment that can be come back to
        objects.jsonl   one line an object that was needed at some of them: key, SHA-256, media type, size
    FOLDER/objects/KEY  the objects of all chains
    FOLDER/secrets/NAME what opens the installation; keep the folder as safe as the machine itself

A *mark* is a named point of the log together with every object that the database needed then. The point is set first,
then the objects are copied, then the log up to the point, and the line of the mark is written last: whatever breaks
off in between, a mark that is there can be come back to. Meanwhile no object is deleted.

A new chain begins once a day, and when the log cannot be followed any more: the server has removed what was not fetched
in time, or it is another cluster. Two chains are kept, so that there is one while the next one begins.

This is for the embedded Postgres: a cluster's files can be read by the same major version alone. Another Postgres is
archived by its own tools; `data.backup` works with any.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
import structlog

from data.backup import BackupFailed, NoBackup, copy_object, nothing_deleted, run_program, sha256_of
from data.object_rules import check_key
from data.object_store import ObjectStore
from studio.errors import MelodeonError
from studio.words.asset import Asset

T = TypeVar("T")

_log = structlog.get_logger(__name__)

FORM: Final = 1
"""Of the folder. A program reads its own form and older ones."""
KEPT_CHAINS: Final = 2
RENEWED_AFTER: Final = timedelta(days=1)
_REMOVED: Final = "has already been removed"
_CLUSTER: Final = (
    "SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"
)
_SET_POINT: Final = "SELECT pg_create_restore_point(%s)::text"
_PUSH: Final = "SELECT pg_logical_emit_message(false, 'melodeon', '', true)"
"""Something behind the point, on the disk at once: the log is sent no further than it is flushed."""
_NEEDED: Final = (
    "SELECT key, sha256, media_type, size_bytes, released_at IS NULL FROM asset"
    " WHERE released_at IS NULL OR released_at >= %s::timestamptz - interval '2 minutes' ORDER BY key"
)
"""What is released after the point was needed at it; the time of a release is that of its transaction's beginning, and
no transaction of the product lasts two minutes."""
_NOW: Final = "SELECT statement_timestamp(), (SELECT coalesce(max(id), '') FROM transfer)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a chain is of: the cluster and its time line, when it began (ISO 8601), and which program made it."""

    form: int
    cluster: str
    timeline: str
    began_at: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment that can be come back to.

    Attributes:
        name: of the point in the log.
        lsn: where it is.
        taken_at: ISO 8601, UTC, by the server's clock; everything committed before is in it.
        transfer: the newest movement of credits, by its id; empty when there is none.
        objects: how many objects the database needed.
        missing: how many of them the store did not hold.
    """

    name: str
    lsn: str
    taken_at: str
    transfer: str
    objects: int
    missing: int


class Chain:
    """A base and the log since then."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Chain({self.path.name!r})"

    @property
    def marks(self) -> list[Mark]:
        """Its moments, oldest first. Raises `NoBackup` when a line of them is damaged."""
        return _read_lines(self.path / "marks.jsonl", Mark)

    @property
    def objects(self) -> dict[str, Asset]:
        """The objects that some of its moments need, by key. Raises `NoBackup` when a line of them is damaged."""
        return {asset.key: asset for asset in _read_lines(self.path / "objects.jsonl", _asset)}

    @property
    def origin(self) -> Origin:
        """Of which cluster it is. Raises `NoBackup`."""
        try:
            origin = Origin(**json.loads((self.path / "chain.json").read_text("utf-8")))
            datetime.fromisoformat(origin.began_at)
        except (OSError, ValueError, TypeError) as error:
            raise NoBackup(self.path, f"its chain.json cannot be read ({type(error).__name__}).") from error
        if origin.form > FORM:
            raise NoBackup(self.path, "a newer version of Melodeon made it. Install that version first.")
        return origin

    def is_readable(self, *, with_objects: bool) -> bool:
        """Whether its lists can be read, that of the objects, which may be long, only if asked for."""
        try:
            _ = (self.origin, self.marks, self.objects if with_objects else None)
        except NoBackup as error:
            _log.warning("a chain of the backup is damaged", chain=self.path.name, why=error.sentence)
            return False
        return True


def chains_of(folder: Path) -> list[Chain]:
    """The chains of a backup that is kept up, oldest first; none when the folder is something else."""
    return [Chain(path.parent) for path in sorted(folder.glob("chains/*/chain.json")) if not path.parent.suffix]


def check_base(chain: Chain) -> None:
    """Compare every file of the base with its SHA-256. Raises `NoBackup` naming the first broken one."""
    try:
        manifest = json.loads((chain.path / "base" / "backup_manifest").read_text("utf-8"))
        files = {str(file["Path"]): str(file["Checksum"]) for file in manifest["Files"]}
    except (OSError, ValueError, KeyError) as error:
        raise NoBackup(chain.path, f"base/backup_manifest cannot be read ({type(error).__name__}).") from error
    for name, sha256 in files.items():
        path = chain.path / "base" / name
        if not path.is_file() or sha256_of(path) != sha256:
            raise NoBackup(chain.path, f"base/{name} is missing or damaged.")


class RunningBackup:
    """Keeps one folder up; see the module. One process at a time.

    Args:
        folder: of the backup; made if missing.
        version: of the product.
    """

    def __init__(self, folder: Path, *, version: str) -> None:
        self._folder = folder
        self._version = version
        self._chain: Path | None = None
        self._listed: dict[str, Asset] = {}
        self._held: dict[str, Asset] = {}

    def mark(self, conninfo: str, store: ObjectStore, *, secrets: Path, now: datetime) -> Mark:
        """Make one more moment that can be come back to: everything committed before this call is in it.

        Args:
            conninfo: of the embedded server's owner (libpq's form).
            store: where the objects lie.
            secrets: the folder of the installation's secrets.
            now: names the mark, and a new chain.

        Raises:
            BackupFailed: with a sentence. All earlier marks stay good.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("chains", "objects"):
                (self._folder / name).mkdir(mode=0o700, exist_ok=True)
            with self._alone(), nothing_deleted(conninfo) as connection:
                shutil.copytree(secrets, self._folder / "secrets", dirs_exist_ok=True)
                chain = self._followed(connection, conninfo, now)
                mark = self._mark(chain, connection, store, conninfo=conninfo, now=now)
                if mark is None:
                    chain = self._begin(connection, conninfo, now)
                    mark = self._mark(chain, connection, store, conninfo=conninfo, now=now)
            if mark is None:
                raise BackupFailed("the server removes its log faster than it can be fetched (wal_keep_size).")
            self._forget_old_chains()
        except (psycopg.Error, OSError) as error:
            raise BackupFailed(f"{error}".strip()) from error
        return mark

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupFailed(f"another process keeps {self._folder} up already.") from None
            yield

    def _followed(self, connection: psycopg.Connection, conninfo: str, now: datetime) -> Chain:
        """The chain to go on with: the newest one, if it is young and of this cluster; else a new one."""
        known = chains_of(self._folder)
        if known and known[-1].is_readable(with_objects=known[-1].path != self._chain):
            origin = known[-1].origin
            young = now - datetime.fromisoformat(origin.began_at) < RENEWED_AFTER
            if young and (origin.cluster, origin.timeline) == _one(connection, _CLUSTER):
                return known[-1]
        return self._begin(connection, conninfo, now)

    def _begin(self, connection: psycopg.Connection, conninfo: str, now: datetime) -> Chain:
        """Begin a chain; it is made aside and renamed when its base is whole."""
        target = self._folder / "chains" / f"{now:%Y%m%dT%H%M%S%fZ}"
        aside = Path(tempfile.mkdtemp(prefix=f"{target.name}-", suffix=".part", dir=target.parent))
        try:
            options = ["--wal-method=fetch", "--checkpoint=fast", "--manifest-checksums=SHA256", "--no-password"]
            said = run_program("pg_basebackup", [f"--pgdata={aside / 'base'}", *options], conninfo)
            if said:
                raise BackupFailed(said)
            (aside / "wal").mkdir()
            for path in (aside / "base" / "pg_wal").iterdir():
                if path.is_file():  # the log between the base's beginning and its end
                    path.rename(aside / "wal" / path.name)
            cluster, timeline = _one(connection, _CLUSTER)
            origin = Origin(
                form=FORM, cluster=cluster, timeline=timeline, began_at=now.isoformat(), version=self._version
            )
            (aside / "chain.json").write_text(json.dumps(asdict(origin)) + "\n")
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        _log.info("chain begun", chain=target.name)
        return Chain(target)

    def _mark(
        self, chain: Chain, connection: psycopg.Connection, store: ObjectStore, *, conninfo: str, now: datetime
    ) -> Mark | None:
        """Set the point, copy the objects, fetch the log, write the line; None when the log is not there any more."""
        name = f"melodeon_{now:%Y%m%dT%H%M%S%f}"
        taken_at, transfer = _one(connection, _NOW)
        (lsn,) = _one(connection, _SET_POINT, name)
        connection.execute(_PUSH)
        rows = connection.execute(_NEEDED, [taken_at]).fetchall()
        lost = self._copy(chain, store, [Asset(key=k, sha256=h, media_type=m, size_bytes=s) for k, h, m, s, _ in rows])
        needed = {key for key, *_, still in rows if still}
        said = run_program(
            "pg_receivewal",
            [f"--directory={chain.path / 'wal'}", f"--endpos={lsn}", "--no-loop", "--no-password"],
            conninfo,
        )
        if _REMOVED in said:
            return None
        if said:
            raise BackupFailed(said)
        mark = Mark(
            name=name,
            lsn=lsn,
            taken_at=taken_at.isoformat(),
            transfer=transfer,
            objects=len(needed),
            missing=len(needed & lost),
        )
        _append_lines(chain.path / "marks.jsonl", [asdict(mark)])
        return mark

    def _copy(self, chain: Chain, store: ObjectStore, needed: list[Asset]) -> set[str]:
        """Copy the objects that the folder does not hold yet; answers the keys of those that the store did not have."""
        if self._chain != chain.path:
            self._chain, self._listed = chain.path, chain.objects
            self._held = {key: asset for known in self._readable_chains() for key, asset in known.objects.items()}
        fresh, lost = [], set()
        for asset in needed:
            if self._listed.get(asset.key) == asset:
                continue
            if self._holds(asset) or self._fetch(store, asset):
                fresh.append(asset)
            else:
                lost.add(asset.key)
        _append_lines(chain.path / "objects.jsonl", [asdict(asset) for asset in fresh])
        self._listed.update({asset.key: asset for asset in fresh})
        return lost

    def _holds(self, asset: Asset) -> bool:
        """Whether an earlier chain has this object; it was compared with its hash when it was copied."""
        path = self._folder / "objects" / asset.key
        return self._held.get(asset.key) == asset and path.is_file() and path.stat().st_size == asset.size_bytes

    def _fetch(self, store: ObjectStore, asset: Asset) -> bool:
        aside, path = self._folder / "incoming", self._folder / "objects" / asset.key
        if not copy_object(store, asset, aside):
            return False
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(path)
        return True

    def _readable_chains(self) -> list[Chain]:
        return [chain for chain in chains_of(self._folder) if chain.is_readable(with_objects=True)]

    def _forget_old_chains(self) -> None:
        """Remove all but the newest chains that can be come back to, and the objects that none of these needs."""
        if len(chains_of(self._folder)) <= KEPT_CHAINS:
            return
        known = [chain for chain in self._readable_chains() if chain.marks]
        if len(known) <= KEPT_CHAINS:
            return
        kept = known[-KEPT_CHAINS:]
        for path in (self._folder / "chains").iterdir():
            if path.name < kept[0].path.name:
                shutil.rmtree(path)
        objects = self._folder / "objects"
        needed = {key for chain in kept for key in chain.objects}
        for path in sorted(objects.rglob("*")):
            if path.is_file() and path.relative_to(objects).as_posix() not in needed:
                path.unlink()


def _one(connection: psycopg.Connection, query: str, *values: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), values or None).fetchone()
    if row is None:
        raise BackupFailed("the database is empty; start Melodeon once first.")
    return row


def _asset(**words: Any) -> Asset:
    asset = Asset(**words)
    check_key(asset.key)
    return asset


def _read_lines(path: Path, word: Callable[..., T]) -> list[T]:
    """What stands in the whole lines of a file. A torn last one is none: whoever wrote it died before it counted."""
    try:
        whole, _, _ = path.read_text("utf-8").rpartition("\n")
        return [word(**json.loads(line)) for line in whole.splitlines()]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, MelodeonError) as error:
        raise NoBackup(path.parent, f"its {path.name} is damaged.") from error


def _append_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write lines behind the last whole one; they are on the disk when this returns."""
    if not lines:
        return
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
