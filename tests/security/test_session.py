"""Sessions as a browser has them: cookie flags, a new token at each sign-in, and how all of them end at once.

Goal 17: ``__Host-``, HttpOnly, Secure, Lax; dead at the next request after signing out or a new password; a new id at
every sign-in.
"""

from collections.abc import Callable
from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from configs.settings import WebSettings
from data.repositories import audit, sessions
from serving.account_confirm import NotConfirmed, Shown
from serving.account_sessions import end_session, sign_out_elsewhere
from serving.accounts import change_password, sign_in, sign_up
from serving.api.app import make_app
from serving.api.services import Services

PASSWORD, NEW = "correct horse battery", "another horse entirely"
NAME = "__Host-melodeon_session"
OpenTab = Callable[[], TestClient]


@pytest.fixture
def services(services: Services) -> Services:
    """The services of an installation that is reached by https."""
    https = WebSettings(public_url="https://songs.example")
    return replace(services, settings=services.settings.model_copy(update={"web": https}))


@pytest.fixture
def tab(services) -> OpenTab:
    """Opens browsers that nobody has signed in in."""
    app = make_app(services)
    return lambda: TestClient(app, base_url="https://songs.example", headers={"X-Melodeon": "1"})


@pytest.fixture
def ada(services):
    with services.database.transaction() as session:
        return sign_up(session, name="ada", email="", password=PASSWORD, signup_credits=0, now=services.now())


def enter(browser: TestClient, password: str = PASSWORD) -> str:
    """Sign in; the token of the cookie."""
    answer = browser.post("/auth/session", json={"name": "ada", "password": password})
    assert answer.status_code == 204, answer.text
    return SimpleCookie(answer.headers["set-cookie"])[NAME].value


def is_dead(browser: TestClient) -> bool:
    """Whether the very next request is nobody's: nothing is remembered from the one before."""
    return browser.get("/auth/me").status_code == 401


def test_the_cookie_belongs_to_this_host_over_https_and_to_no_script(ada, tab) -> None:
    answer = tab().post("/auth/session", json={"name": "ada", "password": PASSWORD})
    cookie = SimpleCookie(answer.headers["set-cookie"])[NAME]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "lax", "/")
    assert cookie["domain"] == ""
    assert int(cookie["max-age"]) == 14 * 86_400
    assert len(cookie.value) >= 43


def test_signing_up_signs_in_by_the_same_kind_of_cookie(tab) -> None:
    browser = tab()
    answer = browser.post("/auth/sign-up", json={"name": "eve", "password": PASSWORD, "email": "eve@example.org"})
    assert (answer.status_code, answer.json()["data"]["name"]) == (201, "eve")
    assert answer.headers["set-cookie"].startswith(NAME)
    assert browser.get("/auth/me").json()["data"]["email"] == ""


def test_every_sign_in_has_a_new_token_and_ends_the_old_one_of_this_browser(ada, tab) -> None:
    browser, thief = tab(), tab()
    first = enter(browser)
    thief.cookies.set(NAME, first)
    assert thief.get("/auth/me").status_code == 200
    assert enter(browser) != first
    assert is_dead(thief)


def test_a_token_that_somebody_else_chose_is_never_taken_over(ada, tab) -> None:
    browser = tab()
    browser.cookies.set(NAME, "fixed-by-the-attacker")
    assert enter(browser) != "fixed-by-the-attacker"


@pytest.mark.parametrize("how", ["sign out", "sign out everywhere", "new password", "end it elsewhere", "reset"])
def test_a_stolen_cookie_dies_with_its_session(ada, services, tab, how) -> None:
    browser, thief, elsewhere = tab(), tab(), tab()
    thief.cookies.set(NAME, enter(browser))
    enter(elsewhere)
    assert thief.get("/auth/me").status_code == 200
    if how == "sign out":
        answer = browser.delete("/auth/session")
    elif how == "sign out everywhere":
        answer = elsewhere.delete("/auth/sessions")
    elif how == "new password":
        answer = elsewhere.post("/auth/password", json={"old": PASSWORD, "new": NEW})
    elif how == "end it elsewhere":
        listed = elsewhere.get("/auth/sessions").json()["data"]["sessions"]
        assert [one["here"] for one in listed].count(True) == 1
        other = next(one for one in listed if not one["here"])
        answer = elsewhere.request("DELETE", f"/auth/sessions/{other['id']}", json={"password": PASSWORD})
    else:
        with services.database.transaction() as session:
            sessions.revoke_all(session, ada.id)
        answer = None
    assert answer is None or answer.status_code == 204
    assert is_dead(thief)
    assert elsewhere.get("/auth/me").status_code == (
        200 if how in ("sign out", "new password", "end it elsewhere") else 401
    )


def test_a_new_password_gives_this_browser_a_new_token(ada, tab) -> None:
    browser = tab()
    first = enter(browser)
    answer = browser.post("/auth/password", json={"old": PASSWORD, "new": NEW})
    assert SimpleCookie(answer.headers["set-cookie"])[NAME].value != first
    assert browser.get("/auth/me").status_code == 200
    assert tab().post("/auth/session", json={"name": "ada", "password": PASSWORD}).status_code == 401


def test_a_session_ends_by_its_date_and_nothing_makes_it_longer(ada, services, tab) -> None:
    browser = tab()
    enter(browser)
    with services.database.transaction() as session:
        before = session.execute(text("SELECT expires_at FROM session")).scalar_one()
        session.execute(text("UPDATE session SET seen_at = now() - interval '1 hour'"))
    assert browser.get("/auth/me").status_code == 200
    with services.database.transaction() as session:
        assert session.execute(text("SELECT expires_at FROM session")).scalar_one() == before
        session.execute(text("UPDATE session SET expires_at = now()"))
    assert is_dead(browser)


@pytest.mark.parametrize(
    "alter", [lambda t: t[:-1], lambda t: t + "A", lambda t: t.swapcase(), lambda _: "", lambda _: "%00"]
)
def test_an_altered_cookie_opens_nothing(ada, tab, alter) -> None:
    browser, forger = tab(), tab()
    forger.cookies.set(NAME, alter(enter(browser)))
    assert forger.get("/auth/me").status_code == 401


def test_a_cookie_of_another_name_is_not_ours(ada, tab) -> None:
    browser, forger = tab(), tab()
    forger.cookies.set("melodeon_session", enter(browser))  # without __Host-: a page of a sister domain may set it
    assert forger.get("/auth/me").status_code == 401


@pytest.mark.parametrize("ticket", ["", "x", "A" * 43, "\x00", "' OR 1=1 --"])
def test_a_forged_ticket_opens_nothing(ada, tab, ticket) -> None:
    answer = tab().post("/auth/session", json={"ticket": ticket, "name": "", "password": ""})
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


def test_a_ticket_is_good_once_and_for_half_a_minute(ada, services, tab) -> None:
    with services.database.transaction() as session:
        ticket, late = (sessions.begin(session, ada.id, days=1).ticket for _ in range(2))
    assert [tab().post("/auth/session", json={"ticket": ticket}).status_code for _ in range(2)] == [204, 401]
    with services.database.transaction() as session:
        session.execute(text("UPDATE ticket SET expires_at = now()"))
    assert tab().post("/auth/session", json={"ticket": late}).status_code == 401


def test_nobody_sees_or_ends_another_one_s_sessions(ada, services, tab) -> None:
    browser, eve = tab(), tab()
    enter(browser)
    eve.post("/auth/sign-up", json={"name": "eve", "password": PASSWORD})
    (target,) = browser.get("/auth/sessions").json()["data"]["sessions"]
    assert len(eve.get("/auth/sessions").json()["data"]["sessions"]) == 1
    assert eve.request("DELETE", f"/auth/sessions/{target['id']}", json={"password": PASSWORD}).status_code == 404
    assert browser.get("/auth/me").status_code == 200


@pytest.mark.parametrize("which", ["one", "others"])
def test_ending_other_sessions_takes_the_password_and_leaves_one_s_own(ada, services, tab, which) -> None:
    here, *elsewhere = (tab() for _ in range(3))
    for browser in (here, *elsewhere):
        enter(browser)
    listed = here.get("/auth/sessions").json()["data"]["sessions"]
    path = "others" if which == "others" else next(one["id"] for one in listed if not one["here"])
    for proof in ({}, {"password": "wrong password"}):
        answer = here.request("DELETE", f"/auth/sessions/{path}", json=proof)
        assert (answer.status_code, answer.json()["error"]) == (401, "wrong_password")
    assert not any(is_dead(browser) for browser in elsewhere)
    assert here.request("DELETE", f"/auth/sessions/{path}", json={"password": PASSWORD}).status_code == 204
    assert [is_dead(browser) for browser in elsewhere].count(True) == (2 if which == "others" else 1)
    assert not is_dead(here)
    if which == "others":
        with services.database.transaction() as session:
            assert audit.latest(session, subject=ada.id)[0].action == "signed_out_elsewhere"


def test_one_s_own_session_and_all_at_once_end_without_a_proof(ada, tab) -> None:
    browser, other = tab(), tab()
    enter(browser)
    enter(other)
    listed = browser.get("/auth/sessions").json()["data"]["sessions"]
    own = next(one["id"] for one in listed if one["here"])
    assert browser.request("DELETE", f"/auth/sessions/{own}", json={}).status_code == 204
    assert is_dead(browser)
    assert other.delete("/auth/sessions").status_code == 204
    assert is_dead(other)


def test_without_a_password_a_session_of_the_last_minutes_is_the_proof(services, make_account) -> None:
    eve = make_account("eve")
    with services.database.transaction() as session:
        old, fresh, third = (sessions.begin(session, eve.id, days=1).session_id for _ in range(3))
        session.execute(
            text("UPDATE session SET created_at = now() - interval '11 minutes' WHERE id = :id"), {"id": old}
        )
    with pytest.raises(NotConfirmed):
        end_session(services, eve, third, Shown(session_id=old))
    with pytest.raises(NotConfirmed):
        sign_out_elsewhere(services, eve, Shown(session_id=old))
    end_session(services, eve, third, Shown(session_id=fresh))
    sign_out_elsewhere(services, eve, Shown(session_id=fresh))
    with services.database.transaction() as session:
        assert [one.id for one in sessions.list_of(session, eve.id)] == [fresh]


def test_no_token_is_ever_in_an_answer(ada, tab) -> None:
    browser = tab()
    token = enter(browser)
    for path in ("/auth/me", "/auth/sessions", "/auth/keys"):
        assert token not in browser.get(path).text


def test_a_password_that_changed_after_it_was_looked_at_opens_no_session(services, ada) -> None:
    entered = sign_in(services.database, "ada", PASSWORD)
    changed = change_password(services.database, ada, PASSWORD, NEW)
    for account, opens in ((entered, False), (changed, True)):
        with services.database.transaction() as session:
            begun = sessions.begin(session, account.id, days=1, version=account.token_version)
            assert (sessions.account_of_session(session, begun.session_id) is not None) is opens
            assert (sessions.redeem_ticket(session, begun.ticket, user_agent="") is not None) is opens
