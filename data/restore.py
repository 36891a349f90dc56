"""Restoring a backup into an empty place, and proving that what came back is what was kept."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import func, select, table, text

from data.backup import NoBackup, objects_of, read_manifest, run_program, sha256_of
from data.database import Database, Session, migrate
from data.object_store import ObjectStore
from data.repositories import assets, ledger
from studio.errors import MelodeonError


class PlaceTaken(MelodeonError):
    """Something is there already where a backup was to be restored."""

    code = "place_taken"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} A backup is restored into an empty place only, so that nothing can be overwritten.")


class RestoreFailed(MelodeonError):
    """Postgres did not take the dump, or the store not an object."""

    code = "restore_failed"

    def __init__(self, why: str) -> None:
        super().__init__(f"The backup could not be restored: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a comparison of a restored place with its backup found.

    Attributes:
        rows: rows of all tables together.
        objects: objects that the database needs and that lie there whole.
        faults: a sentence for each thing that is wrong; empty when all is well.
        orphans: objects in the store that the database does not need: no fault, only room.
    """

    rows: int
    objects: int
    faults: tuple[str, ...]
    orphans: int


def check(folder: Path) -> None:
    """Look whether a backup is whole, without restoring it. Raises `NoBackup` naming the first broken file."""
    manifest = read_manifest(folder)
    if not (folder / "database.dump").is_file() or sha256_of(folder / "database.dump") != manifest.dump_sha256:
        raise NoBackup(folder, "database.dump is missing or damaged.")
    number = 0
    for asset in objects_of(folder):
        path = folder / "objects" / asset.key
        if not path.is_file() or sha256_of(path) != asset.sha256:
            raise NoBackup(folder, f"objects/{asset.key} is missing or damaged.")
        number += 1
    if number + len(manifest.missing) != manifest.objects:
        raise NoBackup(folder, "objects.jsonl does not list all its objects.")


def restore(folder: Path, url: str, store: ObjectStore, *, passwords: dict[str, str] | None = None) -> None:
    """Bring a backup back into an empty database and a store, and the tables to this version.

    Args:
        folder: the backup; looked at as a whole first, so that a damaged one changes nothing.
        url: of the database, as its owner.
        store: where the objects go; those already there are written again.
        passwords: see `data.database.migrate`.

    Raises:
        NoBackup, PlaceTaken, RestoreFailed: with a sentence. The dump goes in whole or not at all.
    """
    check(folder)
    database = Database(url, application_name="melodeon restore")
    conninfo = database.conninfo
    database.dispose()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    if tables != (0,):
        raise PlaceTaken("The database holds tables already.")
    for asset in objects_of(folder):
        if store.put(asset.key, folder / "objects" / asset.key, media_type=asset.media_type) != asset:
            raise RestoreFailed(f"the object {asset.key} changed on its way.")
    # owners, rights and policies name roles that a new server does not have yet; migrating makes all of them
    options = ["--no-owner", "--no-privileges", "--no-policies", "--exit-on-error", "--single-transaction"]
    said = run_program("pg_restore", [*options, str(folder / "database.dump")], conninfo)
    if said:
        raise RestoreFailed(said)
    migrate(url, passwords)


def prove(folder: Path, database: Database, store: ObjectStore) -> Proof:
    """Compare a restored place with its backup: rows, objects, the ledger.

    Tables that a later version has added or dropped are not compared.
    """
    manifest = read_manifest(folder)
    with database.transaction() as session:
        there = {name: number for name, number in manifest.rows.items() if _exists(session, name)}
        rows = {name: session.scalar(select(func.count()).select_from(table(name))) or 0 for name in there}
    faults = [
        f"The table {name} holds {rows[name]} rows instead of {number}."
        for name, number in there.items()
        if rows[name] != number
    ]
    return proof_of(database, store, rows=sum(rows.values()), faults=faults)


def proof_of(database: Database, store: ObjectStore, *, rows: int, faults: list[str]) -> Proof:
    """Look over ledger and objects of a place; ``faults`` are those found before, and come first."""
    with database.transaction() as session:
        needed = tuple(assets.needed(session))
        broken_rules = ledger.faults(session)
    faults = [*faults, *(f"The ledger breaks a rule: {rule} ({subject})." for rule, subject in broken_rules)]
    whole = 0
    for asset in needed:
        if store.head(asset.key) == asset:
            whole += 1
        else:
            faults.append(f"The object {asset.key} is missing or not what it was.")
    keys = {asset.key for asset in needed}
    orphans = sum(key not in keys for key in store.list())
    return Proof(rows=rows, objects=whole, faults=tuple(faults), orphans=orphans)


def _exists(session: Session, name: str) -> bool:
    query = text("SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public' AND tablename = :name)")
    return bool(session.execute(query, {"name": name}).scalar_one())
