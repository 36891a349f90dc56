"""Backups: what is kept comes back, what is broken is named, and nothing is deleted while one is made."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from data.backup import NoBackup, may_delete_objects, objects_of, read_manifest, take
from data.database import Database
from data.embedded_postgres import EmbeddedPostgres
from data.folder_store import FolderStore
from data.repositories import assets, ledger
from data.restore import PlaceTaken, check, prove, restore
from serving.sweep import clean_store
from studio.words.account import Account
from studio.words.asset import Asset

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def kept(database: Database, store: FolderStore) -> Callable[[str, bytes], Asset]:
    """Stores an object that the database needs."""

    def keep(key: str, content: bytes) -> Asset:
        asset = store.put(key, content, media_type="audio/wav")
        with database.transaction() as session:
            session.execute(
                text(
                    "INSERT INTO asset (id, key, sha256, media_type, size_bytes)"
                    " VALUES (:key, :key, :sha256, :media_type, :size_bytes)"
                ),
                {
                    "key": asset.key,
                    "sha256": asset.sha256,
                    "media_type": asset.media_type,
                    "size_bytes": asset.size_bytes,
                },
            )
        return asset

    return keep


@pytest.fixture
def backed_up(database: Database, store: FolderStore, account: Account, kept, tmp_path: Path) -> Path:
    """A backup of an account with 100 credits and two objects."""
    kept("songs/a/one.wav", b"one" * 1000)
    kept("songs/a/two.wav", b"two" * 1000)
    folder, _ = take(database.conninfo, store, tmp_path / "kept", secrets=None, version="1", now=NOW)
    return folder


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> str:
    """The URL of an empty database."""
    with psycopg.connect(postgres.url_of("postgres").replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
        connection.execute("CREATE DATABASE restored")
    return postgres.url_of("restored")


def test_what_was_kept_comes_back(backed_up: Path, account: Account, empty: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "restored", "another link key")
    restore(backed_up, empty, store)
    store.put("songs/a/orphan.wav", b"nobody's", media_type="audio/wav")
    database = Database(empty)
    proof = prove(backed_up, database, store)
    with database.transaction() as session:
        assert ledger.balance(session, account.id).available_credits == 100
    database.dispose()
    assert proof.faults == ()
    assert (proof.objects, proof.orphans) == (2, 1)
    assert b"".join(store.get("songs/a/one.wav")) == b"one" * 1000


def test_a_restored_place_that_differs_is_told(backed_up: Path, empty: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "restored", "another link key")
    restore(backed_up, empty, store)
    store.delete("songs/a/two.wav")
    store.put("songs/a/one.wav", b"something else", media_type="audio/wav")
    database = Database(empty)
    with database.transaction() as session:
        session.execute(text("DELETE FROM asset WHERE key = 'songs/a/two.wav'"))
    faults = prove(backed_up, database, store).faults
    database.dispose()
    assert faults == (
        "The table asset holds 1 rows instead of 2.",
        "The object songs/a/one.wav is missing or not what it was.",
    )


def test_a_full_database_is_never_restored_into(
    backed_up: Path, postgres: EmbeddedPostgres, database: Database, store: FolderStore
) -> None:
    url = database.conninfo.replace("postgresql://", "postgresql+psycopg://")
    with pytest.raises(PlaceTaken):
        restore(backed_up, url, store)


@pytest.mark.parametrize("name", ["database.dump", "objects/songs/a/one.wav"])
@pytest.mark.parametrize("harm", ["lost", "cut", "changed"])
def test_a_damaged_backup_is_refused_by_name(backed_up: Path, name: str, harm: str) -> None:
    path = backed_up / name
    whole = path.read_bytes()
    path.unlink()  # a linked object must not change in the other backup
    if harm == "cut":
        path.write_bytes(whole[:-1])
    elif harm == "changed":
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(NoBackup, match=name):
        check(backed_up)


@pytest.mark.parametrize("line", ["", "[]", '{"key": "../../etc/passwd"}', "not JSON"])
def test_a_manifest_or_list_from_elsewhere_is_refused(backed_up: Path, line: str) -> None:
    (backed_up / "objects.jsonl").write_text(line + "\n")
    with pytest.raises(NoBackup):
        check(backed_up)
    (backed_up / "manifest.json").write_text(line)
    with pytest.raises(NoBackup):
        read_manifest(backed_up)


def test_a_key_that_leads_out_of_the_folder_is_refused(backed_up: Path) -> None:
    evil = next(objects_of(backed_up))
    line = {**{name: getattr(evil, name) for name in ("sha256", "media_type", "size_bytes")}, "key": "a/../../x"}
    (backed_up / "objects.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(NoBackup):
        check(backed_up)


def test_a_backup_of_a_newer_form_is_refused(backed_up: Path) -> None:
    words = json.loads((backed_up / "manifest.json").read_text())
    (backed_up / "manifest.json").write_text(json.dumps({**words, "form": words["form"] + 1}))
    with pytest.raises(NoBackup, match="newer"):
        check(backed_up)


def test_the_next_backup_links_what_the_last_one_holds(
    backed_up: Path, database: Database, store: FolderStore, kept
) -> None:
    kept("songs/a/three.wav", b"three")
    later = NOW + timedelta(hours=1)
    folder, manifest = take(database.conninfo, store, backed_up.parent, secrets=None, version="1", now=later)
    assert (manifest.objects, manifest.linked) == (3, 2)
    one = "objects/songs/a/one.wav"
    assert (folder / one).stat().st_ino == (backed_up / one).stat().st_ino
    check(folder)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_a_damaged_earlier_backup_does_not_keep_a_new_one_from_being_made(
    backed_up: Path, database: Database, store: FolderStore, harm
) -> None:
    harm(backed_up / "objects.jsonl")
    again, manifest = take(
        database.conninfo, store, backed_up.parent, secrets=None, version="1", now=NOW + timedelta(days=1)
    )
    assert (manifest.objects, manifest.linked, manifest.missing) == (2, 0, ())
    check(again)


def test_what_the_store_lost_is_named(backed_up: Path, database: Database, store: FolderStore, kept) -> None:
    kept("songs/a/lost.wav", b"lost")
    store.delete("songs/a/lost.wav")
    kept("songs/a/bad.wav", b"good")
    store.put("songs/a/bad.wav", b"evil", media_type="audio/wav")
    folder, manifest = take(
        database.conninfo, store, backed_up.parent, secrets=None, version="1", now=NOW + timedelta(1)
    )
    assert manifest.missing == ("songs/a/bad.wav", "songs/a/lost.wav")
    check(folder)


def test_secrets_go_along_and_half_a_backup_does_not_stay(
    database: Database, store: FolderStore, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "link_key").write_text("kept")
    (secrets / "link_key").chmod(0o600)
    folder, _ = take(database.conninfo, store, tmp_path / "kept", secrets=secrets, version="1", now=NOW)
    assert (folder / "secrets" / "link_key").read_text() == "kept"
    assert (folder / "secrets" / "link_key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [folder.name]


class _Watched(FolderStore):
    """A store that looks, at its first reading, whether objects may be deleted."""

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder, "the link key of tests")
        self._database = database
        self.deleted: list[int] = []

    def get(self, key: str, *, start: int = 0, end: int | None = None):
        self.deleted.append(clean_store(self._database, self, older_than_s=0.0))
        return super().get(key, start=start, end=end)


def test_nothing_is_deleted_while_a_backup_is_made(
    database: Database, store: FolderStore, kept, tmp_path: Path
) -> None:
    kept("songs/a/one.wav", b"one")
    gone = kept("songs/a/released.wav", b"released")
    with database.transaction() as session:
        session.execute(text("UPDATE asset SET released_at = now() WHERE key = :key"), {"key": gone.key})
    watched = _Watched(tmp_path / "objects", database)
    _, manifest = take(database.conninfo, watched, tmp_path / "kept", secrets=None, version="1", now=NOW)
    assert watched.deleted == [0]
    assert manifest.objects == 1
    with database.transaction() as session:
        assert may_delete_objects(session)
        assert [asset.key for asset in assets.needed(session)] == ["songs/a/one.wav"]
    assert clean_store(database, store, older_than_s=0.0) == 1
    assert store.head(gone.key) is None
