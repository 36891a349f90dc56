"""Secrets that we hand out and know again by their SHA-256, which is enough for 256 random bits."""

import hashlib
import secrets


def fresh_token() -> str:
    """256 random bits as URL-safe text."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
