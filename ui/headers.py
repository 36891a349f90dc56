"""What every answer tells the browser not to do: load from strangers, be framed, guess types, use the microphone."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import streamlit as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.settings import Settings
from serving.api.views import PREFIX

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{power}=()"
        for power in (
            "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope", "hid",
            "magnetometer", "microphone", "midi", "payment", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking",
        )
    ),
}  # fmt: skip
_HSTS: Final = "max-age=31536000"
_DOORS_POLICY: Final = (
    "default-src 'none'; img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For what the doors answer: data, sound and pictures. Opened as a page of its own it can do nothing."""


def page_policy(settings: Settings, *, inline_scripts: Iterable[str]) -> str:
    """The Content-Security-Policy of the pages (W3C CSP 3).

    Streamlit writes its styles into the page, so styles may stand there; scripts may not, but for those of its own page
    by their hashes. Sound and pictures also come from the object store's own address, where there is one.

    Args:
        inline_scripts: hashes of the scripts that stand in the page itself.
    """
    store = " ".join(filter(None, [_store_origin(settings)]))
    policy = {
        "default-src": "'self'",
        "script-src": " ".join(["'self'", *inline_scripts]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": f"'self' data: blob: {store}",
        "media-src": f"'self' blob: {store}",
        "font-src": "'self' data:",
        "connect-src": f"'self' {store}",
        "worker-src": "'self' blob:",
        "frame-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'self'",
    }
    return "; ".join(f"{name} {sources.strip()}" for name, sources in policy.items())


def inline_scripts_of(page: str) -> tuple[str, ...]:
    """Hashes, as a policy names them, of the scripts that stand in an HTML page."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return tuple(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)


def streamlit_page() -> str:
    """The page that Streamlit serves for every address."""
    return (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")


def _store_origin(settings: Settings) -> str:
    """Where signed links of an S3 store lead, as the SDK makes them: the endpoint, or the bucket's host at AWS."""
    store = settings.store
    if store.kind != "s3":
        return ""
    if store.endpoint_url:
        endpoint = urlsplit(store.endpoint_url)
        return f"{endpoint.scheme}://{endpoint.netloc}"
    return f"https://{store.bucket}.s3.{store.region}.amazonaws.com https://{store.bucket}.s3.amazonaws.com"


class SafeHeaders:
    """Adds to every answer the headers that it does not bring itself.

    Args:
        page_policy: the Content-Security-Policy of the pages; the doors have their own.
        https: whether people come by https: then their browsers shall come by nothing else for a year.
    """

    def __init__(self, app: ASGIApp, *, page_policy: str, https: bool) -> None:
        self._app = app
        always = {**_ALWAYS, **({"Strict-Transport-Security": _HSTS} if https else {})}
        self._page_headers = _encoded({**always, "Content-Security-Policy": page_policy})
        doors = {"Content-Security-Policy": _DOORS_POLICY, "Cache-Control": "no-store"}
        self._door_headers = _encoded({**always, **doors})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        ours = self._door_headers if scope.get("path", "").startswith(f"{PREFIX}/") else self._page_headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                missing = ((name, value) for name, value in ours.items() if name not in present)
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _encoded(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.lower().encode(): value.encode() for name, value in headers.items()}
