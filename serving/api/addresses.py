"""Under ``/api`` there are the doors and nothing else: every other address there gets the uniform 404."""

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.answers import bad_status
from serving.api.views import PREFIX

_ROOT: Final = PREFIX.rpartition("/")[0]
_NONE_OF_OURS: Final = re.compile(r"[\x00-\x1f\x7f]|[/\\]\.\.([/\\]|$)")


class OnlyDoors:
    """Answers 404 to addresses under ``/api`` that cannot be a door's, before somebody else of this process does.

    Whoever misspells the version would get a page of Streamlit's and a 200. And a line break in an address is seen by
    no mount of Starlette's (its pattern ends there), so that the address of a door would fall through to the pages;
    what climbs (``..``) is refused by Streamlit with two words of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its address is elsewhere, or may be a door's."""
        if scope["type"] == "http" and _is_no_door(scope["path"]):
            await bad_status(404)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_no_door(path: str) -> bool:
    if path != _ROOT and not path.startswith(f"{_ROOT}/"):
        return False
    return not path.startswith(f"{PREFIX}/") or _NONE_OF_OURS.search(path) is not None
