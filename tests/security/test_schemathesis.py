"""Schemathesis over the doors' own document, against the running product: no 5xx, and no door forgets to ask who it is.

Every case is sent three times: by somebody signed in, by nobody, and with a credential that is none. Cases share a
state: ids that an answer names are used in the addresses of later cases, so doors meet songs, jobs, keys and sessions
that are there, ended, deleted or somebody else's.
"""

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
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
IDS = re.compile(r"\b(?:song|job|acc|key|ses|session)_[0-9a-f]{32}\b")
POOL_MOST = 200


@pytest.fixture(scope="module")
def product(postgres, tmp_path_factory, web_process) -> Iterator[Any]:
    """The web process, with limits so high that they do not answer instead of the doors."""
    most = {"MELODEON_LIMITS__WRITES_PER_MINUTE": "1000000"}
    with (
        fresh_database(postgres) as database,
        web_process(database, tmp_path_factory.mktemp("fuzzed"), **most) as running,
    ):
        yield running


class World:
    """Who asks, what is there, and what went wrong."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.sent = requests.Session()
        self.sent.trust_env = False
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()
        self._random = random.Random(7)
        self._numbers = itertools.count(1)
        site.account("admin")
        self.pool: list[str] = [site.song(site.account(), published=flag).id for flag in (True, False)]
        self.renew()

    def renew(self) -> None:
        """Somebody new signs in: the last one may have signed out, or deleted their account."""
        with self.site.database.transaction() as session:
            session.execute(text("DELETE FROM rate_limit"))
        person = self.site.account(f"fuzzer{next(self._numbers)}")
        self.pool.append(self.site.song(person, published=self._random.random() < 0.5).id)
        self.cookie = {"melodeon_session": self.site.token(person)}

    def ids(self, parameters: dict[str, Any] | None) -> None:
        """Let most ids in the address be ones that an answer named."""
        for name in parameters or ():
            kind = name.removesuffix("_id")
            known = [one for one in self.pool if one.startswith(f"{kind}_")]
            if name.endswith("_id") and known and self._random.random() < 0.8:
                parameters[name] = self._random.choice(known)  # type: ignore[index]

    def send(self, case: Any) -> None:
        """Send one case as all three and judge the answers."""
        door = f"{case.method.upper()} {case.operation.path}"
        self.ids(case.path_parameters)
        mine = {"X-Melodeon": "1", "Sec-Fetch-Site": "same-origin"}
        self.judge(door, "nobody", self.call(case, mine, {}))
        forged = self._random.choice(
            [{"Cookie": "melodeon_session=forged"}, {"Authorization": "Bearer mel_forged"}, {"Cookie": "a=\x80;=;;"}]
        )
        self.judge(door, "a forger", self.call(case, {**mine, **forged}, {}))
        answer = self.call(case, mine, self.cookie)
        self.judge(door, "somebody", answer)
        self.pool = (self.pool + IDS.findall(answer.text[:20_000]))[-POOL_MOST:]
        if answer.status_code == 401 or door.startswith("DELETE"):
            self.renew()

    def call(self, case: Any, headers: dict[str, str], cookies: dict[str, str]) -> requests.Response:
        self.sent.cookies.clear()
        asked = case.as_transport_kwargs(base_url=f"{self.site.url}/api/v1", headers=headers)
        asked.pop("cookies", None)
        if cookies:
            asked["headers"] = {**asked["headers"], "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
        answer: requests.Response = self.sent.request(**asked, allow_redirects=False, timeout=30)
        return answer

    def judge(self, door: str, who: str, answer: requests.Response) -> None:
        self.statuses[f"{who} {answer.status_code}"] += 1
        said = f"{door} answers {who} {answer.status_code}: {answer.text[:200]}"
        kind = answer.headers.get("content-type", "")
        told = answer.json() if kind.startswith("application/json") and answer.text else {}
        if answer.status_code >= 500 and not (answer.status_code == 503 and told.get("error") in HONEST_503):
            self.wrong.append(said)
        elif answer.status_code >= 400 and door != "GET /metrics" and told.get("ok") is not False:
            self.wrong.append(f"not the uniform answer: {said}")
        elif who != "somebody" and answer.status_code < 400 and door not in PUBLIC:
            self.wrong.append(f"nobody asked who it is: {said}")


def fuzz(product: Any, cases: int) -> World:
    schema = schemathesis.openapi.from_url(f"{product.url}/api/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    world = World(product)
    chosen = [one for one in operations if f"{one.method.upper()} {one.path}" not in ENDLESS]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    any_case = st.one_of([one.as_strategy(generation_mode=mode) for one in chosen for mode in modes])

    @settings(
        max_examples=cases, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(any_case)
    def send(case: Any) -> None:
        world.send(case)

    send()
    return world


def test_public_doors_are_doors(product: Any) -> None:
    document = requests.get(f"{product.url}/api/v1/openapi.json", timeout=30).json()
    doors = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert doors >= PUBLIC | ENDLESS


def test_three_hundred_odd_requests_break_nothing(product: Any) -> None:
    world = fuzz(product, 100)
    assert world.wrong == []
    assert sum(world.statuses.values()) >= 300


@pytest.mark.long
def test_twenty_thousand_odd_requests_break_nothing(product: Any) -> None:
    world = fuzz(product, 6_700)
    print(json.dumps(world.statuses, indent=1))  # noqa: T201 - the figures for the docs
    assert world.wrong == []
    assert sum(world.statuses.values()) >= 20_000
