"""Every refusal leaves one line in the log: which, where, whose id. Nothing of what was sent, and nobody's address."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from data.passwords import hash_password
from data.repositories import accounts, api_keys
from data.testing import fresh_database
from serving.api.answers import STATUS_OF_CODE
from serving.refusals import REFUSALS, note_refusal
from studio.words.api_key import Scope

PASSWORD = "correct horse battery"
ABSENT = "song_" + "0" * 32


def test_every_error_that_refuses_is_one_of_them() -> None:
    refusing = {code for code, status in STATUS_OF_CODE.items() if status in (401, 403, 429)}
    assert refusing <= REFUSALS
    assert {"not_found", "bad_token", "bad_notice"} <= REFUSALS


def test_what_is_no_refusal_leaves_no_line(capsys) -> None:
    for code in ("no_credits", "bad_title", "database_busy"):
        note_refusal(code, place="page /library")
    assert "".join(capsys.readouterr()) == ""


@pytest.fixture(scope="module")
def house(postgres, tmp_path_factory, web_process) -> Iterator:
    """A running web process whose limits are low, as it is found on a host that people share."""
    limits = {"MELODEON_LIMITS__WRITES_PER_MINUTE": "6"}
    with fresh_database(postgres) as database, web_process(database, tmp_path_factory.mktemp("site"), **limits) as site:
        yield site


def refused(site, before: int) -> list[dict[str, str]]:
    """The refusals in the log since it had so many characters."""
    said = (site.var / "web.txt").read_text()[before:]
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "refused"]


@pytest.fixture
def since(house) -> int:
    """How much was in the log before the test; nobody has written too often yet."""
    with house.database.transaction() as session:
        session.execute(text("DELETE FROM rate_limit"))
    return len((house.var / "web.txt").read_text())


def browser_of(site, account=None, **headers: str) -> httpx.Client:
    client = httpx.Client(base_url=f"{site.url}/api/v1", headers={"X-Melodeon": "1", **headers}, timeout=120)
    if account is not None:
        client.cookies.set("melodeon_session", site.token(account))
    return client


def seen(line: dict[str, str]) -> tuple[str | None, ...]:
    return line["error"], line["place"], line.get("account_id"), line.get("key_id")


def test_refusals_at_doors_stand_in_the_log_with_ids(house, since) -> None:
    ada, eve = house.account(), house.account()
    song = house.song(ada, published=False)
    with house.database.transaction() as session:
        key, secret = api_keys.make(session, ada.id, "script", [Scope.READ])
    with browser_of(house) as nobody, browser_of(house, eve) as stranger:
        assert nobody.get("/songs").status_code == 401
        assert stranger.get(f"/songs/{song.id}").status_code == 404
        assert stranger.post("/jobs/job_x/cancel", headers={"X-Melodeon": ""}).status_code == 403
        assert nobody.get("/songs", headers={"Authorization": "Bearer mel_wrong"}).status_code == 401
        assert nobody.get("/auth/keys", headers={"Authorization": f"Bearer {secret}"}).status_code == 403
        assert nobody.post("/auth/verify", json={"token": "forged"}).status_code == 400
        assert stranger.delete(f"/admin/accounts/{ada.id}/sessions").status_code == 404
        assert nobody.get("/metrics").status_code == 401
        assert stranger.post("/auth/totp", json={"passwort": "x"}).status_code == 422
        assert nobody.get("/health", headers={"Host": "evil.example"}).status_code == 400
        assert nobody.post("/auth/verify", content=b"x" * 1_000_001).status_code == 413
    assert [seen(line) for line in refused(house, since)] == [
        ("not_signed_in", "GET /songs", None, None),
        ("not_found", "GET /songs/{song_id}", eve.id, None),
        ("cross_site", "POST /jobs/{job_id}/cancel", None, None),
        ("bad_api_key", "GET /songs", None, None),
        ("key_refused", "GET /auth/keys", None, key.id),
        ("bad_token", "POST /auth/verify", None, None),
        ("not_found", "DELETE /admin/accounts/{account_id}/sessions", eve.id, None),
        ("wrong_key", "GET /metrics", None, None),
        ("bad_request", "POST /auth/totp", eve.id, None),
        ("unknown_host", "http", None, None),
        ("too_large", "POST", None, None),
    ]


def test_failed_proofs_and_limits_stand_there_too_and_nothing_that_was_sent(house, since) -> None:
    bob = house.account("bartholomew")
    with house.database.transaction() as session:
        accounts.set_password(session, bob.id, hash_password(PASSWORD))
    with browser_of(house, **{"User-Agent": "Netscape/4", "X-Forwarded-For": "203.0.113.9"}) as guest:
        wrong = [{"name": name, "password": "hush hush hush"} for name in ("bartholomew", "nobodyatall")]
        statuses = [guest.post("/auth/session", json=body).status_code for body in (*wrong, wrong[0], wrong[0])]
    assert statuses == [401, 401, 401, 429]
    lines = refused(house, since)
    door = "POST /auth/session"
    assert [seen(line) for line in lines] == [
        ("wrong_password", "proof", bob.id, None), ("wrong_password", door, None, None),
        ("wrong_password", "proof", None, None), ("wrong_password", door, None, None),
        ("wrong_password", "proof", bob.id, None), ("wrong_password", door, None, None),
        ("too_many_requests", door, None, None),
    ]  # fmt: skip
    for line in lines:
        assert set(line) <= {"part", "event", "error", "place", "account_id", "level", "logger", "timestamp"}
    said = (house.var / "web.txt").read_text()
    for secret in ("bartholomew", "nobodyatall", "hush", "127.0.0.1", "203.0.113", "Netscape", "example.org"):
        assert secret not in "\n".join(json.dumps(line) for line in lines)
        assert secret in ("127.0.0.1", "example.org") or secret not in said


def test_a_page_that_refuses_says_so_in_the_log_as_well(capsys, caplog) -> None:
    def script() -> None:
        from data.access import NotFound
        from ui.widgets.problem import told

        with told():
            raise NotFound("song")

    caplog.set_level(logging.INFO)
    page = AppTest.from_function(script, default_timeout=120).run()
    assert page.error
    # On standard output, or, where a test before has set the product's logs up, by the standard library.
    said = "".join(capsys.readouterr()) + caplog.text
    (line,) = [line for line in said.splitlines() if "refused" in line]
    assert "not_found" in line
    assert "page /" in line
