"""Doors to what is somebody's own: everything of it in one archive, and the end of it."""

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from data.object_store import content_disposition
from serving import privacy
from serving.account_confirm import confirm
from serving.api.bodies import Proof
from serving.api.identity import TheAccount, ThePlace, TheServices, set_cookie
from serving.limits import Limit, take

router = APIRouter(prefix="/account", tags=["account"])

EXPORTS = Limit(name="export", most=6, per_s=3600)


@router.get("/export", response_class=StreamingResponse)
def export(account: TheAccount, services: TheServices) -> Response:
    """Everything that is kept of the account, as a zip archive that is made while it is read."""
    take(services.database, EXPORTS, account.id)
    name = f"melodeon-{account.name}-{services.now():%Y-%m-%d}.zip"
    headers = {"Content-Disposition": content_disposition(name), "Cache-Control": "private, no-store"}
    return StreamingResponse(privacy.export(services, account), media_type="application/zip", headers=headers)


@router.delete("", status_code=204)
def leave(body: Proof, account: TheAccount, place: ThePlace, services: TheServices) -> Response:
    """Delete the account and everything of it, for ever. It takes the password and, where one is on, a code.

    An account without a password must have signed in within the last ten minutes.
    """
    confirm(services, account, place.shows(body))
    privacy.delete(services, account)
    response = Response(status_code=204)
    set_cookie(response, services, "")
    return response
