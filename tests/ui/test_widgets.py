"""The pure parts of the widgets: what a card offers, what a person's text becomes, when a click is the same click."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from streamlit.testing.v1 import AppTest

from serving import catalogue
from studio.words.account import Account, Role
from studio.words.brief import Brief, BriefMode
from studio.words.ids import AccountId, JobId, SongId
from studio.words.job import JobState
from studio.words.song import DownloadRule, Song
from ui import state
from ui.widgets.account_forms import browser_name
from ui.widgets.avatar import colour_of
from ui.widgets.plain import credits_text, escape
from ui.widgets.song_actions import ACTIONS, brief_of
from ui.widgets.song_cards import STATUS_TEXT, as_card, engine_label, menu, title_of

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ADA = Account(
    id=AccountId("acc_" + "0" * 32), name="ada", email="", role=Role.CREATOR, plan="free", created_at=NOW
)  # fmt: skip


def song(status: JobState = JobState.PROCESSED, *, published: bool = False, **more: object) -> Song:
    values: dict[str, object] = {
        "id": SongId("song_" + "0" * 32),
        "account_id": ADA.id,
        "artist": "ada",
        "job_id": JobId("job_" + "0" * 32),
        "take_index": 0,
        "status": status,
        "title": "Night Ferry",
        "engine": "builtin-song",
        "created_at": NOW,
        "updated_at": NOW,
        "published_at": NOW if published else None,
    }
    return Song(**(values | more))  # type: ignore[arg-type]


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=60).map(str.strip))
def test_escaped_text_is_shown_letter_for_letter(text: str) -> None:
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(escape(text))
    shown = html.unescape(re.sub(r"\A<p>|</p>\n?\Z", "", rendered))
    assert "<" not in re.sub(r"\A<p>|</p>\n?\Z", "", rendered)
    assert shown.replace("\u2060", "").split() == text.replace("\u2060", "").split()


@pytest.mark.parametrize("address", ["http://a.example", "HTTPS://a.example/b", "see www.a.example", "(http://a.b)"])
def test_an_address_becomes_no_link(address: str) -> None:
    # what GitHub's flavour makes links of (GFM 6.9); Streamlit looks for it in the finished text
    shown = html.unescape(MarkdownIt("commonmark").render(escape(address)))
    assert not re.search(r"(https?://|www(?=\.))[-.\w]+", shown, re.IGNORECASE)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("curl/8.1", "curl/8.1"),
        ("", "Unknown browser"),
    ],
)  # fmt: skip
def test_browsers_have_names_that_people_know(agent: str, name: str) -> None:
    assert browser_name(agent) == name


@pytest.mark.parametrize("status", list(JobState))
@pytest.mark.parametrize("own", [True, False])
def test_a_menu_offers_only_what_can_be_done(status: JobState, own: bool) -> None:
    offered = {item["id"] for item in menu(song(status), viewer=ADA if own else None)}
    ready = status is JobState.PROCESSED
    assert ("play_next" in offered) == ready
    assert ("download" in offered) == (own and ready)
    assert ("publish" in offered) == (own and ready)
    assert ("cancel" in offered) == (own and not status.ended)
    assert ("delete" in offered) == (own and status.ended)
    assert ("run_again" in offered) == (own and status.ended and not ready)
    # Every item that reaches Python is known there.
    assert offered - {"play_next", "add_to_queue", "download"} <= set(ACTIONS)


def test_a_card_shows_marks_only_its_owner_needs_and_always_the_label() -> None:
    published = song(published=True)
    assert as_card(published, viewer=ADA)["badges"] == ["Take 1", "Published", "AI-generated"]
    assert as_card(published, viewer=None)["badges"] == ["AI-generated"]


def test_a_card_shows_who_made_the_song() -> None:
    pictured = song(artist_avatar="avatars/acc_1/0123456789abcdef01234567.webp")
    card = as_card(pictured, viewer=None)
    assert card["artist_picture"] == f"/api/v1/songs/{pictured.id}/files/artist?v=0123456789ab"
    plain = as_card(song(JobState.QUEUED), viewer=ADA)
    assert plain["artist_picture"] == ""
    assert plain["artist_colour"] == card["artist_colour"] == colour_of("Ada")
    assert as_card(song(artist="bob"), viewer=None)["artist_colour"] != colour_of("Ada")


def test_a_song_that_is_not_ready_cannot_be_played_but_says_why() -> None:
    card = as_card(song(JobState.FAILED, reason="The engine was lost.", title=""), viewer=ADA)
    assert card["status_text"] == "The engine was lost."
    assert "src" not in card


def test_a_song_without_a_title_is_called_by_what_was_asked_for() -> None:
    long = "a song about everything that ever happened on the way to the harbour and back"
    assert title_of(song(title="", description=long)) == "a song about everything that ever happened on the way to th…"
    assert title_of(song(title=long, description="short")) == long
    assert title_of(song(title="")) == "Untitled"


@pytest.mark.parametrize("rule", list(DownloadRule))
def test_a_published_song_offers_strangers_what_its_rule_allows(rule: DownloadRule) -> None:
    offered = {item["id"] for item in menu(song(published=True, download_rule=rule), viewer=None)}
    assert ("download" in offered) == (rule is DownloadRule.EVERYONE)


def test_a_state_is_called_the_same_everywhere() -> None:
    assert STATUS_TEXT == {
        JobState.QUEUED: "In the queue",
        JobState.PROCESSING: "Being made",
        JobState.PROCESSED: "Ready",
        JobState.FAILED: "Failed",
        JobState.CANCELLED: "Cancelled",
        JobState.NO_CREDITS: "Needs credits",
    }
    assert as_card(song(JobState.QUEUED), viewer=ADA)["status_text"] == "In the queue"


def test_one_credit_is_not_credits() -> None:
    assert [credits_text(number) for number in (0, 1, 2, 1200)] == [
        "0 credits",
        "1 credit",
        "2 credits",
        "1,200 credits",
    ]


def test_one_play_is_not_plays() -> None:
    for plays, shown in ((0, "**ada**"), (1, "**ada** · 1 play"), (1200, "**ada** · 1,200 plays")):
        page = AppTest.from_function(_heading, args=(song(play_count=plays),), default_timeout=60).run()
        assert not page.exception
        assert page.markdown[-1].value == shown


def _heading(song) -> None:
    from ui.widgets.song_view import draw_heading

    draw_heading(song, None)  # only an artist with a picture needs the services


def test_an_engine_that_left_keeps_its_name() -> None:
    assert engine_label(song(engine="left-long-ago")) == "left-long-ago"


def test_reuse_asks_for_this_very_take() -> None:
    brief = brief_of(
        song(
            prompt="synthwave",
            lyrics="la",
            seed=8,
            guidance_scale=15.0,
            duration_s=30.0,
            tempo_bpm=100.0,
            key="A minor",
        )
    )
    assert brief.mode is BriefMode.LYRICS
    assert (brief.take_seed(0), brief.take_guidance(0)) == (8, 15.0)
    catalogue.spec_of(brief.engine).fit(brief)


def test_a_double_click_has_one_key_and_a_later_or_other_wish_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.st, "session_state", {})
    wish, other = Brief(description="a waltz"), Brief(description="a march")
    first = state.submit_key(wish, now=NOW)
    assert state.submit_key(wish, now=NOW + timedelta(seconds=1)) == first
    assert state.submit_key(wish, now=NOW + timedelta(minutes=1)) != first
    assert state.submit_key(other, now=NOW + timedelta(minutes=1)) != first


def _details(song, viewer) -> None:
    from ui.widgets.song_view import draw_details

    draw_details(song, viewer=viewer)


def test_the_note_of_a_song_is_its_owners() -> None:
    noted = song(note="Two lines did [not] fit.")
    mine = AppTest.from_function(_details, args=(noted, ADA)).run()
    assert [info.value for info in mine.info] == [escape(noted.note)]
    assert not mine.exception
    for viewer, shown in ((None, noted), (ADA, song())):
        assert not AppTest.from_function(_details, args=(shown, viewer)).run().info
