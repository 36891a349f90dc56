"""Files for the pages: nobody's are taken, and nobody's without end; not a byte of one that is refused is read."""

import urllib.error
import urllib.request

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from streamlit.web.server.starlette.starlette_routes import BASE_ROUTE_UPLOAD_FILE

from data.repositories import sessions
from ui.upload_gate import PATH, UploadGate


class Taken:
    """Stands behind the gate and reads what comes through."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.bodies.append(await Request(scope, receive).body())
        await PlainTextResponse("taken")(scope, receive, send)


@pytest.fixture
def behind() -> Taken:
    return Taken()


@pytest.fixture
def stranger(services, behind) -> TestClient:
    return TestClient(UploadGate(behind, services), base_url="http://localhost")


@pytest.fixture
def ada(services, stranger, make_account) -> TestClient:
    """The same browser, signed in."""
    with services.database.transaction() as session:
        ticket = sessions.begin(session, make_account("ada").id, days=1).ticket
        stranger.cookies["melodeon_session"] = sessions.redeem_ticket(session, ticket, user_agent="") or ""
    return stranger


def test_the_gate_stands_where_streamlit_takes_files() -> None:
    assert f"/{BASE_ROUTE_UPLOAD_FILE.strip('/')}/" == PATH


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_stranger_s_file_is_refused_unread(stranger, behind, cookie, method) -> None:
    stranger.cookies["melodeon_session"] = cookie
    answer = stranger.request(method, f"{PATH}tab/file", content=b"x" * 1000)
    assert (answer.status_code, answer.json()["error"]) == (401, "not_signed_in")
    assert behind.bodies == []


def test_whoever_is_signed_in_may_send_some_but_not_without_end(ada, behind) -> None:
    answers = [ada.put(f"{PATH}tab/{number}", content=b"song") for number in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    assert behind.bodies == [b"song"] * 10


def test_the_web_process_has_the_gate(site) -> None:
    asked = urllib.request.Request(f"{site.url}{PATH}tab/file", method="PUT", data=b"song")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)
    with refused.value as answer:
        assert answer.code == 401


def test_everything_else_passes(stranger, behind) -> None:
    for method, path in (("GET", "/"), ("OPTIONS", f"{PATH}tab/file"), ("DELETE", f"{PATH}tab/file"), ("PUT", "/x")):
        assert stranger.request(method, path).text == "taken"
    assert len(behind.bodies) == 4
