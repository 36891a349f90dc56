"""Who comes from where: what a proxy says is believed from the proxies that are named, and from nobody else.

Every address of 127.0.0.0/8 is this machine's, so a proxy elsewhere and a stranger are played by two of them.
"""

import http.client
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from configs.settings import UnknownSetting, load
from data.database import Database
from data.repositories.tokens import hash_of
from data.testing import fresh_database

PROXY, STRANGER, CALLER = "127.0.0.2", "127.0.0.3", "203.0.113.9"


@pytest.fixture(scope="module")
def behind_a_proxy(postgres, tmp_path_factory, web_process) -> Iterator:
    """The running web process of an installation that names a proxy."""
    settings = {"MELODEON_WEB__TRUSTED_PROXIES": f'["{PROXY}"]', "MELODEON_WEB__HOST": "0.0.0.0"}
    with (
        fresh_database(postgres) as database,
        web_process(database, tmp_path_factory.mktemp("site"), **settings) as running,
    ):
        yield running


def counted_as(site, source: str, *forwarded: str) -> set[str]:
    """Write something from this address with these headers; which of the addresses it was counted for."""
    with site.database.transaction() as session:
        session.execute(text("DELETE FROM rate_limit"))
    port = int(site.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120, source_address=(source, 0))
    connection.putrequest("POST", "/api/v1/auth/session")
    for line in forwarded:
        connection.putheader("X-Forwarded-For", line)
    for name in ("X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"):
        connection.putheader(name, "for=198.51.100.1" if name == "Forwarded" else "198.51.100.1")
    body = b'{"ticket": "x"}'
    for name, value in (("X-Melodeon", "1"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body)
    assert connection.getresponse().status == 401
    connection.close()
    return addresses_in(site.database)


def addresses_in(database: Database) -> set[str]:
    seen = (PROXY, STRANGER, CALLER, "127.0.0.1", "198.51.100.1", "198.51.100.2")
    names = {hash_of(f"write:from {address}"): address for address in seen}
    with database.transaction() as session:
        kept = session.execute(text("SELECT bucket_hash FROM rate_limit")).scalars()
        return {names.get(bytes(one), "somebody else") for one in kept}


def test_the_named_proxy_is_believed(behind_a_proxy) -> None:
    assert counted_as(behind_a_proxy, PROXY, CALLER) == {CALLER}
    assert counted_as(behind_a_proxy, "127.0.0.1", CALLER) == {CALLER}


def test_what_the_caller_wrote_before_the_proxy_is_not(behind_a_proxy) -> None:
    assert counted_as(behind_a_proxy, PROXY, f"198.51.100.2, {CALLER}") == {CALLER}
    assert counted_as(behind_a_proxy, PROXY, "198.51.100.2", CALLER) == {CALLER}
    assert counted_as(behind_a_proxy, PROXY, f"198.51.100.2, {CALLER}, {PROXY}") == {CALLER}


def test_nobody_else_is_believed(behind_a_proxy) -> None:
    for forged in (CALLER, f"{CALLER}, {PROXY}", PROXY, "127.0.0.1"):
        assert counted_as(behind_a_proxy, STRANGER, forged) == {STRANGER}
    assert counted_as(behind_a_proxy, PROXY) == {PROXY}


@pytest.mark.parametrize("wrong", ["*", "proxy.example.org", "10.0.0.1/8", ""])
def test_only_addresses_and_networks_can_be_named(monkeypatch, wrong) -> None:
    monkeypatch.setenv("MELODEON_WEB__TRUSTED_PROXIES", f'["{wrong}"]')
    with pytest.raises(UnknownSetting, match="trusted_proxies"):
        load()


def test_by_default_only_this_machine_is_believed() -> None:
    assert load().web.trusted_proxies == ()
