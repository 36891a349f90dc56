"""The sweep: what a dead worker leaves behind is taken up, ended or deleted, and nothing else is touched."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from billing import ledger
from data.folder_store import FolderStore
from data.repositories import lanes
from data.repositories import songs as song_rows
from serving import jobs
from serving.attempts import RetryRule
from serving.sweep import Swept, clean_store, sweep_database
from studio.words.asset import AssetRole
from studio.words.job import JobState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULE = RetryRule()


def look(database, account, job):
    with database.transaction() as session:
        return jobs.get(session, account, job.id)


def test_a_lapsed_lease_is_an_attempt_and_the_third_ends_the_job(database, account, ask, claim) -> None:
    job = ask(account)
    for attempt in (1, 2):
        assert claim(account, lease_s=0.0).attempt == attempt
        assert sweep_database(database, rule=RULE) == Swept(expired=1, woken=0)
        assert look(database, account, job).state is JobState.QUEUED
    claim(account, lease_s=0.0)
    sweep_database(database, rule=RULE)
    ended = look(database, account, job)
    assert (ended.state, ended.reason_code) == (JobState.FAILED, "interrupted")
    with database.transaction() as session:
        assert ledger.balance(session, account.id).available_credits == 100


def test_a_living_lease_is_left_alone(database, account, ask, claim) -> None:
    job = ask(account)
    claim(account)
    assert sweep_database(database, rule=RULE) == Swept()
    assert look(database, account, job).state is JobState.PROCESSING


def test_a_job_whose_owner_gave_it_up_is_cancelled(database, account, ask, claim) -> None:
    job = ask(account)
    claim(account, lease_s=0.0)
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
    sweep_database(database, rule=RULE)
    assert look(database, account, job).state is JobState.CANCELLED


def test_a_lane_without_alarm_is_woken(database, account, ask) -> None:
    ask(account)
    assert sweep_database(database, rule=RULE) == Swept()
    with database.transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
    assert sweep_database(database, rule=RULE) == Swept(woken=1)
    assert sweep_database(database, rule=RULE) == Swept()


def test_one_sweep_at_a_time(database, account, ask, claim) -> None:
    ask(account)
    claim(account, lease_s=0.0)
    with database.transaction() as session:
        assert lanes.try_sweep_lock(session)
        assert sweep_database(database, rule=RULE) == Swept()
    assert sweep_database(database, rule=RULE).expired == 1


@pytest.mark.parametrize("newer", [False, True])
def test_an_alarm_of_a_dead_worker_does_not_block_its_lane(
    database, account, ask, finish, run_worker, newer: bool
) -> None:
    async def work(claimed) -> None:
        await asyncio.to_thread(finish, claimed)

    job = ask(account)
    with database.transaction() as session:
        session.execute(text("UPDATE procrastinate_jobs SET status = 'doing'"))
    if newer:
        ask(account)
        with database.transaction() as session:
            assert session.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one() == 2
    run_worker(work)
    until = time.monotonic() + 90
    while look(database, account, job).state is not JobState.PROCESSED:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_lost_objects_are_deleted_and_others_kept(database, account, ask, claim, do_work, store, job_gateway) -> None:
    job_gateway.plans["song"] = ["broken"]
    job = ask(account)
    do_work(claim(account))
    time.sleep(0.3)
    do_work(claim(account))
    prefix = f"songs/{account.id}/{job.id}"
    with database.transaction() as session:
        songs = song_rows.library(session, account.id, before=None)
    kept = {asset.key for song in songs for asset in song.assets.values()}
    lost = {f"{prefix}/1/0.wav", f"{prefix}/1/0.stream"}
    other = f"songs/{account.id}/{job.id[:-1]}/1/0.wav"
    for key in (*kept, *lost, other):
        store.put(key, b"x", media_type="audio/wav")
    assert clean_store(database, store, older_than_s=3600) == 0
    assert clean_store(database, store, older_than_s=0) == len(lost - kept)
    assert set(store.list(f"{prefix}/")) == kept
    assert store.head(other) is not None
    assert clean_store(database, store, older_than_s=0) == 0


def test_what_was_made_for_a_lost_take_is_deleted(database, account, ask, claim, do_work, store, job_gateway) -> None:
    job_gateway.plans["song"] = ["second fails"]
    job = ask(account)
    do_work(claim(account))
    cover_of_lost = f"songs/{account.id}/{job.id}/1/1.cover"
    store.put(cover_of_lost, b"x", media_type="image/png")
    assert clean_store(database, store, older_than_s=0) == 1
    assert store.head(cover_of_lost) is None


def test_a_new_round_that_begins_during_the_clean_up_keeps_its_objects(
    database, account, ask, claim, do_work, tmp_path, job_gateway
) -> None:
    job_gateway.plans["song"] = ["unfit"]
    job = ask(account)
    do_work(claim(account))
    prefix = f"songs/{account.id}/{job.id}"

    class SlowStore(FolderStore):
        def list(self, prefix: str) -> Iterator[str]:
            with database.transaction() as session:
                jobs.run_again(session, account, job.id, now=NOW)
            self.put(f"{prefix}{claim(account).attempt}/0.wav", b"x", media_type="audio/wav")
            return super().list(prefix)

    store = SlowStore(tmp_path / "objects", "the link key of tests")
    store.put(f"{prefix}/1/0.cover", b"x", media_type="image/png")
    assert clean_store(database, store, older_than_s=0) == 1
    assert list(FolderStore.list(store, f"{prefix}/")) == [f"{prefix}/2/0.wav"]
    with database.transaction() as session:
        assert session.execute(text("SELECT objects_swept FROM job")).scalar_one() is False


def test_released_assets_are_deleted(database, account, ask, claim, do_work, store) -> None:
    ask(account)
    do_work(claim(account))
    with database.transaction() as session:
        song = song_rows.library(session, account.id, before=None)[0]
    for asset in song.assets.values():
        store.put(asset.key, b"x", media_type=asset.media_type)
    with database.transaction() as session:
        song_rows.delete(session, song.id)
    assert clean_store(database, store, older_than_s=3600) == len(AssetRole)
    assert store.head(song.assets[AssetRole.WAV].key) is None
