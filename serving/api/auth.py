"""Doors for signing in and out by a browser or a program."""

from typing import Any

from fastapi import APIRouter, Request, Response

from data.repositories import sessions
from serving import accounts
from serving.accounts import WrongPassword
from serving.api.answers import good
from serving.api.bodies import SignIn
from serving.api.identity import TheAccount, TheServices, TheToken, set_cookie
from serving.api.services import Services

router = APIRouter(prefix="/auth", tags=["auth"])


def _ticket_for(services: Services, name: str, password: str) -> str:
    account = accounts.sign_in(services.database, name, password)
    with services.database.transaction() as session:
        return sessions.begin(session, account.id, days=services.settings.web.session_days).ticket


@router.post("/session", status_code=204)
def sign_in(body: SignIn, request: Request, services: TheServices, old_token: TheToken) -> Response:
    """Start a session: with the one-time ticket of a page, or with name and password. It replaces the old one."""
    ticket = body.ticket or _ticket_for(services, body.name, body.password)
    with services.database.transaction() as session:
        token = sessions.redeem_ticket(session, ticket, user_agent=request.headers.get("user-agent", ""))
        if token is None:
            raise WrongPassword
        sessions.revoke(session, old_token)
    response = Response(status_code=204)
    set_cookie(response, services, token)
    return response


@router.delete("/session", status_code=204)
def sign_out(services: TheServices, token: TheToken) -> Response:
    """End this session."""
    with services.database.transaction() as session:
        sessions.revoke(session, token)
    response = Response(status_code=204)
    set_cookie(response, services, "")
    return response


@router.get("/me")
def me(account: TheAccount) -> Any:
    """Who is signed in."""
    return good({"id": account.id, "name": account.name, "role": account.role.value, "plan": account.plan})
