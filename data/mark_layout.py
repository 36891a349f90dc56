"""The bytes of a mark: a C2PA manifest as boxes of JUMBF (ISO 19566-5) around CBOR and one COSE signature (RFC 9052).

The C2PA library lays a manifest out. Two things are left to us. It salts every assertion with chance, so that the same
song would never give the same bytes: `settled` puts other salts in and signs again. And a reader that follows the
specification passes over bytes that nothing signs, such as padding: `Layout.of` accepts only what `Layout.to_bytes`
would write, so that no byte of a mark can be changed unseen. The layout is that of C2PA 2.x with two levels of boxes,
assertions in CBOR, one claim and one signature.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

_UUID_TAIL: Final = bytes.fromhex("00110010800000aa00389b71")
_PLAIN, _SALTED = 0x03, 0x13
BEGINNING: Final = b"jumb\x00\x00\x00\x1ejumdc2pa" + _UUID_TAIL + b"\x03c2pa\x00"
"""How every manifest store begins, behind the four bytes of its size."""

_COSE_SIGN1: Final = b"\xd2\x84"
_PAD_KEY: Final = b"\xa1\x63pad"
_NO_PAYLOAD: Final = b"\xf6"


class StrangeLayout(ValueError):
    """These bytes are no manifest that is laid out as ours are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a manifest consists of; everything else in it follows from these.

    Attributes:
        label: of the manifest, ``urn:c2pa:…``.
        assertions: label, salt and CBOR of each, in their order.
        claim: CBOR; it holds the hash of every assertion.
        protected: CBOR; algorithm and certificates.
        signature: over ``protected`` and ``claim``.
        pad_bytes: zeros in the signature's box, by which the size was reserved before there was a signature.
    """

    label: bytes
    assertions: tuple[tuple[bytes, bytes, bytes], ...]
    claim: bytes
    protected: bytes
    signature: bytes
    pad_bytes: int

    @classmethod
    def of(cls, manifest: bytes) -> "Layout":
        """Take a manifest apart.

        Raises:
            StrangeLayout: `to_bytes` would not write exactly these bytes.
        """
        try:
            layout = cls._read(manifest)
        except (IndexError, ValueError, struct.error):
            raise StrangeLayout from None
        if layout.to_bytes() != manifest:
            raise StrangeLayout
        return layout

    @classmethod
    def _read(cls, manifest: bytes) -> "Layout":
        _, whole = _boxes(_one(manifest))
        described, store, claim, signature = _boxes(whole)
        assertions = []
        for box in list(_boxes(store))[1:]:
            about, content = _boxes(box)
            label, _, salt = about[17:].partition(b"\x00")
            assertions.append((label, salt[8:], content))
        _, claim_content = _boxes(claim)
        _, cose = _boxes(signature)
        protected, rest = _byte_string(cose[len(_COSE_SIGN1) :])
        pad, rest = _byte_string(rest[len(_PAD_KEY) :])
        signed, _ = _byte_string(rest[len(_NO_PAYLOAD) :])
        return cls(
            label=described[17:-1],
            assertions=tuple(assertions),
            claim=claim_content,
            protected=protected,
            signature=signed,
            pad_bytes=len(pad),
        )

    def to_bytes(self) -> bytes:
        """The manifest."""
        store = [
            _super_box(b"cbor", label, _box(b"cbor", content), salt=salt) for label, salt, content in self.assertions
        ]
        cose = (
            _COSE_SIGN1
            + _bytes_head(self.protected)
            + _PAD_KEY
            + _bytes_head(bytes(self.pad_bytes))
            + _NO_PAYLOAD
            + _bytes_head(self.signature)
        )
        inner = (
            _super_box(b"c2as", b"c2pa.assertions", *store)
            + _super_box(b"c2cl", b"c2pa.claim.v2", _box(b"cbor", self.claim))
            + _super_box(b"c2cs", b"c2pa.signature", _box(b"cbor", cose))
        )
        return _super_box(b"c2pa", b"c2pa", _super_box(b"c2ma", self.label, inner))

    def settled(self, secret: bytes, sign: Callable[[bytes], bytes]) -> "Layout":
        """The same manifest without chance in it, of the same length, signed anew.

        Args:
            secret: what the salts are made from.
            sign: gives the signature of a message; the same for the same message.

        Raises:
            StrangeLayout: the claim does not hold the hash of an assertion, or the signature has another length.
        """
        claim, assertions = self.claim, []
        for label, salt, content in self.assertions:
            fixed = sha256(secret + b"\x00" + label).digest()[: len(salt)]
            old, new = (_hash(label, one, content) for one in (salt, fixed))
            if claim.count(old) != 1:
                raise StrangeLayout
            claim = claim.replace(old, new)
            assertions.append((label, fixed, content))
        signature = sign(_to_be_signed(self.protected, claim))
        if len(signature) != len(self.signature):
            raise StrangeLayout
        return replace(self, assertions=tuple(assertions), claim=claim, signature=signature)


def _to_be_signed(protected: bytes, claim: bytes) -> bytes:
    """The Sig_structure of RFC 9052, 4.4, with the claim as detached payload."""
    return b"\x84\x6aSignature1" + _bytes_head(protected) + b"\x40" + _bytes_head(claim)


def _hash(label: bytes, salt: bytes, content: bytes) -> bytes:
    """What a claim says of an assertion: the hash of its box without the box's own head (C2PA 2.x, 8.4.2.3)."""
    return sha256(_super_box(b"cbor", label, _box(b"cbor", content), salt=salt)[8:]).digest()


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _super_box(kind: bytes, label: bytes, *content: bytes, salt: bytes = b"") -> bytes:
    toggles = _SALTED if salt else _PLAIN
    described = kind + _UUID_TAIL + bytes([toggles]) + label + b"\x00" + (_box(b"c2sh", salt) if salt else b"")
    return _box(b"jumb", _box(b"jumd", described) + b"".join(content))


def _one(content: bytes) -> bytes:
    (only,) = _boxes(content)
    return only


def _boxes(content: bytes) -> Iterator[bytes]:
    """The contents of boxes that follow one another."""
    at = 0
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        if not 8 <= size <= len(content) - at:
            raise StrangeLayout
        yield content[at + 8 : at + size]
        at += size


def _byte_string(content: bytes) -> tuple[bytes, bytes]:
    """The CBOR byte string at the beginning (RFC 8949, 3), and what follows."""
    short = content[0] - 0x40
    wide = {0x18: 1, 0x19: 2}.get(short, 0)
    size = int.from_bytes(content[1 : 1 + wide]) if wide else short
    if not 0 <= size <= len(content) - 1 - wide:
        raise StrangeLayout
    return content[1 + wide : 1 + wide + size], content[1 + wide + size :]


def _bytes_head(content: bytes) -> bytes:
    """A CBOR byte string, its length written as shortly as can be."""
    size = len(content)
    if size < 0x18:
        return bytes([0x40 + size]) + content
    return (bytes([0x58, size]) if size < 256 else b"\x59" + struct.pack(">H", size)) + content
