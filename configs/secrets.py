"""The secrets that the product makes for itself on first start, one file each under ``var/secrets``, mode 0600."""

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from configs.settings import UnknownSetting

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{32,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The product's own secrets, each 256 random bits as URL-safe text.

    Attributes:
        database_password: of the embedded Postgres' owner.
        app_password, worker_password, billing_password, analyst_password: of the logins of the embedded Postgres that
            may do less than its owner; see ``configs.addresses``.
        cookie_secret: Streamlit's signing key for XSRF and its own cookies.
        gateway_key: whoever sends it may use the gateway.
        ray_token: whoever sends it may use the Ray cluster, which runs code.
        link_key: signs the folder store's download links.
        seal_key: seals what must be read again from the database: the secrets of second factors.
        signing_key: what the key and certificates are made from that sign every file; see ``data.signing``.
    """

    database_password: str
    app_password: str
    worker_password: str
    billing_password: str
    analyst_password: str
    cookie_secret: str
    gateway_key: str
    ray_token: str
    link_key: str
    seal_key: str
    signing_key: str

    def __repr__(self) -> str:
        return "Secrets(…)"


class BrokenSecret(UnknownSetting):
    """A secret's file holds no whole secret; working on with it would leave a door open."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged. Put it back from a backup, or delete it to have a new one made.")


def load_or_create(var: Path) -> Secrets:
    """Read the secrets under ``var``, making those that do not exist yet.

    Safe to call from several processes at once: a file is created exclusively and the loser reads the winner's.

    Raises:
        BrokenSecret: a file is there and holds no secret of ours.
    """
    folder = var / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Secrets(**{field.name: _one(folder / field.name) for field in fields(Secrets)})


def _one(path: Path) -> str:
    if not path.exists():
        _make(path)
    secret = path.read_text("ascii", "replace").strip()
    if not _SHAPE.fullmatch(secret):
        raise BrokenSecret(path)
    return secret


def _make(path: Path) -> None:
    # Written aside and linked into place, so that nobody ever reads half a secret.
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
