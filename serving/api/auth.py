"""Doors for signing up, in and out, and for the links in letters."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from data.database import Session
from data.repositories import sessions
from serving import account_proofs, accounts
from serving.accounts import WrongPassword
from serving.api.answers import good
from serving.api.bodies import EmailAddress, NewPassword, SignIn, SignUp, Token
from serving.api.identity import TheAccount, TheNewcomer, TheServices, TheToken, address_of, keys_with, set_cookie
from serving.api.services import Services
from serving.api.views import account_json
from studio.words.account import Account
from studio.words.api_key import Scope

router = APIRouter(prefix="/auth", tags=["auth"])


def _begin(session: Session, services: Services, account: Account) -> str:
    """The ticket of a new session for somebody who has just proved who they are."""
    days = services.settings.web.session_days
    return sessions.begin(session, account.id, days=days, version=account.token_version).ticket


def _ticket_for(services: Services, body: SignIn, request: Request) -> str:
    account = accounts.sign_in(
        services.database,
        body.name,
        body.password,
        code=body.code,
        address=address_of(request),
        box=services.box,
        now=services.now(),
    )
    with services.database.transaction() as session:
        return _begin(session, services, account)


def open_session(services: Services, account: Account, request: Request, response: Response) -> None:
    """Sign the browser in that sent this request."""
    with services.database.transaction() as session:
        ticket = _begin(session, services, account)
        token = sessions.redeem_ticket(session, ticket, user_agent=request.headers.get("user-agent", ""))
    if token is None:
        raise WrongPassword
    set_cookie(response, services, token)


@router.post("/sign-up", status_code=201)
def sign_up(body: SignUp, request: Request, response: Response, services: TheServices) -> Any:
    """Make an account and sign in. The e-mail address is kept when the link in the letter to it is followed."""
    accounts.allow_sign_up(services.database, address_of(request))
    with services.database.transaction() as session:
        account = accounts.sign_up(
            session,
            name=body.name,
            email=body.email,
            password=body.password,
            signup_credits=services.settings.signup_credits,
            now=services.now(),
        )
    open_session(services, account, request, response)
    return good(account_json(account))


@router.post("/session", status_code=204)
def sign_in(body: SignIn, request: Request, services: TheServices, old_token: TheToken) -> Response:
    """Start a session: with the one-time ticket of a page, or with name and password. It replaces the old one."""
    ticket = body.ticket or _ticket_for(services, body, request)
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


@router.get("/me", dependencies=[Depends(keys_with(read=Scope.READ, write=None))])
def me(account: TheNewcomer) -> Any:
    """Who is signed in."""
    return good(account_json(account))


@router.post("/verify")
def verify(body: Token, request: Request, services: TheServices) -> Any:
    """Prove an address by the token in the link that was sent to it."""
    account = account_proofs.verify_email(services.database, body.token, address=address_of(request))
    return good({"email": account.email})


@router.post("/verify/again", status_code=202)
def verify_again(account: TheAccount, request: Request, services: TheServices) -> Any:
    """Have the link sent once more to the address that waits to be proved."""
    account_proofs.ask_verification(services.database, account, address=address_of(request))
    return good({})


@router.post("/reset", status_code=202)
def reset(body: EmailAddress, request: Request, services: TheServices) -> Any:
    """Have a link for a new password sent. The answer is the same whether somebody has this address or nobody."""
    account_proofs.ask_reset(services.database, body.email, address=address_of(request))
    return good({})


@router.post("/reset/confirm", status_code=204)
def reset_confirm(body: NewPassword, request: Request, services: TheServices) -> Response:
    """Set a new password by the token in that link; every session and API key of the account ends."""
    account_proofs.reset_password(services.database, body.token, body.password, address=address_of(request))
    response = Response(status_code=204)
    set_cookie(response, services, "")
    return response
