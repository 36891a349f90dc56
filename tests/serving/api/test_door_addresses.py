"""Under ``/api`` there are the doors and nothing else, whoever else serves the process."""

import asyncio
import itertools
import re
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from configs.settings import settings
from serving.api.addresses import OnlyDoors
from serving.api.app import alone, make_app
from serving.api.links import LINKS

PAGE = "a page of somebody else's"


def ask(app, method: str, path: str) -> httpx.Response:
    """One request whose address arrives as it is written: clients climb where it says ``..`` before they send it."""
    headers = [(b"host", b"test"), (b"x-melodeon", b"1")]
    line = {"method": method, "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope = {"type": "http", "scheme": "http", "headers": headers, "server": ("test", 80), **line}
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent)
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=content)


@pytest.fixture
def among_pages(services) -> Starlette:
    """The doors mounted where every other address is answered by a page, as Streamlit's are."""

    def page(_) -> PlainTextResponse:
        return PlainTextResponse(PAGE)

    routes = [Mount("/api/v1", make_app(services)), Route("/{any:path}", page, methods=["GET"])]
    return Starlette(routes=routes, middleware=[Middleware(OnlyDoors)])


@pytest.fixture
def by_themselves(tmp_path, monkeypatch) -> Starlette:
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setattr("serving.api.app.configure", lambda *_, **__: None)
    settings.cache_clear()
    try:
        return alone()
    finally:
        settings.cache_clear()


NOWHERE = [
    ("GET", "/api"), ("POST", "/api"), ("GET", "/api/"), ("GET", "/api/v1"), ("POST", "/api/v1"), ("GET", "/api/v2/x"),
    ("POST", "/api/plays"), ("GET", "/api//v1/health"), ("GET", "/api/v1%0A"), ("GET", "/api/v1/health%0A"),
    ("GET", "/api/v1/songs/a%0Ab"), ("POST", "/api/v1/songs/a%0Ab/plays"), ("POST", "/api/v1/songs/%0d/plays"),
    ("GET", "/api/v1/songs/a%00b"), ("POST", "/api/v1/songs/../plays"), ("POST", "/api/v1/songs/%2e%2e/plays"),
    ("GET", "/api/v1/songs/..%5c..%5cplays"), ("GET", "/api/v1/.."), ("GET", "/api/../discover"),
]  # fmt: skip


def test_what_is_no_door_is_nothing(among_pages, by_themselves) -> None:
    for app, (method, path) in itertools.product((among_pages, by_themselves), NOWHERE):
        answer = ask(app, method, path)
        assert answer.status_code == 404, path
        assert answer.json() == {"ok": False, "error": "http", "message": "There is nothing at this address."}, path


def test_other_addresses_are_left_to_the_pages(among_pages, by_themselves) -> None:
    for path in ("/", "/apis", "/API/v1/health", "/discover", "/discover/.."):
        assert ask(among_pages, "GET", path).text == PAGE
        assert ask(by_themselves, "GET", path).json()["ok"] is False
    assert ask(among_pages, "GET", "/api/v1/health").json()["ok"] is True


ALLOWED = {
    ("PUT", "/songs/x"): "GET, PATCH, DELETE",
    ("OPTIONS", "/auth/session"): "POST, DELETE",
    ("DELETE", "/songs"): "GET",
    ("POST", "/songs/x/stream"): "GET, HEAD",
    ("GET", "/songs/x/plays"): "POST",
}


def test_a_wrong_method_is_told_all_that_its_address_knows(among_pages) -> None:
    for (method, path), allow in ALLOWED.items():
        answer = ask(among_pages, method, f"/api/v1{path}")
        assert (answer.status_code, answer.headers["allow"], answer.json()["ok"]) == (405, allow, False), path


def test_the_document_links_what_an_answer_names_to_the_doors_that_ask_for_it(services) -> None:
    document = make_app(services).openapi()
    doors = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    by_id = {operation["operationId"]: door for door, operation in doors.items()}
    linked = {
        source: {by_id[target] for answer in operation["responses"].values() for target in answer.get("links", ())}
        for source, operation in doors.items()
    }
    assert {source for source, targets in linked.items() if targets} == set(LINKS)
    assert {door for door in doors if re.search(r"{(song|job)_id}", door)} == linked["POST /generate"]
    assert linked["GET /auth/sessions"] == {"DELETE /auth/sessions/{session_id}"}
