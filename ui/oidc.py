"""Signing in by another provider (OpenID Connect Core 1.0), through Streamlit's own doors.

Streamlit sends the browser there, checks what comes back, and leaves the identity in a cookie that is good for 30 days
and that nobody can call back. Here it opens the house once: a fresh identity becomes one of our own sessions, and as
soon as the browser gets our cookie (or hands it back) Streamlit's is taken away. From then on everything is as after a
password: the list of sessions, its end everywhere, the doors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.addresses import web_url
from serving.api.services import Services

FRESH_FOR: Final = timedelta(minutes=5)
"""Older identities open nothing: signing in takes seconds."""

_AHEAD: Final = timedelta(minutes=1)
"""How far the provider's clock may be ahead of ours."""

_METADATA: Final = "/.well-known/openid-configuration"
_COOKIES: Final = "_streamlit_user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a provider says it has just seen.

    Attributes:
        issuer, subject: together the one name that never changes (OpenID Connect Core 1.0, 5.7).
        email: empty when it tells none that it has verified itself.
        name: what to call them, any text.
        issued_at: when it said so, aware UTC.
    """

    issuer: str
    subject: str
    email: str
    name: str
    issued_at: datetime


def streamlit_secrets(services: Services) -> dict[str, Any] | None:
    """What Streamlit must know of the providers, in the shape of its secrets file; None without any."""
    providers = services.settings.oidc
    if not providers:
        return None
    return {
        "auth": {
            "redirect_uri": f"{web_url(services.settings)}/oauth2callback",
            "cookie_secret": services.secrets.cookie_secret,
            **{
                provider.name: {
                    "client_id": provider.client_id,
                    "client_secret": provider.client_secret.get_secret_value(),
                    "server_metadata_url": provider.metadata_url,
                }
                for provider in providers
            },
        }
    }


def draw_buttons(services: Services, *, words: str = "Continue with") -> None:
    """A button for each provider; it leads away, so the music stops."""
    for provider in services.settings.oidc:
        st.button(
            f"{words} {provider.label}",
            icon=":material/passkey:",
            width="stretch",
            key=f"oidc_{provider.name}",
            on_click=st.login,
            args=(provider.name,),
        )


def provider_label(services: Services, issuer: str) -> str:
    """What people call the provider of this issuer; its address when the settings name it no more.

    The metadata of an issuer lie below its own address (OpenID Connect Discovery 1.0, 4).
    """
    metadata_url = issuer.removesuffix("/") + _METADATA
    return next((one.label for one in services.settings.oidc if one.metadata_url == metadata_url), issuer)


def identity(services: Services) -> Identity | None:
    """Whom a provider has just sent back to this tab; None: nobody, or too long ago."""
    if not services.settings.oidc or not st.user.get("is_logged_in"):
        return None
    return fresh_identity(st.user.to_dict(), now=services.now())


def fresh_identity(claims: Mapping[str, Any], *, now: datetime) -> Identity | None:
    """The identity in these claims of an ID token, which its signature has proved; None: incomplete or not fresh."""
    issuer, subject, issued = claims.get("iss"), claims.get("sub"), claims.get("iat")
    if not isinstance(issuer, str) or not isinstance(subject, str) or not isinstance(issued, int | float):
        return None
    issued_at = datetime.fromtimestamp(issued, UTC)
    if not issuer or not subject or not now - FRESH_FOR <= issued_at <= now + _AHEAD:
        return None
    # Some providers write the truth as a word.
    verified = claims.get("email_verified") is True or claims.get("email_verified") == "true"
    return Identity(
        issuer=issuer,
        subject=subject,
        email=str(claims.get("email") or "") if verified else "",
        name=str(claims.get("preferred_username") or claims.get("name") or ""),
        issued_at=issued_at,
    )


class OneTimeIdentity:
    """Takes Streamlit's identity cookies away with the answer that gives or takes our own.

    Args:
        app: what answers.
        cookie_name: of our own session.
    """

    def __init__(self, app: ASGIApp, cookie_name: str) -> None:
        self._app = app
        self._mark = f"{cookie_name}=".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        sent = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"cookie"]
        stale = [name for line in sent for name in cookie_parser(line) if name.startswith(_COOKIES)]

        async def send_and_take(message: Message) -> None:
            if message["type"] == "http.response.start" and stale and self._is_ours(message):
                message["headers"] = [*message["headers"], *(_gone(name) for name in stale)]
            await send(message)

        await self._app(scope, receive, send_and_take)

    def _is_ours(self, message: Message) -> bool:
        return any(name.lower() == b"set-cookie" and value.startswith(self._mark) for name, value in message["headers"])


def _gone(name: str) -> tuple[bytes, bytes]:
    return b"set-cookie", f"{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax".encode("latin-1")
