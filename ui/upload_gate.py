"""Who may send files to the pages: people who are signed in, and not without end.

Streamlit takes a file from any tab, whether its page asks for one or not, and keeps it in memory for as long as the tab
is open. A stranger with one open tab could fill the machine.
"""

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from data.repositories import sessions
from serving.api.answers import STATUS_OF_CODE, bad
from serving.api.identity import NotSignedIn, cookie_name
from serving.api.services import Services
from serving.limits import Limit, TooManyRequests, take
from serving.refusals import note_refusal
from studio.errors import MelodeonError

PATH: Final = "/_stcore/upload_file/"
UPLOADS: Final = Limit(name="upload", most=20, per_s=600)


class UploadGate:
    """Refuses files from strangers, and too many from one account, before a byte of them is read.

    Args:
        app: what answers.
        services: knows the sessions.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it brings no file, or may."""
        refused: Response | None = None
        if scope["type"] == "http" and scope["method"] in ("PUT", "POST") and scope["path"].startswith(PATH):
            refused = await run_in_threadpool(self._refused, Request(scope))
        await (refused or self._app)(scope, receive, send)

    def _refused(self, request: Request) -> Response | None:
        try:
            self._admit(request.cookies.get(cookie_name(self._services), ""))
        except MelodeonError as error:
            note_refusal(error.code, place=PATH)
            wait_s = error.retry_after_s if isinstance(error, TooManyRequests) else None
            headers = {"Retry-After": str(wait_s)} if wait_s else None
            return bad(STATUS_OF_CODE[error.code], error.code, error.sentence, headers=headers)
        return None

    def _admit(self, token: str) -> None:
        with self._services.database.transaction() as session:
            account = sessions.account_of(session, token) if token else None
        if account is None:
            raise NotSignedIn
        take(self._services.database, UPLOADS, account.id)
