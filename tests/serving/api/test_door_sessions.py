"""Signing in and out through the doors: cookies, tickets, locks, and the end of sessions."""

from dataclasses import replace

import httpx
import pytest

from configs.settings import WebSettings
from data.passwords import hash_password
from data.repositories import accounts, sessions
from serving.accounts import sign_up
from serving.api.services import Services

PASSWORD = "correct horse battery"
HEADERS = {"X-Melodeon": "1"}


@pytest.fixture
def ada(database):
    with database.transaction() as session:
        return sign_up(session, name="Ada", email="", password=PASSWORD, signup_credits=100, now=Services.now())


def sign_in(browser: httpx.Client, password: str = PASSWORD, name: str = "ada") -> httpx.Response:
    return browser.post("/auth/session", json={"name": name, "password": password})


def test_name_and_password_give_a_session_that_ends_by_signing_out(ada, signed_in) -> None:
    browser = signed_in(None)
    answer = sign_in(browser)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("melodeon_session=")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie  # the address is plain http
    assert browser.get("/auth/me").json()["data"] == {
        "id": ada.id, "name": "Ada", "role": "admin", "plan": "free", "email": "", "email_verified": False,
    }  # fmt: skip

    stolen = dict(browser.cookies)
    answer = browser.delete("/auth/session")
    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert browser.get("/auth/me").status_code == 401
    browser.cookies.update(stolen)
    assert browser.get("/auth/me").status_code == 401


def test_https_binds_the_cookie_to_the_host(ada, services, serve) -> None:
    https = services.settings.model_copy(update={"web": WebSettings(public_url="https://songs.example")})
    address = serve(replace(services, settings=https))
    with httpx.Client(base_url=address, headers=HEADERS) as browser:
        for answer in (sign_in(browser), browser.delete("/auth/session")):
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-melodeon_session=")
            assert "Secure" in cookie
            assert "HttpOnly" in cookie
            assert "Path=/" in cookie
            assert "Domain" not in cookie


def test_a_ticket_opens_one_session_once(ada, database, signed_in) -> None:
    with database.transaction() as session:
        ticket = sessions.begin(session, ada.id, days=1).ticket
    browser, late = signed_in(None), signed_in(None)
    assert browser.post("/auth/session", json={"ticket": ticket}).status_code == 204
    assert browser.get("/auth/me").json()["data"]["id"] == ada.id
    answer = late.post("/auth/session", json={"ticket": ticket})
    assert (answer.status_code, answer.json()["error"]) == (401, "wrong_password")
    assert "set-cookie" not in answer.headers


def test_signing_in_again_ends_the_former_session(ada, signed_in) -> None:
    browser, thief = signed_in(None), signed_in(None)
    sign_in(browser)
    thief.cookies.update(dict(browser.cookies))
    sign_in(browser)
    assert browser.get("/auth/me").status_code == 200
    assert thief.get("/auth/me").status_code == 401


@pytest.mark.parametrize("change", ["revoked everywhere", "new password"])
def test_a_session_dies_with_its_account_s_others(ada, database, signed_in, change) -> None:
    browser = signed_in(ada)
    assert browser.get("/auth/me").status_code == 200
    with database.transaction() as session:
        if change == "new password":
            accounts.set_password(session, ada.id, hash_password("another horse"))
        else:
            sessions.revoke_all(session, ada.id)
    assert browser.get("/auth/me").status_code == 401


def test_an_altered_cookie_is_nobody_s(ada, signed_in) -> None:
    browser = signed_in(ada)
    token = browser.cookies["melodeon_session"]
    for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), token + "x", "x", "é" * 9, "%00", token.upper()):
        answer = httpx.get(f"{browser.base_url}auth/me", headers=[(b"Cookie", f"melodeon_session={forged}".encode())])
        assert answer.status_code == 401, forged


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong password"), ("nobody", PASSWORD), ("", ""), ("\x00", "\ud800")]
)
def test_what_is_wrong_is_never_said(ada, signed_in, name, password) -> None:
    content = f'{{"name": "{name}", "password": "{password}"}}'.replace("\x00", "\\u0000").replace("\ud800", "x\\u0000")
    answer = signed_in(None).post("/auth/session", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 401
    assert answer.json() == {
        "ok": False, "error": "wrong_password", "message": "The name or the password is wrong.",
    }  # fmt: skip


def test_guessing_is_stopped_even_for_the_right_password(ada, signed_in) -> None:
    browser = signed_in(None)
    assert [sign_in(browser, "wrong password").status_code for _ in range(5)] == [401] * 5
    answer = sign_in(browser)
    assert (answer.status_code, answer.json()["error"]) == (429, "sign_in_locked")
    assert 1 <= int(answer.headers["retry-after"]) <= 180


def test_a_right_password_forgives_the_wrong_ones(ada, signed_in) -> None:
    browser = signed_in(None)
    for _ in range(2):
        for _ in range(4):
            assert sign_in(browser, "wrong password").status_code == 401
        assert sign_in(browser).status_code == 204


def test_an_account_without_a_password_cannot_sign_in(account, signed_in) -> None:
    assert sign_in(signed_in(None), "", account.name).status_code == 401
