"""What the tests of the pages ask for: the services of this process on a database of the test's own; a web process."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import streamlit as st

from configs.settings import settings
from data.database import Database
from data.embedded_postgres import free_port
from serving.api.services import Services
from ui import wiring

READY_S = 90.0

WebProcess = Callable[..., str]


@pytest.fixture
def wired(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The services that pages get by `ui.wiring.services` in this process, on the test's own database and folder."""
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_DATABASE__URL", database.conninfo)
    for cached in (settings, wiring.services):
        cached.cache_clear()
    st.cache_data.clear()
    services = wiring.services()
    yield services
    services.database.dispose()
    for cached in (settings, wiring.services):
        cached.cache_clear()


@contextmanager
def running_web(database: Database, var: Path, more: Mapping[str, str]) -> Iterator[str]:
    """The web process alone, as ``melodeon up`` starts it; answers its address."""
    port = int(more.get("MELODEON_WEB__PORT", free_port()))
    own = {"MELODEON_VAR": str(var), "MELODEON_DATABASE__URL": database.conninfo, "MELODEON_WEB__PORT": str(port)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MELODEON_")}
    log = var / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.server"], env=inherited | own | dict(more), stdout=output, stderr=output
        )
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + READY_S
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def web(database: Database, tmp_path: Path) -> Iterator[WebProcess]:
    """Starts a web process: ``web(MELODEON_…="…")`` answers its address; ended after the test."""
    running = []

    def start(**more: str) -> str:
        process = running_web(database, tmp_path, more)
        running.append(process)
        return process.__enter__()

    yield start
    for process in running:
        process.__exit__(None, None, None)
