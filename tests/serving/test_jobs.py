"""The course of a Job: asked for, claimed, ended; what it costs at every turn; who may touch it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from billing import ledger
from billing.ledger import KeyReused
from data.access import NotFound
from data.database import Database
from data.repositories import songs as song_rows
from data.repositories.job_songs import LostTake, MadeTake
from serving import attempts, jobs
from serving.attempts import Fenced, RetryRule
from studio.words.account import Account
from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief, Controls, UnfitBrief
from studio.words.ids import JobId
from studio.words.job import Job, JobState, Stage
from studio.words.song import Song

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULE = RetryRule()
MADE = MadeTake(
    index=0,
    assets={AssetRole.WAV: Asset(key="songs/x/0.wav", sha256="ab" * 32, media_type="audio/wav", size_bytes=9)},
    title="Harbour",
    prompt="folk",
    lyrics="la",
    engine="builtin-song",
    engine_version="1",
    seed=7,
    tags=("folk", "calm"),
)


def balance(database: Database, account: Account) -> tuple[int, int]:
    with database.transaction() as session:
        found = ledger.balance(session, account.id)
        assert ledger.faults(session) == ()
    return found.available_credits, found.held_credits


def songs_of(database: Database, account: Account) -> list[Song]:
    with database.transaction() as session:
        found = song_rows.library(session, account.id, before=None)
    return sorted(found, key=lambda song: song.take_index)


def look(database: Database, account: Account, job: Job) -> Job:
    with database.transaction() as session:
        return jobs.get(session, account, job.id)


def test_a_request_is_a_job_two_songs_and_a_hold(database, account, ask) -> None:
    job = ask(account)
    songs = songs_of(database, account)
    assert job.state is JobState.QUEUED
    assert job.price_credits == 2
    assert job.song_ids == tuple(song.id for song in songs)
    assert [(song.status, song.seed, song.guidance_scale) for song in songs] == [
        (JobState.QUEUED, 7, 7.5),
        (JobState.QUEUED, 8, 15.0),
    ]
    assert balance(database, account) == (98, 2)


def test_the_same_key_is_the_same_job(database, account, ask) -> None:
    first, second = ask(account, key="k"), ask(account, key="k")
    assert second == first
    assert len(songs_of(database, account)) == 2
    assert balance(database, account) == (98, 2)
    with pytest.raises(KeyReused, match=r"^This idempotency key was already used"):
        ask(account, key="k", brief=Brief(description="another song"))


def test_a_seed_is_drawn_when_none_was_given_and_a_repeat_still_matches(account, ask) -> None:
    brief = Brief(description="the sea")
    assert ask(account, key="k", brief=brief).brief.controls.seed == 7
    assert ask(account, key="k", brief=brief).brief.controls.seed == 7


def test_an_unfit_brief_leaves_nothing_behind(database, account, ask) -> None:
    for brief in (Brief(), Brief(description="x", controls=Controls(duration_s=100_000.0))):
        with pytest.raises(UnfitBrief):
            ask(account, brief=brief)
    assert songs_of(database, account) == []
    assert balance(database, account) == (100, 0)


def test_too_few_credits_are_kept_as_no_credits(database, make_account, ask, claim) -> None:
    account = make_account(credits=1)
    job = ask(account)
    assert job.state is JobState.NO_CREDITS
    assert "2 credits" in job.reason
    assert [song.status for song in songs_of(database, account)] == [JobState.NO_CREDITS] * 2
    assert balance(database, account) == (1, 0)
    assert claim(account) is None


def test_two_at_once_with_credits_for_one(database, make_account, ask) -> None:
    account = make_account(credits=2)
    start = threading.Barrier(6)
    states: list[JobState] = []

    def submit(key: str) -> None:
        start.wait()
        states.append(ask(account, key=key).state)

    # three callers for each of two requests
    threads = [threading.Thread(target=submit, args=(key,)) for key in ("one", "two") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == [JobState.NO_CREDITS] * 3 + [JobState.QUEUED] * 3
    assert len(songs_of(database, account)) == 4
    assert balance(database, account) == (0, 2)


def test_at_most_so_many_songs_wait(account, ask) -> None:
    ask(account, queued_max=4)
    ask(account, queued_max=4)
    with pytest.raises(jobs.TooManyQueued):
        ask(account, queued_max=4)


def test_one_job_an_account_is_in_process(make_account, ask, claim) -> None:
    ada, bob = make_account("ada"), make_account("bob")
    first, _ = ask(ada), ask(ada)
    ask(bob)
    assert claim(ada).job_id == first.id
    assert claim(ada) is None
    assert claim(bob) is not None


def test_claims_at_the_same_time_get_one_job(account, ask, claim) -> None:
    ask(account), ask(account)
    start, got = threading.Barrier(4), []

    def take() -> None:
        start.wait()
        got.append(claim(account))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claimed is not None for claimed in got) == 1


def test_finish_pays_for_what_was_made(database, account, ask, claim) -> None:
    job = ask(account)
    claimed = claim(account)
    lost = LostTake(index=1, sentence="The take was silent.")
    with database.transaction() as session:
        attempts.finish(session, job.id, claimed.attempt, [MADE, lost], now=NOW)
    made, failed = songs_of(database, account)
    assert (made.status, made.tags, made.title) == (JobState.PROCESSED, ("folk", "calm"), "Harbour")
    assert made.assets[AssetRole.WAV].key == "songs/x/0.wav"
    assert (failed.status, failed.reason) == (JobState.FAILED, "The take was silent.")
    ended = look(database, account, job)
    assert (ended.state, ended.reason_code, ended.progress) == (JobState.PROCESSED, "partly_made", 1.0)
    assert balance(database, account) == (99, 0)


def test_nothing_made_is_failed_and_free(database, account, ask, claim) -> None:
    job, claimed = ask(account), claim(account)
    with database.transaction() as session:
        lost = [LostTake(index=index, sentence="No.") for index in (0, 1)]
        attempts.finish(session, job.id, claimed.attempt, lost, now=NOW)
    assert look(database, account, job).state is JobState.FAILED
    assert balance(database, account) == (100, 0)


def test_a_late_finisher_is_fenced(database, account, ask, claim) -> None:
    job, old = ask(account), claim(account, lease_s=0.0)
    with database.transaction() as session:
        attempts.expire(session, account.id, job.id, rule=RULE, now=NOW)
    new = claim(account)
    assert new.attempt == old.attempt + 1
    writes: list[Callable[..., object]] = [
        lambda s: attempts.finish(s, job.id, old.attempt, [MADE], now=NOW),
        lambda s: attempts.fail(s, job.id, old.attempt, code="x", sentence="x", retryable=False, rule=RULE, now=NOW),
        lambda s: attempts.give_back(s, job.id, old.attempt, pause_s=0, code="x", sentence="x", now=NOW),
        lambda s: attempts.cancelled(s, job.id, old.attempt, now=NOW),
        lambda s: attempts.save_stage(s, job.id, old.attempt, name="text", result={}),
        lambda s: attempts.write_words(s, job.id, old.attempt, title="x", prompt="x", lyrics="x"),
    ]
    for write in writes:
        with pytest.raises(Fenced), database.transaction() as session:
            write(session)
    with database.transaction() as session:
        assert not attempts.heartbeat(session, job.id, old.attempt, lease_s=9).alive
        assert attempts.heartbeat(session, job.id, new.attempt, lease_s=9).alive
        attempts.finish(session, job.id, new.attempt, [MADE], now=NOW)
    with pytest.raises(Fenced), database.transaction() as session:
        attempts.finish(session, job.id, new.attempt, [MADE], now=NOW)
    assert balance(database, account) == (99, 0)


def test_three_failures_end_it(database, account, ask, claim) -> None:
    job = ask(account)
    at_once = RetryRule(max_attempts=3, base_s=0.0)
    pauses = []
    for _ in range(3):
        claimed = claim(account)
        with database.transaction() as session:
            more = {"code": "lost", "sentence": "Lost.", "retryable": True, "rule": at_once, "now": NOW}
            pauses.append(attempts.fail(session, job.id, claimed.attempt, **more))
    assert pauses == [0.0, 0.0, None]
    ended = look(database, account, job)
    told = "Lost. It was tried 3 times and then given up. Your credits were given back."
    assert (ended.state, ended.reason, ended.attempt) == (JobState.FAILED, told, 3)
    assert [song.reason for song in songs_of(database, account)] == [told, told]
    assert balance(database, account) == (100, 0)
    assert [RULE.pause_s(failures) for failures in (1, 2)] == [5.0, 15.0]


def test_giving_back_spends_no_attempt(database, account, ask, claim) -> None:
    job = ask(account)
    for number in range(1, 6):
        claimed = claim(account)
        assert claimed.attempt == number
        with database.transaction() as session:
            attempts.give_back(session, job.id, number, pause_s=0, code="busy", sentence="Busy.", now=NOW)
    last = claim(account)
    assert last.number_of_failures == 0
    assert balance(database, account) == (98, 2)


def test_back_off_does_not_block_the_lane(database, account, ask, claim) -> None:
    first, second = ask(account), ask(account)
    claimed = claim(account)
    assert claimed.job_id == first.id
    with database.transaction() as session:
        pause = attempts.fail(session, first.id, 1, code="lost", sentence="Lost.", retryable=True, rule=RULE, now=NOW)
    assert pause == 5.0
    assert claim(account).job_id == second.id


def test_cancel_while_queued(database, account, ask, claim) -> None:
    job = ask(account)
    with database.transaction() as session:
        assert jobs.cancel(session, account, job.id, now=NOW).state is JobState.CANCELLED
    assert [song.status for song in songs_of(database, account)] == [JobState.CANCELLED] * 2
    assert balance(database, account) == (100, 0)
    assert claim(account) is None


@pytest.mark.parametrize("end", ["cancelled", "finish", "fail", "give_back", "expire"])
def test_cancel_while_processing_wins_over_every_end(database, account, ask, claim, end: str) -> None:
    job, claimed = ask(account), claim(account, lease_s=0.0)
    with database.transaction() as session:
        assert jobs.cancel(session, account, job.id, now=NOW).state is JobState.PROCESSING
    with database.transaction() as session:
        assert attempts.heartbeat(session, job.id, claimed.attempt, lease_s=0.0).cancel_requested
    with database.transaction() as session:
        more = {"code": "x", "sentence": "x", "now": NOW}
        ends = {
            "cancelled": lambda: attempts.cancelled(session, job.id, 1, now=NOW),
            "finish": lambda: attempts.finish(session, job.id, 1, [MADE], now=NOW),
            "fail": lambda: attempts.fail(session, job.id, 1, retryable=True, rule=RULE, **more),
            "give_back": lambda: attempts.give_back(session, job.id, 1, pause_s=0, **more),
            "expire": lambda: attempts.expire(session, account.id, job.id, rule=RULE, now=NOW),
        }
        ends[end]()
    assert look(database, account, job).state is JobState.CANCELLED
    assert [song.status for song in songs_of(database, account)] == [JobState.CANCELLED] * 2
    assert balance(database, account) == (100, 0)


def test_cancelling_what_has_ended_changes_nothing(database, account, ask, claim) -> None:
    job, claimed = ask(account), claim(account)
    with database.transaction() as session:
        attempts.finish(session, job.id, claimed.attempt, [MADE, replace(MADE, index=1)], now=NOW)
    with database.transaction() as session:
        assert jobs.cancel(session, account, job.id, now=NOW).state is JobState.PROCESSED
    assert balance(database, account) == (98, 0)


def test_run_again_after_each_unhappy_end(database, make_account, ask, claim) -> None:
    account = make_account(credits=2)
    job = ask(account)
    poor = ask(account)
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
    for _ in range(2):  # cancelled without a claim in between, twice
        with database.transaction() as session:
            assert jobs.run_again(session, account, job.id, now=NOW).state is JobState.QUEUED
        assert balance(database, account) == (0, 2)
        with database.transaction() as session:
            jobs.cancel(session, account, job.id, now=NOW)
    with database.transaction() as session:
        assert jobs.run_again(session, account, poor.id, now=NOW).state is JobState.QUEUED
        assert jobs.run_again(session, account, job.id, now=NOW).state is JobState.NO_CREDITS
    claimed = claim(account)
    assert claimed.job_id == poor.id
    with database.transaction() as session:
        attempts.fail(session, poor.id, 1, code="no", sentence="No.", retryable=False, rule=RULE, now=NOW)
    with database.transaction() as session:
        again = jobs.run_again(session, account, poor.id, now=NOW)
    assert (again.state, again.reason) == (JobState.QUEUED, "")
    claimed = claim(account)
    with database.transaction() as session:
        attempts.finish(session, poor.id, claimed.attempt, [MADE, replace(MADE, index=1)], now=NOW)
    assert balance(database, account) == (0, 0)
    with pytest.raises(jobs.CannotRunAgain), database.transaction() as session:
        jobs.run_again(session, account, poor.id, now=NOW)


def test_somebody_elses_job_does_not_exist(database, make_account, ask) -> None:
    make_account("admin")
    ada, eve = make_account("ada"), make_account("eve")
    job = ask(ada)
    for function in (jobs.cancel, jobs.run_again):
        for job_id in (job.id, JobId("job_" + "0" * 32)):
            with pytest.raises(NotFound), database.transaction() as session:
                function(session, eve, job_id, now=NOW)
    with pytest.raises(NotFound), database.transaction() as session:
        jobs.get(session, eve, job.id)
    assert look(database, ada, job).state is JobState.QUEUED


def test_lists_position_and_time_left(database, make_account, ask, claim) -> None:
    ada, bob = make_account("ada"), make_account("bob")
    ask(bob)
    first, second = ask(ada), ask(ada)
    with database.transaction() as session:
        assert jobs.active(session, ada.id) == (first, second)
        assert jobs.recent(session, ada.id, 1) == (second,)
        assert jobs.position_and_eta(session, first) == (1, None)
        assert jobs.position_and_eta(session, second) == (3, None)
    claimed = claim(bob)
    with database.transaction() as session:
        attempts.finish(session, claimed.job_id, 1, [replace(MADE, duration_s=60.0)], now=NOW)
        took = "UPDATE job SET finished_at = started_at + interval '30 s' WHERE id = :id"
        session.execute(text(took), {"id": claimed.job_id})
        session.execute(text("DELETE FROM procrastinate_jobs WHERE lock = :lock"), {"lock": f"lane:{bob.id}"})
    with database.transaction() as session:
        assert jobs.position_and_eta(session, second) == (1, pytest.approx(60.0))
    claim(ada)
    with database.transaction() as session:
        half = {"stage": Stage.MUSIC, "fraction": 0.5, "message": "", "stages": {}}
        attempts.note_progress(session, first.id, 1, **half)
    with database.transaction() as session:
        assert jobs.position_and_eta(session, look(database, ada, first)) == (0, pytest.approx(15.0))
        assert jobs.position_and_eta(session, second) == (1, pytest.approx(45.0))
    with database.transaction() as session:
        jobs.cancel(session, ada, second.id, now=NOW)
    with database.transaction() as session:
        assert jobs.position_and_eta(session, look(database, ada, second)) == (0, None)


def test_deleting_the_songs_of_a_cancelled_request_wipes_its_texts(database, account, ask) -> None:
    job = ask(account, brief=Brief(description="my secret wish", controls=Controls(seed=1)))
    first, second = songs_of(database, account)
    with pytest.raises(song_rows.WrongState), database.transaction() as session:
        song_rows.delete(session, first.id)
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
        song_rows.delete(session, first.id)
    with database.transaction() as session:
        assert jobs.run_again(session, account, job.id, now=NOW).price_credits == 1
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
        song_rows.delete(session, second.id)
    assert look(database, account, job).brief.description == ""
    with pytest.raises(jobs.CannotRunAgain, match="nothing left"), database.transaction() as session:
        jobs.run_again(session, account, job.id, now=NOW)
    assert balance(database, account) == (100, 0)


POISON = Brief(description="poison")


def lose_every_attempt(database: Database, account: Account, job: Job) -> Job:
    """The job's replica dies under every attempt."""
    told = {"code": attempts.LOST, "sentence": "The engine stopped.", "retryable": True, "now": NOW}
    for _ in range(3):
        with database.transaction() as session:
            claimed = attempts.claim(session, account.id, lease_s=30)
            assert claimed is not None
            attempts.fail(session, job.id, claimed.attempt, rule=RetryRule(base_s=0.0), **told)
    return look(database, account, job)


def test_a_request_that_kills_every_replica_is_paid_back_and_in_quarantine(database, make_account, ask) -> None:
    ada, bob = make_account(), make_account()
    job = lose_every_attempt(database, ada, ask(ada, brief=POISON))
    assert (job.state, job.reason_code) == (JobState.FAILED, "poison")
    assert balance(database, ada) == (100, 0)
    for account in (ada, bob):
        with pytest.raises(jobs.Quarantined, match="change its words"):
            ask(account, brief=POISON)
        assert ask(account, brief=Brief(description="harmless")).state is JobState.QUEUED
    with pytest.raises(jobs.Quarantined), database.transaction() as session:
        jobs.run_again(session, ada, job.id, now=NOW)


def test_quarantine_ends_by_itself(database, account, ask) -> None:
    job = lose_every_attempt(database, account, ask(account, brief=POISON))
    with database.transaction() as session:
        later = "UPDATE job SET finished_at = finished_at - interval '61 minutes' WHERE id = :id"
        session.execute(text(later), {"id": job.id})
    assert ask(account, brief=POISON).state is JobState.QUEUED
