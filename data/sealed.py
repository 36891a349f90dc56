"""Small secrets that must be read again, kept so that a stolen database does not tell them.

They are sealed with AES-256-GCM (NIST SP 800-38D). The key is derived (HKDF, RFC 5869) from a secret under
``var/secrets``, which is not in the database.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from studio.errors import MelodeonError

_NONCE_BYTES: Final = 12


class BrokenSeal(MelodeonError):
    """What was sealed cannot be opened: it was changed, moved to another row, or sealed with another secret."""

    code = "broken_seal"

    def __init__(self) -> None:
        super().__init__(
            "A secret in the database does not fit the file var/secrets/seal_key. "
            "Put that file back from the backup that belongs to this database."
        )


class SealedBox:
    """Seals texts and opens them again.

    Args:
        secret: the product's own secret, ``Secrets.seal_key``.
    """

    def __init__(self, secret: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"melodeon sealed box").derive(secret.encode())
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "SealedBox(…)"

    def seal(self, text: str, *, of: str) -> bytes:
        """Seal ``text``; it opens only as the secret ``of`` the same subject."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), of.encode())

    def open(self, sealed: bytes, *, of: str) -> str:
        """The text that was sealed.

        Raises:
            BrokenSeal: it is not what was sealed for this subject with this secret.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], of.encode()).decode()
        except (InvalidTag, ValueError):
            raise BrokenSeal from None
