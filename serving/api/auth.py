"""Doors for signing in and out by a browser or a program."""

from typing import Any

from fastapi import APIRouter, Request, Response

from data.passwords import verify_password
from data.repositories import accounts, sessions
from serving.api.answers import good
from serving.api.bodies import SignIn
from serving.api.identity import TheAccount, TheServices, cookie_name, set_cookie
from serving.api.services import Services
from studio.errors import MelodeonError

router = APIRouter(prefix="/auth", tags=["auth"])


class WrongPassword(MelodeonError):
    """Name and password do not belong together, or the ticket is used up. Never says which."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The name or the password is wrong.")


def _ticket_for(services: Services, name: str, password: str) -> str:
    with services.database.transaction() as session:
        known = accounts.credentials(session, name)
        if not verify_password(known.password_hash if known else None, password) or known is None:
            raise WrongPassword
        return sessions.begin(session, known.account_id, days=services.settings.web.session_days).ticket


@router.post("/session", status_code=204)
def sign_in(body: SignIn, request: Request, services: TheServices) -> Response:
    """Start a session: with the one-time ticket of a page, or with name and password."""
    ticket = body.ticket or _ticket_for(services, body.name, body.password)
    with services.database.transaction() as session:
        token = sessions.redeem_ticket(
            session,
            ticket,
            user_agent=request.headers.get("user-agent", ""),
        )
    if token is None:
        raise WrongPassword
    response = Response(status_code=204)
    set_cookie(response, services, token)
    return response


@router.delete("/session", status_code=204)
def sign_out(request: Request, services: TheServices) -> Response:
    """End this session."""
    token = request.cookies.get(cookie_name(services))
    if token:
        with services.database.transaction() as session:
            sessions.revoke(session, token)
    response = Response(status_code=204)
    response.delete_cookie(cookie_name(services), path="/")
    return response


@router.get("/me")
def me(account: TheAccount) -> Any:
    """Who is signed in."""
    return good({"id": account.id, "name": account.name, "role": account.role.value, "plan": account.plan})
