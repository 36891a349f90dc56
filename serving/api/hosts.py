"""By which names this product may be called. Against DNS rebinding: a page of a stranger whose name leads to us.

A stranger owns names with a dot. So addresses of machines and names without a dot (``localhost``, a service of the same
cluster) are always taken, of all others only the public one and those that the settings list.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from configs.settings import Settings
from serving.api.answers import bad
from serving.refusals import note_refusal

_SENTENCE: Final = (
    "This place is not called by this name. Whoever runs it can allow the name with the setting web.allowed_hosts."
)


def known_hosts(settings: Settings) -> tuple[str, ...]:
    """The names with a dot by which people come: that of the public address and those listed."""
    public = urlsplit(settings.web.public_url or "").hostname
    return (*((public,) if public else ()), *settings.web.allowed_hosts)


class KnownHosts:
    """Answers 400 to requests, and closes sockets, that were sent to another name (RFC 9110, 7.2 and 7.4)."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its name is known."""
        if scope["type"] not in ("http", "websocket") or self._knows(scope):
            await self._app(scope, receive, send)
            return
        note_refusal("unknown_host", place=scope["type"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await bad(400, "unknown_host", _SENTENCE)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1:
            return False
        try:
            host = urlsplit(f"//{given[0].decode('ascii')}").hostname or ""
        except ValueError:
            return False
        host = host.removesuffix(".")
        return bool(host) and ("." not in host or host in self._names or _is_address(host) or self._is_below(host))

    def _is_below(self, host: str) -> bool:
        """``*.example.org`` in the list allows every name below ``example.org``."""
        return any(name.startswith("*.") and host.endswith(name[1:]) for name in self._names)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
