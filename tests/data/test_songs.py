"""Songs: pages by key, one statement a page, and what owners do with their songs."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from data.database import Database, Session
from data.ids import new_id
from data.repositories import accounts, assets, job_songs, requests, songs
from data.repositories.job_songs import MadeTake
from data.repositories.songs import BadTitle, NotFinished, WrongState
from data.repositories.texts import UnkeepableText
from studio.words.account import Account
from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief
from studio.words.ids import JobId, SongId
from studio.words.job import JobState
from studio.words.song import DownloadRule, Song
from studio.words.take import Section, TimedLine

BRIEF = Brief(description="a song about rain", lyrics="[verse]\nrain", described_lyrics="rain", title="Rain", takes=2)
SAID = {"said": '{"text": {"lyrics": "rain"}}'}
MakeSongs = Callable[..., tuple[SongId, ...]]


@pytest.fixture
def ada(database: Database) -> Account:
    with database.transaction() as session:
        return accounts.create(session, name="Ada", password_hash=None)


def _asset(name: str) -> Asset:
    return Asset(key=f"songs/{name}", sha256="ab" * 32, media_type="audio/wav", size_bytes=7)


def _take(index: int, name: str, *, cover: str | None = None, tags: tuple[str, ...] = ("rain", "folk")) -> MadeTake:
    return MadeTake(
        index=index,
        assets={AssetRole.WAV: _asset(f"{name}.wav"), AssetRole.COVER: _asset(cover or f"{name}.png")},
        title="Rain",
        prompt="folk",
        lyrics="[verse]\nrain",
        engine="builtin",
        engine_version="1",
        seed=5,
        duration_s=30.0,
        tempo_bpm=96.0,
        key="A minor",
        loudness_lufs=-14.0,
        true_peak_dbtp=-1.2,
        sections=(Section(name="verse", start_s=0.0, end_s=8.0),),
        lines=(TimedLine(start_s=0.5, end_s=2.0, text="rain"),),
        tags=tags,
        provenance={"builtin": {"seed": 5}},
    )


@pytest.fixture
def make_songs(database: Database, ada: Account) -> MakeSongs:
    """Makes one Job with two finished Songs of ``account`` (default: Ada)."""
    numbers = itertools.count(1)

    def make(account: Account = ada, *, finished: bool = True, shared_cover: bool = False) -> tuple[SongId, ...]:
        with database.transaction() as session:
            job_id = JobId(new_id("job"))
            requests.insert(
                session,
                job_id=job_id,
                account_id=account.id,
                brief=BRIEF,
                song_ids=requests.new_song_ids(BRIEF.takes),
                uses_guidance=False,
                state=JobState.QUEUED,
                price_credits=2,
                key=job_id,
                request_hash="",
                trace_id="",
                reason="",
                reason_code="",
            )
            session.execute(text("UPDATE job SET state = 'processed', finished_at = now(), results = :said"), SAID)
            if finished:
                cover = f"{job_id}.png" if shared_cover else None
                takes = [_take(index, f"{next(numbers)}", cover=cover) for index in range(2)]
                job_songs.write_made(session, job_id, takes)
            ids = session.execute(text("SELECT id FROM song WHERE job_id = :id ORDER BY take_index"), {"id": job_id})
            return tuple(SongId(song_id) for song_id in ids.scalars())

    return make


@contextmanager
def _counted(session: Session) -> Iterator[list[str]]:
    """The statements that the block sends."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)


def _read(database: Database, song_id: str) -> Song | None:
    with database.transaction() as session:
        return songs.by_id(session, song_id)


def test_a_finished_song_comes_back_whole(database: Database, ada: Account, make_songs: MakeSongs) -> None:
    song = _read(database, make_songs()[0])
    assert song is not None
    assert (song.artist, song.account_id, song.status, song.title) == ("Ada", ada.id, JobState.PROCESSED, "Rain")
    assert song.tags == ("rain", "folk")
    assert song.assets == {AssetRole.WAV: _asset("1.wav"), AssetRole.COVER: _asset("1.png")}
    assert song.sections == (Section(name="verse", start_s=0.0, end_s=8.0),)
    assert song.lines == (TimedLine(start_s=0.5, end_s=2.0, text="rain"),)
    assert (song.duration_s, song.tempo_bpm, song.key, song.seed) == (30.0, 96.0, "A minor", 5)
    assert song.published_at is None
    assert song.download_rule is DownloadRule.EVERYONE


def test_a_song_just_asked_for_has_neither_tags_nor_assets(database: Database, make_songs: MakeSongs) -> None:
    song = _read(database, make_songs(finished=False)[1])
    assert song is not None
    assert (song.status, song.tags, dict(song.assets), song.sections) == (JobState.QUEUED, (), {}, ())


def test_ids_that_are_none_find_nothing(database: Database) -> None:
    with database.transaction() as session:
        for hostile in ("", "song_", "song_' OR 1=1 --", "\x00", "acc_" + "0" * 32, "song_" + "0" * 32):
            assert songs.by_id(session, hostile) is None


def test_a_page_is_one_statement_however_many_songs(database: Database, ada: Account, make_songs: MakeSongs) -> None:
    for song_id in [*make_songs(), *make_songs(), *make_songs()]:
        with database.transaction() as session:
            songs.publish(session, song_id)
    with database.transaction() as session, _counted(session) as statements:
        assert len(songs.discover(session)) == 6
        assert len(songs.library(session, ada.id)) == 6
        assert songs.by_id(session, songs.discover(session, limit=1)[0].id) is not None
    assert len(statements) == 4


def test_pages_meet_without_gap_or_overlap_even_at_equal_moments(
    database: Database, ada: Account, make_songs: MakeSongs
) -> None:
    # Both songs of a Job are made in one transaction: their moments are equal and the id decides.
    ids = [song_id for _ in range(4) for song_id in make_songs()]
    with database.transaction() as session:
        for song_id in ids:
            songs.publish(session, song_id)
    for limit in (1, 3, 8, 24):
        for listing, moment in (("library", "created_at"), ("discover", "published_at")):
            seen: list[Song] = []
            before = None
            while True:
                with database.transaction() as session:
                    page = (
                        songs.library(session, ada.id, before=before, limit=limit)
                        if listing == "library"
                        else songs.discover(session, before=before, limit=limit)
                    )
                if not page:
                    break
                assert len(page) <= limit
                seen += page
                before = (getattr(page[-1], moment), page[-1].id)
            assert sorted(song.id for song in seen) == sorted(ids)
            order = [(getattr(song, moment), song.id) for song in seen]
            assert order == sorted(order, reverse=True)


def test_a_song_added_meanwhile_does_not_shift_the_pages(
    database: Database, ada: Account, make_songs: MakeSongs
) -> None:
    old = {*make_songs(), *make_songs()}
    with database.transaction() as session:
        first = songs.library(session, ada.id, limit=2)
    make_songs()
    with database.transaction() as session:
        rest = songs.library(session, ada.id, limit=9, before=(first[-1].created_at, first[-1].id))
    assert {song.id for song in (*first, *rest)} == old


def test_the_library_is_ones_own_and_can_be_narrowed(database: Database, ada: Account, make_songs: MakeSongs) -> None:
    with database.transaction() as session:
        bob = accounts.create(session, name="bob", password_hash=None)
    make_songs(bob)
    done, waiting = make_songs(), make_songs(finished=False)
    with database.transaction() as session:
        assert {song.id for song in songs.library(session, ada.id)} == {*done, *waiting}
        narrowed = songs.library(session, ada.id, status=JobState.QUEUED)
        assert {song.id for song in narrowed} == set(waiting)


def test_discover_shows_what_is_published_and_no_longer_what_is_hidden_again(
    database: Database, make_songs: MakeSongs
) -> None:
    first, second = make_songs()

    def shown() -> list[SongId]:
        with database.transaction() as session:
            return [song.id for song in songs.discover(session)]

    assert shown() == []
    for song_id in (first, second):
        with database.transaction() as session:
            songs.publish(session, song_id)
    assert shown() == [second, first]
    with database.transaction() as session:
        songs.publish(session, first, download_rule=DownloadRule.NOBODY)
    assert shown() == [second, first], "publishing again does not bring a song to the front"
    changed = _read(database, first)
    assert changed is not None
    assert changed.download_rule is DownloadRule.NOBODY
    with database.transaction() as session:
        taken_back = songs.by_id(session, second)
        assert taken_back is not None
        songs.unpublish(session, taken_back, actor=taken_back.account_id)
    assert shown() == [first]


def test_discover_uses_its_index_and_sorts_nothing(database: Database, make_songs: MakeSongs) -> None:
    template = make_songs()[0]
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO song (id, account_id, job_id, take_index, status, published_at)"
                " SELECT 'song_' || lpad(n::text, 32, '0'), s.account_id, s.job_id, 100 + n, 'processed',"
                " now() - n * interval '1 minute' FROM song s, generate_series(1, 3000) n WHERE s.id = :id"
            ),
            {"id": template},
        )
        session.execute(text("ANALYZE song"))
        for before in (None, (datetime.now(UTC) - timedelta(minutes=1500), SongId("song_" + "0" * 32))):
            with _explained(session) as plans:
                songs.discover(session, before=before)
            assert "ix_song_discover" in plans[0]
            assert "Seq Scan on song " not in plans[0]
            assert "Sort" not in plans[0].split("SubPlan")[0]


@contextmanager
def _explained(session: Session) -> Iterator[list[str]]:
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        # On a second cursor of the same connection, so that the statement itself runs unchanged.
        with cursor.connection.cursor() as second:
            plans.append("\n".join(row[0] for row in second.execute("EXPLAIN " + statement, parameters)))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(connection, "before_cursor_execute", explain)


def test_titles_are_trimmed_and_checked(database: Database, make_songs: MakeSongs) -> None:
    song_id = make_songs()[0]
    with database.transaction() as session:
        songs.rename(session, song_id, "  Über den Wolken 🌧 ")
        for bad in ("", "   ", "x" * 101):
            with pytest.raises(BadTitle):
                songs.rename(session, song_id, bad)
        for bad in ("a\x00b", "a\ud800b"):
            with pytest.raises(UnkeepableText, match="title"):
                songs.rename(session, song_id, bad)
    song = _read(database, song_id)
    assert song is not None
    assert song.title == "Über den Wolken 🌧"
    assert song.updated_at > song.created_at


def test_only_a_finished_song_is_published(database: Database, make_songs: MakeSongs) -> None:
    with database.transaction() as session, pytest.raises(NotFinished):
        songs.publish(session, make_songs(finished=False)[0])


def test_plays_and_downloads_are_counted_one_by_one_even_at_once(database: Database, make_songs: MakeSongs) -> None:
    song_id = make_songs()[0]

    def play(_: int) -> None:
        with database.transaction() as session:
            songs.count_play(session, song_id)
            songs.count_download(session, song_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(play, range(40)))
    song = _read(database, song_id)
    assert song is not None
    assert (song.play_count, song.download_count) == (40, 40)


def test_a_deleted_song_is_gone_with_its_texts_tags_and_objects(
    database: Database, ada: Account, make_songs: MakeSongs
) -> None:
    first, second = make_songs()
    with database.transaction() as session:
        songs.publish(session, first)
        songs.delete(session, first)
        songs.delete(session, first)
    with database.transaction() as session:
        assert songs.by_id(session, first) is None
        assert songs.discover(session) == ()
        assert [song.id for song in songs.library(session, ada.id)] == [second]
        left = str(session.execute(text("SELECT s FROM song s WHERE id = :id"), {"id": first}).all())
        assert "rain" not in left.lower()
        tags = session.execute(text("SELECT count(*) FROM song_tag WHERE song_id = :id"), {"id": first})
        assert tags.scalar_one() == 0
        assert {key for _, key in assets.released(session, 10)} == {"songs/1.wav", "songs/1.png"}
        with pytest.raises(NotFinished):
            songs.publish(session, first)


def test_a_song_that_is_still_being_made_is_not_deleted(database: Database, make_songs: MakeSongs) -> None:
    song_id = make_songs(finished=False)[0]
    for status in ("queued", "processing"):
        with database.transaction() as session:
            session.execute(text("UPDATE song SET status = :status"), {"status": status})
            with pytest.raises(WrongState, match="Cancel it first"):
                songs.delete(session, song_id)
    song = _read(database, song_id)
    assert song is not None
    assert song.lyrics != ""


def test_with_the_last_song_the_jobs_texts_go_too(database: Database, make_songs: MakeSongs) -> None:
    first, second = make_songs()

    def job_text() -> str:
        with database.transaction() as session:
            return str(session.execute(text("SELECT brief, results FROM job")).all())

    with database.transaction() as session:
        songs.delete(session, first)
    assert "rain" in job_text()
    with database.transaction() as session:
        songs.delete(session, second)
    assert "rain" not in job_text().lower()


def test_an_object_of_two_songs_is_released_with_the_later_one(database: Database, make_songs: MakeSongs) -> None:
    first, second = make_songs(shared_cover=True)

    def covers() -> int:
        with database.transaction() as session:
            return sum(key.endswith(".png") for _, key in assets.released(session, 10))

    with database.transaction() as session:
        songs.delete(session, first)
    assert covers() == 0
    with database.transaction() as session:
        songs.delete(session, second)
    assert covers() == 1


def test_two_songs_of_one_object_deleted_at_once_release_it(database: Database, make_songs: MakeSongs) -> None:
    for _ in range(5):
        pair = make_songs(shared_cover=True)
        start = threading.Barrier(2)

        def delete(song_id: SongId, start: threading.Barrier = start) -> None:
            with database.transaction() as session:
                start.wait()
                songs.delete(session, song_id)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(delete, pair))
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM asset WHERE released_at IS NULL")).scalar_one() == 0


def test_released_objects_are_handed_to_one_clean_up_each_and_then_forgotten(
    database: Database, make_songs: MakeSongs
) -> None:
    with database.transaction() as session:
        for song_id in make_songs():
            songs.delete(session, song_id)
    with database.transaction() as one, database.transaction() as other:
        mine, theirs = assets.released(one, 3), assets.released(other, 3)
        assert len(mine) == 3
        assert len(theirs) == 1
        assert not set(mine) & set(theirs)
        for asset_id, _ in mine:
            assets.forget(one, asset_id)
    with database.transaction() as session:
        assert assets.released(session, 10) == theirs


def test_the_same_key_again_is_the_same_asset_with_its_present_content(
    database: Database, make_songs: MakeSongs
) -> None:
    again = Asset(key="songs/x.wav", sha256="cd" * 32, media_type="audio/wav", size_bytes=9)
    song_id = make_songs(finished=False)[0]
    with database.transaction() as session:
        for asset in (_asset("x.wav"), again):
            assets.link(session, [(song_id, AssetRole.WAV, asset)])
        kept = session.execute(text("SELECT sha256, size_bytes FROM asset")).one()
        assert assets.released(session, 10) == ()
    assert tuple(kept) == ("cd" * 32, 9)


def test_an_object_that_replaces_another_in_its_role_releases_it(database: Database, make_songs: MakeSongs) -> None:
    song_id = make_songs()[0]
    with database.transaction() as session:
        for _ in range(2):
            assets.link(session, [(song_id, AssetRole.COVER, _asset("new.png"))])
        assert [key for _, key in assets.released(session, 10)] == ["songs/1.png"]
    song = _read(database, song_id)
    assert song is not None
    assert song.assets[AssetRole.COVER] == _asset("new.png")
