"""What somebody gets who asks for everything: all of it, nobody else's, nothing that opens a door, in small blocks."""

import json
import tracemalloc
import zipfile
from io import BytesIO
from typing import Any

from sqlalchemy import text

from data.repositories import personal
from data.tables import Base
from serving import privacy

WORD, OTHER = "quixotl", "zarathon"


def exported(services, account) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(BytesIO(b"".join(privacy.export(services, account))))
    assert archive.testzip() is None
    return archive


def lines(archive: zipfile.ZipFile, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"tables/{table}.jsonl").decode().splitlines()]


def test_every_table_is_read_out_or_left_out_for_a_reason_and_erased_or_kept_for_one() -> None:
    assert set(Base.metadata.tables) == {*personal.HOLDINGS, *personal.NOBODYS}
    for name, holding in personal.HOLDINGS.items():
        columns = set(Base.metadata.tables[name].columns.keys())
        assert set(holding.secret) <= columns, name
        assert bool(holding.erase) != bool(holding.stays), name
    assert all(personal.NOBODYS.values())


def test_a_table_that_names_an_account_is_somebodys() -> None:
    named = {
        name
        for name, table in Base.metadata.tables.items()
        if any(key.target_fullname.startswith(("account.", "song.", "job.", "session.", "purchase.")) for key in
               table.foreign_keys)
    }  # fmt: skip
    assert named <= set(personal.HOLDINGS)


def test_the_archive_holds_everything_of_the_person_and_nothing_of_anybody_else(services, make_person, store) -> None:
    ada, bob = make_person("ada", WORD), make_person("bob", OTHER)
    archive = exported(services, ada.account)
    everything = b"".join(archive.read(name) for name in archive.namelist()) + "".join(archive.namelist()).encode()
    assert OTHER.encode() not in everything
    assert bob.account.id.encode() not in everything
    with services.database.transaction() as session:
        for table in personal.tables():
            wanted = f"SELECT count(*) FROM {table} WHERE {personal.HOLDINGS[table].whose}"
            count = session.execute(text(wanted), {"account_id": ada.account.id}).scalar_one()
            assert len(lines(archive, table)) == count, table
            assert count > 0, f"the person of this test has nothing in {table}"
        kept = personal.files(session, ada.account.id)
    contents = {archive.read(name) for name in archive.namelist() if not name.startswith("tables/")}
    assert len(kept) == 13
    assert {b"".join(store.get(file.key)) for file in kept} <= contents
    assert f"{WORD} by the sea\n".encode() in contents
    assert {line["title"] for line in lines(archive, "song")} >= {WORD}
    assert lines(archive, "account")[0]["email"] == f"{WORD}@example.org"
    assert b"credits.csv" in archive.read("README.txt")


def test_nothing_in_the_archive_opens_a_door(services, make_person) -> None:
    archive = exported(services, make_person("ada", WORD).account)
    for table, holding in personal.HOLDINGS.items():
        names = set(archive.namelist())
        if holding.left_out:
            assert f"tables/{table}.jsonl" not in names
            continue
        for line in lines(archive, table):
            assert not set(holding.secret) & set(line), table
    secrets = {
        f"{table}.{column.name}"
        for table, found in Base.metadata.tables.items()
        for column in found.columns
        if column.name.endswith(("_hash", "_secret", "hash")) and table not in personal.NOBODYS
    }
    told = {f"{table}.{name}" for table, holding in personal.HOLDINGS.items() for name in holding.secret}
    silent = {name for name in secrets if personal.HOLDINGS[name.split(".")[0]].left_out}
    # hashes of what was asked for, of the books: they open nothing
    assert secrets - told - silent <= {"job.request_hash", "transfer.request_hash", "transfer.hash"}


def test_no_title_leads_out_of_the_archive(services, make_person) -> None:
    names = exported(services, make_person("ada", WORD).account).namelist()
    assert len(names) == len(set(names))
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name
        assert "\\" not in name


def test_a_file_that_is_gone_is_left_out(services, make_person, store) -> None:
    ada = make_person("ada", WORD)
    with services.database.transaction() as session:
        first, *_ = personal.files(session, ada.account.id)
    store.delete(first.key)
    assert len(exported(services, ada.account).namelist()) > 20


def test_a_large_library_is_never_in_memory(services, make_person, store) -> None:
    ada = make_person("ada", WORD)
    with services.database.transaction() as session:
        wav = next(file for file in personal.files(session, ada.account.id) if file.media_type == "audio/wav")
    size_bytes = 32 << 20
    store.put(wav.key, BytesIO(bytes(size_bytes)), media_type="audio/wav")
    tracemalloc.start()
    try:
        taken = sum(len(block) for block in privacy.export(services, ada.account))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken > size_bytes
    assert most_bytes < size_bytes / 4


def test_an_export_that_nobody_reads_to_its_end_leaves_nothing_behind(services, make_person) -> None:
    blocks = privacy.export(services, make_person("ada", WORD).account)
    next(blocks)
    blocks.close()
    assert list((services.settings.var / "scratch").iterdir()) == []


def test_an_account_without_anything_gets_an_archive_too(services, make_account) -> None:
    archive = exported(services, make_account("newcomer"))
    assert lines(archive, "song") == []
    assert lines(archive, "account")[0]["name"] == "newcomer"
