"""Live news: what a stream tells, to whom, how fast, at what price and for how long."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import event, text

from billing import ledger
from configs.settings import load
from data.database import Database
from data.embedded_postgres import free_port
from data.repositories import accounts, api_keys, sessions
from serving import attempts
from serving.api import events, news
from serving.api.identity import Credential, cookie_name
from serving.api.services import Services
from serving.api.views import PREFIX
from serving.attempts import RetryRule
from studio.words.api_key import Scope
from studio.words.job import Stage

SILENCES_MAX = 60
"""Signs of life, one a second, without news."""
PATIENCE_S = 240.0
"""Longest wait for anything; the whole application may have to be started first."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch) -> None:
    """Only a notification is heard within a test."""
    monkeypatch.setattr(events, "SIGN_OF_LIFE_S", 1.0)
    monkeypatch.setattr(news, "LOOK_EVERY_S", 600.0)
    monkeypatch.setattr(news, "LOOK_AT_WORK_S", 600.0)


class Listener:
    """Reads one stream of events."""

    def __init__(self, browser: httpx.Client, **more) -> None:
        self._context = browser.stream("GET", "/events", timeout=120.0, **more)
        self.answer = self._context.__enter__()
        assert self.answer.headers["content-type"].startswith("text/event-stream"), self.answer.read()
        self._lines = self.answer.iter_lines()

    def events(self) -> Iterator[tuple[str, dict]]:
        """Until the stream ends; a stream that tells nothing for long fails the test."""
        silences = 0
        for line in self._lines:
            silences = silences + 1 if line.startswith(": here") else silences
            assert silences < SILENCES_MAX, "no news"
            if line.startswith("event: "):
                silences = 0
                yield line.removeprefix("event: "), json.loads(next(self._lines).removeprefix("data: "))

    def next(self, kind: str) -> dict:
        return next(data for found, data in self.events() if found == kind)

    def begin(self) -> None:
        """Read how things stand."""
        self.next("balance")
        for line in self._lines:
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


@pytest.fixture
def statements(database: Database) -> list[str]:
    """Every statement that this process sends."""
    sent: list[str] = []
    event.listen(database._engine, "before_cursor_execute", lambda *call: sent.append(call[2]))
    return sent


def grant(database: Database, account, credits: int) -> None:  # noqa: A002 - the glossary's word
    with database.transaction() as session:
        ledger.grant(session, account.id, credits, key=f"gift of {credits}", note="a gift", now=Services.now())


# what is told


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


def test_credits_that_come_without_a_job_are_told(account, listen, database) -> None:
    stream = listen(account)
    stream.begin()
    grant(database, account, 50)
    assert stream.next("balance") == {"available_credits": 150, "held_credits": 0}


def test_the_end_of_a_job_is_told_however_many_came_after_it(account, ask, claim, finish, listen) -> None:
    first, *_ = [ask(account) for _ in range(news.RECENTLY_ENDED + 2)]
    claimed = claim(account)
    stream = listen(account)
    stream.begin()
    finish(claimed)
    told = next(data for kind, data in stream.events() if kind == "job" and data["id"] == first.id)
    assert told["state"] == "processed"


def test_a_place_in_the_queue_that_moves_is_told_though_nobody_says_so(
    make_account, ask, listen, database, monkeypatch
) -> None:
    monkeypatch.setattr(news, "LOOK_AT_WORK_S", 0.2)
    ada, bob = make_account(), make_account()
    ask(ada)
    ask(bob)
    stream = listen(bob)
    assert stream.next("job")["position"] == 1
    with database.transaction() as session:
        session.execute(
            text("UPDATE procrastinate_jobs SET status = 'doing' WHERE queueing_lock = :lane"),
            {"lane": f"lane:{ada.id}"},
        )
    assert stream.next("job")["position"] == 0


def test_nobody_hears_of_others(make_account, ask, listen) -> None:
    ada, bob = make_account(), make_account()
    of_ada, of_bob = listen(ada), listen(bob)
    of_ada.begin()
    of_bob.begin()
    job = ask(ada)
    assert of_ada.next("job")["id"] == job.id
    own = ask(bob)
    first = next(data for kind, data in of_bob.events() if kind == "job")
    assert first["id"] == own.id


# at what price


def test_a_stream_without_news_sends_no_statement_and_one_look_serves_all(account, ask, listen, statements) -> None:
    first = listen(account)
    first.begin()
    settle(statements)
    statements.clear()
    ask(account)
    first.next("job")
    settle(statements)
    for_one = len(statements)
    others = [listen(account) for _ in range(4)]
    for stream in others:
        stream.begin()
    settle(statements)
    statements.clear()
    time.sleep(2.0)
    assert statements == []
    ask(account)
    for stream in (first, *others):
        stream.next("job")
    settle(statements)
    assert len(statements) == for_one


def settle(statements: list[str]) -> None:
    """Wait until nobody looks any more: for a stream that came, or because the listener has only now begun."""
    before = -1
    while before != len(statements):
        before = len(statements)
        time.sleep(4 * news.PACE_S)


def test_a_look_costs_the_same_few_statements_however_many_jobs_wait(account, ask, claim, database, statements) -> None:
    grant(database, account, 100)
    with database.transaction() as session:
        ticket = sessions.begin(session, account.id, days=1).ticket
        token = sessions.redeem_ticket(session, ticket, user_agent="")
    shown = Credential(token=token or "", key="", scope=None)

    def cost(*credentials: Credential) -> int:
        statements.clear()
        news.look(database, account.id, credentials, news.Picture())
        return len(statements)

    idle, unsure = cost(), cost(shown)
    ask(account)
    one = cost()
    for _ in range(20):
        ask(account)
    claim(account)
    assert (idle, unsure, one) == (3, 5, 7)
    assert cost() == one
    seen = news.look(database, account.id, (shown,), news.Picture())
    assert seen.good == {shown}
    places = [job["position"] for job in seen.picture.jobs.values() if job["state"] == "queued"]
    assert sorted(places) == list(range(1, 21))


def test_a_reader_who_stalls_is_told_the_newest_state_and_not_every_one_before(
    account, ask, claim, database, signed_in, services, address, monkeypatch
) -> None:
    monkeypatch.setattr(news, "PACE_S", 0.0)
    shown: list[news.Picture] = []
    show = news.Watcher.show
    monkeypatch.setattr(news.Watcher, "show", lambda watcher, picture: shown.append(picture) or show(watcher, picture))
    ask(account)
    claimed = claim(account)

    def progress(number: int) -> None:
        with database.transaction() as session:
            done = {"stage": Stage.MUSIC, "fraction": number / 1000, "message": f"{number} " + "x" * 200_000}
            attempts.note_progress(session, claimed.job_id, claimed.attempt, **done, stages={})

    cookie = signed_in(account).cookies[cookie_name(services)]
    place = urlsplit(address)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((place.hostname, place.port))
        reader.sendall(
            f"GET {place.path}/events HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Cookie: {cookie_name(services)}={cookie}\r\n\r\n".encode()
        )
        for number in range(100):
            before = len(shown)
            progress(number)
            until(lambda before=before: len(shown) > before)
        reader.settimeout(120)
        heard = b""
        while b'"99 xxx' not in heard:
            heard += reader.recv(1 << 20)
    assert len(shown) >= 100
    assert heard.count(b"event: job") < 60


def until(holds: Callable[[], bool]) -> None:
    """Wait for what other threads bring about."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


# how many


def test_an_account_has_so_many_streams_and_a_place_that_is_left_is_free(
    make_account, serve, services, signed_in, monkeypatch
) -> None:
    few = load(var=services.settings.var, limits={"streams_per_account": 2})
    address = serve(replace_settings(services, few))
    ada, bob = make_account(), make_account()
    of_ada, of_bob = signed_in(ada), signed_in(bob)
    of_ada.base_url = of_bob.base_url = address
    streams = [Listener(of_ada), Listener(of_ada)]
    refused = of_ada.get("/events")
    assert (refused.status_code, refused.json()["error"]) == (429, "too_many_streams")
    assert refused.json()["message"].startswith("You have 2 streams of news open, which is the most.")
    assert int(refused.headers["retry-after"]) > 0
    streams.append(Listener(of_bob))
    streams.pop(0).close()
    until(lambda: opens(of_ada))
    for stream in streams:
        stream.close()


def test_a_process_has_so_many_streams(make_account, serve, services, signed_in) -> None:
    address = serve(replace_settings(services, load(var=services.settings.var, limits={"streams": 1})))
    of_ada, of_bob = signed_in(make_account()), signed_in(make_account())
    of_ada.base_url = of_bob.base_url = address
    stream = Listener(of_ada)
    refused = of_bob.get("/events")
    assert (refused.status_code, refused.json()["error"]) == (503, "streams_full")
    assert int(refused.headers["retry-after"]) > 0
    stream.close()
    until(lambda: opens(of_bob))


def test_nobody_has_none(signed_in) -> None:
    answer = signed_in(None).get("/events")
    assert (answer.status_code, answer.json()["error"]) == (401, "not_signed_in")


def replace_settings(services: Services, settings) -> Services:
    parts = ("secrets", "database", "store", "gateway", "payments")
    return Services(settings=settings, **{name: getattr(services, name) for name in parts})


def opens(browser: httpx.Client) -> bool:
    with browser.stream("GET", "/events") as answer:
        return answer.status_code == 200


# for how long


def sign_out(session, account, token: str) -> None:
    sessions.revoke(session, token)


def end_it_elsewhere(session, account, token: str) -> None:
    sessions.revoke_one(session, account.id, sessions.of_token(session, token)[1])


def sign_out_everywhere(session, account, token: str) -> None:
    sessions.revoke_all(session, account.id)


def change_password(session, account, token: str) -> None:
    accounts.set_password(session, account.id, "another hash")


def by_hand(session, account, token: str) -> None:
    session.execute(text("DELETE FROM session"))


@pytest.mark.parametrize("end", [sign_out, end_it_elsewhere, sign_out_everywhere, change_password, by_hand])
def test_a_stream_ends_with_its_session(account, ask, signed_in, services, database, end) -> None:
    browser = signed_in(account)
    stream = Listener(browser)
    stream.begin()
    with database.transaction() as session:
        end(session, account, browser.cookies[cookie_name(services)])
    # nothing is asked for and no look is due: the notification alone ends it
    assert list(stream.events()) == []
    stream.close()
    assert browser.get("/events").status_code == 401


def test_other_sessions_of_the_account_go_on(account, ask, signed_in, services, database) -> None:
    browser, other = signed_in(account), signed_in(account)
    ending, staying = Listener(browser), Listener(other)
    ending.begin()
    staying.begin()
    assert browser.delete("/auth/session").is_success
    assert list(ending.events()) == []
    job = ask(account)
    assert staying.next("job")["id"] == job.id
    ending.close()
    staying.close()


def test_a_stream_ends_with_its_key(account, signed_in, database) -> None:
    with database.transaction() as session:
        key, secret = api_keys.make(session, account.id, "a program", [Scope.READ])
    stream = Listener(signed_in(None), headers={"Authorization": f"Bearer {secret}"})
    stream.begin()
    with database.transaction() as session:
        assert api_keys.revoke(session, account.id, key.id)
    assert list(stream.events()) == []
    stream.close()


def test_a_session_that_runs_out_is_found_by_a_look(account, signed_in, database, monkeypatch) -> None:
    monkeypatch.setattr(news, "LOOK_EVERY_S", 0.2)
    stream = Listener(signed_in(account))
    stream.begin()
    with database.transaction() as session:
        session.execute(text("UPDATE session SET expires_at = now()"))
    assert list(stream.events()) == []
    stream.close()


def test_a_reader_who_leaves_is_looked_for_no_more(account, signed_in, statements, monkeypatch) -> None:
    monkeypatch.setattr(news, "LOOK_EVERY_S", 0.05)
    stream = Listener(signed_in(account))
    stream.begin()
    stream.close()
    for _ in range(10):
        statements.clear()
        time.sleep(1.0)
        if not statements:
            return
    pytest.fail("somebody goes on looking although nobody reads")


# what breaks


def test_a_process_that_is_told_to_end_ends_its_streams_first(account, database, signed_in, services, tmp_path) -> None:
    browser, port = signed_in(account), free_port()
    surroundings = {"MELODEON_VAR": str(tmp_path / "var"), "MELODEON_DATABASE__URL": database.conninfo}
    # Without a limit to its patience, the server would wait for the stream for ever.
    command = [sys.executable, "-m", "uvicorn", "serving.api.app:alone", "--factory", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | surroundings)
    try:
        browser.base_url = f"http://127.0.0.1:{port}{PREFIX}"
        until(lambda: answers(browser))
        stream = Listener(browser)
        stream.begin()
        process.send_signal(signal.SIGTERM)
        assert list(stream.events()) == []
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def answers(browser: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return browser.get("/health").is_success
    return False


def test_an_outage_of_the_database_is_outlived(account, listen, ask, database) -> None:
    stream = listen(account)
    stream.begin()
    cut(database, "true")  # every connection of the doors, that of the listener too
    job = ask(account)
    assert stream.next("job")["id"] == job.id


def test_a_listener_that_is_killed_listens_again_and_what_it_missed_is_told(
    account, make_account, listen, ask, database
) -> None:
    ada, bob = listen(account), listen(make_account())
    ada.begin()
    bob.begin()
    cut(database, "query LIKE 'LISTEN%'")
    job = ask(account)  # most likely before somebody listens again
    assert ada.next("job")["id"] == job.id
    again = ask(account)
    assert again.id in (told["id"] for kind, told in ada.events() if kind == "job")


def cut(database: Database, which: str) -> None:
    with database.transaction() as session:
        ended = session.execute(
            text(
                # with a time, it waits for the end: the pool would hand out a connection that is about to break
                "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
                f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"
            )
        )
        assert ended.scalars().all()
