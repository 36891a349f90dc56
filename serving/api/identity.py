"""Who asks: session cookie or API key, the check against other sites, and the dependencies that the doors use."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from configs.addresses import web_url
from data.database import Session
from data.repositories import api_keys, sessions
from serving.account_confirm import Shown
from serving.account_factors import FactorDemanded, is_demanded_of, owes_factor
from serving.api.bodies import Proof
from serving.api.services import Services, services_of
from serving.limits import Limit, network_of, take
from studio.errors import MelodeonError
from studio.words.account import Account
from studio.words.api_key import Scope
from studio.words.ids import ApiKeyId, SessionId

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


class BadApiKey(MelodeonError):
    """The key in the Authorization header opens nothing: unknown, expired or revoked."""

    code = "bad_api_key"

    def __init__(self) -> None:
        super().__init__("This API key is unknown, has expired or was revoked.")


class KeyRefused(MelodeonError):
    """The key is good, but not for this door."""

    code = "key_refused"

    def __init__(self, scope: Scope | None, key_id: ApiKeyId) -> None:
        super().__init__(
            "API keys do not open this door; sign in instead."
            if scope is None
            else f"This API key lacks the scope “{scope.value}”."
        )
        self.key_id = key_id


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


def key_in(request: Request) -> str:
    """The API key in the Authorization header; empty: there is none."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    return secret if scheme.lower() == "bearer" and secret.startswith(api_keys.PREFIX) else ""


def keys_with(*, read: Scope | None, write: Scope | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets API keys with these scopes in, for safe methods and for others; None: no key at all.

    Doors without it let no key in.
    """

    async def admit(request: Request) -> None:
        request.state.scope = read if request.method in SAFE_METHODS else write

    return admit


async def refuse_other_sites(request: Request) -> None:
    """Raise `CrossSite` for a writing request that a page of this site did not send (a FastAPI dependency).

    A page of another site cannot send the header: its browser would ask for leave first, which nobody gives. The same
    holds for the header that carries an API key, and whoever sends one acts by it and not by a cookie.
    """
    foreign = request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    ours = request.headers.get("x-melodeon") == "1" or key_in(request)
    if request.method not in SAFE_METHODS and (foreign or not ours):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """By what somebody says who they are: a key, else a cookie, else nothing.

    Attributes:
        scope: what a key must be good for at this door; None: no key is.
    """

    token: str = field(repr=False)
    key: str = field(repr=False)
    scope: Scope | None

    def account_in(self, session: Session) -> Account | None:
        """Whose it is; None: nobody's.

        Raises:
            BadApiKey, KeyRefused: there is a key, and it does not open this door.
        """
        if not self.key:
            return sessions.account_of(session, self.token) if self.token else None
        opened = api_keys.of_secret(session, self.key)
        if opened is None:
            raise BadApiKey
        if self.scope is None or self.scope not in opened.scopes:
            raise KeyRefused(self.scope, opened.key_id)
        return opened.account


async def credential(request: Request, token: TheToken) -> Credential:
    """By what the request says who asks (a FastAPI dependency)."""
    key = key_in(request)
    return Credential(token="" if key else token, key=key, scope=getattr(request.state, "scope", None))


# Not cached: a door may let other keys in than its group, and says so after the group's checks have asked.
TheCredential = Annotated[Credential, Depends(credential, use_cache=False)]


def found_account(request: Request, shown: TheCredential, services: TheServices) -> Account | None:
    """Whose credential it is, or None (a FastAPI dependency). Looked up once a request."""
    if not shown.key and not shown.token:
        return None
    if not hasattr(request.state, "account"):
        with services.database.transaction() as session:
            request.state.account = shown.account_in(session)
    account: Account | None = request.state.account
    return account


async def limit_writes(request: Request, shown: TheCredential, services: TheServices) -> None:
    """Raise `TooManyRequests` when an account, or an address without one, writes too often (a FastAPI dependency)."""
    if request.method not in SAFE_METHODS:
        await run_in_threadpool(_count_write, request, shown, services)


def _count_write(request: Request, shown: Credential, services: Services) -> None:
    account = found_account(request, shown, services)
    who = account.id if account else f"from {network_of(address_of(request))}"
    most = services.settings.limits.writes_per_minute
    take(services.database, Limit(name="write", most=most, per_s=60), who)


def address_of(request: Request) -> str:
    """The network address that the request comes from; empty: unknown."""
    return request.client.host if request.client else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """From where somebody who is signed in asks."""

    address: str = field(repr=False)
    session_id: SessionId | None

    def shows(self, proof: Proof) -> Shown:
        """What they show to prove once more who they are."""
        return Shown(password=proof.password, code=proof.code, address=self.address, session_id=self.session_id)


def here(request: Request, token: TheToken, services: TheServices) -> Here:
    """From where the request comes (a FastAPI dependency)."""
    with services.database.transaction() as session:
        found = sessions.of_token(session, token)
    return Here(address=address_of(request), session_id=found[1] if found else None)


ThePlace = Annotated[Here, Depends(here)]


FoundAccount = Annotated[Account | None, Depends(found_account)]


async def maybe_account(found: FoundAccount, services: TheServices) -> Account | None:
    """Whoever asks, or None (a FastAPI dependency). Who owes a second factor is a stranger until it is there."""
    if found is None or not is_demanded_of(services.settings.web, found):
        return found
    return None if await run_in_threadpool(owes_factor, services, found) else found


AnAccount = Annotated[Account | None, Depends(maybe_account)]


async def need_account(found: FoundAccount, account: AnAccount) -> Account:
    """Whoever is signed in (a FastAPI dependency).

    Raises:
        NotSignedIn: nobody is.
        FactorDemanded: they must set up a second factor first.
    """
    if found is None:
        raise NotSignedIn
    if account is None:
        raise FactorDemanded
    return account


async def need_newcomer(found: FoundAccount) -> Account:
    """Whoever is signed in, also without the second factor that is demanded of them; raises `NotSignedIn`."""
    if found is None:
        raise NotSignedIn
    return found


TheAccount = Annotated[Account, Depends(need_account)]
TheNewcomer = Annotated[Account, Depends(need_newcomer)]
"""For the few doors by which somebody sets up the second factor that they owe, or leaves again."""
