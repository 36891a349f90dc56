"""The product is stopped, killed and started again while songs are made; nothing is lost, nothing left running."""

import os
import signal
import socket

from studio.words.job import JobState
from tests.chaos.conftest import Songs, in_music
from ui.testing import Stack


def test_a_second_start_in_the_same_folder_says_so(stack: Stack) -> None:
    done = stack.melodeon("up")
    assert done.returncode == 1
    assert f"already running at {stack.web_url}" in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.running


def test_ctrl_c_leaves_no_process_and_the_next_start_finishes_the_songs(stack: Stack, songs: Songs) -> None:
    """The second song waits when Ctrl-C comes. Meanwhile another program has taken the port of the pages."""
    asked = [songs.ask(), songs.ask()]
    songs.wait(asked[0], "its music is made", in_music)
    port = int(stack.environment["MELODEON_WEB__PORT"])
    stack.stop()
    with socket.create_server(("127.0.0.1", port)):
        stack.start()
    assert f"Port {port} (web.port) is taken; using " in stack.said()
    assert stack.web_url != f"http://127.0.0.1:{port}"
    assert [songs.end_of(job_id).state for job_id in asked] == [JobState.PROCESSED] * 2
    assert songs.credits() == (96, 0)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_start(stack: Stack, songs: Songs) -> None:
    """Afterwards the product stands on the ports of the settings again, so nothing old can still be on them."""
    asked = [songs.ask(), songs.ask()]
    songs.wait(asked[0], "its music is made", in_music)
    before = stack.processes()
    os.kill(stack.pid_of("up"), signal.SIGKILL)
    stack.start()
    assert "Ended what an earlier start had left running: engines, web, worker." in stack.said()
    assert "is taken" not in stack.said()
    assert stack.web_url == f"http://127.0.0.1:{stack.environment['MELODEON_WEB__PORT']}"
    assert not [process.pid for process in before if process.is_running()]
    assert [songs.end_of(job_id).state for job_id in asked] == [JobState.PROCESSED] * 2
    assert songs.credits() == (96, 0)
