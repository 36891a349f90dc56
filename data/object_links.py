"""Links to stored objects that the product's own HTTP door honours: signed, dated, for one object."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from data.object_rules import check_key
from studio.errors import MelodeonError

LINK_PATH: Final = "/api/v1/objects/"
"""Where the door stands that takes the tokens."""

_PURPOSE = b"melodeon object link 1\n"
_NAME_MAX = 200


class BadLink(MelodeonError):
    """A link is forged, altered or too old. Which of them is not said."""

    code = "bad_link"

    def __init__(self) -> None:
        super().__init__("This link is no longer valid. Load the page again to get a fresh one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLink:
    """What a link allows: reading one object, saved under ``download_name`` if there is one."""

    key: str
    download_name: str | None


def make_token(link_key: str, link: SignedLink, *, expires_s: int) -> str:
    """Sign a link with HMAC-SHA-256.

    Args:
        link_key: the secret of this installation.
        expires_s: Unix time in seconds at which the link dies.
    """
    check_key(link.key)
    payload = json.dumps([expires_s, link.key, link.download_name], separators=(",", ":")).encode()
    body = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    return f"{body}.{_signature(link_key, body)}"


def read_token(link_key: str, token: str, *, now_s: float) -> SignedLink:
    """What a token allows at the Unix time ``now_s``.

    Raises:
        BadLink: we did not sign exactly this text, or its time is over.
    """
    body, _, signature = token.rpartition(".")
    if not token.isascii() or not hmac.compare_digest(signature, _signature(link_key, body)):
        raise BadLink
    payload = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    expires_s, key, download_name = json.loads(payload)
    if now_s >= expires_s:
        raise BadLink
    return SignedLink(key=key, download_name=download_name)


def _signature(link_key: str, body: str) -> str:
    return hmac.new(link_key.encode(), _PURPOSE + body.encode(), hashlib.sha256).hexdigest()


def content_disposition(download_name: str) -> str:
    """The header that makes a browser save a file under this name, in any script (RFC 6266, RFC 8187).

    Characters that mean something to a file system or a header are replaced, so that a title cannot escape its quotes.
    """
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|;%' else "_" for c in download_name)
    plain = plain.strip(" .")[:_NAME_MAX] or "download"
    ascii_name = plain.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(plain, safe='')}"
