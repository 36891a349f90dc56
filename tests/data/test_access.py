"""The one policy, row by row: who may do what with a song or a job."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from data import access
from studio.words.account import Account, Role
from studio.words.brief import Brief
from studio.words.ids import AccountId, JobId, SongId
from studio.words.job import Job, JobState
from studio.words.song import DownloadRule, Song

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def _account(name: str, role: Role) -> Account:
    return Account(id=AccountId(f"acc_{name}"), name=name, email="", role=role, plan="free", created_at=NOW)


OWNER = _account("owner", Role.CREATOR)
OTHERS: dict[str, Account | None] = {"nobody": None, **{role.value: _account(role.value, role) for role in Role}}
PRIVATE = Song(
    id=SongId("song_1"), account_id=OWNER.id, artist="owner", job_id=JobId("job_1"), take_index=0,
    status=JobState.PROCESSED, title="A song", created_at=NOW, updated_at=NOW,
)  # fmt: skip
PUBLISHED = replace(PRIVATE, published_at=NOW)
JOB = Job(id=JobId("job_1"), account_id=OWNER.id, brief=Brief(), state=JobState.QUEUED, created_at=NOW)

SEES_PRIVATE = {"moderator", "admin"}
HIDES = {"moderator", "admin"}
SEES_JOBS = {"admin"}


def test_the_matrix_covers_every_role() -> None:
    assert set(OTHERS) == {"nobody", "creator", "analyst", "engineer", "moderator", "admin"}


@pytest.mark.parametrize("who", OTHERS)
def test_others_see_what_is_published_and_little_else(who: str) -> None:
    assert access.may_see(OTHERS[who], PUBLISHED)
    assert access.may_see(OTHERS[who], PRIVATE) is (who in SEES_PRIVATE)
    assert access.may_see_job(OTHERS[who], JOB) is (who in SEES_JOBS)


@pytest.mark.parametrize(("who", "song"), list(product(OTHERS, (PRIVATE, PUBLISHED))))
def test_nobody_but_the_owner_edits_and_only_the_house_may_hide(who: str, song: Song) -> None:
    assert not access.may_edit(OTHERS[who], song)
    assert access.may_hide(OTHERS[who], song) is (who in HIDES)


@pytest.mark.parametrize("role", Role)
def test_owners_do_everything_with_their_own_whatever_their_role(role: Role) -> None:
    owner = replace(OWNER, role=role)
    for song in (PRIVATE, PUBLISHED, replace(PUBLISHED, download_rule=DownloadRule.NOBODY)):
        assert access.may_see(owner, song)
        assert access.may_edit(owner, song)
        assert access.may_hide(owner, song)
        assert access.may_download(owner, song)
    assert access.may_see_job(owner, JOB)


@pytest.mark.parametrize(("who", "rule", "follows"), list(product(OTHERS, DownloadRule, (False, True))))
def test_others_download_what_is_published_as_its_rule_says(who: str, rule: DownloadRule, follows: bool) -> None:
    allowed = {
        DownloadRule.NOBODY: False,
        DownloadRule.FOLLOWERS: follows and who != "nobody",
        DownloadRule.EVERYONE: True,
    }
    song = replace(PUBLISHED, download_rule=rule)
    assert access.may_download(OTHERS[who], song, follows=follows) is allowed[rule]
    assert not access.may_download(OTHERS[who], replace(song, published_at=None), follows=follows)


@pytest.mark.parametrize("status", [state for state in JobState if state is not JobState.PROCESSED])
def test_an_unfinished_song_is_no_download_even_for_its_owner(status: JobState) -> None:
    assert not access.may_download(OWNER, replace(PRIVATE, status=status))


def test_missing_and_forbidden_sound_the_same() -> None:
    error = access.NotFound("song")
    assert error.code == "not_found"
    assert "no such song" in error.sentence
