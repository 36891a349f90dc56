"""Which door's answer leads to which other doors: the ``links`` of the OpenAPI document (3.1, Link Object).

Programs that read the document find their way from a wish to its job and its songs; so does Schemathesis, which walks
along the links to test the doors in the order of real use.
"""

import re
from typing import Any, Final

_DATA: Final = "$response.body#/data"
_ASKED: Final = {"job_id": f"{_DATA}/job/id", "song_id": f"{_DATA}/job/song_ids/0"}
_FIRST_SONG: Final = {"song_id": f"{_DATA}/songs/0/id"}
_THE_SONG: Final = {"song_id": f"{_DATA}/id"}
_THE_JOB: Final = {"job_id": f"{_DATA}/id", "song_id": f"{_DATA}/song_ids/0"}

LINKS: Final = {
    "POST /generate": _ASKED,
    "POST /generate_from_description": _ASKED,
    "POST /generate_with_lyrics": _ASKED,
    "POST /generate_from_described_lyrics": _ASKED,
    "POST /jobs/{job_id}/run": _ASKED,
    "POST /jobs/{job_id}/cancel": _THE_JOB,
    "GET /jobs/{job_id}": _THE_JOB,
    "GET /jobs": {"job_id": f"{_DATA}/jobs/0/id"},
    "GET /songs": _FIRST_SONG,
    "GET /discover": _FIRST_SONG,
    "GET /songs/{song_id}": _THE_SONG,
    "PATCH /songs/{song_id}": _THE_SONG,
    "DELETE /songs/{song_id}": _THE_SONG,
    "POST /songs/{song_id}/publish": _THE_SONG,
    "POST /songs/{song_id}/unpublish": _THE_SONG,
    "GET /auth/sessions": {"session_id": f"{_DATA}/sessions/0/id"},
    "GET /auth/keys": {"key_id": f"{_DATA}/keys/0/id"},
    "POST /auth/keys": {"key_id": f"{_DATA}/key/id"},
}
"""By door, where in its good answer stands what the address of another door asks for."""


def add_links(document: dict[str, Any]) -> None:
    """Give every good answer of `LINKS` a link to each door whose address can be filled from it."""
    doors = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    for source, found in LINKS.items():
        good = next(answer for status, answer in doors[source]["responses"].items() if status < "300")
        good["links"] = {
            operation["operationId"]: {"operationId": operation["operationId"], "parameters": {name: found[name]}}
            for door, operation in doors.items()
            for name in re.findall(r"{(\w+)}", door)[:1]
            if name in found
        }
