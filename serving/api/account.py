"""Doors for what an account's owner alone does: password, address, second factor, sessions, API keys."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from data import access
from data.repositories import api_keys, sessions
from serving import account_factors, account_keys, account_proofs, account_sessions, accounts
from serving.api.answers import good
from serving.api.auth import open_session
from serving.api.bodies import ChangeEmail, ChangePassword, Code, NewKey, Password, Proof
from serving.api.identity import TheAccount, TheNewcomer, ThePlace, TheServices, TheToken, address_of, set_cookie
from serving.api.views import api_key_json, session_json
from studio.words.api_key import Scope
from studio.words.ids import SessionId, is_id

router = APIRouter(prefix="/auth", tags=["account"])


@router.post("/password", status_code=204)
def change_password(body: ChangePassword, account: TheAccount, request: Request, services: TheServices) -> Response:
    """Set a new password; every session ends, and this browser gets a new one. API keys end only if so wished."""
    changed = accounts.change_password(
        services.database,
        account,
        body.old,
        body.new,
        revoke_keys=body.revoke_keys,
        address=address_of(request),
    )
    response = Response(status_code=204)
    open_session(services, changed, request, response)
    return response


@router.post("/email", status_code=202)
def change_email(body: ChangeEmail, account: TheAccount, request: Request, services: TheServices) -> Any:
    """Move to another address, once the link in the letter to it is followed."""
    address = address_of(request)
    account_proofs.change_email(services.database, account, body.password, body.email, address=address)
    return good({})


@router.post("/totp")
def begin_totp(body: Password, account: TheNewcomer, request: Request, services: TheServices) -> Any:
    """A secret for an authenticator app; it is in force once a code of it was sent to ``/auth/totp/confirm``."""
    made = account_factors.totp_begin(
        services.database, account, services.box, password=body.password, source=address_of(request)
    )
    return good({"secret": made.secret, "address": made.address})


@router.post("/totp/confirm")
def confirm_totp(body: Code, account: TheNewcomer, services: TheServices) -> Any:
    """Put the second factor in force. The recovery codes are told only now."""
    codes = account_factors.totp_confirm(services.database, account, services.box, body.code, now=services.now())
    return good({"recovery_codes": codes})


@router.post("/totp/end", status_code=204)
def end_totp(body: Proof, account: TheAccount, place: ThePlace, services: TheServices) -> Response:
    """Switch the second factor off. It takes the password and a code, or a recovery code."""
    account_factors.totp_end(services, account, place.shows(body))
    return Response(status_code=204)


@router.get("/sessions")
def list_sessions(account: TheAccount, token: TheToken, services: TheServices) -> Any:
    """The browsers that are signed in, the last seen first."""
    with services.database.transaction() as session:
        found = sessions.list_of(session, account.id)
        here = sessions.of_token(session, token)
    return good({"sessions": [session_json(one, here=here is not None and one.id == here[1]) for one in found]})


@router.delete("/sessions", status_code=204)
def end_sessions(account: TheNewcomer, services: TheServices) -> Response:
    """Sign out everywhere, here too. It takes no proof: whoever does it is out as well."""
    with services.database.transaction() as session:
        account_sessions.sign_out_everywhere(session, account.id, actor=account.id, keys_too=False)
    response = Response(status_code=204)
    set_cookie(response, services, "")
    return response


@router.delete("/sessions/others", status_code=204)
def end_other_sessions(body: Proof, account: TheAccount, place: ThePlace, services: TheServices) -> Response:
    """Sign out everywhere else. It takes the password and, where one is on, a code."""
    account_sessions.sign_out_elsewhere(services, account, place.shows(body))
    return Response(status_code=204)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(session_id: str, body: Proof, account: TheAccount, place: ThePlace, services: TheServices) -> Response:
    """End one session. Any but one's own takes the password and, where one is on, a code."""
    account_sessions.end_session(services, account, SessionId(session_id), place.shows(body))
    return Response(status_code=204)


@router.get("/keys")
def list_keys(account: TheAccount, services: TheServices) -> Any:
    """The account's API keys, newest first; never their secrets."""
    with services.database.transaction() as session:
        return good({"keys": [api_key_json(key) for key in api_keys.list_of(session, account.id)]})


@router.post("/keys", status_code=201)
def make_key(body: NewKey, account: TheAccount, place: ThePlace, services: TheServices) -> Any:
    """Make an API key. It takes the password and, where one is on, a code. Its secret is told only now."""
    key, secret = account_keys.make_key(
        services,
        account,
        place.shows(body),
        label=body.label,
        scopes={Scope(scope) for scope in body.scopes},
        expires_at=None if body.days is None else services.now() + timedelta(days=body.days),
    )
    return good({"key": api_key_json(key), "secret": secret})


@router.delete("/keys/{key_id}", status_code=204)
def revoke_key(key_id: str, account: TheAccount, services: TheServices) -> Response:
    """End an API key at once."""
    with services.database.transaction() as session:
        if not is_id(key_id, noun="api_key") or not api_keys.revoke(session, account.id, key_id):
            raise access.NotFound("key")
    return Response(status_code=204)
