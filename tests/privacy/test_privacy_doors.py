"""The doors to one's own data: who may ask, how often, and what proves that it is they."""

import io
import threading
import time
import zipfile
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from data.embedded_postgres import free_port
from data.passwords import hash_password
from data.repositories import accounts, api_keys, sessions
from serving.api.app import lifespan, make_app
from serving.api.identity import cookie_name
from serving.api.services import Services
from serving.api.views import PREFIX
from studio.words.account import Account
from studio.words.api_key import Scope

PASSWORD = "seven green bottles"


@pytest.fixture
def doors(services: Services) -> Iterator[str]:
    """The address of running doors."""
    made = make_app(services)
    app = Starlette(routes=[Mount(PREFIX, made)], lifespan=lambda _: lifespan(made))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}{PREFIX}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def ada(services: Services, make_account) -> Account:
    make_account("first")
    account = make_account("ada")
    with services.database.transaction() as session:
        accounts.set_password(session, account.id, hash_password(PASSWORD))
    return account


@pytest.fixture
def browser(doors: str, services: Services, ada: Account) -> Iterator[httpx.Client]:
    """Ada's."""
    with services.database.transaction() as session:
        ticket = sessions.begin(session, ada.id, days=1).ticket
        token = sessions.redeem_ticket(session, ticket, user_agent="tests")
    with httpx.Client(base_url=doors, headers={"X-Melodeon": "1"}, timeout=60.0) as client:
        client.cookies.set(cookie_name(services), token or "")
        yield client


def test_the_archive_comes_as_a_file_and_not_too_often(browser: httpx.Client) -> None:
    answer = browser.get("/account/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert "melodeon-ada-" in answer.headers["content-disposition"]
    assert "no-store" in answer.headers["cache-control"]
    assert "tables/account.jsonl" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    answers = [browser.get("/account/export").status_code for _ in range(6)]
    assert answers[-1] == 429


def test_leaving_by_the_door_takes_the_password_and_takes_the_cookie_away(browser, services, ada) -> None:
    refused = browser.request("DELETE", "/account", json={"password": "wrong"})
    assert (refused.status_code, refused.json()["error"]) == (401, "wrong_password")
    assert browser.get("/auth/me").status_code == 200
    left = browser.request("DELETE", "/account", json={"password": PASSWORD})
    assert left.status_code == 204
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert browser.get("/auth/me").status_code == 401
    with services.database.transaction() as session:
        assert accounts.by_id(session, ada.id) is None


def test_no_key_takes_or_ends_what_is_somebodys(doors, services, ada) -> None:
    with services.database.transaction() as session:
        _, secret = api_keys.make(session, ada.id, "all", set(Scope))
    with httpx.Client(base_url=doors, headers={"Authorization": f"Bearer {secret}"}, timeout=60.0) as program:
        for method, path, body in (("GET", "/account/export", None), ("DELETE", "/account", {"password": PASSWORD})):
            answer = program.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]) == (403, "key_refused")
