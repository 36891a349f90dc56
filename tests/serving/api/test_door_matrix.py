"""Every door × (nobody, somebody else, the owner): nobody gets at what is not theirs, and a new door needs a row."""

from dataclasses import dataclass

import httpx
import pytest

from serving.api.app import make_app

# Placeholders in paths: {private} and {published} are finished songs of the owner, {job} a job of the owner.


@dataclass(frozen=True)
class Row:
    """What a door answers to whom."""

    method: str
    path: str
    nobody: int
    other: int
    owner: int
    json: dict | None = None
    route: str = ""


WISH = {"prompt": "folk", "instrumental": True}
ROWS = [
    Row("GET", "/health", 200, 200, 200),
    Row("GET", "/health/ready", 503, 503, 503),
    Row("GET", "/engines", 200, 200, 200),
    Row("POST", "/generate_from_description", 401, 202, 202, {"description": "rain"}),
    Row("POST", "/generate_with_lyrics", 401, 202, 202, WISH),
    Row("POST", "/generate_from_described_lyrics", 401, 202, 202, WISH),
    Row("POST", "/generate", 401, 202, 202, WISH),
    Row("GET", "/songs", 401, 200, 200),
    Row("GET", "/discover", 200, 200, 200),
    Row("GET", "/songs/{private}", 404, 404, 200),
    Row("GET", "/songs/{published}", 200, 200, 200),
    Row("PATCH", "/songs/{private}", 401, 404, 200, {"title": "Mine"}),
    Row("PATCH", "/songs/{published}", 401, 404, 200, {"title": "Mine"}),
    Row("POST", "/songs/{private}/publish", 401, 404, 200),
    Row("POST", "/songs/{published}/publish", 401, 404, 200),
    Row("POST", "/songs/{private}/plays", 404, 404, 204),
    Row("POST", "/songs/{published}/plays", 204, 204, 204),
    Row("GET", "/songs/{private}/stream", 404, 404, 200),
    Row("GET", "/songs/{published}/stream", 200, 200, 200),
    Row("HEAD", "/songs/{private}/stream", 404, 404, 200),
    Row("GET", "/songs/{private}/files/cover", 404, 404, 200, route="/songs/{song_id}/files/{role}"),
    Row("GET", "/songs/{published}/files/cover", 200, 200, 200, route="/songs/{song_id}/files/{role}"),
    Row("GET", "/songs/{private}/files/peaks", 404, 404, 200, route="/songs/{song_id}/files/{role}"),
    Row("GET", "/songs/{private}/files/wav", 404, 404, 404, route="/songs/{song_id}/files/{role}"),
    Row("GET", "/songs/{private}/files/nonsense", 404, 404, 404, route="/songs/{song_id}/files/{role}"),
    Row("GET", "/songs/{private}/download", 404, 404, 307),
    Row("GET", "/songs/{published}/download?form=mp3", 307, 307, 307, route="/songs/{song_id}/download"),
    Row("GET", "/jobs", 401, 200, 200),
    Row("GET", "/jobs/{job}", 401, 404, 200),
    Row("POST", "/jobs/{job}/cancel", 401, 404, 200),
    Row("POST", "/jobs/{job}/run", 401, 404, 202),
    Row("GET", "/credits", 401, 200, 200),
    Row("GET", "/credits/statement", 401, 200, 200),
    Row("GET", "/auth/me", 401, 200, 200),
    Row("POST", "/auth/session", 401, 401, 401, {"name": "nobody", "password": "no password"}),
    Row("GET", "/objects/{token}", 403, 403, 403, route="/objects/{token}"),
    Row("GET", "/events", 401, 200, 200),
    # From here on things and sessions end.
    Row("POST", "/songs/{private}/unpublish", 401, 404, 200),
    Row("POST", "/songs/{published}/unpublish", 401, 404, 200),
    Row("DELETE", "/songs/{private}", 401, 404, 200),
    Row("DELETE", "/songs/{published}", 401, 404, 200),
    Row("DELETE", "/auth/session", 204, 204, 204),
    Row("GET", "/metrics", 401, 401, 401),
]


def route_of(row: Row) -> tuple[str, str]:
    path = row.path.replace("{private}", "{song_id}").replace("{published}", "{song_id}").replace("{job}", "{job_id}")
    return row.method, row.route or path


def test_every_door_of_the_document_has_a_row(services) -> None:
    document = make_app(services).openapi()
    doors = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    rows = {route_of(row) for row in ROWS if row.method != "HEAD"}
    assert doors == rows


@pytest.fixture
def world(make_account, make_song, ask, signed_in):
    """Browsers of nobody, of somebody else and of an owner, and the owner's things. The first account is the admin."""
    make_account("admin")
    owner, other = make_account("owner"), make_account("other")
    things = {
        "private": make_song(owner).id,
        "published": make_song(owner, published=True).id,
        "job": ask(owner).id,
        "token": "forged",
    }
    return {"nobody": signed_in(None), "other": signed_in(other), "owner": signed_in(owner)}, things


def knock(browser: httpx.Client, row: Row, things: dict[str, str], **more) -> httpx.Response:
    # Closed after the head: the stream of events has no end.
    with browser.stream(row.method, row.path.format(**things), json=row.json, **more) as answer:
        if answer.headers.get("content-type", "").startswith("application/json"):
            answer.read()
        return answer


def test_strangers_get_nothing_and_owners_everything(world) -> None:
    browsers, things = world
    wrong = []
    for who in ("nobody", "other", "owner"):
        for row in ROWS:
            answer = knock(browsers[who], row, things)
            if answer.status_code != getattr(row, who):
                wrong.append(f"{who}: {row.method} {row.path} answered {answer.status_code}, not {getattr(row, who)}")
            if answer.status_code >= 400 and row.method != "HEAD" and answer.json()["ok"]:
                wrong.append(f"{who}: {row.method} {row.path} says ok with {answer.status_code}")
    assert wrong == []


def test_the_same_is_answered_for_what_is_not_there_and_what_is_not_yours(world) -> None:
    browsers, things = world
    absent = {"private": "song_" + "0" * 32, "published": "song_" + "0" * 32, "job": "job_" + "0" * 32, "token": "x"}
    no_id = dict.fromkeys(absent, "song_%00")
    for row in ROWS:
        if "{private}" not in row.path and "{job}" not in row.path:
            continue
        answers = [knock(browsers["other"], row, some) for some in (things, absent, no_id)]
        assert [answer.status_code for answer in answers] == [404] * 3, row
        if row.method != "HEAD":
            assert answers[0].json() == answers[1].json() == answers[2].json(), row


def test_no_writing_door_opens_for_another_site(world) -> None:
    browsers, things = world
    for row in ROWS:
        if row.method in ("GET", "HEAD"):
            continue
        for site in ("cross-site", "same-site"):
            answer = knock(browsers["owner"], row, things, headers={"Sec-Fetch-Site": site})
            assert (answer.status_code, answer.json()["error"]) == (403, "cross_site"), row
        answer = knock(browsers["owner"], row, things, headers={"X-Melodeon": "", "Origin": "https://evil.example"})
        assert answer.status_code == 403, row


def test_what_the_owner_typed_is_told_to_nobody_else(world) -> None:
    browsers, things = world
    path = f"/songs/{things['published']}"
    own, others = (browsers[who].get(path).json()["data"] for who in ("owner", "other"))
    assert own["description"] == "a song about the sea"
    assert set(own) - set(others) >= {"description", "prompt", "job_id", "seed", "reason"}
    assert "a song about the sea" not in str(others)


def test_an_admin_may_look_but_not_touch(world, database, signed_in) -> None:
    from data.repositories import accounts

    _, things = world
    with database.transaction() as session:
        admin = signed_in(accounts.by_name(session, "admin"))
    assert admin.get(f"/songs/{things['private']}").status_code == 200
    assert admin.get(f"/jobs/{things['job']}").status_code == 200
    for method, path in [
        ("POST", "songs/{private}/publish"),
        ("DELETE", "songs/{private}"),
        ("POST", "jobs/{job}/cancel"),
    ]:
        assert admin.request(method, "/" + path.format(**things)).status_code == 404
