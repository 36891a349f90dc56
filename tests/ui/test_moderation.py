"""Taking published songs back: who is offered it, what a press does, and what a forged press does not."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from data.database import Database
from data.repositories import accounts, audit, songs
from data.repositories.job_songs import MadeTake
from serving import attempts, jobs
from serving.api.services import Services
from studio.words.account import Account, Role
from studio.words.asset import Asset, AssetRole
from studio.words.brief import Brief
from studio.words.song import Song
from ui.widgets.song_actions import ACTIONS
from ui.widgets.song_cards import menu

SONG_PAGE = str(Path(__file__).parents[2] / "ui" / "pages" / "song.py")
NOW = datetime(2026, 11, 20, tzinfo=UTC)
OTHERS = (Role.CREATOR, Role.ANALYST, Role.ENGINEER)
HOUSE = (Role.MODERATOR, Role.ADMIN)
HIDE = "Hide from others"


@pytest.fixture
def owner(make_account: Callable[..., Account]) -> Account:
    return make_account("owner")


@pytest.fixture
def published(database: Database, owner: Account) -> Song:
    """A finished song that everybody can find."""
    with database.transaction() as session:
        job = jobs.request(session, owner, Brief(description="rain", takes=1), key="1", now=NOW, draw_seed=lambda: 7)
        claimed = attempts.claim(session, owner.id, lease_s=30.0)
    assert claimed is not None
    stream = Asset(key="songs/1/stream", sha256="ab" * 32, media_type="audio/mpeg", size_bytes=7)
    take = MadeTake(
        index=0, assets={AssetRole.STREAM: stream}, title="Rain [on] tin", engine="builtin-song", engine_version="1",
        seed=7, duration_s=2.0, prompt="folk", lyrics="la",
    )  # fmt: skip
    with database.transaction() as session:
        attempts.finish(session, claimed.job_id, claimed.attempt, [take], now=NOW)
        songs.publish(session, job.song_ids[0])
    return stored(database, job.song_ids[0])


def stored(database: Database, song_id: str) -> Song:
    with database.transaction() as session:
        found = songs.by_id(session, song_id)
    assert found is not None
    return found


def noted(database: Database, song: Song) -> list[tuple[str, str, str]]:
    """What the audit log says of its owner's songs."""
    with database.transaction() as session:
        found = audit.latest(session, subject=song.account_id)
    return [(note.actor, note.action, note.detail) for note in found if note.action.startswith("song_")]


def somebody(database: Database, role: Role) -> Account:
    with database.transaction() as session:
        made = accounts.create(session, name=f"the-{role}", password_hash=None)
        accounts.set_role(session, made.id, role)
        found = accounts.by_id(session, made.id)
    assert found is not None
    return found


def song_page(song: Song, viewer: Account | None) -> AppTest:
    page = AppTest.from_file(SONG_PAGE, default_timeout=180)
    page.query_params["id"] = song.id
    page.session_state["account"] = viewer
    page.run()
    assert not page.exception
    assert not page.error
    return page


def labels(page: AppTest) -> list[str]:
    return [found.label for found in page.button]


def press(page: AppTest, label: str) -> None:
    next(found for found in page.button if found.label == label).click().run()
    assert not page.exception
    assert not page.error


def _act(item, song, viewer) -> None:
    from ui.widgets.problem import told
    from ui.widgets.song_actions import act

    with told():
        act(item, song, viewer=viewer)


def test_only_the_house_is_offered_to_hide_a_stranger_s_published_song(published: Song, database: Database) -> None:
    for role in Role:
        offered = {item["id"]: item["label"] for item in menu(published, viewer=somebody(database, role))}
        assert offered.get("unpublish") == (HIDE if role in HOUSE else None)
        assert not offered.keys() & (set(ACTIONS) - {"unpublish"})
    assert "unpublish" not in {item["id"] for item in menu(published, viewer=None)}


@pytest.mark.parametrize("role", HOUSE)
def test_the_house_hides_a_published_song_after_a_question(
    role: Role, wired: Services, database: Database, published: Song
) -> None:
    viewer = somebody(database, role)
    page = song_page(published, viewer)
    press(page, HIDE)
    assert stored(database, published.id).published_at is not None
    assert labels(page).count(HIDE) == 2
    # the dialog alone: a press in it runs it alone, which this kind of test cannot
    press(AppTest.from_function(_act, args=("unpublish", published, viewer), default_timeout=180).run(), HIDE)
    assert stored(database, published.id).published_at is None
    assert noted(database, published) == [(viewer.id, "song_hidden", published.id)]
    again = song_page(published, viewer)
    assert HIDE not in labels(again)
    assert "Download" not in labels(again)


def test_the_owner_takes_the_song_back_at_a_press(
    wired: Services, database: Database, published: Song, owner: Account
) -> None:
    page = song_page(published, owner)
    assert HIDE not in labels(page)
    press(page, "Make private")
    assert stored(database, published.id).published_at is None
    assert noted(database, published) == []


@pytest.mark.parametrize("role", [None, *OTHERS])
def test_a_forged_press_of_a_stranger_changes_nothing(
    role: Role | None, wired: Services, database: Database, published: Song
) -> None:
    viewer = None if role is None else somebody(database, role)
    assert HIDE not in labels(song_page(published, viewer))
    for item in ACTIONS:
        answer = AppTest.from_function(_act, args=(item, published, viewer), default_timeout=180).run()
        assert answer.error[0].value.startswith("There is no such song")
        assert not answer.button
    assert stored(database, published.id) == published


@pytest.mark.parametrize("role", HOUSE)
def test_the_house_may_hide_and_that_is_all(role: Role, wired: Services, database: Database, published: Song) -> None:
    viewer = somebody(database, role)
    for item in set(ACTIONS) - {"unpublish"}:
        answer = AppTest.from_function(_act, args=(item, published, viewer), default_timeout=180).run()
        assert answer.error[0].value.startswith("There is no such song")
    assert stored(database, published.id) == published


def test_a_song_under_way_shows_its_progress_to_its_owner_alone(
    wired: Services, database: Database, owner: Account
) -> None:
    with database.transaction() as session:
        job = jobs.request(session, owner, Brief(description="rain", takes=1), key="1", now=NOW, draw_seed=lambda: 7)
    song = stored(database, job.song_ids[0])
    mine, theirs = song_page(song, owner), song_page(song, somebody(database, HOUSE[0]))
    assert [said.value for said in mine.info] == ["It is not ready yet; this page shows it as soon as it is."]
    assert [said.value for said in theirs.info] == ["It is not ready yet; only its owner sees how far it is."]
    assert len(mine.get("bidi_component")) == len(theirs.get("bidi_component")) + 1
