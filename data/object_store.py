"""The object store: sounds, pictures and other files by key. A folder, or any service that speaks S3.

S3 means AWS, Backblaze B2, MinIO, Ceph, Swift and others; the settings below are those that all of them take.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, Protocol, cast

from configs.settings import StoreSettings
from data.folder_store import FolderStore
from data.object_links import BadLink, SignedLink, content_disposition
from data.object_rules import (
    BLOCK_BYTES,
    BadKey,
    BadRange,
    NoObject,
    StoreUnavailable,
    blocks_of,
    check_key,
    check_prefix,
    check_range,
)
from studio.words.asset import Asset

__all__ = [
    "BadKey",
    "BadLink",
    "BadRange",
    "FolderStore",
    "NoObject",
    "ObjectStore",
    "S3Store",
    "SignedLink",
    "StoreUnavailable",
    "content_disposition",
    "open_store",
]

_SPOOL_BYTES: Final = 8 << 20
_MISSING: Final = ("404", "NoSuchKey", "NotFound")


class ObjectStore(Protocol):
    """Where objects are kept. Keys are made by us: lower-case parts joined by “/”; others raise `BadKey`.

    Every call may raise `StoreUnavailable`: the store is down or full, nothing half-done is left.
    """

    def put(self, key: str, content: BinaryIO | bytes | Path, *, media_type: str) -> Asset:
        """Store ``content`` durably and return its SHA-256 and size. All of it or nothing; repeating is harmless."""

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes ``start`` … ``end`` (inclusive; None: to the end; start < 0: the last bytes) in blocks.

        Raises:
            NoObject, BadRange: at once, before the first block.
        """

    def head(self, key: str) -> Asset | None:
        """What is stored under the key, or None."""

    def delete(self, key: str) -> None:
        """Remove the object; absent is fine."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with ``prefix``, in the order of their bytes."""

    def sign(self, key: str, *, life_s: int, download_name: str | None = None) -> str:
        """A link that lets its bearer read the object for ``life_s`` seconds, Range requests included.

        With ``download_name`` the browser saves it under that name. An absolute URL of the service, or a path of our
        own HTTP door.
        """

    def verify_link(self, token: str) -> SignedLink:
        """What a token that came to our own door allows; raises `BadLink`."""

    def ping(self) -> None:
        """Raise `StoreUnavailable` unless the store can be used."""


def open_store(settings: StoreSettings, *, var: Path, link_key: str) -> ObjectStore:
    """The store that the settings name: ``var/objects``, or S3."""
    if settings.kind == "s3":
        return S3Store(settings)
    return FolderStore(var / "objects", link_key)


class S3Store:
    """Objects in one bucket of an S3 service, private, read through signed URLs.

    Without keys in the settings, those of the machine's own role are used (AWS).
    """

    def __init__(self, settings: StoreSettings) -> None:
        # a library of many parts, which installations that keep their objects in a folder never load
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        self._bucket = settings.bucket
        self._place = settings.endpoint_url or f"S3 in {settings.region}"
        secrets = (settings.access_key, settings.secret_key)
        access_key, secret_key = (secret.get_secret_value() if secret else None for secret in secrets)
        self._client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                signature_version="s3v4",
                # A service at an address of its own seldom has a host name for every bucket; AWS wants one.
                s3={"addressing_style": "path" if settings.endpoint_url else "virtual"},
                # The newer checksums are refused by B2 and older MinIO; the SHA-256 in our metadata does the work.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=32,
            ),
        )

    def put(self, key: str, content: BinaryIO | bytes | Path, *, media_type: str) -> Asset:
        """Store ``content``. It is hashed first, because the hash travels with it."""
        check_key(key)
        with _seekable(content) as (file, sha256, size_bytes), self._outages(key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=file,
                ContentLength=size_bytes,
                ContentType=media_type,
                Metadata={"sha256": sha256},
            )
        return Asset(key=key, sha256=sha256, media_type=media_type, size_bytes=size_bytes)

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes ``start`` … ``end`` (inclusive) in blocks."""
        check_key(key)
        check_range(key, start, end)
        wanted = {}
        if start < 0:
            wanted = {"Range": f"bytes={start}"}
        elif start > 0 or end is not None:
            wanted = {"Range": f"bytes={start}-{'' if end is None else end}"}
        try:
            with self._outages(key):
                body = self._client.get_object(Bucket=self._bucket, Key=key, **wanted)["Body"]
        except BadRange:
            if start < 0:
                return iter(())  # only an empty object has no last bytes
            raise
        return self._read(key, body)

    def head(self, key: str) -> Asset | None:
        """What is stored under the key, or None."""
        check_key(key)
        try:
            with self._outages(key):
                found = self._client.head_object(Bucket=self._bucket, Key=key)
        except NoObject:
            return None
        sha256 = found["Metadata"].get("sha256") or self._examine(key)
        return Asset(key=key, sha256=sha256, media_type=found["ContentType"], size_bytes=found["ContentLength"])

    def delete(self, key: str) -> None:
        """Remove the object; absent is fine."""
        check_key(key)
        with self._outages(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with ``prefix``, in the order of their bytes."""
        check_prefix(prefix)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with self._outages(prefix):
            for page in pages:
                for found in page.get("Contents", ()):
                    yield cast("str", found["Key"])

    def sign(self, key: str, *, life_s: int, download_name: str | None = None) -> str:
        """A presigned URL (signature version 4) of the service itself."""
        check_key(key)
        wanted = {"Bucket": self._bucket, "Key": key}
        if download_name is not None:
            wanted["ResponseContentDisposition"] = content_disposition(download_name)
        with self._outages(key):
            return cast("str", self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=life_s))

    def verify_link(self, token: str) -> NoReturn:  # noqa: ARG002 - the service checks its own links
        """Links of this store never come to our own door."""
        raise BadLink

    def ping(self) -> None:
        """Raise `StoreUnavailable` unless the bucket answers."""
        try:
            with self._outages(self._bucket):
                self._client.head_bucket(Bucket=self._bucket)
        except NoObject:
            raise StoreUnavailable(f"{self._place} has no bucket “{self._bucket}”; make it first.") from None

    def _read(self, key: str, body: Any) -> Iterator[bytes]:
        with self._outages(key), body:
            while block := body.read(BLOCK_BYTES):
                yield block

    def _examine(self, key: str) -> str:
        digest = hashlib.sha256()
        for block in self.get(key):
            digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def _outages(self, key: str) -> Iterator[None]:
        """Errors of the service become our own, each with a sentence."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in _MISSING:
                raise NoObject(key) from None
            if code in ("416", "InvalidRange"):
                raise BadRange(key) from None
            if code == "NoSuchBucket":
                raise StoreUnavailable(f"{self._place} has no bucket “{self._bucket}”; make it first.") from error
            raise StoreUnavailable(f"{self._place} answered “{code}”; check the keys and the bucket.") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"{self._place} cannot be reached ({type(error).__name__}).") from error


@contextmanager
def _seekable(content: BinaryIO | bytes | Path) -> Iterator[tuple[BinaryIO, str, int]]:
    """The content as a file at its beginning, its SHA-256 and its size. What cannot be read twice goes to the disk."""
    digest = hashlib.sha256()
    size_bytes = 0
    with content.open("rb") if isinstance(content, Path) else tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as file:
        for block in blocks_of(content):
            digest.update(block)
            size_bytes += len(block)
            if not isinstance(content, Path):
                file.write(block)
        file.seek(0)
        yield cast("BinaryIO", file), digest.hexdigest(), size_bytes
