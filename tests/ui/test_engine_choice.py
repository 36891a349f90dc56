"""The choice of an engine, against a gateway over real HTTP that says how the applications stand."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import configs
from configs.settings import settings
from serving.contract import ApplicationHealth, HealthAnswer
from ui import wiring

UP = ApplicationHealth(ready=True, status="RUNNING", replicas=1)
ASLEEP = ApplicationHealth(ready=True, status="RUNNING", replicas=0, cold_start_s=42.4)
COMING = ApplicationHealth(ready=False, status="DEPLOYING")

Says = Callable[..., None]


@pytest.fixture
def gateway_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Says]:
    """Lets a gateway of the tiny models say how each application stands; None: it does not answer."""
    answer: list[bytes | None] = [None]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if answer[0] is None else 200)
            self.end_headers()
            self.wfile.write(answer[0] or b"{}")

        def log_message(self, *_: object) -> None:
            pass

    def forget() -> None:
        for cached in (settings, wiring.services):
            cached.cache_clear()
        wiring.engine_health.clear()

    def says(**applications: ApplicationHealth) -> None:
        health = HealthAnswer(ready=False, applications=applications)
        answer[0] = health.model_dump_json().encode() if applications else None
        wiring.engine_health.clear()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path))
    monkeypatch.setenv("MELODEON_SERVE__GATEWAY_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MELODEON_SERVE__CONFIG", str(Path(configs.__file__).parent / "serve" / "tiny-models.yaml"))
    forget()
    yield says
    monkeypatch.undo()
    forget()
    server.shutdown()
    server.server_close()


def _page() -> None:
    import streamlit as st

    from ui.widgets.engine_choice import draw_engine_choice

    st.text(draw_engine_choice().name)


def drawn() -> AppTest:
    page = AppTest.from_function(_page, default_timeout=180).run()
    assert not page.exception
    return page


def test_an_engine_that_works_is_taken_without_a_word(gateway_says: Says) -> None:
    gateway_says(songs=UP, composer=UP)
    page = drawn()
    assert [text.value for text in page.text] == ["tiny-ace-step-turbo"]
    assert not page.warning
    assert not page.caption


def test_a_sleeping_engine_says_how_long_it_warms_up(gateway_says: Says) -> None:
    gateway_says(songs=ASLEEP, composer=UP)
    assert "about 42 s" in drawn().caption[0].value


def test_an_engine_that_is_not_ready_offers_another_and_takes_none_by_itself(gateway_says: Says) -> None:
    gateway_says(songs=COMING, composer=UP)
    page = drawn()
    assert "is not ready yet" in page.warning[0].value
    assert page.text[0].value == "tiny-ace-step-turbo"
    page.button(key="other_engine").click().run()
    assert page.text[0].value == "builtin-song"
    assert not page.warning


def test_when_nothing_is_ready_nothing_is_offered(gateway_says: Says) -> None:
    gateway_says(songs=COMING, composer=COMING)
    page = drawn()
    assert page.warning
    assert not page.button


def test_a_gateway_that_does_not_answer_is_told(gateway_says: Says) -> None:
    gateway_says()
    assert "do not answer" in drawn().warning[0].value
