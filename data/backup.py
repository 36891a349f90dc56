"""Backups: the database as of one moment, every object it needs, and the installation's secrets, in one folder.

    FOLDER/melodeon-20261120T165500Z/
        manifest.json     what it is, with the SHA-256 of the dump and the numbers that a restore must meet
        database.dump     Postgres' custom format (pg_dump -Fc)
        objects.jsonl     one line an object: key, SHA-256, media type, size
        objects/KEY       the objects
        secrets/NAME      what opens the installation; keep the folder as safe as the machine itself

A backup is written aside and renamed when it is whole. Keys of objects never get another content, so an object that the
last backup in the same folder holds is linked, not copied: a backup of little news costs little.

While it runs no object is deleted (`may_delete_objects`), so everything that the dump names is there to be copied.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import structlog
from sqlalchemy import text

from data.database import Session
from data.object_rules import NoObject, check_key
from data.object_store import ObjectStore
from data.postgres_place import installed_programs
from studio.errors import MelodeonError
from studio.words.asset import Asset

_log = structlog.get_logger(__name__)

FORM: Final = 1
"""Of the folder. A program reads backups of its own form and older ones."""
_PREFIX: Final = "melodeon-"
_ASIDE: Final = ".part"
_LOCK: Final = 0x6D656C62  # "melb": held shared by backups, asked for by whoever deletes objects
_NEEDED: Final = "SELECT key, sha256, media_type, size_bytes FROM asset WHERE released_at IS NULL ORDER BY key"
_TABLES: Final = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'procrastinate%' ORDER BY 1"
)
_BLOCK_BYTES: Final = 1 << 20


class BackupFailed(MelodeonError):
    """The backup could not be made; nothing of it is left."""

    code = "backup_failed"

    def __init__(self, why: str) -> None:
        super().__init__(f"The backup could not be made: {why}")


class NoBackup(MelodeonError):
    """The folder holds no backup that this version can read."""

    code = "no_backup"

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder} is no backup that can be restored: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup is.

    Attributes:
        taken_at: ISO 8601, UTC; the moment the database is shown at.
        revision: of the tables.
        dump_sha256: of ``database.dump``.
        rows: number of rows by table.
        objects, objects_bytes: how many objects the database needed, and their size.
        linked: objects that an earlier backup held already.
        missing: keys that the database needed and the store did not hold.
    """

    form: int
    taken_at: str
    version: str
    revision: str
    dump_sha256: str
    rows: dict[str, int]
    objects: int
    objects_bytes: int
    linked: int
    missing: tuple[str, ...]


def may_delete_objects(session: Session) -> bool:
    """Whether no backup runs; while this transaction lasts none can begin. Whoever deletes objects asks first."""
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar_one())


def take(
    conninfo: str, store: ObjectStore, folder: Path, *, secrets: Path | None, version: str, now: datetime
) -> tuple[Path, Manifest]:
    """Make a backup in ``folder``; answers where it lies and what it is.

    Args:
        conninfo: of a user that may read everything (libpq's form).
        store: where the objects lie.
        folder: where backups are kept; made if missing.
        secrets: the folder of the installation's secrets, or None to leave them out.
        version: of the product.
        now: names the backup.

    Raises:
        BackupFailed: with a sentence; nothing half-made is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_PREFIX}{now:%Y%m%dT%H%M%SZ}"
    if target.exists():
        raise BackupFailed(f"{target} exists already; wait a second.")
    before = _latest(folder)
    aside = Path(tempfile.mkdtemp(prefix=f"{target.name}-", suffix=_ASIDE, dir=folder))
    try:
        with nothing_deleted(conninfo) as connection:
            manifest = _fill(aside, connection, store, before=before, version=version, conninfo=conninfo)
        if secrets is not None:
            shutil.copytree(secrets, aside / "secrets")
        (aside / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2) + "\n")
        aside.rename(target)
    except (psycopg.Error, OSError) as error:
        raise BackupFailed(f"{error}".strip()) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _log.info("backup made", objects=manifest.objects, linked=manifest.linked, missing=len(manifest.missing))
    return target, manifest


def read_manifest(folder: Path) -> Manifest:
    """What this backup is. Raises `NoBackup`."""
    try:
        words: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
        if words["form"] > FORM:
            raise NoBackup(folder, "a newer version of Melodeon made it. Install that version first.")
        return Manifest(**{**words, "missing": tuple(words["missing"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NoBackup(folder, f"its manifest.json cannot be read ({type(error).__name__}).") from error


def objects_of(folder: Path) -> Iterator[Asset]:
    """The objects that this backup holds. Raises `NoBackup` when their list cannot be read."""
    with (folder / "objects.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            try:
                asset = Asset(**json.loads(line))
                check_key(asset.key)
            except (ValueError, TypeError, MelodeonError) as error:
                raise NoBackup(folder, "its objects.jsonl is damaged.") from error
            yield asset


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_program(name: str, arguments: list[str], conninfo: str) -> str:
    """Run one of Postgres' programs on a database; answers what it said, empty when it went well.

    The password goes through the environment: arguments are there for everybody to read.
    """
    known = {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(conninfo).items()}
    password = known.pop("password", "")
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    address = psycopg.conninfo.make_conninfo("", **known)
    command = [str(installed_programs() / name), *arguments, f"--dbname={address}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    # one that a signal ended has said nothing
    return done.stderr.strip()[-500:] or f"{name} ended with {done.returncode}."


@contextmanager
def nothing_deleted(conninfo: str) -> Iterator[psycopg.Connection]:
    """A connection during whose life no object is deleted; raises if it broke meanwhile."""
    with psycopg.connect(conninfo, autocommit=True, application_name="melodeon backup") as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s)", [_LOCK])
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        yield connection
        connection.execute("SELECT pg_advisory_unlock_shared(%s)", [_LOCK])


def _fill(
    aside: Path, connection: psycopg.Connection, store: ObjectStore, *, before: Path | None, version: str, conninfo: str
) -> Manifest:
    """Dump and objects of one moment: the snapshot that this transaction exports is what pg_dump sees."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot, taken_at = _one(connection, "SELECT pg_export_snapshot(), statement_timestamp()")
        dump = aside / "database.dump"
        said = run_program("pg_dump", ["--format=custom", f"--snapshot={snapshot}", f"--file={dump}"], conninfo)
        if said:
            raise BackupFailed(said)
        (revision,) = _one(connection, "SELECT version_num FROM alembic_version")
        tables = [name for (name,) in connection.execute(_TABLES)]
        rows = {name: _one(connection, f'SELECT count(*) FROM "{name}"')[0] for name in tables}  # noqa: S608 - from pg_tables
        needed = [Asset(key=k, sha256=h, media_type=m, size_bytes=s) for k, h, m, s in connection.execute(_NEEDED)]
    linked, missing = _copy_objects(aside, store, needed, before=before)
    return Manifest(
        form=FORM,
        taken_at=taken_at.isoformat(),
        version=version,
        revision=revision,
        dump_sha256=sha256_of(dump),
        rows=rows,
        objects=len(needed),
        objects_bytes=sum(asset.size_bytes for asset in needed),
        linked=linked,
        missing=missing,
    )


def _one(connection: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise BackupFailed("the database is empty; start Melodeon once first.")
    return row


def _copy_objects(
    aside: Path, store: ObjectStore, needed: list[Asset], *, before: Path | None
) -> tuple[int, tuple[str, ...]]:
    """Copy or link the objects and list them; answers how many were linked and which are missing or broken."""
    held = _held(before) if before else {}
    linked, missing = 0, []
    with (aside / "objects.jsonl").open("w", encoding="utf-8") as lines:
        for asset in needed:
            path = aside / "objects" / asset.key
            path.parent.mkdir(parents=True, exist_ok=True)
            if before and held.get(asset.key) == asset and _linked(before / "objects" / asset.key, path):
                linked += 1
            elif not copy_object(store, asset, path):
                missing.append(asset.key)
                continue
            lines.write(json.dumps(asdict(asset)) + "\n")
    return linked, tuple(missing)


def _held(before: Path) -> dict[str, Asset]:
    """What an earlier backup holds, by key. A damaged one helps nobody, and must not keep a new one from being made."""
    try:
        return {asset.key: asset for asset in objects_of(before)}
    except (NoBackup, OSError) as error:
        _log.warning("earlier backup not used", folder=before.name, error=type(error).__name__)
        return {}


def _linked(old: Path, new: Path) -> bool:
    try:
        os.link(old, new)
    except OSError:  # not on this file system, or gone: it is copied instead
        return False
    return True


def copy_object(store: ObjectStore, asset: Asset, path: Path) -> bool:
    """Copy one object to ``path``; False when the store does not hold what the database says."""
    digest = hashlib.sha256()
    try:
        with path.open("wb") as file:
            for block in store.get(asset.key):
                digest.update(block)
                file.write(block)
    except NoObject:
        path.unlink()
        return False
    if digest.hexdigest() != asset.sha256:
        path.unlink()
        return False
    return True


def _latest(folder: Path) -> Path | None:
    """The newest whole backup in the folder."""
    found = sorted(path for path in folder.glob(f"{_PREFIX}*") if (path / "manifest.json").is_file())
    return found[-1] if found else None
