"""The object store fails while songs are saved: a pause is waited out, an outage ends in a sentence and no bill."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from studio.words.job import Job, JobState
from tests.chaos.conftest import Songs, in_music
from ui.testing import Stack


@contextmanager
def unusable(folder: Path) -> Iterator[None]:
    """A file stands where the folder was."""
    aside = folder.with_name(f"{folder.name}.away")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """The folder stands on a disk of half a megabyte."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0755", "melodeon-chaos", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can be mounted only by root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def failed(songs: Songs, job: Job) -> str:
    """The sentence of a job that failed; its credits are back."""
    assert job.state is JobState.FAILED
    assert songs.credits() == (100, 0)
    return job.reason


def test_a_store_that_is_away_for_a_moment_costs_one_attempt(stack: Stack, songs: Songs) -> None:
    job_id = songs.ask()
    songs.wait(job_id, "its music is made", in_music)
    with unusable(stack.var / "objects"):
        songs.wait(job_id, "the attempt fails", lambda job: job.reason_code == "store_unavailable")
    job = songs.end_of(job_id)
    assert job.state is JobState.PROCESSED, job.reason
    assert job.attempt >= 2
    assert songs.credits() == (98, 0)


def test_a_store_that_stays_away_fails_the_song_with_a_sentence(stack: Stack, songs: Songs) -> None:
    with unusable(stack.var / "objects"):
        job = songs.end_of(songs.ask())
    assert job.attempt == 3
    assert "store" in failed(songs, job)


@pytest.mark.parametrize("name", ["objects", "scratch"])
def test_a_full_disk_fails_the_song_with_a_sentence_and_nothing_half_written(
    stack: Stack, songs: Songs, name: str
) -> None:
    folder = stack.var / name
    with full(folder):
        (folder / ".incoming").mkdir(mode=0o700)
        job = songs.end_of(songs.ask())
        left = [path for path in folder.rglob("*") if path.is_file()]
    sentence = failed(songs, job)
    assert "disk" in sentence
    assert "full" in sentence
    halves = [path for path in left if path.suffix in (".wav", ".mp3") or ".incoming" in path.parts]
    assert halves == []
