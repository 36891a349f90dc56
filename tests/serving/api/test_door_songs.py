"""Asking for songs by HTTP, and what owners do with them."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from data.repositories import songs as song_rows

DOORS = ["/generate_from_description", "/generate_with_description", "/generate-with-description"]


def rows(database) -> int:
    with database.transaction() as session:
        counts = (session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in ("job", "song"))
        return sum(counts)


def asked(answer: httpx.Response) -> dict:
    assert answer.status_code == 202, answer.text
    job = answer.json()["data"]["job"]
    assert job["state"] == "queued"
    assert len(job["song_ids"]) == 2
    return job


def brief_of(database, job: dict) -> dict:
    with database.transaction() as session:
        return session.execute(text("SELECT brief FROM job WHERE id = :id"), {"id": job["id"]}).scalar_one()


@pytest.fixture
def browser(account, signed_in) -> httpx.Client:
    return signed_in(account)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("field", ["description", "full_described_song", "fullDescribedSong"])
def test_a_description_under_all_its_names(browser, database, door, field) -> None:
    job = asked(browser.post(door, json={field: "a song about the sea"}))
    brief = brief_of(database, job)
    assert (brief["mode"], brief["description"], brief["takes"]) == ("description", "a song about the sea", 2)
    assert browser.get("/credits").json()["data"] == {"available_credits": 98, "held_credits": 2}


@pytest.mark.parametrize(
    "door", ["/generate_with_lyrics", "/generate_from_lyrics", "/generate-with-lyrics", "/generate"]
)
def test_lyrics_and_all_controls(browser, database, door) -> None:
    wish = {"prompt": "folk", "lyrics": "la", "title": "Sea", "engine": "builtin-song", "key": "A minor", "seed": 5}
    wish |= {"audio_duration": 30, "bpm": 90, "guidanceScale": 3.5}
    brief = brief_of(database, asked(browser.post(door, json=wish)))
    assert (brief["mode"], brief["prompt"], brief["lyrics"], brief["title"]) == ("lyrics", "folk", "la", "Sea")
    controls = {"duration_s": 30, "tempo_bpm": 90, "key": "A minor", "seed": 5, "steps": None, "guidance_scale": 3.5}
    assert brief["controls"] == controls


@pytest.mark.parametrize("door", ["/generate_from_described_lyrics", "/generate-with-described-lyrics", "/generate"])
@pytest.mark.parametrize("field", ["described_lyrics", "describedLyrics"])
def test_described_lyrics(browser, database, door, field) -> None:
    brief = brief_of(database, asked(browser.post(door, json={"prompt": "folk", field: "a ship", "seed": -1})))
    assert (brief["mode"], brief["described_lyrics"]) == ("described_lyrics", "a ship")
    assert brief["controls"]["seed"] >= 0


def test_generate_takes_a_description_alone(browser, database) -> None:
    assert brief_of(database, asked(browser.post("/generate", json={"description": "x"})))["mode"] == "description"
    for wish in ({"description": "x", "prompt": "y"}, {"prompt": "x", "lyrics": "y", "described_lyrics": "z"}):
        assert browser.post("/generate", json=wish).json()["error"] == "unfit_brief"


@pytest.mark.parametrize(
    "description", ["🎷🌊 sea", "أغنية عن البحر", "<script>alert(1)</script> & 'sea'", "x" * 2000, "海" * 2000]
)
def test_any_script_is_fine(browser, description) -> None:
    job = asked(browser.post("/generate", json={"description": description}))
    song = browser.get(f"/songs/{job['song_ids'][0]}").json()["data"]
    assert song["description"] == description


BAD = {
    "an empty description": {"description": "  "},
    "no text at all": {},
    "5,000 characters": {"description": "x" * 5000},
    "50,000 characters of lyrics": {"prompt": "folk", "lyrics": "x" * 50_000},
    "a long title": {"description": "x", "title": "x" * 101},
    "lyrics without a style": {"lyrics": "la"},
    "length 0": {"description": "x", "duration_s": 0},
    "length -5": {"description": "x", "duration_s": -5},
    "length NaN": {"description": "x", "duration_s": math.nan},
    "endless length": {"description": "x", "duration_s": math.inf},
    "length 1e9": {"description": "x", "duration_s": 1e9},
    "tempo 5": {"description": "x", "tempo_bpm": 5},
    "tempo 900": {"description": "x", "tempo_bpm": 900},
    "tempo 1e400": {"description": "x", "tempo_bpm": 10**400},
    "half a beat": {"description": "x", "tempo_bpm": 90.5},
    "unknown key": {"description": "x", "key": "H major"},
    "unknown engine": {"description": "x", "engine": "nonsense"},
    "an engine that makes no songs": {"description": "x", "engine": "builtin-cover"},
    "seed -2": {"description": "x", "seed": -2},
    "seed 2**31": {"description": "x", "seed": 2**31},
    "guidance 1000": {"description": "x", "guidance_scale": 1000},
    "steps, which the engine lacks": {"description": "x", "steps": 20},
    "a number as description": {"description": 5},
    "a list as description": {"description": ["x"]},
    "null as title": {"description": "x", "title": None},
    "text as tempo": {"description": "x", "tempo_bpm": "90"},
    "true as tempo": {"description": "x", "tempo_bpm": True},
    "text as instrumental": {"description": "x", "instrumental": "yes"},
    "an unknown field": {"description": "x", "mood": "sad"},
    "somebody's account": {"description": "x", "account_id": "acc_1"},
    "takes": {"description": "x", "takes": 4},
    "one field under two names": {"description": "x", "bpm": 90, "tempo_bpm": 90},
    "a NUL": {"description": "x\0y"},
    "half a surrogate pair": {"description": "\ud800"},
    "half a surrogate pair as a field": {"description": "x", "\ud800": 1},
    "half a surrogate pair as engine": {"description": "x", "engine": "\ud800"},
    "a NUL in the key": {"description": "x", "key": "A\0"},
    "a list": [],
    "a text": "x",
    "null": None,
}


@pytest.mark.parametrize("wish", BAD.values(), ids=BAD.keys())
def test_nonsense_is_refused_with_a_sentence_and_nothing_is_written(browser, database, wish) -> None:
    answer = browser.post("/generate", content=json.dumps(wish), headers={"Content-Type": "application/json"})
    said = answer.json()
    assert answer.status_code == 422, said
    assert said["ok"] is False
    assert said["message"][0].isupper() or said["message"].split(":")[0] in wish
    assert said["message"].endswith(".")
    assert len(said["message"]) < 400
    assert rows(database) == 0


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"description": "x"', {"Content-Type": "application/json"}, 422),
        (b"", {"Content-Type": "application/json"}, 422),
        (b'{"description": "\xff"}', {"Content-Type": "application/json"}, 400),
        (b"[" * 200_000, {"Content-Type": "application/json"}, 400),
        (b'{"description": "x"}', {"Content-Type": "text/plain"}, 422),
        (b"description=x", {"Content-Type": "application/x-www-form-urlencoded"}, 422),
        (b'{"description": "' + b"x" * 1_000_000 + b'"}', {"Content-Type": "application/json"}, 413),
    ],
    ids=["broken JSON", "nothing", "bad UTF-8", "deep", "plain text", "a form", "too large"],
)
def test_bodies_that_are_no_wish(browser, database, content, headers, status) -> None:
    answer = browser.post("/generate", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["ok"] is False
    assert answer.json()["message"].endswith(".")
    assert rows(database) == 0


def test_a_large_body_that_hides_its_length_is_broken_off(browser, database) -> None:
    answer = browser.post(
        "/generate", content=(b"x" * 10_000 for _ in range(150)), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert rows(database) == 0


def test_the_same_key_is_the_same_job(browser, database) -> None:
    key = {"Idempotency-Key": "once"}
    first = asked(browser.post("/generate", json={"description": "x"}, headers=key))
    again = asked(browser.post("/generate", json={"description": "x"}, headers=key))
    assert again["id"] == first["id"]
    assert rows(database) == 3
    other = browser.post("/generate", json={"description": "y"}, headers=key)
    assert (other.status_code, other.json()["error"]) == (409, "key_reused")
    assert "once" not in other.json()["message"]
    assert "door" not in other.json()["message"]
    assert browser.get("/credits").json()["data"]["held_credits"] == 2
    assert (
        browser.post("/generate", json={"description": "x"}, headers={"Idempotency-Key": "k" * 196}).status_code == 422
    )


def test_a_double_click_is_one_job(browser, database) -> None:
    def click(_: int) -> str:
        return asked(browser.post("/generate", json={"description": "x"}, headers={"Idempotency-Key": "once"}))["id"]

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(click, range(6)))) == 1
    assert rows(database) == 3


def test_keys_of_two_people_do_not_meet(browser, make_account, signed_in) -> None:
    key = {"Idempotency-Key": "once"}
    mine = asked(browser.post("/generate", json={"description": "x"}, headers=key))
    theirs = asked(signed_in(make_account()).post("/generate", json={"description": "x"}, headers=key))
    assert mine["id"] != theirs["id"]


def test_without_credits_the_wish_is_kept_and_can_be_run_later(make_account, signed_in, database) -> None:
    from billing import ledger
    from serving.api.services import Services

    poor = make_account(credits=1)
    browser = signed_in(poor)
    answer = browser.post("/generate", json={"description": "x"})
    assert (answer.status_code, answer.json()["error"]) == (402, "no_credits")
    assert "2 credits" in answer.json()["message"]
    job = answer.json()["details"]["job"]
    assert job["state"] == "no credits"
    again = browser.post(f"/jobs/{job['id']}/run")
    assert (again.status_code, again.json()["error"]) == (402, "no_credits")
    with database.transaction() as session:
        ledger.grant(session, poor.id, 5, key="gift", note="a gift", now=Services.now())
    assert asked(browser.post(f"/jobs/{job['id']}/run"))["id"] == job["id"]
    assert browser.get("/credits").json()["data"] == {"available_credits": 4, "held_credits": 2}
    kinds = [line["kind"] for line in browser.get("/credits/statement").json()["data"]["movements"]]
    assert kinds[-1] == "grant"


def test_jobs_are_read_cancelled_and_run_again(browser) -> None:
    job = asked(browser.post("/generate", json={"description": "x"}))
    read = browser.get(f"/jobs/{job['id']}").json()["data"]
    assert read["position"] == 0
    assert [found["id"] for found in browser.get("/jobs").json()["data"]["jobs"]] == [job["id"]]
    running = browser.post(f"/jobs/{job['id']}/run")
    assert (running.status_code, running.json()["error"]) == (409, "cannot_run_again")
    assert browser.post(f"/jobs/{job['id']}/cancel").json()["data"]["state"] == "cancelled"
    assert browser.get("/credits").json()["data"]["held_credits"] == 0
    asked(browser.post(f"/jobs/{job['id']}/run"))


def test_no_more_songs_wait_than_the_settings_allow(services, serve, browser) -> None:
    few = replace(services, settings=services.settings.model_copy(update={"queued_songs_max": 3}))
    with httpx.Client(base_url=serve(few), headers=browser.headers, cookies=dict(browser.cookies)) as browser_there:
        job = asked(browser_there.post("/generate", json={"description": "x"}))
        answer = browser_there.post("/generate", json={"description": "x"})
        assert (answer.status_code, answer.json()["error"]) == (429, "too_many_queued")
        assert answer.headers["retry-after"] == "5"
        browser_there.post(f"/jobs/{job['id']}/cancel")
        asked(browser_there.post("/generate", json={"description": "x"}))
        assert browser_there.post(f"/jobs/{job['id']}/run").status_code == 429


def test_a_song_being_made_is_cancelled_before_it_is_deleted(browser) -> None:
    job = asked(browser.post("/generate", json={"description": "x"}))
    path = f"/songs/{job['song_ids'][0]}"
    refused = browser.delete(path)
    assert (refused.status_code, refused.json()["error"]) == (409, "wrong_state")
    assert "Cancel it first" in refused.json()["message"]
    browser.post(f"/jobs/{job['id']}/cancel")
    assert browser.delete(path).status_code == 200


def test_songs_are_renamed_published_hidden_and_deleted(browser, account, make_song, signed_in, store) -> None:
    song, anybody = make_song(account), signed_in(None)
    path = f"/songs/{song.id}"
    assert browser.patch(path, json={"title": " Ebb <b>"}).json()["data"]["title"] == "Ebb <b>"
    for title, code in (("", "bad_title"), ("x" * 101, "bad_title"), ("a\0", "unkeepable_text")):
        answer = browser.patch(path, json={"title": title})
        assert (answer.status_code, answer.json()["error"]) == (422, code)
    assert anybody.get("/discover").json()["data"]["songs"] == []
    assert browser.post(path + "/publish").json()["data"]["published_at"]
    assert anybody.get("/discover").json()["data"]["songs"][0]["id"] == song.id
    assert browser.post(path + "/unpublish").json()["data"]["published_at"] is None
    assert anybody.get(path).status_code == 404
    assert browser.delete(path).json()["data"] == {"id": song.id}
    assert browser.get(path).status_code == 404
    assert browser.get(path + "/stream").status_code == 404


def test_only_a_finished_song_is_published(browser) -> None:
    job = asked(browser.post("/generate", json={"description": "x"}))
    answer = browser.post(f"/songs/{job['song_ids'][0]}/publish")
    assert (answer.status_code, answer.json()["error"]) == (409, "not_finished")


def test_pages_follow_each_other_without_gaps(browser, account, make_account, make_song) -> None:
    songs = [make_song(account, published=True).id for _ in range(3)]
    own = walk(browser, "/songs", 4)
    assert len(own) == len(set(own)) == 6
    assert [song for song in own if song in songs] == songs[::-1]
    assert walk(browser, "/discover", 2) == songs[::-1]


def walk(browser: httpx.Client, path: str, limit: int) -> list[str]:
    found, before = [], ""
    while before is not None:
        page = browser.get(path, params={"limit": limit, "before": before}).json()["data"]
        found += [song["id"] for song in page["songs"]]
        before = page["next"]
    return found


CURSORS = ["x", "é", "\0", "MjAyNg==", "fHw=", "%%%", "MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OXxzb25nXw==", "A" * 5000]


@pytest.mark.parametrize("path", ["/songs", "/discover"])
def test_a_cursor_that_is_not_ours_is_refused(browser, path) -> None:
    for cursor in CURSORS:
        answer = browser.get(path, params={"before": cursor})
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_cursor"), cursor
    for limit in ("0", "101", "-1", "x", "9" * 30):
        assert browser.get(path, params={"limit": limit}).status_code == 422


def test_plays_are_counted_for_listeners_only(browser, account, make_song, signed_in, database) -> None:
    song = make_song(account, published=True)
    beacon = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", "X-Melodeon": ""}
    anybody = signed_in(None)
    host = {"Origin": f"http://{anybody.base_url.netloc.decode()}", "X-Melodeon": ""}
    assert anybody.post(f"/songs/{song.id}/plays", content=b'{"listened_s": 31}', headers=beacon).status_code == 204
    assert anybody.post(f"/songs/{song.id}/plays", headers=host).status_code == 204
    assert browser.post(f"/songs/{song.id}/plays", json={"listened_s": 31}).status_code == 204
    for body in ({"listened_s": -1}, {"listened_s": "x"}, {"times": 100}, {"listened_s": None}, []):
        assert anybody.post(f"/songs/{song.id}/plays", json=body).status_code == 422
    bare = anybody.post(f"/songs/{song.id}/plays", headers={"X-Melodeon": ""})
    assert (bare.status_code, bare.json()["error"]) == (403, "cross_site")
    for foreign in ({**beacon, "Sec-Fetch-Site": "cross-site"}, {"Origin": "null", "X-Melodeon": ""}):
        assert anybody.post(f"/songs/{song.id}/plays", headers=foreign).status_code == 403
    with database.transaction() as session:
        assert song_rows.by_id(session, song.id).play_count == 2


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", True),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-b7ad6b7169203331-01-more", False),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", False),
        ("", False),
    ],
)
def test_the_callers_trace_goes_on_and_a_malformed_one_is_replaced(browser, database, header, kept) -> None:
    answer = browser.post("/generate", json={"description": "the sea"}, headers={"traceparent": header})
    with database.transaction() as session:
        found = session.execute(text("SELECT trace_id FROM job WHERE id = :id"), {"id": asked(answer)["id"]})
        trace_id = found.scalar_one()
    assert (trace_id == TRACE) is kept
    assert len(trace_id) == 32
    assert set(trace_id) != {"0"}
