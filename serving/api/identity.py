"""Who asks: the session cookie, the check against other sites, and the dependencies that the doors use."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from configs.addresses import web_url
from data.repositories import sessions
from serving.api.services import Services, services_of
from studio.errors import MelodeonError
from studio.words.account import Account

SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}

TheServices = Annotated[Services, Depends(services_of)]


class NotSignedIn(MelodeonError):
    """The door is for people who are signed in."""

    code = "not_signed_in"

    def __init__(self) -> None:
        super().__init__("Please sign in first.")


class CrossSite(MelodeonError):
    """A page of another site tries to act with this person's cookie."""

    code = "cross_site"

    def __init__(self) -> None:
        super().__init__("This request does not come from a page of this site; send the header X-Melodeon: 1 from it.")


def is_https(services: Services) -> bool:
    """Whether people reach the product by https."""
    return web_url(services.settings).startswith("https://")


def cookie_name(services: Services) -> str:
    """``__Host-`` binds the cookie to this host, but browsers accept it only over https."""
    return "__Host-melodeon_session" if is_https(services) else "melodeon_session"


def set_cookie(response: Response, services: Services, token: str) -> None:
    """Give the browser its session: HttpOnly, Lax, and Secure wherever the address is https. No token takes it away."""
    response.set_cookie(
        cookie_name(services),
        token,
        max_age=services.settings.web.session_days * 86_400 if token else 0,
        httponly=True,
        secure=is_https(services),
        samesite="lax",
        path="/",
    )


async def refuse_other_sites(request: Request) -> None:
    """Raise `CrossSite` for a writing request that a page of this site did not send (a FastAPI dependency).

    A page of another site cannot send the header: its browser would ask for leave first, which nobody gives.
    """
    foreign = request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    if request.method not in SAFE_METHODS and (foreign or request.headers.get("x-melodeon") != "1"):
        raise CrossSite


async def refuse_other_origins(request: Request) -> None:
    """The same for what a closing page sends as a beacon, which carries no header of ours.

    The browser's own word decides: ``Sec-Fetch-Site``, or on a plain-http address, where it is not sent, ``Origin``.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is not None:
        site = "same-origin" if urlsplit(origin).netloc == request.headers.get("host") else "cross-site"
    if site != "same-origin":
        await refuse_other_sites(request)


async def session_token(request: Request, services: TheServices) -> str:
    """The token in the session cookie, empty without one (a FastAPI dependency)."""
    return request.cookies.get(cookie_name(services), "")


TheToken = Annotated[str, Depends(session_token)]


def maybe_account(token: TheToken, services: TheServices) -> Account | None:
    """Whoever is signed in, or None (a FastAPI dependency)."""
    if not token:
        return None
    with services.database.transaction() as session:
        return sessions.account_of(session, token)


AnAccount = Annotated[Account | None, Depends(maybe_account)]


async def need_account(account: AnAccount) -> Account:
    """Whoever is signed in; raises `NotSignedIn` (a FastAPI dependency)."""
    if account is None:
        raise NotSignedIn
    return account


TheAccount = Annotated[Account, Depends(need_account)]
