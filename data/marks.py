"""Marks: what a file of ours says about its origin, signed (C2PA 2.x), and what a file says that somebody brings.

The only door to the C2PA library, which is told never to use the network: no time stamps of others, no manifests
elsewhere, no lists of certificates to fetch. A mark is put in last, because whatever is changed afterwards, were it one
bit, makes it invalid; written anew in another format, a sound has none. The same file marked by the same signer gives
the same bytes (see `data.mark_layout`).
"""

import hashlib
import json
import mmap
import uuid
import wave
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

import c2pa

from configs.settings import ProvenanceSettings
from data.mark_layout import BEGINNING, Layout, StrangeLayout
from data.provenance import SOFTWARE
from data.scratch import scratch_folder
from data.signing import BadSigner, Signer, open_signer
from studio.errors import MelodeonError
from studio.words.mark import Making, Mark, MarkState, Origin

MARKED: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "png": "image/png",
    "webp": "image/webp",
}
"""The forms of file whose marks are read, and their media types."""

LARGEST_BYTES: Final = 1 << 31
"""What is larger is not examined: three hours of 24-bit stereo at 48 kHz."""

_BLOCK_BYTES: Final = 1 << 20
_SETTINGS: Final = {
    "version": 1,
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
    "verify": {
        "verify_after_sign": False,
        "verify_trust": False,
        "verify_timestamp_trust": False,
        "ocsp_fetch": False,
        "remote_manifest_fetch": False,
    },
    "builder": {
        "created_assertion_labels": ["c2pa.actions.v2"],
        "thumbnail": {"enabled": False},
        "actions": {
            "auto_created_action": {"enabled": False},
            "auto_opened_action": {"enabled": False},
            "auto_placed_action": {"enabled": False},
        },
    },
}
_ENGINE_KEY: Final = "melodeon.engine"
_IPTC: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"


class NotMarked(MelodeonError):
    """A file could not be marked, so it must not leave the house."""

    code = "not_marked"

    def __init__(self, why: str) -> None:
        super().__init__(f"The finished file could not be marked as AI-generated ({why}), so it was not kept.")


class NotExaminable(MelodeonError):
    """A file cannot be looked at for a mark."""

    code = "not_examinable"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} cannot be examined: {why}")
        self.why = why


def open_marker(settings: ProvenanceSettings, secret: str, *, version: str, scratch: Path, now: datetime) -> "Marker":
    """The marker of this installation. An operator's signer is tried out at once, not with somebody's song.

    Args:
        settings: the operator's signer, if there is one.
        secret: ``Secrets.signing_key``.
        version: of Melodeon.
        scratch: a folder for files under way; made when missing.
        now: aware UTC.

    Raises:
        BadSigner: nothing can be marked with it.
    """
    marker = Marker(open_signer(settings, secret, now=now), version=version)
    if settings.chain is not None:
        with scratch_folder(scratch) as folder:
            marker.rehearse(folder / "silence.wav")
    return marker


class Marker:
    """Marks files.

    Args:
        signer: in whose name.
        version: of Melodeon.
    """

    def __init__(self, signer: Signer, *, version: str) -> None:
        self._signer = signer
        self._version = version

    def mark(self, path: Path, form: str, origin: Origin) -> None:
        """Put a mark into a finished file, which is replaced.

        Args:
            path: the file; nothing may be changed in it afterwards.
            form: a key of `MARKED`.

        Raises:
            NotMarked: the disk is full, or the library refuses the file or the signer. The file is as it was.
        """
        marked = path.with_name(path.name + ".marked")
        try:
            with path.open("rb") as plain, marked.open("w+b") as file:
                unique = hashlib.file_digest(plain, "sha256").digest()
                plain.seek(0)
                manifest = self._sign(plain, file, form, self._claims(origin, self._id_of(unique)))
                settled = Layout.of(manifest).settled(unique, self._signer.sign).to_bytes()
                _replace(file, form, manifest, settled)
                _refuse_invalid(file, form)
            marked.replace(path)
        except (c2pa.C2paError, OSError) as error:
            raise NotMarked(type(error).__name__ if isinstance(error, c2pa.C2paError) else str(error)) from error
        except StrangeLayout as error:
            raise NotMarked("the C2PA library lays marks out in another way") from error
        finally:
            marked.unlink(missing_ok=True)

    def rehearse(self, path: Path) -> None:
        """Mark a file of silence, made at ``path``.

        Raises:
            BadSigner: marks by this signer are not valid.
        """
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 48_000, 0, "NONE", ""))
            file.writeframes(bytes(64))
        origin = Origin(title="", engine="", engine_label="silence", engine_version="1", making=Making.ALGORITHM)
        try:
            self.mark(path, "wav", origin)
        except NotMarked as error:
            cause = error.__cause__ or error
            raise BadSigner(f"marks made with the chain and key are not valid ({cause}).") from error

    def _sign(self, plain: BinaryIO, file: BinaryIO, form: str, claims: Mapping[str, Any]) -> bytes:
        signer, key = self._signer, self._signer.key_pem
        info = c2pa.C2paSignerInfo(alg=signer.algorithm, sign_cert=signer.chain_pem, private_key=key, ta_url=None)
        with (
            c2pa.Context.from_dict(_SETTINGS, c2pa.Signer.from_info(info)) as context,
            c2pa.Builder(claims, context) as builder,
        ):
            manifest: bytes = builder.sign(MARKED[form], plain, file)
        return manifest

    def _id_of(self, unique: bytes) -> str:
        """An id that the same file and signer always get, in the form of a UUIDv4, which C2PA's grammar wants."""
        digest = hashlib.sha256(unique + self._signer.chain_pem + self._version.encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def _claims(self, origin: Origin, mark_id: str) -> dict[str, Any]:
        agent = {"name": origin.engine_label, "version": origin.engine_version, _ENGINE_KEY: origin.engine}
        created = {
            "action": "c2pa.created",
            "digitalSourceType": _IPTC + origin.making,
            "softwareAgent": agent,
        }
        claims = {
            "claim_version": 2,
            "label": f"urn:c2pa:{mark_id}",
            "instance_id": f"xmp:iid:{mark_id}",
            "claim_generator_info": [{"name": SOFTWARE, "version": self._version}],
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [created], "allActionsIncluded": True}},
            ],
        }
        return claims | ({"title": origin.title} if origin.title else {})


def examine(path: Path, *, ours: Mapping[str, str] = MappingProxyType({})) -> Mark:
    """What a file says about its origin, and whether that is true. For files of strangers see `data.mark_examination`.

    Args:
        path: the file.
        ours: our own signers; see `data.signing.known_signers`.

    Raises:
        NotExaminable: it cannot be read, is too large, or is no file of a form in `MARKED`.
    """
    try:
        if not path.is_file():
            raise NotExaminable(path.name, "it is not there, or no plain file.")
        if path.stat().st_size > LARGEST_BYTES:
            raise NotExaminable(path.name, f"it has more than {LARGEST_BYTES // 10**6:,} MB.")
        with path.open("rb") as file:
            form = _form_of(file)
            if form is None:
                raise NotExaminable(path.name, "it is no WAV, MP3, FLAC, PNG or WebP file.")
            return _examined(file, form, ours)
    except OSError as error:
        raise NotExaminable(path.name, f"{error.strerror}.") from None


def _examined(file: BinaryIO, form: str, ours: Mapping[str, str]) -> Mark:
    boxes = _boxes_in(file)
    try:
        told = _told(file, form, "".join(ours.values()))
    except c2pa.C2paError.ManifestNotFound:
        if boxes:
            return _invalid("It holds a mark that cannot be found from its beginning: the file around it was changed.")
        return Mark(state=MarkState.UNMARKED, why="It carries no mark, or has been written anew since it had one.")
    except c2pa.C2paError:
        return _invalid("Its mark is damaged.")
    mark = _understood(told, ours)
    if mark.generator.partition(" ")[0] == SOFTWARE and not _is_whole(file, form, boxes):
        return _invalid("Its mark was changed in a place that its signature does not cover.")
    return mark


def _understood(told: Mapping[str, Any], ours: Mapping[str, str]) -> Mark:
    try:
        return _invalid(_reason(told)) if told["validation_state"] == "Invalid" else _mark_of(told, ours)
    except (AttributeError, KeyError, TypeError):
        # What a stranger signed may have any shape.
        return _invalid("What its mark says cannot be understood.")


def _invalid(why: str) -> Mark:
    return Mark(state=MarkState.INVALID, why=why)


def _told(file: BinaryIO, form: str, roots_pem: str) -> dict[str, Any]:
    """What the library says of the file."""
    settings: dict[str, Any] = dict(_SETTINGS)
    if roots_pem:
        settings["trust"] = {"user_anchors": roots_pem}
        settings["verify"] = {**_SETTINGS["verify"], "verify_trust": True}  # type: ignore[dict-item]
    file.seek(0)
    with c2pa.Context.from_dict(settings) as context, c2pa.Reader(MARKED[form], file, context=context) as reader:
        told: dict[str, Any] = json.loads(reader.json())
    return told


def _reason(told: Mapping[str, Any]) -> str:
    failures = [one["code"] for one in told["validation_results"]["activeManifest"]["failure"]]
    if "assertion.dataHash.mismatch" in failures:
        return "Its content was changed after it was marked."
    if any(code.startswith("signingCredential.") for code in failures):
        return "The certificate of its signer is not valid."
    return "Its mark was changed."


def _mark_of(told: Mapping[str, Any], ours: Mapping[str, str]) -> Mark:
    manifest = told["manifests"][told["active_manifest"]]
    signature = manifest.get("signature_info", {})
    created = _created(manifest)
    agent = created.get("softwareAgent", {})
    agent = {"name": agent} if isinstance(agent, str) else agent
    trusted = told["validation_state"] == "Trusted"
    return Mark(
        state=MarkState.VALID,
        # Whoever is vouched for by the same authority is somebody else all the same.
        ours=trusted and signature.get("cert_serial_number") in ours,
        issuer=_plain(signature.get("issuer") or signature.get("common_name")),
        generator=_named(next(iter(manifest.get("claim_generator_info", [])), {})),
        engine=_named(agent),
        making=_plain(str(created.get("digitalSourceType", "")).removeprefix(_IPTC)),
        title=_plain(manifest.get("title")),
    )


def _created(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The action by which the content came about."""
    for assertion in manifest.get("assertions", []):
        if assertion["label"].startswith("c2pa.actions"):
            for action in assertion["data"].get("actions", []):
                if action.get("action") == "c2pa.created":
                    created: Mapping[str, Any] = action
                    return created
    return {}


def _named(software: Mapping[str, Any]) -> str:
    return f"{_plain(software.get('name'))} {_plain(software.get('version'))}".strip()


def _plain(text: object) -> str:
    """A stranger's text, fit for a terminal: one line without control characters."""
    return "".join(letter for letter in str(text or "")[:200] if letter.isprintable())


def _form_of(file: BinaryIO) -> str | None:
    """Which form of file it is by its first bytes; names prove nothing."""
    head = file.read(12)
    if head[:4] == b"RIFF":
        return {b"WAVE": "wav", b"WEBP": "webp"}.get(head[8:])
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"fLaC"):
        return "flac"
    # An ID3 tag, or the sync word of MPEG-1, -2 or -2.5 layer III (ISO 11172-3, 2.4.2.3).
    is_mp3 = head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2)
    return "mp3" if is_mp3 else None


def _boxes_in(file: BinaryIO) -> Sequence[int]:
    """Where in the file manifests begin; at least two are found where there are more."""
    found: list[int] = []
    at, tail = 0, b""
    file.seek(0)
    while len(found) < 2 and (block := file.read(_BLOCK_BYTES)):
        window = tail + block
        hit = window.find(BEGINNING)
        while hit >= 0:
            found.append(at - len(tail) + hit - 4)
            hit = window.find(BEGINNING, hit + 1)
        at += len(block)
        tail = window[1 - len(BEGINNING) :]
    return found


def _is_whole(file: BinaryIO, form: str, boxes: Sequence[int]) -> bool:
    """Whether there is one manifest in the file, laid out byte for byte as ours are."""
    if len(boxes) != 1 or boxes[0] < 0:
        return False
    file.seek(boxes[0])
    size_bytes = int.from_bytes(file.read(4))
    file.seek(boxes[0])
    manifest = file.read(min(size_bytes, _BLOCK_BYTES))
    try:
        Layout.of(manifest)
    except StrangeLayout:
        return False
    return form != "png" or file.read(4) == _png_sum(manifest)


def _png_sum(manifest: bytes) -> bytes:
    """The checksum that follows the chunk of a mark (PNG 3rd edition, 5.3); no signature covers it."""
    return zlib.crc32(b"caBX" + manifest).to_bytes(4)


def _refuse_invalid(file: BinaryIO, form: str) -> None:
    """Look at a mark as anybody would: the last thing before a file is kept."""
    told = _told(file, form, "")
    if told["validation_state"] == "Invalid":
        raise NotMarked(f"the mark that was made is not valid: {_reason(told)}")


def _replace(file: BinaryIO, form: str, manifest: bytes, settled: bytes) -> None:
    """Write another manifest of the same length over the one that the library embedded."""
    file.flush()
    with mmap.mmap(file.fileno(), 0) as view:
        at = view.find(manifest)
        if at < 0:
            raise StrangeLayout
        end = at + len(manifest)
        view[at:end] = settled
        if form == "png":
            view[end : end + 4] = _png_sum(settled)
