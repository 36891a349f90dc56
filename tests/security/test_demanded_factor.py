"""Where a second factor is demanded, nothing opens without one but the doors and the page that set it up."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pyotp
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from configs.settings import WebSettings, settings
from data.database import Database
from data.passwords import hash_password
from data.repositories import accounts, api_keys, sessions
from serving.account_factors import owes_factor
from serving.api.app import make_app
from serving.api.services import Services
from studio.words.account import Account, Role
from studio.words.api_key import Scope
from ui import state, wiring
from ui.widgets import map as pages_map

PASSWORD = "correct horse battery"


def demanding(services: Services, whom: str) -> Services:
    web = WebSettings(second_factor=whom)  # type: ignore[arg-type]
    return replace(services, settings=services.settings.model_copy(update={"web": web}))


def person(services: Services, name: str, role: Role = Role.CREATOR, password: str | None = PASSWORD) -> Account:
    with services.database.transaction() as session:
        made = accounts.create(session, name=name, password_hash=password and hash_password(password))
        session.execute(text("UPDATE account SET role = :role WHERE id = :id"), {"role": role.value, "id": made.id})
    return replace(made, role=role)


@pytest.mark.parametrize("whom", ["offered", "team", "everybody"])
def test_of_whom_it_is_demanded(services, whom) -> None:
    house = demanding(services, whom)
    for role in Role:
        account = person(house, f"some-{role.value}", role)
        assert owes_factor(house, account) is (whom == "everybody" or (whom == "team" and role is not Role.CREATOR))
        assert not owes_factor(house, person(house, f"guest-{role.value}", role, password=None))


def browser_of(house: Services, account: Account) -> TestClient:
    browser = TestClient(make_app(house), base_url="http://127.0.0.1", headers={"X-Melodeon": "1"})
    with house.database.transaction() as session:
        ticket = sessions.begin(session, account.id, days=1).ticket
    assert browser.post("/auth/session", json={"ticket": ticket}).status_code == 204
    return browser


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, "" if answer.status_code < 400 else answer.json()["error"]


def test_until_it_is_set_up_its_owner_is_a_stranger_at_every_door(services) -> None:
    house = demanding(services, "everybody")
    ada = person(house, "ada")
    with house.database.transaction() as session:
        _, secret = api_keys.make(session, ada.id, "script", set(Scope))
    browser = browser_of(house, ada)
    program = TestClient(make_app(house), headers={"Authorization": f"Bearer {secret}"})
    closed = (("GET", "/songs"), ("GET", "/auth/keys"), ("GET", "/account/export"), ("GET", "/auth/sessions"))
    for method, path in closed:
        assert error_of(browser.request(method, path)) == (403, "factor_demanded"), path
    assert error_of(program.get("/songs")) == (403, "factor_demanded")
    assert browser.get("/discover").status_code == 200
    assert browser.get("/auth/me").json()["data"]["name"] == "ada"
    made = browser.post("/auth/totp", json={"password": PASSWORD}).json()["data"]
    code = pyotp.TOTP(made["secret"]).now()
    assert browser.post("/auth/totp/confirm", json={"code": code}).status_code == 200
    for method, path in closed:
        assert browser.request(method, path).status_code == 200, path
    assert program.get("/songs").status_code == 200
    # it cannot be switched off for longer than it takes to be asked for it again
    with house.database.transaction() as session:
        session.execute(text("DELETE FROM totp"))
    assert error_of(browser.get("/songs")) == (403, "factor_demanded")
    assert browser.delete("/auth/sessions").status_code == 204


def test_where_it_is_only_offered_nothing_is_asked(services) -> None:
    assert browser_of(services, person(services, "ada")).get("/songs").status_code == 200


@pytest.fixture
def product(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The pages of this process, in a house that demands a second factor of everybody."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    monkeypatch.setenv("MELODEON_WEB__SECOND_FACTOR", "everybody")
    for cached in (settings, wiring.services):
        cached.cache_clear()
    yield wiring.services()
    wiring.services().database.dispose()
    for cached in (settings, wiring.services):
        cached.cache_clear()


def test_the_pages_open_once_it_is_set_up_and_its_recovery_codes_are_kept(product) -> None:
    ada = person(product, "ada")
    with product.database.transaction() as session:
        begun = sessions.begin(session, ada.id, days=1)
    tab = AppTest.from_file(str(Path(pages_map.SYMBOL).parents[1] / "app.py"), default_timeout=60)
    tab.session_state["signed_in"] = state.SignedIn(account_id=ada.id, session_id=begun.session_id)
    tab.run()
    tab.switch_page("../pages/library.py").run()
    assert [title.value for title in tab.title] == ["One thing first"]
    password = next(found for found in tab.text_input if found.label == "Your password")
    password.set_value(PASSWORD)
    press(tab, "Set it up")
    code = next(found for found in tab.text_input if found.label == "Code from the app")
    code.set_value(pyotp.TOTP(tab.code[0].value).now())
    press(tab, "Switch it on")
    assert [title.value for title in tab.title] == ["One thing first"]
    assert len(tab.code[0].value.split()) == 10
    press(tab, "I have kept them")
    assert "One thing first" not in [title.value for title in tab.title]
    assert not tab.exception


def press(tab: AppTest, label: str) -> None:
    next(found for found in tab.button if found.label == label).click().run()
