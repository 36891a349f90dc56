"""Doors for administrators alone; for everybody else they are not there."""

from fastapi import APIRouter, Response

from serving import account_sessions
from serving.api.identity import TheAccount, TheServices

router = APIRouter(prefix="/admin", tags=["admin"])


@router.delete("/accounts/{account_id}/sessions", status_code=204)
def end_sessions(account_id: str, account: TheAccount, services: TheServices) -> Response:
    """End every session and every API key of an account; it stands in the audit log."""
    with services.database.transaction() as session:
        account_sessions.end_of_account(session, account, account_id)
    return Response(status_code=204)
