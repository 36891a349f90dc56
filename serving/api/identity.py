"""Who asks: the session cookie, the check against other sites, and the dependencies that the doors use."""

from typing import Annotated, Final

from fastapi import Depends, Request, Response

from configs.addresses import web_url
from data.repositories import sessions
from serving.api.services import Services, services_of
from studio.errors import MelodeonError
from studio.words.account import Account

SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}


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
    """Give the browser its session: HttpOnly, Lax, and Secure wherever the address is https."""
    response.set_cookie(
        cookie_name(services),
        token,
        max_age=services.settings.web.session_days * 86_400,
        httponly=True,
        secure=is_https(services),
        samesite="lax",
        path="/",
    )


def refuse_other_sites(request: Request) -> None:
    """Raise `CrossSite` for a writing request that a page of this site did not send (a FastAPI dependency)."""
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or request.headers.get("x-melodeon") != "1":
        raise CrossSite


def maybe_account(request: Request, services: Annotated[Services, Depends(services_of)]) -> Account | None:
    """Whoever is signed in, or None (a FastAPI dependency)."""
    token = request.cookies.get(cookie_name(services))
    if not token:
        return None
    with services.database.transaction() as session:
        return sessions.account_of(session, token)


def need_account(account: Annotated[Account | None, Depends(maybe_account)]) -> Account:
    """Whoever is signed in; raises `NotSignedIn` (a FastAPI dependency)."""
    if account is None:
        raise NotSignedIn
    return account


TheServices = Annotated[Services, Depends(services_of)]
TheAccount = Annotated[Account, Depends(need_account)]
AnAccount = Annotated[Account | None, Depends(maybe_account)]
