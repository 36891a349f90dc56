"""Schemathesis over the doors' own document, against the running product: no 5xx, and no door forgets to ask who it is.

Every case is sent three times: by somebody signed in, by nobody, and with a credential that is none. There are two
forms. *Odd* cases come in no order and share a state: ids that an answer names are used in the addresses of later
cases, so doors meet songs, jobs, keys and sessions that are there, ended, deleted or somebody else's. *Walks* are
Schemathesis' own stateful test: they follow the links of the document, from a wish to its job and its songs.

Addresses go out as they were drawn: a client that climbs where an id says ``..`` would knock at another address.
"""

import json
import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.engine.errors import is_inconsistent_replay
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.specs.openapi.checks import use_after_free
from sqlalchemy import text

from data.testing import fresh_database

PUBLIC = {
    "GET /health", "GET /health/ready", "GET /engines", "GET /discover", "GET /songs/{song_id}",
    "GET /songs/{song_id}/stream", "GET /songs/{song_id}/files/{role}", "GET /songs/{song_id}/download",
    "POST /songs/{song_id}/plays", "GET /billing/prices", "DELETE /auth/session", "POST /auth/sign-up",
    "POST /auth/reset",
}  # fmt: skip
"""What somebody without an account may get a good answer from. A new door is not public until it stands here."""

ENDLESS = {"GET /events"}
"""Answers by a stream without an end; tests/serving/api/test_door_events.py is about it."""

HONEST_503 = {"not_ready", "payments_off", "database_busy"}
IDS = re.compile(r"\b(?:song|job|acc|key|ses)_[0-9a-f]{32}\b")
POOL_MOST = 200
MINE = {"X-Melodeon": "1", "Sec-Fetch-Site": "same-origin"}
FORGED = (
    {"Cookie": "melodeon_session=forged"},
    {"Authorization": "Bearer mel_forged"},
    {"Cookie": "a=\x80;=;;"},
)
ODD_IDS = (
    *(".", "..", "../..", "..\\..", "a/b", "a%2Fb", "\n", "a\nb", "\r", "\0", "\x7f", " ", ";a=1", "?", "#", "{id}"),
    *("*", "%", "%zz", "\u2028", "\ud7ff", "\U0001f3b5", "song_", f"song_{0:032}", f"SONG_{0:032}", "a" * 5_000, "'--"),
)


@pytest.fixture(scope="module")
def product(postgres, tmp_path_factory, web_process) -> Iterator[Any]:
    """The web process, with limits so high that they do not answer instead of the doors."""
    most = {"MELODEON_LIMITS__WRITES_PER_MINUTE": "1000000"}
    with (
        fresh_database(postgres) as database,
        web_process(database, tmp_path_factory.mktemp("fuzzed"), **most) as running,
    ):
        running.account("admin")
        yield running


def as_drawn(sent: requests.Session, asked: dict[str, Any]) -> requests.Response:
    """Send a request to the very address it names: the client by itself climbs where the path says ``..``."""
    request = sent.prepare_request(requests.Request(**asked))
    # on a slow machine the server may just have closed the connection that was kept
    request.headers["Connection"] = "close"
    request.url = urlsplit(request.url)._replace(path=urlsplit(asked["url"]).path).geturl()
    return sent.send(request, allow_redirects=False, timeout=30)


class World:
    """Who asks, what is there, and what went wrong."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.sent = requests.Session()
        self.sent.trust_env = False
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()
        self._random = random.Random(7)
        self.pool: list[str] = [site.song(site.account(), published=flag).id for flag in (True, False)]
        self.renew()

    def renew(self) -> None:
        """Somebody new signs in: the last one may have signed out, or deleted their account, or spent their credits."""
        with self.site.database.transaction() as session:
            session.execute(text("DELETE FROM rate_limit"))
        person = self.site.account()
        self.pool.append(self.site.song(person, published=self._random.random() < 0.5).id)
        self.cookie = {"Cookie": f"melodeon_session={self.site.token(person)}"}

    def ids(self, parameters: dict[str, Any] | None) -> None:
        """Let most ids in the address be ones that an answer named."""
        for name in parameters or ():
            kind = name.removesuffix("_id")
            known = [one for one in self.pool if one.startswith(kind[:3])]
            if name.endswith("_id") and known and self._random.random() < 0.8:
                parameters[name] = self._random.choice(known)  # type: ignore[index]

    def send(self, case: Any) -> requests.Response:
        """Send one case as all three and judge the answers; what somebody was answered."""
        door = f"{case.method.upper()} {case.operation.path}"
        asked = case.as_transport_kwargs(base_url=f"{self.site.url}/api/v1", headers=MINE)
        return self.ask(door, {**asked, "cookies": None})

    def ask(self, door: str, asked: dict[str, Any]) -> requests.Response:
        """Send one request as all three and judge the answers; what somebody was answered."""
        self.judge(door, "nobody", self.call(asked, {}))
        self.judge(door, "a forger", self.call(asked, self._random.choice(FORGED)))
        answer = self.call(asked, self.cookie)
        self.judge(door, "somebody", answer)
        self.pool = (self.pool + IDS.findall(answer.text[:20_000]))[-POOL_MOST:]
        return answer

    def call(self, asked: dict[str, Any], who: dict[str, str]) -> requests.Response:
        self.sent.cookies.clear()
        try:
            return as_drawn(self.sent, {**asked, "headers": {**asked["headers"], **who}})
        except requests.RequestException as error:
            self.wrong.append(f"no answer: {asked['method']} {asked['url'][:200]!r}: {error}")
            raise

    def judge(self, door: str, who: str, answer: requests.Response) -> None:
        self.statuses[f"{who} {answer.status_code}"] += 1
        said = f"{door} answers {who} {answer.status_code} at {answer.request.url[:200]!r}: {answer.text[:200]}"
        kind = answer.headers.get("content-type", "")
        told = answer.json() if kind.startswith("application/json") and answer.text else {}
        if answer.status_code >= 500 and not (answer.status_code == 503 and told.get("error") in HONEST_503):
            self.wrong.append(said)
        elif answer.status_code >= 400 and door != "GET /metrics" and told.get("ok") is not False:
            self.wrong.append(f"not the uniform answer: {said}")
        elif who != "somebody" and answer.status_code < 400 and door not in PUBLIC:
            self.wrong.append(f"nobody asked who it is: {said}")


DRAWN = settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def document_of(product: Any) -> Any:
    return schemathesis.openapi.from_url(f"{product.url}/api/v1/openapi.json")


def fuzz(product: Any, cases: int) -> World:
    operations = [found.ok() for found in document_of(product).get_all_operations()]
    world = World(product)
    chosen = [one for one in operations if f"{one.method.upper()} {one.path}" not in ENDLESS]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    any_case = st.one_of([one.as_strategy(generation_mode=mode) for one in chosen for mode in modes])

    @settings(DRAWN, max_examples=cases)
    @given(any_case)
    def send(case: Any) -> None:
        world.ids(case.path_parameters)
        answer = world.send(case)
        if answer.status_code == 401 or case.method.upper() == "DELETE":
            world.renew()

    send()
    return world


def walk(product: Any, walks: int, steps: int) -> tuple[World, Counter[str]]:
    """Follow the links of the document; what went wrong, and which links were followed to which answers.

    Hypothesis stops when the same draws lead to another walk, as they may: the product remembers the walk before. As in
    Schemathesis' own runs the next walks then begin with another seed.
    """
    schema = document_of(product)
    for door in ENDLESS:
        method, path = door.split()
        schema = schema.exclude(method=method, path=path)
    world = World(product)
    followed: Counter[str] = Counter()
    begun = 0

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            nonlocal begun
            begun += 1
            world.renew()

        def call(self, case: Any, **_: Any) -> Response:
            answer = world.send(case)
            if "not_signed_in" in answer.text:
                world.renew()
            return Response.from_requests(answer, verify=False)

        def validate_response(self, response: Response, case: Any, **_: Any) -> None:
            try:
                case.validate_response(response, checks=[use_after_free], recorder=self.recorder)
            except FailureGroup as failed:
                world.wrong.extend(str(each) for each in failed.exceptions)
            came_from = self.recorder.cases[case.id]
            if came_from.transition is not None and came_from.is_transition_applied:
                source = self.recorder.cases[came_from.transition.parent_id].value.operation.label
                followed[f"{source} -> {case.operation.label}: {response.status_code}"] += 1

    while begun < walks:
        Walk.rule_order_seed = begun
        chosen = settings(DRAWN, max_examples=walks - begun, stateful_step_count=steps)
        try:
            run_state_machine_as_test(seed(begun)(Walk), settings=chosen)
        except (Flaky, AssertionError) as error:
            if isinstance(error, AssertionError) and not is_inconsistent_replay(error):
                raise
    return world, followed


def test_addresses_go_out_as_they_were_drawn() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def first_line() -> bytes:
            with listener.accept()[0] as peer:
                line = peer.recv(1_000).partition(b"\r\n")[0]
                peer.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                return line

        heard = pool.submit(first_line)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/songs/%2E%2E/a%2Fb/%0A/plays"
        with requests.Session() as sent:
            sent.trust_env = False
            as_drawn(sent, {"method": "POST", "url": url, "params": {"limit": 3}})
        assert heard.result(30) == b"POST /songs/%2E%2E/a%2Fb/%0A/plays?limit=3 HTTP/1.1"


def test_public_doors_are_doors(product: Any) -> None:
    document = requests.get(f"{product.url}/api/v1/openapi.json", timeout=30).json()
    doors = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert doors >= PUBLIC | ENDLESS


def test_three_hundred_odd_requests_break_nothing(product: Any) -> None:
    world = fuzz(product, 100)
    assert world.wrong == []
    assert sum(world.statuses.values()) >= 300


def test_odd_ids_lead_nowhere(product: Any) -> None:
    world = World(product)
    doors = [found.ok() for found in document_of(product).get_all_operations()]
    asked = [(door, odd) for door in doors if "{" in door.path for odd in ODD_IDS]
    for door, odd in asked:
        path = re.sub(r"{\w+}", quote(odd, safe="").replace("\\", "\\\\"), door.path)
        name = f"{door.method.upper()} {door.path}"
        answer = world.ask(name, {"method": door.method.upper(), "url": f"{product.url}/api/v1{path}", "headers": MINE})
        if answer.status_code < 400:
            world.wrong.append(f"{name} answers {answer.status_code} for the id {odd!r}")
    assert world.wrong == []
    assert sum(world.statuses.values()) >= 3 * len(asked) >= 900


def test_walks_along_the_links_break_nothing(product: Any) -> None:
    world, followed = walk(product, walks=8, steps=15)
    assert world.wrong == []
    assert sum(count for step, count in followed.items() if step[-3] == "2") >= 10, followed


@pytest.mark.long
def test_twenty_thousand_odd_requests_break_nothing(product: Any) -> None:
    world = fuzz(product, 6_700)
    print(json.dumps(world.statuses, indent=1))  # noqa: T201 - the figures for the docs
    assert world.wrong == []
    assert sum(world.statuses.values()) >= 20_000


@pytest.mark.long
def test_nine_thousand_requests_along_the_links_break_nothing(product: Any) -> None:
    world, followed = walk(product, walks=260, steps=20)
    print(json.dumps([world.statuses, followed], indent=1))  # noqa: T201 - the figures for the docs
    assert world.wrong == []
    assert sum(world.statuses.values()) >= 9_000
    reached = {step.split(" -> ")[1] for step in followed if step[-3] == "2"}
    assert reached >= {
        "GET /jobs/{job_id}: 200", "POST /jobs/{job_id}/cancel: 200",
        "GET /songs/{song_id}: 200", "PATCH /songs/{song_id}: 200", "POST /songs/{song_id}/publish: 200",
        "DELETE /songs/{song_id}: 200", "GET /songs/{song_id}/stream: 200", "POST /songs/{song_id}/plays: 204",
        "DELETE /auth/keys/{key_id}: 204", "DELETE /auth/sessions/{session_id}: 204",
    }  # fmt: skip
