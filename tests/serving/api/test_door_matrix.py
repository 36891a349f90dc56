"""Every door × six kinds of people: nobody gets at what is not theirs, and a new door needs a row.

How to add a door: one `Row` with its method, its path as the document spells it (or ``route=`` where the path is
filled in by hand) and who gets which status, by `everybody`, `members` …, or six numbers in the order of `ROLES`.
Placeholders in paths: {private} and {published} are finished songs of the owner, {job} a job of the owner; each kind
of people finds others, so that what one of them ends is still there for the next. {account} is somebody else's.
{followers} and {closed} are published songs that only followers, or nobody else, may download.

There are no rows for followers yet, so no door can know one: the column of the follower must answer as that of the
other. What the policy will say to them (``follows=True``) is in tests/data/test_access.py.
"""

from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import text

from data.repositories import songs
from serving.api.app import make_app
from studio.words.song import DownloadRule

ROLES = ("anonymous", "other", "follower", "owner", "moderator", "admin")

Statuses = tuple[int, int, int, int, int, int]


def everybody(status: int) -> Statuses:
    """The door makes no difference."""
    return (status,) * 6


def members(status: int, *, anonymous: int = 401) -> Statuses:
    """For whoever is signed in; each sees their own things there."""
    return (anonymous, *(status,) * 5)


def seers(status: int, *, others: int = 404) -> Statuses:
    """For the owner and for those who answer for the house."""
    return (others, others, others, status, status, status)


def hiders(status: int) -> Statuses:
    """The owner, and those who answer for the house: they may take a song away from everybody."""
    return (401, 404, 404, status, status, status)


def owners(status: int, *, others: int = 404, anonymous: int = 401) -> Statuses:
    """For the owner alone: moderators and admins do not act in somebody's name."""
    return (anonymous, others, others, status, others, others)


@dataclass(frozen=True)
class Row:
    """What a door answers to whom."""

    method: str
    path: str
    statuses: Statuses
    json: dict | None = None
    route: str = ""

    def status(self, who: str) -> int:
        return self.statuses[ROLES.index(who)]


WISH = {"prompt": "folk", "instrumental": True}
GOOD = "correct horse battery"
FILE = "/songs/{song_id}/files/{role}"
# Nobody here has a password: where one is asked for, a session that has just begun is proof enough.
ROWS = [
    Row("GET", "/health", everybody(200)),
    Row("GET", "/health/ready", everybody(503)),
    Row("GET", "/engines", everybody(200)),
    Row("POST", "/generate_from_description", members(202), {"description": "rain"}),
    Row("POST", "/generate_with_lyrics", members(202), WISH),
    Row("POST", "/generate_from_described_lyrics", members(202), WISH),
    Row("POST", "/generate", members(202), WISH),
    Row("GET", "/songs", members(200)),
    Row("GET", "/discover", everybody(200)),
    Row("GET", "/songs/{private}", seers(200)),
    Row("GET", "/songs/{published}", everybody(200)),
    Row("PATCH", "/songs/{private}", owners(200), {"title": "Mine"}),
    Row("PATCH", "/songs/{published}", owners(200), {"title": "Mine"}),
    Row("POST", "/songs/{private}/publish", owners(200)),
    Row("POST", "/songs/{published}/publish", owners(200)),
    Row("POST", "/songs/{private}/plays", seers(204)),
    Row("POST", "/songs/{published}/plays", everybody(204)),
    Row("GET", "/songs/{private}/stream", seers(200)),
    Row("GET", "/songs/{published}/stream", everybody(200)),
    Row("HEAD", "/songs/{private}/stream", seers(200)),
    Row("GET", "/songs/{private}/files/cover", seers(200), route=FILE),
    Row("GET", "/songs/{published}/files/cover", everybody(200), route=FILE),
    Row("GET", "/songs/{private}/files/peaks", seers(200), route=FILE),
    # nobody here has a picture; test_door_media has one
    Row("GET", "/songs/{published}/files/artist", everybody(404), route=FILE),
    Row("GET", "/songs/{private}/files/wav", everybody(404), route=FILE),
    Row("GET", "/songs/{private}/files/nonsense", everybody(404), route=FILE),
    Row("GET", "/songs/{private}/download", owners(307, anonymous=404)),
    Row("GET", "/songs/{published}/download?form=mp3", everybody(307), route="/songs/{song_id}/download"),
    Row("GET", "/songs/{followers}/download", owners(307, anonymous=404)),
    Row("GET", "/songs/{closed}/download", owners(307, anonymous=404)),
    Row("GET", "/jobs", members(200)),
    Row("GET", "/jobs/{job}", (401, 404, 404, 200, 404, 200)),
    Row("POST", "/jobs/{job}/cancel", owners(200)),
    Row("POST", "/jobs/{job}/run", owners(202)),
    Row("GET", "/credits", members(200)),
    Row("GET", "/credits/statement", members(200)),
    Row("GET", "/credits/statement.csv", members(200)),
    Row("GET", "/billing/prices", everybody(200)),
    # No payment service is connected in these tests.
    Row("POST", "/billing/checkout", members(503), {"item": "usd_10"}),
    Row("POST", "/billing/portal", members(503)),
    Row("GET", "/billing/session?id=cs_1", members(404), route="/billing/session"),
    Row("POST", "/webhooks/stripe", everybody(503)),
    Row("GET", "/auth/me", members(200)),
    Row("POST", "/auth/session", everybody(401), {"ticket": "forged"}),
    Row("POST", "/auth/sign-up", everybody(422), {"name": "eve", "password": "short"}),
    Row("POST", "/auth/verify", everybody(400), {"token": "forged"}),
    Row("POST", "/auth/verify/again", members(202)),
    Row("POST", "/auth/reset", everybody(202), {"email": "nobody@example.org"}),
    Row("POST", "/auth/reset/confirm", everybody(400), {"token": "forged", "password": GOOD}),
    # Nobody here has a password to confirm with.
    Row("POST", "/auth/password", everybody(401), {"old": GOOD, "new": GOOD}),
    Row("POST", "/auth/email", everybody(401), {"password": GOOD, "email": "new@example.org"}),
    Row("POST", "/auth/totp", everybody(401), {"password": GOOD}),
    Row("POST", "/auth/totp/confirm", everybody(401), {"code": "000000"}),
    Row("POST", "/auth/totp/end", members(204), {}),
    Row("GET", "/auth/sessions", members(200)),
    Row("GET", "/auth/keys", members(200)),
    Row("POST", "/auth/keys", members(201), {"label": "tests", "scopes": ["read"]}),
    Row("DELETE", "/auth/keys/none", members(404), route="/auth/keys/{key_id}"),
    Row("DELETE", "/auth/sessions/others", members(204), {}),
    Row("DELETE", "/auth/sessions/none", members(404), {}, route="/auth/sessions/{session_id}"),
    Row("DELETE", "/admin/accounts/{account}/sessions", (401, 404, 404, 404, 404, 204)),
    Row("GET", "/account/export", members(200)),
    Row("GET", "/objects/{token}", everybody(403), route="/objects/{token}"),
    Row("GET", "/events", members(200)),
    # From here on things and sessions end.
    Row("POST", "/songs/{private}/unpublish", hiders(200)),
    Row("POST", "/songs/{published}/unpublish", hiders(200)),
    Row("DELETE", "/songs/{private}", owners(200)),
    Row("DELETE", "/songs/{published}", owners(200)),
    Row("DELETE", "/auth/sessions", members(204)),
    # All sessions have just ended; tests/privacy sees what happens while one lives.
    Row("DELETE", "/account", everybody(401), {"password": GOOD}),
    Row("DELETE", "/auth/session", everybody(204)),
    Row("GET", "/metrics", everybody(401)),
]


PLACEHOLDERS = {
    **dict.fromkeys(("private", "published", "followers", "closed"), "song_id"),
    "job": "job_id",
    "account": "account_id",
}


PREFIXES = {"job": "job_", "account": "acc_"}


def route_of(row: Row) -> tuple[str, str]:
    path = row.path
    for ours, theirs in PLACEHOLDERS.items():
        path = path.replace(f"{{{ours}}}", f"{{{theirs}}}")
    return row.method, row.route or path


def test_every_door_of_the_document_has_a_row(services) -> None:
    document = make_app(services).openapi()
    doors = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    rows = {route_of(row) for row in ROWS if row.method != "HEAD"}
    assert doors == rows


def test_a_follower_is_nobody_special_yet() -> None:
    assert all(row.status("follower") == row.status("other") for row in ROWS)


@pytest.fixture
def world(database, make_account, make_song, ask, signed_in):
    """A browser for each of `ROLES`, and the owner's things for each of them. The first account is the admin."""
    people = {who: make_account(who) for who in ("admin", "owner", "other", "follower", "moderator")}
    with database.transaction() as session:
        session.execute(text("UPDATE account SET role = 'moderator' WHERE name = 'moderator'"))
    shared = {"token": "forged", "account": make_account("bystander").id}
    for rule in (DownloadRule.FOLLOWERS, DownloadRule.NOBODY):
        song_id = make_song(people["owner"]).id
        with database.transaction() as session:
            songs.publish(session, song_id, download_rule=rule)
        shared["followers" if rule is DownloadRule.FOLLOWERS else "closed"] = song_id
    owner = people["owner"]
    made = {who: {flag: make_song(owner, published=flag).id for flag in (False, True)} for who in ROLES}
    things = {
        who: {**shared, "private": made[who][False], "published": made[who][True], "job": ask(owner).id}
        for who in ROLES
    }
    return {who: signed_in(people.get(who)) for who in ROLES}, things


def knock(browser: httpx.Client, row: Row, things: dict[str, str], **more) -> httpx.Response:
    # Closed after the head: the stream of events has no end.
    with browser.stream(row.method, row.path.format(**things), json=row.json, **more) as answer:
        if answer.headers.get("content-type", "").startswith("application/json"):
            answer.read()
        return answer


def test_everybody_gets_what_is_theirs_and_nothing_else(world) -> None:
    browsers, things = world
    wrong = []
    for who in ROLES:
        for row in ROWS:
            answer = knock(browsers[who], row, things[who])
            if answer.status_code != row.status(who):
                wrong.append(f"{who}: {row.method} {row.path} answered {answer.status_code}, not {row.status(who)}")
            if answer.status_code >= 400 and row.method != "HEAD" and answer.json()["ok"]:
                wrong.append(f"{who}: {row.method} {row.path} says ok with {answer.status_code}")
    assert wrong == []


def test_the_same_is_answered_for_what_is_not_there_and_what_is_not_yours(world) -> None:
    browsers, things = world
    absent = {name: PREFIXES.get(name, "song_") + "0" * 32 for name in things["other"]}
    no_id = dict.fromkeys(absent, "song_%00")
    for row in ROWS:
        if not {"{private}", "{job}", "{account}"} & set(row.path.split("/")):
            continue
        answers = [knock(browsers["other"], row, some) for some in (things["other"], absent, no_id)]
        assert [answer.status_code for answer in answers] == [404] * 3, row
        if row.method != "HEAD":
            assert answers[0].json() == answers[1].json() == answers[2].json(), row


def test_no_writing_door_opens_for_another_site(world) -> None:
    browsers, things = world
    for row in ROWS:
        # a message's signature is what lets it in, and it comes from another site by its nature
        if row.method in ("GET", "HEAD") or row.path == "/webhooks/stripe":
            continue
        for site in ("cross-site", "same-site"):
            answer = knock(browsers["owner"], row, things["owner"], headers={"Sec-Fetch-Site": site})
            assert (answer.status_code, answer.json()["error"]) == (403, "cross_site"), row
        headers = {"X-Melodeon": "", "Origin": "https://evil.example"}
        answer = knock(browsers["owner"], row, things["owner"], headers=headers)
        assert answer.status_code == 403, row


def test_what_the_owner_typed_is_told_to_nobody_else(world) -> None:
    browsers, things = world
    path = f"/songs/{things['owner']['published']}"
    own, *others = (browsers[who].get(path).json()["data"] for who in ("owner", "other", "moderator", "admin"))
    assert own["description"] == "a song about the sea"
    for seen in others:
        assert set(own) - set(seen) >= {"description", "prompt", "job_id", "seed", "reason"}
        assert "a song about the sea" not in str(seen)


def test_a_moderator_takes_a_song_away_from_everybody_but_its_owner(world) -> None:
    browsers, things = world
    path = f"/songs/{things['other']['published']}"
    assert browsers["other"].get(path).status_code == 200
    assert browsers["moderator"].post(path + "/unpublish").status_code == 200
    assert {who: browsers[who].get(path).status_code for who in ROLES} == dict(zip(ROLES, seers(200), strict=True))
