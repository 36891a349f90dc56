"""``melodeon doctor --security`` on the running product, and on doors that somebody left open."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from configs.addresses import Running
from configs.settings import load
from serving import exposure
from ui.testing import Stack


@contextmanager
def door(status: int, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A server that gives everybody the same answer."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()

        do_POST = do_PUT = do_GET  # noqa: N815 - the library calls them so

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_ray_without_a_token_is_seen() -> None:
    with door(200) as url:
        check = exposure.check_ray(url)
    assert not check.ok
    assert "POST /api/jobs/" in check.sentence
    with door(401) as url:
        assert exposure.check_ray(url).ok


def test_what_does_not_answer_is_not_called_closed() -> None:
    assert not exposure.check_ray("http://127.0.0.1:9").ok
    assert not exposure.check_gateway("http://127.0.0.1:9").ok
    assert [check.ok for check in exposure.check_pages("http://127.0.0.1:9")] == [False, False]


def test_an_open_gateway_is_seen() -> None:
    with door(200) as url:
        assert not exposure.check_gateway(url).ok
    with door(401) as url:
        assert exposure.check_gateway(url).ok


def test_pages_without_their_headers_are_seen() -> None:
    with door(200) as url:
        assert [check.ok for check in exposure.check_pages(url)] == [False, False]
    safe = {"Content-Security-Policy": "x", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
    with door(403, safe) as url:
        headers, other_sites = exposure.check_pages(url)
    assert other_sites.ok
    with door(200, safe) as url:
        headers, other_sites = exposure.check_pages(url)
    assert headers.ok
    assert not other_sites.ok


@pytest.mark.parametrize(("address", "outward"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_port_that_is_open_beyond_this_machine_is_seen(address: str, outward: bool) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        found = exposure.outward_ports(psutil.Process().pid)
        assert (port in found.ours) == outward
        running = Running(pid=psutil.Process().pid, web_url="", gateway_url="", database_port=None)
        told = exposure.check_listeners(running, load(web={"host": address, "port": port}))
        assert told.ok
        if outward:
            assert not exposure.check_listeners(running, load()).ok


def test_what_ray_opens_is_known_as_rays() -> None:
    program = (
        "import socket, time; s = socket.create_server(('0.0.0.0', 0));"
        " print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    head = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    with subprocess.Popen([sys.executable, "-c", head, "start", "--head"], stdout=subprocess.PIPE) as process:
        port = int(process.stdout.readline())
        found = exposure.outward_ports(psutil.Process().pid)
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    assert port in found.ray
    assert port not in found.ours


def test_the_running_product_shows_strangers_nothing(stack: Stack) -> None:
    looked = stack.melodeon("doctor", "--security", "--json")
    answer = json.loads(looked.stdout)
    assert [check for check in answer["checks"] if not check["ok"]] == []
    assert {check["name"] for check in answer["checks"]} >= {"ray's doors", "gateway's door", "open ports"}
    assert looked.returncode == 0
