"""Signing in by another provider: a real one on loopback, that signs its tokens with a key of its own."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser, Page, expect, sync_playwright

from data.database import Database
from data.embedded_postgres import free_port
from data.repositories import people, sessions
from ui.oidc import FRESH_FOR, OneTimeIdentity, fresh_identity

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PATIENCE_MS = 60_000
CLIENT_ID, CLIENT_SECRET = "melodeon", "the secret of tests"


class Provider:
    """An OpenID Connect provider: discovery, authorization code with PKCE, RS256 (OpenID Connect Core 1.0)."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "one"})
        self.signing_key = self.key
        self.person: dict[str, Any] = {"sub": "ada-at-home", "email": "ada@example.org", "email_verified": True}
        self.issued_ago_s = 0
        self.logins = 0
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._token(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def setting(self) -> str:
        """How the product is told of this provider."""
        about = {
            "name": "home",
            "label": "the home provider",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "metadata_url": f"{self.issuer}/.well-known/openid-configuration",
        }
        return json.dumps([about])

    def _get(self, http: BaseHTTPRequestHandler) -> None:
        asked = urlsplit(http.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if asked.path == "/.well-known/openid-configuration":
            self._answer(http, self._metadata())
        elif asked.path == "/keys":
            self._answer(http, {"keys": [self.key.as_dict(private=False)]})
        else:
            assert asked.path == "/authorize"
            self.logins += 1
            code = secrets.token_urlsafe(16)
            self._codes[code] = query
            http.send_response(302)
            back = urlencode({"code": code, "state": query["state"]})
            http.send_header("Location", f"{query['redirect_uri']}?{back}")
            http.end_headers()

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def _token(self, http: BaseHTTPRequestHandler) -> None:
        form = parse_qs(http.rfile.read(int(http.headers["Content-Length"])).decode())
        sent = base64.b64decode(http.headers["Authorization"].removeprefix("Basic ")).decode()
        asked = self._codes.pop(form["code"][0])
        challenge = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        assert sent == f"{CLIENT_ID}:{CLIENT_SECRET}"
        assert base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() == asked["code_challenge"]
        issued = int(time.time()) - self.issued_ago_s
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": issued, "exp": int(time.time()) + 600}
        claims |= {"nonce": asked["nonce"], **self.person}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing_key)
        self._answer(http, {"access_token": "none", "token_type": "Bearer", "id_token": token, "expires_in": 600})

    @staticmethod
    def _answer(http: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        http.send_response(200)
        http.send_header("Content-Type", "application/json")
        http.send_header("Content-Length", str(len(content)))
        http.end_headers()
        http.wfile.write(content)


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"]
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield chromium
        chromium.close()


CLAIMS = {
    "iss": "https://id.example.org",
    "sub": "42",
    "iat": NOW.timestamp(),
    "email": "ada@example.org",
    "email_verified": True,
}


def test_a_fresh_identity_tells_who_somebody_is() -> None:
    found = fresh_identity(CLAIMS | {"name": "Ada"}, now=NOW)
    assert found is not None
    assert (found.issuer, found.subject, found.email, found.name) == (
        "https://id.example.org", "42", "ada@example.org", "Ada",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"iat": (NOW - FRESH_FOR - timedelta(seconds=1)).timestamp()},
        {"iat": (NOW + timedelta(hours=1)).timestamp()},
        {"iat": None},
        {"iat": "now"},
        {"iss": ""},
        {"iss": None},
        {"sub": ""},
        {"sub": 42},
    ],
)
def test_what_is_old_or_incomplete_is_nobody(change: dict[str, Any]) -> None:
    assert fresh_identity(CLAIMS | change, now=NOW) is None


@pytest.mark.parametrize("verified", [False, None, "false", 1])
def test_an_address_that_the_provider_has_not_verified_is_none(verified: object) -> None:
    found = fresh_identity(CLAIMS | {"email_verified": verified}, now=NOW)
    assert found is not None
    assert found.email == ""


async def _cookies_after(request_cookies: str, answer: list[tuple[bytes, bytes]]) -> list[str]:
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": answer})

    async def keep(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"cookie", request_cookies.encode())]}
    await OneTimeIdentity(app, "melodeon_session")(scope, None, keep)  # type: ignore[arg-type]
    return [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]


@pytest.mark.parametrize("token", ["fresh", ""])
def test_streamlits_identity_goes_when_our_session_comes_or_goes(token: str) -> None:
    import asyncio

    ours = [(b"set-cookie", f"melodeon_session={token}; Path=/".encode())]
    sent = asyncio.run(_cookies_after("_streamlit_user=a; _streamlit_user_tokens_1=b; other=c", ours))
    gone = [line.split("=")[0] for line in sent if "Max-Age=0" in line]
    assert gone == ["_streamlit_user", "_streamlit_user_tokens_1"]
    assert asyncio.run(_cookies_after("_streamlit_user=a", [(b"set-cookie", b"theme=dark")])) == ["theme=dark"]


def arrive(page: Page, url: str) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_role("button", name="Continue with the home provider").click(timeout=PATIENCE_MS)
    # There and back again: people come back to the front page.
    page.wait_for_url(f"{url}/", timeout=PATIENCE_MS)


def cookie_names(page: Page) -> set[str]:
    return {cookie["name"] for cookie in page.context.cookies()}


def until(condition: Callable[[], bool], page: Page) -> None:
    for _ in range(PATIENCE_MS // 100):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not happen")


def refuse_old_and_forged(provider: Provider, page: Page, url: str) -> None:
    provider.issued_ago_s = int(FRESH_FOR.total_seconds()) + 60
    arrive(page, url)
    expect(page.get_by_role("button", name="Sign in or sign up")).to_be_visible(timeout=PATIENCE_MS)
    provider.issued_ago_s = 0
    provider.signing_key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "one"})
    arrive(page, url)
    expect(page.get_by_role("button", name="Sign in or sign up")).to_be_visible(timeout=PATIENCE_MS)
    assert "melodeon_session" not in cookie_names(page)
    assert provider.logins == 2
    provider.signing_key = provider.key


def test_a_genuine_fresh_token_opens_the_house_once_and_its_session_ends_everywhere(
    provider: Provider, web: Callable[..., str], browser: Browser, database: Database
) -> None:
    url = web(MELODEON_WEB__PORT=str(free_port()), MELODEON_OIDC=provider.setting())
    first, second = (browser.new_context().new_page() for _ in range(2))
    refuse_old_and_forged(provider, first, url)
    for page in (first, second):
        arrive(page, url)
        expect(page.locator(".st-key-to_account")).to_be_visible(timeout=PATIENCE_MS)
        until(lambda page=page: "melodeon_session" in cookie_names(page), page)
        # What Streamlit keeps for 30 days is gone as soon as our own session is there.
        assert not any(name.startswith("_streamlit_user") for name in cookie_names(page))
    assert provider.logins == 4
    with database.transaction() as session:
        (account,) = people.find(session, "", limit=2)
        assert len(sessions.list_of(session, account.id)) == 2
        assert (account.email, account.email_verified) == ("ada@example.org", True)
    first.reload()
    expect(first.locator(".st-key-to_account")).to_be_visible(timeout=PATIENCE_MS)
    with database.transaction() as session:
        sessions.revoke_all(session, account.id)
    for page in (first, second):
        page.reload()
        expect(page.get_by_role("button", name="Sign in or sign up")).to_be_visible(timeout=PATIENCE_MS)
    assert provider.logins == 4
