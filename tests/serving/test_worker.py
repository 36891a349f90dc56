"""An attempt at a Job against a gateway over real HTTP, and the worker process itself: stages, retries, death."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import text

from billing import ledger
from data.database import Database
from data.repositories import accounts
from data.repositories import songs as song_rows
from data.testing import fresh_database, postgres_server
from serving import attempts, catalogue, jobs
from serving.attempts import RetryRule
from serving.client import GatewayClient
from serving.orchestrate import Orchestrator
from serving.progress import WEIGHTS, ProgressBoard
from serving.sweep import sweep_database
from studio.words.account import Account
from studio.words.asset import AssetRole
from studio.words.brief import Brief, BriefMode, Controls
from studio.words.job import Job, JobState, Stage
from tests.serving.conftest import miss_the_dead

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULE = RetryRule(base_s=0.2)
COMPLETE = Brief(
    mode=BriefMode.LYRICS, prompt="folk", lyrics="[verse]\nla", title="Mine", controls=Controls(seed=1, tempo_bpm=90)
)


def look(database: Database, account: Account, job: Job) -> Job:
    with database.transaction() as session:
        return jobs.get(session, account, job.id)


def songs_of(database: Database, account: Account) -> list[song_rows.Song]:
    with database.transaction() as session:
        found = song_rows.library(session, account.id, before=None)
    return sorted(found, key=lambda song: song.take_index)


def balance(database: Database, account: Account) -> tuple[int, int]:
    with database.transaction() as session:
        found = ledger.balance(session, account.id)
        assert ledger.faults(session) == ()
    return found.available_credits, found.held_credits


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 90.0
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_a_song_from_a_description(database, account, ask, claim, do_work, job_gateway) -> None:
    job = ask(account)
    assert do_work(claim(account)) == []
    ended = look(database, account, job)
    assert (ended.state, ended.reason, ended.progress) == (JobState.PROCESSED, "", 1.0)
    first, second = songs_of(database, account)
    assert (first.title, first.lyrics, first.prompt) == ("Harbour", "[verse]\nla la", "warm folk")
    assert set(first.assets) == set(AssetRole)
    assert first.assets[AssetRole.WAV].key == f"songs/{account.id}/{job.id}/1/0.wav"
    assert first.assets[AssetRole.COVER].key != second.assets[AssetRole.COVER].key
    assert (first.seed, second.seed, second.guidance_scale) == (7, 8, 15.0)
    assert (first.tags, first.lines[0].text, first.tempo_bpm) == (("folk", "calm"), "la", 96.0)
    assert job_gateway.calls() == {"lyrics": 1, "song": 1, "cover": 1, "tags": 1}
    assert balance(database, account) == (98, 0)


def test_words_the_person_gave_are_not_written_anew(database, account, ask, claim, do_work, job_gateway) -> None:
    ask(account, brief=COMPLETE)
    do_work(claim(account))
    assert job_gateway.calls()["lyrics"] == 0
    music = next(request["brief"] for request in job_gateway.requests if request["brief"]["kind"] == "song")
    assert (music["lyrics"], music["title"], music["controls"]["tempo_bpm"]) == ("[verse]\nla", "Mine", 90)
    cover = next(request["brief"] for request in job_gateway.requests if request["brief"]["kind"] == "cover")
    assert (cover["takes"], cover["controls"]["tempo_bpm"], cover["controls"]["seed"]) == (2, None, 1)


def test_a_missing_title_is_written_and_the_rest_kept(database, account, ask, claim, do_work) -> None:
    ask(account, brief=Brief(mode=BriefMode.LYRICS, prompt="folk", lyrics="own words", controls=Controls(seed=1)))
    do_work(claim(account))
    song = songs_of(database, account)[0]
    assert (song.title, song.prompt, song.lyrics) == ("Harbour", "folk", "own words")


@pytest.mark.parametrize("plan", ["429", "503"])
def test_back_pressure_spends_no_attempt(database, account, ask, claim, do_work, job_gateway, plan: str) -> None:
    job_gateway.plans["song"] = [plan]
    job = ask(account)
    assert do_work(claim(account)) == [0.2]
    waiting = look(database, account, job)
    assert waiting.state is JobState.QUEUED
    assert "engines are" in waiting.reason
    time.sleep(0.3)
    again = claim(account)
    assert (again.attempt, again.number_of_failures) == (2, 0)
    assert "text" in again.results
    do_work(again)
    assert look(database, account, job).state is JobState.PROCESSED
    assert job_gateway.calls()["lyrics"] == 1


def test_a_gateway_that_is_not_there_is_back_pressure(database, account, ask, claim, do_work, job_gateway) -> None:
    job = ask(account)
    job_gateway.url = "http://127.0.0.1:9"
    assert do_work(claim(account)) == [5.0]
    assert look(database, account, job).state is JobState.QUEUED


@pytest.mark.parametrize("plan", ["broken", "failed", "takes fail"])
def test_lost_work_is_an_attempt(database, account, ask, claim, do_work, job_gateway, plan: str) -> None:
    job_gateway.plans["song"] = [plan] * 3
    job = ask(account)
    for pause_s in (0.2, 0.6):
        assert do_work(claim(account)) == [pytest.approx(pause_s)]
        time.sleep(pause_s + 0.1)
    assert do_work(claim(account)) == []
    assert look(database, account, job).state is JobState.FAILED
    assert look(database, account, job).reason != ""
    assert job_gateway.calls()["lyrics"] == 1
    assert balance(database, account) == (100, 0)


def test_what_an_engine_refuses_fails_at_once(database, account, ask, claim, do_work, job_gateway) -> None:
    job_gateway.plans["song"] = ["unfit"]
    job = ask(account)
    assert do_work(claim(account)) == []
    ended = look(database, account, job)
    assert (ended.state, ended.reason, ended.reason_code) == (JobState.FAILED, "It unfit.", "unfit")
    assert balance(database, account) == (100, 0)


def test_one_take_of_two_is_paid_by_itself(database, account, ask, claim, do_work, job_gateway) -> None:
    job_gateway.plans["song"] = ["second fails"]
    job = ask(account)
    do_work(claim(account))
    assert look(database, account, job).state is JobState.PROCESSED
    first, second = songs_of(database, account)
    assert (first.status, second.status) == (JobState.PROCESSED, JobState.FAILED)
    assert second.reason == "The take was silent."
    assert balance(database, account) == (99, 0)


def run_again(database: Database, account: Account, job: Job) -> None:
    with database.transaction() as session:
        assert jobs.run_again(session, account, job.id, now=NOW).state is JobState.QUEUED


def half_made(database, account, ask, claim, do_work, job_gateway, *, lost: int = 1) -> tuple[Job, song_rows.Song]:
    """A Job of which one take was lost; the Song that was made and then named by its owner."""
    job_gateway.plans["song"] = ["second fails" if lost else "first fails"]
    job = ask(account)
    do_work(claim(account))
    made = songs_of(database, account)[1 - lost]
    with database.transaction() as session:
        song_rows.rename(session, made.id, "My own name")
    job_gateway.requests.clear()
    return job, songs_of(database, account)[1 - lost]


@pytest.mark.parametrize("lost", [0, 1])
def test_running_again_makes_only_the_lost_take(database, account, ask, claim, do_work, job_gateway, lost) -> None:
    job, kept = half_made(database, account, ask, claim, do_work, job_gateway, lost=lost)
    run_again(database, account, job)
    assert balance(database, account) == (98, 1)
    assert songs_of(database, account)[lost].status is JobState.QUEUED
    do_work(claim(account))
    assert look(database, account, job).state is JobState.PROCESSED
    songs = songs_of(database, account)
    assert songs[1 - lost] == kept
    again = songs[lost]
    assert (again.status, again.reason, again.title) == (JobState.PROCESSED, "", "Harbour")
    assert set(again.assets) == set(AssetRole)
    assert not {asset.key for asset in again.assets.values()} & {asset.key for asset in kept.assets.values()}
    assert job_gateway.calls() == {"song": 1, "cover": 1, "tags": 1}
    music = next(request["brief"] for request in job_gateway.requests if request["brief"]["kind"] == "song")
    controls = music["controls"]
    assert (music["takes"], controls["seed"], controls["guidance_scale"]) == (1, 7 + lost, 7.5 + 7.5 * lost)
    assert balance(database, account) == (98, 0)
    with pytest.raises(jobs.CannotRunAgain), database.transaction() as session:
        jobs.run_again(session, account, job.id, now=NOW)


@pytest.mark.parametrize("end", ["unfit", "takes fail", "cancelled", "interrupted"])
def test_a_made_song_outlives_whatever_becomes_of_its_sibling(
    database, account, ask, claim, do_work, job_gateway, end: str
) -> None:
    job, kept = half_made(database, account, ask, claim, do_work, job_gateway)
    run_again(database, account, job)
    job_gateway.plans["song"] = [end] * 3
    for _ in range(3 if end in ("takes fail", "interrupted") else 1):
        claimed = claim(account, lease_s=0.0 if end == "interrupted" else 30.0)
        if end == "cancelled":
            with database.transaction() as session:
                jobs.cancel(session, account, job.id, now=NOW)
                attempts.cancelled(session, job.id, claimed.attempt, now=NOW)
        elif end == "interrupted":
            sweep_database(database, rule=RULE)
        else:
            for pause_s in do_work(claimed):
                time.sleep(pause_s + 0.1)
    state = JobState.CANCELLED if end == "cancelled" else JobState.FAILED
    assert look(database, account, job).state is state
    made, lost = songs_of(database, account)
    assert made == kept
    assert lost.status is state
    assert lost.reason != ""
    assert balance(database, account) == (99, 0)
    run_again(database, account, job)
    job_gateway.plans.clear()
    do_work(claim(account))
    assert [song.status for song in songs_of(database, account)] == [JobState.PROCESSED] * 2
    assert balance(database, account) == (98, 0)


def test_several_takes_of_many_are_made_again_one_by_one(database, account, ask, claim, do_work, job_gateway) -> None:
    brief = Brief(description="the sea", takes=4, controls=Controls(seed=7))
    job_gateway.plans["song"] = ["odd fail"]
    job = ask(account, brief=brief)
    do_work(claim(account))
    run_again(database, account, job)
    job_gateway.plans["cover"] = ["ok", "takes fail"]
    do_work(claim(account))
    songs = songs_of(database, account)
    assert [song.status for song in songs] == [JobState.PROCESSED] * 4
    assert [song.seed for song in songs] == [7, 8, 9, 10]
    assert len({song.assets[AssetRole.WAV].key for song in songs}) == 4
    assert [AssetRole.COVER in song.assets for song in songs] == [True, True, True, False]
    assert ["no cover" in song.note for song in songs] == [False, False, False, True]
    assert balance(database, account) == (96, 0)


def test_the_note_of_the_engine_stands_on_its_song(database, account, ask, claim, do_work) -> None:
    job = ask(account)
    do_work(claim(account))
    assert [song.note for song in songs_of(database, account)] == ["", "One line did not fit."]
    assert look(database, account, job).reason == ""


def test_a_title_given_meanwhile_is_kept(database, account, ask, claim, do_work) -> None:
    ask(account)
    first = songs_of(database, account)[0]
    with database.transaction() as session:
        song_rows.rename(session, first.id, "My own name")
    do_work(claim(account))
    assert [song.title for song in songs_of(database, account)] == ["My own name", "Harbour"]


def test_a_poisonous_request_ends_and_the_others_flow_on(
    database, make_account, ask, job_gateway, worker_settings, run_worker
) -> None:
    ada, bob = make_account("ada"), make_account("bob")
    job_gateway.poison = "poison"
    poison = ask(ada, brief=Brief(description="a song of poison", controls=Controls(seed=1)))
    others = [(ada, ask(ada)), (bob, ask(bob)), (bob, ask(bob))]
    client = GatewayClient(job_gateway.url, "the key of tests", 30.0)
    orchestrator = Orchestrator(database, client, worker_settings, wake_later=lambda _claimed, _pause_s: None)
    run_worker(orchestrator.work)
    wait_for(lambda: all(look(database, who, job).state is JobState.PROCESSED for who, job in others))
    wait_for(lambda: look(database, ada, poison).state.ended)
    ended = look(database, ada, poison)
    assert (ended.state, ended.attempt, ended.reason_code) == (JobState.FAILED, 3, "poison")
    assert ended.reason == (
        "The engine stopped in the middle of the work. It was tried 3 times and then given up."
        " Your credits were given back."
    )
    assert balance(database, ada) == (98, 0)
    assert balance(database, bob) == (96, 0)


def test_a_request_in_words_of_another_version_ends_and_hides_no_other(
    database, account, ask, claim, do_work, job_gateway
) -> None:
    old, other = ask(account), ask(account)
    with database.transaction() as session:
        statement = "UPDATE job SET brief = brief || :change WHERE id = :id"
        change = {"mode": "humming", "takes": "two", "verses": 3}
        session.execute(text(statement), {"change": Jsonb(change), "id": old.id})
    with database.transaction() as session:
        assert {job.id for job in jobs.recent(session, account.id, 9)} == {old.id, other.id}
        assert [job.id for job in jobs.active(session, account.id)] == [old.id, other.id]
        assert set(jobs.outlooks(session, account.id, jobs.active(session, account.id))) == {old.id, other.id}
    ask(account)
    do_work(claim(account))
    ended = look(database, account, old)
    assert (ended.state, ended.reason_code) == (JobState.FAILED, "unreadable_brief")
    assert "another version" in ended.reason
    assert balance(database, account) == (96, 4)
    assert claim(account).job_id == other.id


def test_a_stage_saved_in_words_of_another_version_is_made_anew(
    database, account, ask, claim, do_work, job_gateway
) -> None:
    job_gateway.plans["song"] = ["429"]
    job = ask(account)
    do_work(claim(account))
    with database.transaction() as session:
        session.execute(text('UPDATE job SET results = \'{"text": {"takes": [{"verses": 3}]}}\''))
    time.sleep(0.3)
    do_work(claim(account))
    assert look(database, account, job).state is JobState.PROCESSED
    assert job_gateway.calls()["lyrics"] == 2


def test_music_cover_and_tags_are_made_side_by_side(database, account, ask, claim, do_work, job_gateway) -> None:
    job_gateway.plans["song"] = ["wait"]
    job = ask(account)
    claimed = claim(account)
    work = threading.Thread(target=do_work, args=(claimed,))
    work.start()
    wait_for(lambda: {"cover", "tags"} <= stages_kept(database, job))
    job_gateway.go.set()
    work.join(timeout=60)
    assert look(database, account, job).state is JobState.PROCESSED


def stages_kept(database: Database, job: Job) -> set[str]:
    with database.transaction() as session:
        return set(session.execute(text("SELECT results FROM job WHERE id = :id"), {"id": job.id}).scalar_one())


@pytest.mark.parametrize("plan", ["broken", "unfit", "failed", "takes fail"])
def test_cover_and_tags_never_lose_a_song(database, account, ask, claim, do_work, job_gateway, plan: str) -> None:
    job_gateway.plans["cover"], job_gateway.plans["tags"] = [plan] * 99, [plan] * 99
    job = ask(account)
    do_work(claim(account))
    ended = look(database, account, job)
    assert (ended.state, ended.reason) == (JobState.PROCESSED, "")
    song, second = songs_of(database, account)
    assert "no cover" in song.note
    assert second.note == f"One line did not fit. {song.note}"
    assert (song.status, song.tags) == (JobState.PROCESSED, ())
    assert set(song.assets) == {AssetRole.WAV, AssetRole.STREAM, AssetRole.PEAKS}
    assert balance(database, account) == (98, 0)


def test_an_installation_without_painter_makes_songs_all_the_same(
    database, account, ask, claim, do_work, job_gateway, tmp_path, monkeypatch
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("applications: [{name: songs, args: {engine: builtin-song}}]\n")
    served = catalogue.known().served_by(catalogue.read_applications(file))
    monkeypatch.setattr(catalogue, "catalogue", lambda: served)
    job = ask(account, brief=COMPLETE)
    do_work(claim(account))
    assert look(database, account, job).state is JobState.PROCESSED
    song, _ = songs_of(database, account)
    assert "no cover" in song.note
    assert song.tags == ()
    assert job_gateway.calls() == {"song": 1}
    assert balance(database, account) == (98, 0)


def test_a_heartbeat_that_meets_an_error_of_the_database_is_not_the_last(
    database, account, ask, claim, job_gateway, worker_settings
) -> None:
    job_gateway.plans["song"] = ["hang"]
    job = ask(account)
    claimed = claim(account)
    client = GatewayClient(job_gateway.url, "key", 30.0)
    orchestrator = Orchestrator(database, client, worker_settings, wake_later=lambda *_: None)
    work = threading.Thread(target=lambda: asyncio.run(orchestrator.work(claimed)))
    work.start()
    wait_for(lambda: job_gateway.calls()["song"] == 1)
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
        # now a heartbeat waits; the server cancels it, as when a statement lasts too long
        wait_for(lambda: heartbeats_held_up(database))
        with database.transaction() as other:
            held_up = heartbeats_held_up(database)
            for pid, _ in held_up:
                other.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": pid})
        wait_for(lambda: not held_up & heartbeats_held_up(database))
    work.join(timeout=60)
    stopped = not work.is_alive()
    orchestrator.cancel(job.id)
    work.join(timeout=60)
    assert stopped
    assert look(database, account, job).state is JobState.CANCELLED


def heartbeats_held_up(database: Database) -> set[tuple[int, datetime]]:
    """Which connections wait with a heartbeat, and since when."""
    with database.transaction() as session:
        query = text(
            "SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE 'UPDATE job SET lease_until%'"
        )
        return {(row.pid, row.query_start) for row in session.execute(query)}


def test_a_busy_painter_is_asked_again(database, account, ask, claim, do_work, job_gateway) -> None:
    job_gateway.plans["cover"] = ["503", "429"]
    ask(account)
    do_work(claim(account), extra_patience_s=60.0)
    assert AssetRole.COVER in songs_of(database, account)[0].assets


def test_cancelling_closes_the_stream_and_frees_the_credits(
    database, account, ask, claim, do_work, job_gateway
) -> None:
    job_gateway.plans["song"] = ["hang"]
    job = ask(account)
    claimed = claim(account)
    work = threading.Thread(target=do_work, args=(claimed,))
    work.start()
    wait_for(lambda: job_gateway.calls()["song"] == 1)
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
    work.join(timeout=60)
    assert job_gateway.caller_gone.wait(60)
    assert look(database, account, job).state is JobState.CANCELLED
    assert balance(database, account) == (100, 0)


def test_a_fenced_worker_stops_by_itself(database, account, ask, claim, do_work, job_gateway) -> None:
    job_gateway.plans["song"] = ["hang"]
    job = ask(account)
    claimed = claim(account, lease_s=0.0)
    with database.transaction() as session:
        attempts.expire(session, account.id, job.id, rule=RULE, now=NOW)
    claim(account)
    do_work(claimed)
    assert look(database, account, job).state is JobState.PROCESSING
    assert balance(database, account) == (98, 2)


def test_a_shutdown_gives_the_job_back_and_spends_no_attempt(
    database, account, ask, claim, do_work, job_gateway
) -> None:
    job_gateway.plans["song"] = ["hang"]
    job = ask(account)
    do_work(claim(account), stop_when=lambda: job_gateway.calls()["song"] == 1)
    assert job_gateway.caller_gone.wait(60)
    assert look(database, account, job).state is JobState.QUEUED
    again = claim(account)
    assert (again.attempt, again.number_of_failures) == (2, 0)
    do_work(again)
    assert job_gateway.calls()["lyrics"] == 1
    assert balance(database, account) == (98, 0)


def test_a_song_under_way_survives_a_restart_of_postgres(job_gateway, worker_settings) -> None:
    job_gateway.plans["song"] = ["wait"]
    with postgres_server() as server, fresh_database(server) as database:
        with database.transaction() as session:
            account = accounts.create(session, name="ada", email="ada@example.org", password_hash=None)
            ledger.open_with_signup_grant(session, account.id, amount=100, now=NOW)
            brief = Brief(description="the sea", controls=Controls(seed=1))
            job = jobs.request(session, account, brief, key="k", now=NOW, draw_seed=lambda: 1)
        with database.transaction() as session:
            claimed = attempts.claim(session, account.id, lease_s=60.0)
        assert claimed is not None
        settings = worker_settings.model_copy(update={"lease_s": 60.0})
        client = GatewayClient(job_gateway.url, "the key of tests", 60.0)
        orchestrator = Orchestrator(database, client, settings, wake_later=lambda _claimed, _pause_s: None)
        work = threading.Thread(target=lambda: asyncio.run(orchestrator.work(claimed)))
        work.start()
        wait_for(lambda: job_gateway.calls()["song"] == 1)
        server.stop()
        job_gateway.go.set()
        time.sleep(0.5)
        server.start()
        work.join(timeout=60)
        ended = look(database, account, job)
        assert (ended.state, ended.attempt) == (JobState.PROCESSED, 1)
        assert balance(database, account) == (98, 0)


def test_progress_is_told_and_weighed(database, account, ask, claim, do_work, job_gateway) -> None:
    job_gateway.plans["song"] = ["hang"]
    job = ask(account)
    claimed = claim(account)
    work = threading.Thread(target=do_work, args=(claimed,))
    work.start()
    seen: list[Job] = []

    def is_in_music() -> bool:
        seen.append(look(database, account, job))
        # a stage beside it may be told between two looks
        return (seen[-1].message, seen[-1].stage) == ("still at it", Stage.MUSIC)

    wait_for(is_in_music)
    assert WEIGHTS[Stage.TEXT] < seen[-1].progress < 1
    assert songs_of(database, account)[0].title == "Harbour"
    with database.transaction() as session:
        jobs.cancel(session, account, job.id, now=NOW)
    work.join(timeout=60)


def test_progress_never_goes_back_and_ends_at_one() -> None:
    board = ProgressBoard()
    seen = []
    for stage, fraction in [("text", 0.5), ("text", 0.2), ("text", 1), ("cover", 1), ("music", 1), ("tags", 1)]:
        board.note(Stage(stage), fraction)
        seen.append(board.fraction)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


# the process itself


@contextmanager
def worker_process(database: Database, gateway_url: str, folder: str) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m serving.worker`` with quick sweeps and retries."""
    quick = {"lease_s": 30, "heartbeat_s": 0.5, "sweep_s": 0.3, "retry_base_s": 0.2, "concurrency": 2}
    settings = {f"MELODEON_WORKER__{name.upper()}": str(value) for name, value in quick.items()}
    addresses = {
        "MELODEON_VAR": folder,
        "MELODEON_DATABASE__URL": database.conninfo,
        "MELODEON_SERVE__GATEWAY_URL": gateway_url,
    }
    process = subprocess.Popen([sys.executable, "-m", "serving.worker"], env={**os.environ, **settings, **addresses})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_kill_9_in_the_middle_goes_on_from_the_last_stage(database, account, ask, job_gateway, tmp_path) -> None:
    job_gateway.plans["song"] = ["hang"]
    job = ask(account)
    with worker_process(database, job_gateway.url, str(tmp_path)) as first:
        wait_for(lambda: job_gateway.calls()["song"] == 1)
        first.kill()
        first.wait()
    miss_the_dead(database)
    with worker_process(database, job_gateway.url, str(tmp_path)):
        wait_for(lambda: look(database, account, job).state is JobState.PROCESSED)
    ended = look(database, account, job)
    assert ended.attempt == 2
    assert job_gateway.calls()["lyrics"] == 1
    assert job_gateway.calls()["song"] == 2
    assert songs_of(database, account)[0].assets[AssetRole.WAV].key.endswith("/2/0.wav")
    assert balance(database, account) == (98, 0)


def test_sigterm_waits_for_work_and_cancel_reaches_the_process(database, account, ask, job_gateway, tmp_path) -> None:
    job_gateway.plans["song"] = ["hang", "hang"]
    first, second = ask(account), ask(account)
    with worker_process(database, job_gateway.url, str(tmp_path)) as process:
        wait_for(lambda: job_gateway.calls()["song"] == 1)
        wait_for((tmp_path / "run" / "worker.beat").exists)
        with database.transaction() as session:
            jobs.cancel(session, account, first.id, now=NOW)
        wait_for(lambda: look(database, account, first).state is JobState.CANCELLED)
        wait_for(lambda: job_gateway.calls()["song"] == 2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        with database.transaction() as session:
            jobs.cancel(session, account, second.id, now=NOW)
        assert process.wait(timeout=60) == 0
    assert look(database, account, second).state is JobState.CANCELLED
    assert sweep_database(database, rule=RULE).expired == 0
    assert balance(database, account) == (100, 0)


@pytest.mark.parametrize(("stage", "attempts"), [("lyrics", 2), ("song", 2), ("cover", 1), ("tags", 1)])
def test_a_replica_that_dies_in_any_stage_costs_no_song(
    database, account, ask, claim, do_work, job_gateway, stage: str, attempts: int
) -> None:
    job_gateway.plans[stage] = ["broken"]
    job = ask(account)
    # two calls of a busy machine take longer than the patience of other tests
    pauses = do_work(claim(account), extra_patience_s=60.0)
    assert len(pauses) == attempts - 1
    if pauses:
        time.sleep(pauses[0] + 0.1)
        do_work(claim(account), extra_patience_s=60.0)
    ended = look(database, account, job)
    assert (ended.state, ended.attempt) == (JobState.PROCESSED, attempts)
    calls = job_gateway.calls()
    assert calls[stage] == 2
    assert calls["lyrics"] == 1 + (stage == "lyrics"), "words that were written are kept"
    for song in songs_of(database, account):
        assert AssetRole.COVER in song.assets
        assert song.tags
    assert balance(database, account) == (98, 0)
