"""Accounts through the doors: signing up, links in letters, second factors, API keys with scopes, and limits."""

import re
from dataclasses import replace

import httpx
import pyotp
import pytest
from sqlalchemy import text

from configs.settings import LimitSettings
from data.repositories import accounts, api_keys
from serving.account_proofs import verify_email
from serving.accounts import sign_up
from serving.api.app import DOORS, make_app
from serving.api.services import Services
from serving.letters import Letter
from serving.post_round import send_waiting
from studio.words.account import Account
from studio.words.api_key import Scope
from studio.words.brief import Brief

PASSWORD, NEW = "correct horse battery", "another horse entirely"
HOME = "https://songs.example"


class Pigeon:
    """Keeps the letters that it should carry."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def send(self, letter: Letter) -> None:
        self.letters.append(letter)


def token_sent(services: Services) -> str:
    """The token of the one letter that waits."""
    pigeon = Pigeon()
    send_waiting(services.database, pigeon, address=HOME)
    (letter,) = pigeon.letters
    found = re.search(r"token=([\w-]+)", letter.text)
    assert found is not None
    return found[1]


@pytest.fixture
def ada(services) -> Account:
    """Has proved ada@example.org."""
    with services.database.transaction() as session:
        sign_up(session, name="ada", email="ada@example.org", password=PASSWORD, signup_credits=100, now=services.now())
    return verify_email(services.database, token_sent(services))


def key_of(services: Services, account: Account, *scopes: Scope) -> str:
    with services.database.transaction() as session:
        return api_keys.make(session, account.id, "tests", scopes)[1]


@pytest.fixture
def program(address, services, ada):
    """A program with a key of ada's: ``program(Scope.READ)``, or with any text as its key."""
    clients: list[httpx.Client] = []

    def make(*scopes: Scope, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or key_of(services, ada, *scopes)}"}
        clients.append(httpx.Client(base_url=address, headers=headers, timeout=60.0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_a_program_signs_up_proves_its_address_and_sets_a_new_password(services, signed_in) -> None:
    browser = signed_in(None)
    answer = browser.post("/auth/sign-up", json={"name": "eve", "email": "eve@example.org", "password": PASSWORD})
    assert answer.status_code == 201
    assert browser.get("/auth/me").json()["data"]["email_verified"] is False
    assert browser.post("/auth/verify", json={"token": token_sent(services)}).json()["data"] == {
        "email": "eve@example.org"
    }
    assert browser.get("/auth/me").json()["data"]["email_verified"] is True
    assert browser.post("/auth/reset", json={"email": "eve@example.org"}).status_code == 202
    answer = browser.post("/auth/reset/confirm", json={"token": token_sent(services), "password": NEW})
    assert answer.status_code == 204
    assert browser.get("/auth/me").status_code == 401
    assert browser.post("/auth/session", json={"name": "eve@example.org", "password": NEW}).status_code == 204


def test_a_taken_address_gets_the_answer_of_a_free_one(ada, signed_in) -> None:
    answers = []
    for name, email in (("bob", "bob@example.org"), ("eve", "ada@example.org")):
        answer = signed_in(None).post("/auth/sign-up", json={"name": name, "email": email, "password": PASSWORD})
        data = answer.json()["data"]
        answers.append((answer.status_code, sorted(answer.headers), {**data, "id": "", "name": ""}))
    assert answers[0] == answers[1]
    resets = [
        signed_in(None).post("/auth/reset", json={"email": email}) for email in ("ada@example.org", "x@example.org")
    ]
    assert [(answer.status_code, answer.content) for answer in resets] == [(202, b'{"ok":true,"data":{}}')] * 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "ADA", "password": PASSWORD}, "name_taken"), ({"name": "<b>", "password": PASSWORD}, "bad_name"),
        ({"name": "eve", "password": "password"}, "weak_password"),
        ({"name": "eve", "password": PASSWORD, "email": "eve@localhost"}, "bad_email"),
        ({"name": "eve", "password": PASSWORD, "role": "admin"}, "bad_request"),
        ({"name": "eve", "password": PASSWORD, "email": "a@b.de\nBcc: c@d.de"}, "bad_email"),
        ({"name": "eve", "password": "\x00" * 3}, "weak_password"),
    ],
)  # fmt: skip
def test_what_cannot_be_signed_up_is_told_and_leaves_nothing(ada, services, signed_in, body, code) -> None:
    answer = signed_in(None).post("/auth/sign-up", json=body)
    assert (answer.status_code in (409, 422), answer.json()["error"], "set-cookie" in answer.headers) == (
        True,
        code,
        False,
    )
    with services.database.transaction() as session:
        assert accounts.by_name(session, "eve") is None


def test_a_second_factor_is_asked_for_at_the_door(ada, services, signed_in) -> None:
    browser, other = signed_in(ada), signed_in(None)
    made = browser.post("/auth/totp", json={"password": PASSWORD}).json()["data"]
    assert made["address"].startswith("otpauth://totp/Melodeon:ada")
    code = pyotp.TOTP(made["secret"]).now()
    codes = browser.post("/auth/totp/confirm", json={"code": code}).json()["data"]["recovery_codes"]
    assert len(codes) == 10
    body = {"name": "ada", "password": PASSWORD}
    answers = [other.post("/auth/session", json={**body, "code": each}) for each in ("", code, codes[0], codes[0])]
    assert [answer.status_code for answer in answers] == [401, 401, 204, 401]
    assert [answer.json()["error"] for answer in answers if answer.status_code == 401] == [
        "code_needed", "wrong_code", "wrong_code",
    ]  # fmt: skip
    ending = [browser.post("/auth/totp/end", json={"password": PASSWORD, "code": each}) for each in ("", codes[1])]
    assert [answer.status_code for answer in ending] == [401, 204]
    assert ending[0].json()["error"] == "code_needed"
    assert other.post("/auth/session", json=body).status_code == 204


def test_moving_to_another_address_through_the_doors(ada, services, signed_in) -> None:
    browser = signed_in(ada)
    assert browser.post("/auth/email", json={"password": "no", "email": "new@example.org"}).status_code == 401
    assert browser.post("/auth/email", json={"password": PASSWORD, "email": "new@example.org"}).status_code == 202
    assert browser.post("/auth/verify/again").status_code == 202
    pigeon = Pigeon()
    send_waiting(services.database, pigeon, address=HOME)
    assert [letter.to_address for letter in pigeon.letters] == ["new@example.org"] * 2


# API keys


def test_a_key_is_told_once_used_without_a_cookie_and_ended(ada, signed_in, program) -> None:
    browser = signed_in(ada)
    wish = {"label": "my script", "scopes": ["read"], "days": 30}
    refused = [browser.post("/auth/keys", json=wish | proof) for proof in ({}, {"password": "wrong password"})]
    assert [(answer.status_code, answer.json()["error"]) for answer in refused] == [(401, "wrong_password")] * 2
    answer = browser.post("/auth/keys", json=wish | {"password": PASSWORD})
    assert answer.status_code == 201
    made = answer.json()["data"]
    assert made["secret"].startswith(made["key"]["shown"])
    (listed,) = browser.get("/auth/keys").json()["data"]["keys"]
    assert (listed["id"], listed["scopes"]) == (made["key"]["id"], ["read"])
    assert made["secret"] not in browser.get("/auth/keys").text
    script = program(key=made["secret"])
    assert script.get("/auth/me").json()["data"]["name"] == "ada"
    assert browser.delete(f"/auth/keys/{listed['id']}").status_code == 204
    answer = script.get("/auth/me")
    assert (answer.status_code, answer.json()["error"]) == (401, "bad_api_key")
    assert browser.delete(f"/auth/keys/{listed['id']}").status_code == 404


WISH = {"description": "rain on a Sunday"}


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        (Scope.READ, "GET", "/songs", 200), (Scope.READ, "GET", "/jobs", 200), (Scope.READ, "GET", "/credits", 200),
        (Scope.READ, "GET", "/discover", 200), (Scope.READ, "POST", "/generate_from_description", 403),
        (Scope.CREATE, "POST", "/generate_from_description", 202), (Scope.CREATE, "GET", "/songs", 403),
        (Scope.BILLING, "GET", "/songs", 403), (Scope.BILLING, "POST", "/generate_from_description", 403),
        (Scope.READ, "POST", "/billing/portal", 403), (Scope.CREATE, "POST", "/billing/portal", 403),
        (Scope.BILLING, "POST", "/billing/portal", 503),
    ],
)  # fmt: skip
def test_a_key_does_what_its_scope_says(program, scope, method, path, status) -> None:
    answer = program(scope).request(method, path, json=WISH if "generate" in path else None)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["error"] == "key_refused"


def test_no_key_manages_an_account_and_no_new_door_opens_by_chance(services, program) -> None:
    everything = program(*Scope)
    document = make_app(services).openapi()["paths"]
    closed = 0
    for path, methods in document.items():
        for method, operation in methods.items():
            if not set(operation["tags"]) & {"auth", "account", "admin"} or path == "/auth/me":
                continue
            body = {"label": "x", "scopes": ["read"]} if path == "/auth/keys" else None
            answer = everything.request(method.upper(), path.replace("{", "").replace("}", ""), json=body)
            assert answer.status_code in (401, 403, 422) or "session" in path, (method, path, answer.status_code)
            closed += answer.status_code == 403
    assert closed >= 6
    with services.database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM api_key")).scalar_one() == 1


@pytest.mark.parametrize("key_id", ["%00", "key_%00", "key_1", "%F0%9F%94%91", "x" * 300])
def test_what_is_no_id_is_the_id_of_no_key(ada, signed_in, key_id) -> None:
    answer = signed_in(ada).delete(f"/auth/keys/{key_id}")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_that_is_wrong_is_nobody_even_beside_a_good_cookie(ada, signed_in, scheme) -> None:
    browser = signed_in(ada)
    answer = browser.get("/songs", headers={"Authorization": f"{scheme} mel_{'A' * 43}"})
    assert (answer.status_code, answer.json()["error"]) == (401, "bad_api_key")
    assert browser.get("/discover", headers={"Authorization": f"{scheme} mel_x"}).status_code == 401
    assert browser.get("/songs", headers={"Authorization": "Basic mel_x"}).status_code == 200


def test_another_site_cannot_use_a_key_in_somebody_s_browser(program) -> None:
    for site in ("cross-site", "same-site"):
        answer = program(Scope.CREATE).post("/generate_from_description", json=WISH, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403


def test_the_stream_of_news_ends_with_the_key(ada, services, program) -> None:
    reader = program(Scope.READ)
    with reader.stream("GET", "/events") as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert any(line.startswith("event: balance") for line in lines)
        with services.database.transaction() as session:
            api_keys.revoke_all(session, ada.id, actor=ada.id)
        assert not any(line.startswith("data:") for line in lines if line.startswith("event: job"))
    assert reader.get("/events").status_code == 401


def test_every_group_of_doors_says_which_keys_open_it() -> None:
    named = {module.__name__.rpartition(".")[2]: (read, write) for module, read, write in DOORS}
    assert named["auth"] == named["account"] == (None, None)
    assert {scopes for name, scopes in named.items() if name in ("songs", "work")} == {(Scope.READ, Scope.CREATE)}


# limits


@pytest.fixture
def strict(serve, services) -> str:
    """Doors of an installation that allows six writes and four songs a minute."""
    limits = LimitSettings(writes_per_minute=6, songs_per_minute=4)
    return serve(replace(services, settings=services.settings.model_copy(update={"limits": limits})))


def test_writing_too_often_is_answered_with_a_time_to_wait(ada, services, strict) -> None:
    headers = {"Authorization": f"Bearer {key_of(services, ada, Scope.READ, Scope.CREATE)}"}
    with httpx.Client(base_url=strict, headers=headers) as browser:
        answers = [browser.post("/jobs/job_none/cancel") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [404] * 3 + [429] * 2
        assert answers[-1].json()["error"] == "too_many_requests"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert browser.get("/songs").status_code == 200  # reading goes on
    with httpx.Client(base_url=strict, headers={"X-Melodeon": "1"}) as nobody:
        answers = [nobody.post("/auth/session", json={"ticket": "x"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2


def test_asking_for_songs_has_a_limit_of_its_own_shared_with_the_pages(ada, services, strict) -> None:
    tight = replace(
        services,
        settings=services.settings.model_copy(
            update={"limits": LimitSettings(writes_per_minute=6, songs_per_minute=4)}
        ),
    )
    tight.ask(ada, Brief(description="rain"), key="from a page")
    headers = {"Authorization": f"Bearer {key_of(services, ada, Scope.CREATE)}"}
    with httpx.Client(base_url=strict, headers=headers) as script:
        answers = [script.post("/generate_from_description", json=WISH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 429, 429]
    with services.database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM job")).scalar_one() == 2
