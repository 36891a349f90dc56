"""The oracle of the chaos tests and of ``bench/faults.py``: each of its laws is broken once, and it says so."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from data.database import Database
from data.folder_store import FolderStore
from data.repositories.jobs import Claimed
from data.testing import JOB_LAWS, broken_job_laws, coverless_songs
from studio.words.account import Account
from studio.words.job import JobState
from tests.serving.conftest import Ask
from ui.testing import faults_of

HOLDS = "an ended job holds nothing"
UNDER_WAY = "a job under way holds its whole price"
PAID = "a processed job is paid once for each processed song, any other not at all"
STANDS = "a song stands as its job does"
COMPLETE = "a processed song has sound, stream and peaks"
PAINTED = "a processed song has a cover in three sizes, or none and says so"
BARE = "a song that is not processed has no objects"
ALONE = "nobody has two jobs in process"

GIVE_OBJECTS = """
    WITH made AS (INSERT INTO asset (id, key, sha256, media_type, size_bytes)
                  SELECT 'ast_' || md5(song.id || role), 'songs/' || song.id || role, repeat('ab', 32), 'audio/wav', 3
                  FROM song, unnest(ARRAY['wav', 'stream', 'peaks', 'cover', 'cover_512', 'cover_128']) role
                  RETURNING id, key)
    INSERT INTO song_asset (song_id, role, asset_id)
    SELECT song.id, role, 'ast_' || md5(song.id || role)
    FROM song, unnest(ARRAY['wav', 'stream', 'peaks', 'cover', 'cover_512', 'cover_128']) role
"""

PLANTED = [
    # how far the job is brought, what is done behind everybody's back, and the laws that this breaks
    ("queued", ["UPDATE job SET state = 'failed'"], {HOLDS, STANDS}),
    ("queued", ["UPDATE job SET price_credits = 3"], {UNDER_WAY}),
    ("queued", [GIVE_OBJECTS], {BARE}),
    ("processed", [], {COMPLETE, PAINTED}),
    ("processed", ["UPDATE song SET note = 'The song has no cover: …'"], {COMPLETE}),
    ("processed", [GIVE_OBJECTS], set()),
    ("processed", [GIVE_OBJECTS, "DELETE FROM song_asset WHERE role = 'cover_128'"], {PAINTED}),
    ("processed", [GIVE_OBJECTS, "DELETE FROM song_asset WHERE role LIKE 'cover%'"], {PAINTED}),
    ("processed", [GIVE_OBJECTS, "DELETE FROM song_asset WHERE role = 'peaks'"], {COMPLETE}),
    ("processed", [GIVE_OBJECTS, "UPDATE song SET status = 'failed' WHERE take_index = 1"], {PAID, BARE}),
    ("processed", [GIVE_OBJECTS, "UPDATE song SET status = 'queued' WHERE take_index = 1"], {PAID, BARE, STANDS}),
    (
        "two",
        [
            "DROP INDEX uq_job_one_processing",
            "UPDATE job SET state = 'processing', lease_until = now()",
            "UPDATE song SET status = 'processing'",
        ],
        {ALONE},
    ),
]


@pytest.fixture
def bring(
    database: Database,
    account: Account,
    ask: Ask,
    claim: Callable[..., Claimed | None],
    finish: Callable[[Claimed], JobState],
) -> Callable[[str], None]:
    """Brings an account to one queued job, two of them, or a processed one whose songs have no files."""

    def to(state: str) -> None:
        ask(account)
        if state == "two":
            ask(account)
        if state == "processed":
            claimed = claim(account)
            assert claimed is not None
            finish(claimed)

    return to


def plant(database: Database, statements: list[str]) -> dict[str, list[str]]:
    with database.transaction() as session:
        for statement in statements:
            session.execute(text(statement))
        return broken_job_laws(session)


@pytest.mark.parametrize(("state", "statements", "laws"), PLANTED)
def test_a_broken_law_is_seen(
    database: Database, bring: Callable[[str], None], state: str, statements: list[str], laws: set[str]
) -> None:
    bring(state)
    assert set(plant(database, statements)) == laws


def test_a_song_without_a_cover_is_counted(database: Database, bring: Callable[[str], None]) -> None:
    bring("processed")
    plant(database, [GIVE_OBJECTS])
    with database.transaction() as session:
        assert coverless_songs(session) == []
        session.execute(text("DELETE FROM song_asset WHERE role = 'cover'"))
        assert len(coverless_songs(session)) == 2


def test_every_law_has_been_broken_once() -> None:
    assert set().union(*(laws for _, _, laws in PLANTED)) == set(JOB_LAWS)


@pytest.mark.parametrize("state", ["queued", "two"])
def test_what_is_well_is_left_alone(
    database: Database, store: FolderStore, bring: Callable[[str], None], state: str
) -> None:
    bring(state)
    assert faults_of(database, store) == []


def test_an_object_that_is_gone_or_not_what_was_stored_is_seen(
    database: Database, store: FolderStore, bring: Callable[[str], None]
) -> None:
    bring("processed")
    plant(database, [GIVE_OBJECTS])
    with database.transaction() as session:
        keys = list(session.execute(text("SELECT key FROM asset ORDER BY key")).scalars())
    for key in keys[1:]:
        store.put(key, b"abc", media_type="audio/wav")
    found = faults_of(database, store)
    assert sorted(found) == sorted(f"{key} is not what was stored." for key in keys)
