"""The door for Prometheus: who may enter, what it tells, and what it tells when parts are gone."""

from dataclasses import replace

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from starlette.testclient import TestClient

from data.database import Database
from data.embedded_postgres import free_port
from serving import attempts
from serving.api import metrics
from serving.api.answers import answer_errors
from serving.api.services import Services


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LIFE_S", 0.0)


def door(services: Services) -> TestClient:
    app = FastAPI()
    app.state.services = services
    app.state.watch = metrics.Watch(services)
    app.include_router(metrics.router)
    answer_errors(app)
    return TestClient(app, headers={"Authorization": f"Bearer {services.secrets.gateway_key}"})


def numbers(browser: TestClient) -> dict[str, float]:
    """Every sample, as ``name{label}``: value."""
    answer = browser.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "sent", ["", "Bearer ", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x", "bearer {key}"]
)
def test_strangers_are_told_nothing(services: Services, sent: str) -> None:
    header = sent.format(key=services.secrets.gateway_key)
    answer = door(services).get("/metrics", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"] == "wrong_key"
    assert "melodeon_" not in answer.text


@pytest.mark.usefixtures("no_cache")
def test_the_queue_is_told_in_numbers(services: Services, make_account, ask, claim) -> None:
    browser = door(services)
    quiet = numbers(browser)
    assert quiet["melodeon_jobs{queued}"] == quiet["melodeon_jobs_ended_total{processed}"] == 0
    assert quiet["melodeon_database_up"] == quiet["melodeon_object_store_up"] == 1
    assert quiet["melodeon_database_connections_in_use"] == 0
    with services.database.transaction() as session:
        session.execute(text("SELECT 1"))
        assert numbers(browser)["melodeon_database_connections_in_use"] == 1

    busy, waiting = make_account("busyperson"), make_account("waitingperson")
    for account in (busy, waiting, waiting):
        ask(account)
    claimed = claim(busy)
    told = numbers(browser)
    assert told["melodeon_jobs{queued}"] == 2
    assert told["melodeon_jobs{processing}"] == 1
    assert told["melodeon_lanes_ready"] == 1
    assert told["melodeon_credits_held"] > 0
    assert told["melodeon_workers_alive"] == 0

    with services.database.transaction() as session:
        attempts.cancelled(session, claimed.job_id, claimed.attempt, now=Services.now())
    after = numbers(browser)
    assert after["melodeon_jobs_ended_total{cancelled}"] == 1
    assert after["melodeon_jobs{processing}"] == 0
    assert numbers(browser) | {"melodeon_oldest_waiting_seconds": 0} == after | {"melodeon_oldest_waiting_seconds": 0}
    assert "person" not in browser.get("/metrics").text


@pytest.mark.usefixtures("no_cache")
def test_a_counter_never_goes_down_when_a_job_is_run_again(services: Services, make_account, account, ask) -> None:
    from serving import jobs

    browser = door(services)
    # an older one that stays open: what came after it is counted anew at every look
    ask(make_account("patient"))
    job = ask(account)
    numbers(browser)
    with services.database.transaction() as session:
        jobs.cancel(session, account, job.id, now=Services.now())
    assert numbers(browser)["melodeon_jobs_ended_total{cancelled}"] == 1
    with services.database.transaction() as session:
        jobs.run_again(session, account, job.id, now=Services.now())
    again = numbers(browser)
    assert again["melodeon_jobs{queued}"] == 2
    assert again["melodeon_jobs_ended_total{cancelled}"] == 1


def test_a_database_that_is_gone_is_a_number_and_no_error(services: Services) -> None:
    away = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    told = numbers(door(replace(services, database=away)))
    assert told["melodeon_database_up"] == 0
    assert told["melodeon_object_store_up"] == 1
    assert "melodeon_jobs{queued}" not in told


def test_a_store_that_is_gone_is_a_number_and_no_error(services: Services, tmp_path) -> None:
    (tmp_path / "objects").rename(tmp_path / "away")
    (tmp_path / "objects").touch()
    told = numbers(door(services))
    assert (told["melodeon_object_store_up"], told["melodeon_database_up"]) == (0, 1)


def test_the_database_is_looked_at_once_in_a_while_however_often_is_asked(
    services: Services, account, ask, monkeypatch
) -> None:
    monkeypatch.setattr(metrics, "LIFE_S", 3600.0)
    browser = door(services)
    before = numbers(browser)
    ask(account)
    assert numbers(browser) == before
