"""The application as a whole: its document, its place, its errors; nothing of ours leaks and no error is forgotten."""

import asyncio
import importlib
import pkgutil
import socket
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import billing
import data
import serving
import studio
from configs.settings import settings
from data.database import Database, DatabaseUnreachable
from serving.api.answers import STATUS_OF_CODE
from serving.api.app import alone, make_app
from studio.errors import MelodeonError

NEVER_AT_A_DOOR = {
    "audio_not_written": "made by a replica",
    "not_marked": "made by a replica",
    "bad_signer": "told when a replica starts and by the command line",
    "not_examinable": "told by the command line",
    "payments_are_real": "told by the command line",
    "broken_plans": "melodeon up does not start with it",
    "bad_catalogue": "the web process does not start with it",
    "bad_checkpoint": "told by the command line and when a replica starts",
    "fetch_failed": "told by the command line",
    "forbidden_model": "told by the command line and when a replica starts",
    "no_checkpoint": "told by the command line and when a replica starts",
    "no_weights": "told by the command line",
    "unfit_scenario": "told by the command line",
    "bad_key": "doors use keys from our own rows",
    "busy": "the worker's",
    "cancelled": "ends the work of a replica",
    "deadline": "the worker's",
    "empty_score": "made by a replica",
    "engine_stuck": "a replica's",
    "error": "the base class",
    "fenced": "the worker's",
    "hold_open": "a Job holds once; serving.jobs sees to it",
    "no_body": "a replica's",
    "no_clawback": "the handlers of payments see to it",
    "no_grant": "the handlers of payments see to it",
    "no_hold": "the worker's",
    "no_worker": "told by health checks",
    "letters_stuck": "told by health checks",
    "payments_stuck": "told by health checks",
    "not_ready": "the gateway's",
    "outdated_schema": "told by health checks",
    "over_hold": "the worker's",
    "part_not_ready": "the supervisor's",
    "no_free_port": "the supervisor's",
    "database_password": "the supervisor's",
    "not_installed": "the doctor's",
    "not_running": "the doctor's",
    "backup_failed": "told by the command line",
    "no_backup": "told by the command line",
    "place_taken": "told by the command line",
    "restore_failed": "told by the command line",
    "folder_not_ours": "the supervisor's",
    "serve_file_refused": "the supervisor's",
    "application_failed": "the supervisor's",
    "folder_in_use": "the supervisor's",
    "port_taken": "the supervisor's",
    "postgres_failed": "the supervisor's",
    "fake_stripe_refusal": "the fake Stripe's own",
    "replica_lost": "the worker's",
    "unreadable_brief": "the worker's",
    "unavailable": "the worker's and health checks'",
    "not_booked": "the billing loop's",
    "overtaken": "the billing loop's",
    "unknown_buyer": "the billing loop's",
    "unknown_price": "the billing loop's",
    "unknown_plan": "accounts have plans of ours",
    "unreadable_audio": "a replica's",
    "identity_refused": "told on the pages; other providers have no door",
    "broken_seal": "a fault of the installation",
    "mail_not_sent": "the worker's",
    "bad_mail_address": "told by the command line and when the worker starts",
    "unknown_key": "the engine's spec refuses it first",
}
"""Why these codes need no status: if one came to a door all the same it would be a fault of ours, a 500."""


IN_A_REPLICA = ("studio.music", "studio.sound", "serving.engines", "serving.deployments")
"""Their errors reach a door only as the words of a job."""


def every_error() -> set[type[MelodeonError]]:
    for room in (studio, data, billing, serving):
        for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
            if not module.name.startswith(("data.migrations.", "serving.deployments", "serving.engines")):
                importlib.import_module(module.name)
    found, open_ = set(), [MelodeonError]
    while open_:
        error = open_.pop()
        found.add(error)
        open_ += error.__subclasses__()
    return {error for error in found if error.__module__.startswith(("studio.", "data.", "billing.", "serving."))}


def test_every_error_has_a_status_or_a_reason_to_have_none() -> None:
    codes = {error.code for error in every_error() if not error.__module__.startswith(IN_A_REPLICA)}
    assert codes - set(STATUS_OF_CODE) - set(NEVER_AT_A_DOOR) == set()
    assert set(STATUS_OF_CODE) - codes == set()
    assert set(STATUS_OF_CODE) & set(NEVER_AT_A_DOOR) == set()


@pytest.fixture
def asgi(services):
    """Asks the doors mounted under /api/v1, without a server; foreign errors do not reach the test."""
    app = Starlette(routes=[Mount("/api/v1", make_app(services))])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def ask(method: str, path: str, **more) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers={"X-Melodeon": "1"}, **more)

    return lambda *call, **more: asyncio.run(ask(*call, **more))


def test_the_document_says_where_the_doors_are(asgi) -> None:
    document = asgi("GET", "/api/v1/openapi.json").json()
    assert document["servers"] == [{"url": "/api/v1"}]
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) > 25
    wish = document["components"]["schemas"]["FromDescription"]
    assert wish["additionalProperties"] is False
    assert {"description", "duration_s", "tempo_bpm", "steps", "guidance_scale"} <= set(wish["properties"])
    assert asgi("GET", "/api/v1/docs").status_code == 404


def test_alone_the_doors_stand_at_the_same_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setattr("serving.api.app.configure", lambda *_, **__: None)
    settings.cache_clear()
    try:
        transport = httpx.ASGITransport(alone())
    finally:
        settings.cache_clear()

    async def ask(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    assert asyncio.run(ask("/api/v1/openapi.json")).json()["servers"] == [{"url": "/api/v1"}]
    assert asyncio.run(ask("/api/v1/health")).json() == {"ok": True, "data": {"status": "alive"}}
    assert asyncio.run(ask("/health")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nowhere", 404),
        ("GET", "/api/v1/", 404),
        ("GET", "/api/v1/jobs/", 404),
        ("GET", "/api/v1//health", 404),
        ("GET", "/api/v1/songs/a%2Fb", 404),
        ("GET", "/api/v1/songs/song_%0a", 404),
        ("PUT", "/api/v1/songs", 405),
    ],
)
def test_wrong_addresses_get_the_uniform_answer_and_lead_nowhere(asgi, method, path, status) -> None:
    answer = asgi(method, path)
    assert answer.status_code == status
    assert (answer.json()["ok"], answer.json()["message"][-1]) == (False, ".")
    if status == 405:
        assert answer.headers["allow"] == "GET"


def test_without_its_database_every_door_says_so(services) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = Database(f"postgresql://me:hush@127.0.0.1:{nobody.getsockname()[1]}/songs", pool_size=1)
        broken = replace(services, database=gone)
        transport = httpx.ASGITransport(make_app(broken))

        async def ask(path: str) -> httpx.Response:
            headers = {"Cookie": "melodeon_session=x"}
            async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
                return await client.get(path)

        for path in ("/songs", "/discover", "/jobs", "/auth/me", "/events", "/songs/song_" + "0" * 32):
            answer = asyncio.run(ask(path))
            assert (answer.status_code, answer.json()["error"]) == (503, "database_unreachable"), path
            assert answer.json()["message"] == DatabaseUnreachable().sentence
            assert answer.headers["retry-after"] == "5"
        ready = asyncio.run(ask("/health/ready"))
        assert (ready.status_code, ready.json()["details"]["parts"]["database"]) == (503, False)
        assert "hush" not in ready.text
        assert str(services.settings.var) not in ready.text
        assert asyncio.run(ask("/health")).status_code == 200


@pytest.mark.parametrize("error", [RuntimeError("the password is hush"), MelodeonError("the password is hush")])
def test_what_nobody_foresaw_is_a_500_with_a_reference_and_no_detail(asgi, monkeypatch, capsys, caplog, error) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("serving.catalogue.engines", fail)
    answer = asgi("GET", "/api/v1/engines")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    # by the standard library's loggers, if an earlier test of this process configured the logs
    said = "".join(capsys.readouterr()) + caplog.text
    assert "door.failed" in said
    assert "hush" not in answer.text + said
    assert "reference" in answer.json()["message"]
