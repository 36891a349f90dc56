"""The fake's HTTP server: Stripe's API under ``/v1``, pages for people elsewhere."""

import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from billing.testing.api import Api
from billing.testing.faults import Fault, Faults
from billing.testing.forms import decode
from billing.testing.html import page
from billing.testing.idempotency import Answer, IdempotencyKeys
from billing.testing.pages import Pages
from billing.testing.refusal import Refusal
from billing.testing.shelves import API_VERSION

_MOST_BYTES: Final = 1_000_000


class Desk:
    """What the server answers with: one for all its threads."""

    def __init__(self, api: Api, pages: Pages, keys: IdempotencyKeys, faults: Faults, api_key: str) -> None:
        self.api = api
        self.pages = pages
        self.keys = keys
        self.faults = faults
        self.api_key = api_key
        self.after_change: Callable[[], None] = lambda: None

    def call(self, method: str, target: str, body: str, headers: dict[str, str], fault: Fault | None) -> Answer:
        """The answer to a call of the API."""
        try:
            self._check(headers, fault)
            key = headers.get("idempotency-key") if method == "POST" else None
            if key is None:
                return self._work(method, target, body, fault)
            return self.keys.answer(key, f"{method} {target}\n{body}", lambda: self._work(method, target, body, fault))
        except Refusal as refusal:
            return Answer(status=refusal.status, body=refusal.body())

    def _check(self, headers: dict[str, str], fault: Fault | None) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not secrets.compare_digest(key.encode(), self.api_key.encode()):
            raise Refusal(f"Invalid API Key provided: {key[:3]}***", status=401)
        if headers.get("stripe-version", API_VERSION) != API_VERSION:
            raise Refusal(f"Invalid Stripe API version: {headers['stripe-version']}; the fake speaks {API_VERSION}.")
        if fault == 429:
            raise Refusal("Request rate limit exceeded.", status=429, reason="rate_limit")

    def _work(self, method: str, target: str, body: str, fault: Fault | None) -> Answer:
        if fault == 500:
            broken = Refusal("An unknown error occurred.", status=500, kind="api_error")
            return Answer(status=500, body=broken.body())
        try:
            place = urlsplit(target)
            params = decode(body if method == "POST" else place.query)
            answer = Answer(status=200, body=self.api.answer(method, place.path, params))
        except Refusal as refusal:
            return Answer(status=refusal.status, body=refusal.body())
        if method != "GET":
            self.after_change()
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "FakeStripe"
    # head and body in one packet: two would wait 40 ms for each other
    wbufsize = -1
    disable_nagle_algorithm = True
    desk: ClassVar[Desk]

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_DELETE(self) -> None:
        self._route("DELETE")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Quiet: the product's own log is the interesting one."""

    def _route(self, method: str) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > _MOST_BYTES:
            self.close_connection = True
            self._send(413, b"too large", "text/plain")
            return
        body = self.rfile.read(size).decode("utf-8", "replace")
        if self.path.startswith("/v1/"):
            self._api(method, body)
        else:
            self._page(method)

    def _api(self, method: str, body: str) -> None:
        desk = self.desk
        fault = desk.faults.take()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = desk.call(method, self.path, body, headers, fault)
        if fault == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault == "slow":
            time.sleep(desk.faults.slow_s)
        more = {"Request-Id": f"req_fake{secrets.token_hex(7)}"}
        if answer.replayed:
            more["Idempotent-Replayed"] = "true"
        self._send(answer.status, json.dumps(answer.body).encode(), "application/json", more)

    def _page(self, method: str) -> None:
        place = urlsplit(self.path)
        try:
            if method == "POST":
                target = self.desk.pages.act(place.path)
                self.desk.after_change()
                self._send(303, b"", "text/html", {"Location": target})
                return
            text = self.desk.pages.show(place.path, decode(place.query))
            self._send(200, text.encode(), "text/html; charset=utf-8")
        except Refusal as refusal:
            text = page("Not possible", f"<h1>Not possible</h1><p>{escape(refusal.sentence)}</p>")
            self._send(refusal.status, text.encode(), "text/html; charset=utf-8")

    def _send(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Serves the desk on 127.0.0.1 until closed; closing ends the connections still open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, desk: Desk, host: str, port: int) -> None:
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        handler = type("_DeskHandler", (_Handler,), {"desk": desk})
        super().__init__((host, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is nothing to report; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        """Stops serving and closes every connection."""
        self.shutdown()
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        self.server_close()
