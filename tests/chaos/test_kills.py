"""Every process of the running product dies in the middle of a song: no song and no credit is lost, none paid twice.

After each test the fixture ``well_again`` waits until every part works and reads all books.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from data.repositories import sessions
from serving.client import Unavailable
from studio.words.ids import JobId
from studio.words.job import Job, JobState
from tests.chaos.conftest import Songs, in_music
from ui.testing import Stack, until


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@contextmanager
def held(pid: int) -> Iterator[None]:
    """The process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def gateway_answers(stack: Stack) -> bool:
    try:
        stack.services.gateway.health()
    except Unavailable:
        return False
    return True


def make_and_break(songs: Songs, breaks: Callable[[], None]) -> Job:
    """Ask for a song, break something while its music is made, and wait for its end."""
    job_id = songs.ask()
    songs.wait(job_id, "its music is made", in_music)
    breaks()
    return songs.end_of(job_id)


def is_made(songs: Songs, job: Job) -> None:
    assert job.state is JobState.PROCESSED, job.reason
    assert songs.credits() == (98, 0)


def test_the_worker_dies_as_soon_as_it_has_the_song(stack: Stack, songs: Songs) -> None:
    job_id = songs.ask()
    songs.wait(job_id, "a worker has it", lambda job: job.state is JobState.PROCESSING)
    kill(stack.pid_of("worker"))
    job = songs.end_of(job_id)
    assert job.attempt >= 2
    is_made(songs, job)


def test_the_worker_dies_while_the_music_is_made(stack: Stack, songs: Songs) -> None:
    job = make_and_break(songs, lambda: kill(stack.pid_of("worker")))
    assert job.attempt >= 2
    is_made(songs, job)


def test_the_worker_dies_after_the_music_which_is_not_made_again(stack: Stack, songs: Songs) -> None:
    pid = stack.pid_of("worker")
    job_id = songs.ask()
    with songs.unpaid():  # so that it cannot end before the worker is dead
        until(lambda: "music" in songs.finished_stages(job_id), "its music is saved", every_s=0.01)
        attempt = songs.look(job_id).attempt
        kill(pid)
    job = songs.end_of(job_id)
    assert job.state is JobState.PROCESSED, job.reason
    assert job.attempt > attempt
    assert all(f"/{job_id}/{attempt}/" in key for key in songs.keys(job_id))


@pytest.mark.parametrize("application", ["songs", "covers"])
def test_a_replica_dies(stack: Stack, songs: Songs, application: str) -> None:
    is_made(songs, make_and_break(songs, lambda: kill(stack.replicas(application)[0])))


def test_the_gateway_dies(stack: Stack, songs: Songs) -> None:
    is_made(songs, make_and_break(songs, lambda: kill(stack.replicas("gateway")[0])))


@pytest.mark.parametrize("name", ["ray::ProxyActor", "ray::ServeController"])
def test_an_actor_of_serve_dies(stack: Stack, songs: Songs, name: str) -> None:
    is_made(songs, make_and_break(songs, lambda: kill(stack.ray_process(name))))


def test_the_ray_head_dies_and_the_doctor_sees_it(stack: Stack, songs: Songs) -> None:
    well = stack.melodeon("doctor", "--json")
    assert well.returncode == 0, well.stdout

    def breaks() -> None:
        kill(stack.pid_of("engines"))
        until(lambda: not gateway_answers(stack), "the gateway is gone")
        # who would bring it back waits until the doctor has looked
        with held(stack.pid_of("up")):
            ill = stack.melodeon("doctor", "--json")
        broken = [check["name"] for check in json.loads(ill.stdout)["checks"] if not check["ok"]]
        assert ill.returncode == 1
        assert broken == ["gateway"] or {name.split()[0] for name in broken} == {"engine"}

    is_made(songs, make_and_break(songs, breaks))


@pytest.mark.long
def test_rays_control_store_dies(stack: Stack, songs: Songs) -> None:
    is_made(songs, make_and_break(songs, lambda: kill(stack.ray_process("gcs_server"))))


def test_the_database_dies(stack: Stack, songs: Songs) -> None:
    is_made(songs, make_and_break(songs, lambda: kill(stack.pid_of("postgres"))))


def test_the_web_process_dies(stack: Stack, songs: Songs) -> None:
    before = stack.pid_of("web")
    is_made(songs, make_and_break(songs, lambda: kill(before)))
    until(lambda: "web is back" in stack.said(), "the pages come back")
    assert stack.pid_of("web") != before


def test_a_closed_browser_changes_nothing(stack: Stack, songs: Songs) -> None:
    """The one who listens to the song's news leaves in the middle."""
    services = stack.services
    with services.database.transaction() as session:
        ticket = sessions.begin(session, songs.account.id, days=1).ticket
        token = sessions.redeem_ticket(session, ticket, user_agent="chaos")
    cookies = {"melodeon_session": str(token)}
    job_id = songs.ask()
    with (
        httpx.Client(base_url=stack.web_url, cookies=cookies, timeout=30) as browser,
        browser.stream("GET", "/api/v1/events") as news,
    ):
        assert news.status_code == 200
        for line in news.iter_lines():
            if job_id in line and "processing" in line:
                break
    is_made(songs, songs.end_of(job_id))


def test_everything_dies_at_once(stack: Stack, songs: Songs) -> None:
    """Four songs of one account; worker, replica, database and pages are killed within a second."""
    jobs: list[JobId] = [songs.ask() for _ in range(4)]
    songs.wait(jobs[1], "the second one is made", in_music)
    replica = stack.replicas("songs")[0]
    for pid in (stack.pid_of("worker"), replica, stack.pid_of("postgres"), stack.pid_of("web")):
        kill(pid)
        time.sleep(0.2)
    ended = [songs.end_of(job_id) for job_id in jobs]
    assert [job.state for job in ended] == [JobState.PROCESSED] * 4, [job.reason for job in ended]
    assert songs.credits() == (92, 0)
