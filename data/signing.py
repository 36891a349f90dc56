"""Who signs what this installation makes: a private key and its chain of certificates.

By default both follow from one secret, so that there is one small file to keep, and every machine that has it signs
alike. C2PA refuses a certificate that signs itself, so there are two: a root, and what it vouches for. Nobody else
vouches for the root: others see a valid signature by somebody whom they do not know. An operator who has a certificate
of an authority that others know hands in a chain and its key.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from configs.settings import ProvenanceSettings
from studio.errors import MelodeonError

# One certificate for one secret: no clock may stand in it. There is no time stamp in a mark either (that would take a
# service of somebody else), so a mark is valid for as long as its certificate: for good (RFC 5280, 4.1.2.5).
_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_FOR_GOOD: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class BadSigner(MelodeonError):
    """The operator's chain of certificates or its key cannot be used."""

    code = "bad_signer"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Songs cannot be marked: {what} See MELODEON_PROVENANCE__CHAIN and MELODEON_PROVENANCE__KEY in "
            "docs/operators.md."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key with its certificates.

    Attributes:
        algorithm: ``ed25519``, ``es256`` or ``es384``.
        chain_pem: the certificate of the key first, then those that vouch for it.
        key_pem: PKCS 8.
    """

    algorithm: str
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    key: Ed25519PrivateKey | EllipticCurvePrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The signature in the form of COSE (RFC 9053, 2); the same for the same message (RFC 8032, RFC 6979)."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(message)
        hashing = SHA256() if self.algorithm == "es256" else SHA384()
        half_bytes = self.key.key_size // 8
        halves = decode_dss_signature(self.key.sign(message, ECDSA(hashing, deterministic_signing=True)))
        return b"".join(half.to_bytes(half_bytes) for half in halves)


def open_signer(settings: ProvenanceSettings, secret: str, *, now: datetime) -> Signer:
    """The signer that the settings name, or else the installation's own.

    Raises:
        BadSigner: the operator's files cannot be used.
    """
    if settings.chain is None or settings.key is None:
        return own_signer(secret)
    return given_signer(settings.chain, settings.key, now=now)


def known_signers(settings: ProvenanceSettings, secret: str) -> dict[str, str]:
    """By whom an installation's marks are signed: the installation itself and, if there is one, the operator's signer.

    Returns:
        The serial number of each signer's certificate, decimal, with those who vouch for it, PEM.

    Raises:
        BadSigner: the operator's file cannot be read.
    """
    chains = [x509.load_pem_x509_certificates(own_signer(secret).chain_pem)]
    if settings.chain is not None:
        chains.append(_read_chain(settings.chain))
    return {str(first.serial_number): b"".join(map(_pem, rest)).decode("ascii") for first, *rest in chains}


def own_signer(secret: str) -> Signer:
    """The signer of an installation.

    Args:
        secret: the product's own secret, ``Secrets.signing_key``.
    """
    root_key, key = _key_of(secret, b"root"), _key_of(secret, b"signer")
    mark = sha256(_public(root_key)).hexdigest()[:8]
    root_name = _name(mark, "root")
    root = (
        _certificate(root_name, root_name, root_key, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(root_key, None)
    )
    own = (
        _certificate(_name(mark, "signer"), root_name, key, root_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, None)
    )
    return _signer(key, [own, root])


def given_signer(chain: Path, key: Path, *, now: datetime) -> Signer:
    """The signer that an operator hands in.

    Args:
        chain: PEM file; the key's certificate first.
        key: PEM file without a password: Ed25519, P-256 or P-384.

    Raises:
        BadSigner: they cannot be read, do not belong together, or are not valid now.
    """
    certificates = _read_chain(chain)
    private = _read_key(key)
    if len(certificates) < 2:
        raise BadSigner(f"{chain} must hold at least two certificates, the signer's first and then who vouches for it.")
    if _public(private) != _public(certificates[0]):
        raise BadSigner(f"{key} is not the key of the first certificate in {chain}.")
    for one in certificates:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise BadSigner(f"the certificate {one.subject.rfc4514_string()} in {chain} is not valid today.")
    return _signer(private, certificates)


def _read_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadSigner(f"{path} holds no certificates that can be read ({error}).") from None


def _read_key(path: Path) -> Ed25519PrivateKey | EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        # What a library says of a key that it could not read may hold parts of it.
        raise BadSigner(f"{path} holds no private key that can be read; it must be PEM without a password.") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    raise BadSigner(f"the key in {path} must be Ed25519, P-256 or P-384: only those sign the same sound alike.")


def _signer(key: Ed25519PrivateKey | EllipticCurvePrivateKey, certificates: list[x509.Certificate]) -> Signer:
    algorithm = "ed25519" if isinstance(key, Ed25519PrivateKey) else "es256" if key.key_size == 256 else "es384"
    return Signer(
        algorithm=algorithm,
        chain_pem=b"".join(map(_pem, certificates)),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key=key,
    )


def _key_of(secret: str, part: bytes) -> Ed25519PrivateKey:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"melodeon mark " + part).derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(derived)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PrivateKey, signed_by: Ed25519PrivateKey
) -> x509.CertificateBuilder:
    serial = int.from_bytes(sha256(_public(key) + _public(signed_by)).digest()[:16]) | 1
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_SINCE)
        .not_valid_after(_FOR_GOOD)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(mark: str, role: str) -> x509.Name:
    """Whom viewers show; nothing in it says where or whose the installation is."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Self-hosted Melodeon {mark}"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Melodeon {role} {mark}"),
        ]
    )


def _usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES})


def _public(holder: Ed25519PrivateKey | EllipticCurvePrivateKey | x509.Certificate) -> bytes:
    """The public key of what has one."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
