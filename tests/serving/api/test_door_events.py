"""Live news: what a stream tells, to whom, how fast and for how long."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import event, text

from billing import ledger
from data.repositories import sessions
from serving import attempts
from serving.api import events
from serving.api.identity import Credential
from serving.api.services import Services
from serving.attempts import RetryRule


@pytest.fixture(autouse=True)
def _patient(monkeypatch) -> None:
    """Only a notification can be quick."""
    monkeypatch.setattr(events, "LOOK_EVERY_S", 8.0)


class Listener:
    """Reads one stream of events."""

    def __init__(self, browser: httpx.Client) -> None:
        self._context = browser.stream("GET", "/events", timeout=10.0)
        self.answer = self._context.__enter__()
        assert self.answer.headers["content-type"].startswith("text/event-stream")
        self._lines = self.answer.iter_lines()

    def events(self) -> Iterator[tuple[str, dict]]:
        for line in self._lines:
            if line.startswith("event: "):
                yield line.removeprefix("event: "), json.loads(next(self._lines).removeprefix("data: "))

    def next(self, kind: str) -> dict:
        return next(data for found, data in self.events() if found == kind)

    def quiet(self) -> None:
        """Read on until a look that found nothing new."""
        for line in self._lines:
            assert not line.startswith("event: "), line
            if line.startswith(": here"):
                return

    def close(self) -> None:
        self._context.__exit__(None, None, None)


@pytest.fixture
def listen(signed_in):
    listeners: list[Listener] = []

    def open_stream(account) -> Listener:
        listeners.append(Listener(signed_in(account)))
        return listeners[-1]

    yield open_stream
    for listener in listeners:
        listener.close()


def test_a_stream_begins_with_how_things_are_and_goes_on_with_changes(account, ask, claim, listen, database) -> None:
    job = ask(account)
    stream = listen(account)
    assert stream.next("balance") == {"available_credits": 98, "held_credits": 2}
    told = stream.next("job")
    assert (told["id"], told["state"], told["position"], told["eta_s"]) == (job.id, "queued", 0, None)
    claimed = claim(account)
    assert stream.next("job")["state"] == "processing"
    with database.transaction() as session:
        failure = {"code": "unfit", "sentence": "It is unfit.", "retryable": False}
        attempts.fail(session, job.id, claimed.attempt, **failure, rule=RetryRule(), now=Services.now())
    seen = dict([next(stream.events()), next(stream.events())])
    assert seen["balance"] == {"available_credits": 100, "held_credits": 0}
    assert (seen["job"]["state"], seen["job"]["reason"]) == ("failed", "It is unfit.")


def test_nobody_hears_of_others(make_account, ask, listen) -> None:
    ada, bob = make_account(), make_account()
    of_ada, of_bob = listen(ada), listen(bob)
    assert of_bob.next("balance")["held_credits"] == 0
    job = ask(ada)
    assert of_ada.next("job")["id"] == job.id
    own = ask(bob)
    first = next(data for kind, data in of_bob.events() if kind == "job")
    assert first["id"] == own.id


def test_a_stream_ends_with_its_session(account, ask, listen, database) -> None:
    stream = listen(account)
    stream.next("balance")
    with database.transaction() as session:
        sessions.revoke_all(session, account.id)
    ask(account)
    assert [found for found, _ in stream.events() if found == "job"] == []


def test_a_stream_ends_when_its_reader_leaves(account, signed_in, monkeypatch) -> None:
    looks: list[float] = []
    look = events._look
    monkeypatch.setattr(events, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(events, "_look", lambda *call: looks.append(time.monotonic()) or look(*call))
    stream = Listener(signed_in(account))
    stream.next("balance")
    while len(looks) < 3:
        stream.quiet()
    stream.close()
    for _ in range(10):
        before = len(looks)
        time.sleep(1.0)
        if len(looks) == before:
            return
    pytest.fail("the stream goes on looking although nobody reads it")


def test_a_look_costs_the_same_few_statements_however_many_jobs_wait(account, ask, claim, services, database) -> None:
    with database.transaction() as session:
        ledger.grant(session, account.id, 100, key="gift", note="a gift", now=Services.now())
        ticket = sessions.begin(session, account.id, days=1).ticket
        token = sessions.redeem_ticket(session, ticket, user_agent="")
    shown = Credential(token=token or "", key="", scope=None)
    statements: list[str] = []
    engine = database._engine
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    def cost() -> int:
        statements.clear()
        events._look(services, shown)
        return len(statements)

    idle = cost()
    ask(account)
    one = cost()
    for _ in range(20):
        ask(account)
    claim(account)
    assert (idle, one) == (5, 9)
    assert cost() == one
    picture = events._look(services, shown)
    places = [job["position"] for job in picture.jobs.values() if job["state"] == "queued"]
    assert sorted(places) == list(range(1, 21))


def test_an_outage_of_the_database_is_outlived(account, listen, postgres, ask, database) -> None:
    stream = listen(account)
    stream.next("balance")
    with database.transaction() as session:
        # Every connection of the doors is cut, that of the listener too.
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    time.sleep(1.5)  # the listener connects again after a second
    job = ask(account)
    assert stream.next("job")["id"] == job.id
