"""The object store's contract, held by every body: the folder, and S3 as spoken over HTTP."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from configs.settings import StoreSettings
from data.embedded_postgres import free_port
from data.object_links import content_disposition
from data.object_rules import resolve_range
from data.object_store import (
    BadKey,
    BadLink,
    BadRange,
    FolderStore,
    NoObject,
    ObjectStore,
    S3Store,
    StoreUnavailable,
    open_store,
)

LINK_KEY = "the link key of tests"
TEXT = b"0123456789" * 300
SHARED = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def s3_settings(endpoint_url: str, bucket: str = "songs") -> StoreSettings:
    return StoreSettings(
        kind="s3",
        endpoint_url=endpoint_url,
        bucket=bucket,
        access_key="testing",
        secret_key="testing",
    )


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_url: str) -> S3Store:
    """An empty bucket."""
    urllib.request.urlopen(urllib.request.Request(f"{s3_url}/moto-api/reset", method="POST")).close()
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t"
    )
    client.create_bucket(Bucket="songs")
    client.close()
    return S3Store(s3_settings(s3_url))


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects", LINK_KEY)


@pytest.fixture(params=["folder", "s3"])
def any_store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each body in turn, empty."""
    body: ObjectStore = request.getfixturevalue(request.param)
    return body


def content_of(store: ObjectStore, key: str, **bounds: int | None) -> bytes:
    return b"".join(store.get(key, **bounds))


class TestContract:
    """What pages, doors and engines may rely on."""

    def test_what_is_put_comes_back(self, any_store: ObjectStore) -> None:
        asset = any_store.put("songs/acc_1/job_2/0.wav", TEXT, media_type="audio/wav")
        assert asset.sha256 == hashlib.sha256(TEXT).hexdigest()
        assert (asset.key, asset.media_type, asset.size_bytes) == ("songs/acc_1/job_2/0.wav", "audio/wav", len(TEXT))
        assert any_store.head(asset.key) == asset
        assert content_of(any_store, asset.key) == TEXT

    def test_bytes_files_and_streams_are_the_same(self, any_store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "song").write_bytes(TEXT)
        read_end, write_end = os.pipe()
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(TEXT)
        with os.fdopen(read_end, "rb") as stream:
            contents = [TEXT, tmp_path / "song", io.BytesIO(TEXT), stream]
            assets = [any_store.put("a", content, media_type="text/plain") for content in contents]
        assert len(set(assets)) == 1
        assert content_of(any_store, "a") == TEXT

    def test_an_empty_object_is_an_object(self, any_store: ObjectStore) -> None:
        asset = any_store.put("empty", b"", media_type="text/plain")
        assert any_store.head("empty") == asset
        assert content_of(any_store, "empty") == b""

    def test_putting_again_replaces_content_and_media_type(self, any_store: ObjectStore) -> None:
        any_store.put("a", b"old and long", media_type="text/plain")
        asset = any_store.put("a", b"new", media_type="audio/mpeg")
        assert any_store.head("a") == asset
        assert content_of(any_store, "a") == b"new"

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (0, None, TEXT),
            (0, 0, TEXT[:1]),
            (10, 19, TEXT[10:20]),
            (2_999, None, TEXT[-1:]),
            (2_990, 10_000, TEXT[2_990:]),
            (0, 10_000_000, TEXT),
            (-5, None, TEXT[-5:]),
            (-10_000, None, TEXT),
        ],
    )
    def test_a_range_gives_those_bytes(
        self, any_store: ObjectStore, start: int, end: int | None, expected: bytes
    ) -> None:
        any_store.put("a", TEXT, media_type="text/plain")
        assert content_of(any_store, "a", start=start, end=end) == expected

    @pytest.mark.parametrize(("start", "end"), [(3_000, None), (9_999, 10_000), (5, 4), (-5, 3)])
    def test_a_range_without_bytes_is_refused_at_once(
        self, any_store: ObjectStore, start: int, end: int | None
    ) -> None:
        any_store.put("a", TEXT, media_type="text/plain")
        with pytest.raises(BadRange):
            any_store.get("a", start=start, end=end)

    def test_what_is_not_there_is_said_to_be_missing(self, any_store: ObjectStore) -> None:
        any_store.put("a/b", b"x", media_type="text/plain")
        for key in ("nothing", "a", "a/b/c"):
            assert any_store.head(key) is None
            with pytest.raises(NoObject):
                any_store.get(key)
            any_store.delete(key)
        assert list(any_store.list()) == ["a/b"]

    def test_what_is_deleted_is_gone(self, any_store: ObjectStore) -> None:
        for key in ("a/b/c", "a/b/d"):
            any_store.put(key, b"x", media_type="text/plain")
        any_store.delete("a/b/c")
        any_store.delete("a/b/c")
        assert any_store.head("a/b/c") is None
        assert list(any_store.list()) == ["a/b/d"]
        any_store.put("a/b/c", b"y", media_type="text/plain")
        assert content_of(any_store, "a/b/c") == b"y"

    def test_listing_is_by_prefix_in_the_order_of_bytes(self, any_store: ObjectStore) -> None:
        keys = ["a-b/x", "a.b", "a/b/1", "a/b/10", "a/b/2", "a/c", "ab", "b/a_1", "b/a-1"]
        for key in keys:
            any_store.put(key, b"x", media_type="text/plain")
        for prefix in ("", "a", "a/", "a/b", "a/b/", "a/b/1", "a.", "b/a", "c", "a/b/1/", "a-b/x", "ab/"):
            assert list(any_store.list(prefix)) == sorted(key for key in keys if key.startswith(prefix)), prefix

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/..",
            "a..b",
            "./a",
            "a/./b",
            ".hidden",
            "a/.incoming",
            "A",
            "a b",
            "a\\b",
            "ä",
            "a\n",
            "a\x00",
            "~",
            "%2e%2e/a",
            "a@about",
            "x" * 302,
            "x" * 201,
        ],
    )
    def test_odd_keys_are_refused_everywhere(self, any_store: ObjectStore, key: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: any_store.put(key, b"x", media_type="text/plain"),
            lambda: any_store.get(key),
            lambda: any_store.head(key),
            lambda: any_store.delete(key),
            lambda: any_store.sign(key, life_s=60),
        ]
        for call in calls:
            with pytest.raises(BadKey):
                call()

    @pytest.mark.parametrize("prefix", ["..", "a/../b", "/", ".", "A", "a//b", "a\x00"])
    def test_odd_prefixes_are_refused(self, any_store: ObjectStore, prefix: str) -> None:
        with pytest.raises(BadKey):
            list(any_store.list(prefix))

    def test_many_puts_of_one_key_at_once_leave_one_of_them_whole(self, any_store: ObjectStore) -> None:
        contents = [bytes([number]) * (100_000 + number) for number in range(8)]
        start = threading.Barrier(len(contents))

        def put(content: bytes) -> None:
            start.wait(timeout=30)
            for _ in range(3):
                any_store.put("a/b", content, media_type=f"text/x{content[0]}")

        with ThreadPoolExecutor(len(contents)) as pool:
            list(pool.map(put, contents))
        stored = content_of(any_store, "a/b")
        assert stored in contents
        asset = any_store.head("a/b")
        assert asset is not None
        assert (asset.sha256, asset.size_bytes) == (hashlib.sha256(stored).hexdigest(), len(stored))
        assert asset.media_type == f"text/x{stored[0]}"

    def test_puts_and_deletes_side_by_side_never_fail(self, any_store: ObjectStore) -> None:
        def work(number: int) -> None:
            for _ in range(10):
                any_store.put(f"a/b/{number}", b"x", media_type="text/plain")
                any_store.delete(f"a/b/{number}")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        assert list(any_store.list()) == []

    def test_trouble_with_the_content_stores_nothing(self, any_store: ObjectStore, tmp_path: Path) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell() > 0:
                    raise ConnectionResetError("the giver went away")
                return super().read(10)

        with pytest.raises(ConnectionResetError):
            any_store.put("a", Broken(TEXT), media_type="text/plain")
        with pytest.raises(FileNotFoundError):
            any_store.put("a", tmp_path / "missing", media_type="text/plain")
        assert any_store.head("a") is None
        assert list(any_store.list()) == []

    def test_a_store_that_works_answers_a_ping(self, any_store: ObjectStore) -> None:
        any_store.ping()
        assert list(any_store.list()) == []

    @SHARED
    @given(
        parts=st.lists(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True), min_size=1, max_size=4),
        content=st.binary(max_size=200),
        start=st.integers(-250, 250),
        length=st.none() | st.integers(1, 250),
    )
    def test_any_good_key_and_any_range(
        self, any_store: ObjectStore, parts: list[str], content: bytes, start: int, length: int | None
    ) -> None:
        key = "/".join(["p", *parts, "object.bin"])
        end = None if length is None or start < 0 else start + length - 1
        any_store.put(key, content, media_type="application/octet-stream")
        expected = content[start:] if end is None else content[start : end + 1]
        if expected or start < 0 or (start == 0 and end is None):
            assert content_of(any_store, key, start=start, end=end) == expected
        else:
            with pytest.raises(BadRange):
                any_store.get(key, start=start, end=end)
        assert key in list(any_store.list("p/"))


@given(size=st.integers(0, 50), start=st.integers(-60, 60), end=st.none() | st.integers(-5, 60))
def test_a_resolved_range_lies_in_the_object(size: int, start: int, end: int | None) -> None:
    try:
        first, count = resolve_range("a", size, start, end)
    except BadRange:
        return
    assert first >= 0
    assert first + count <= size
    assert count > 0 or size == 0


class TestBigFiles:
    """30 MB: a long song in 24 bits."""

    @pytest.mark.parametrize("kind", ["folder", "s3"])
    def test_putting_a_file_does_not_hold_it_in_memory(
        self, kind: str, s3: S3Store, s3_url: str, tmp_path: Path
    ) -> None:
        big = tmp_path / "big.wav"
        block = os.urandom(1 << 20)
        with big.open("wb") as file:
            for _ in range(30):
                file.write(block)
        ran = subprocess.run(
            [sys.executable, "-c", BIG_PUT, kind, str(big), str(tmp_path / "objects"), s3_url],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        grown_kib, sha256 = ran.stdout.split()
        assert sha256 == hashlib.sha256(big.read_bytes()).hexdigest()
        assert int(grown_kib) < 15_000


BIG_PUT = """
import hashlib, resource, sys
from pathlib import Path
from configs.settings import StoreSettings
from data.object_store import open_store
kind, big, folder, url = sys.argv[1:]
store = open_store(
    StoreSettings(kind=kind, endpoint_url=url, bucket="songs", access_key="t", secret_key="t"),
    var=Path(folder), link_key="k",
)
peak_kib = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put("small", b"x" * 3_000_000, media_type="text/plain")
b"".join(store.get("small"))
before = peak_kib()
store.put("big", Path(big), media_type="audio/wav")
digest = hashlib.sha256()
for block in store.get("big"):
    digest.update(block)
print(peak_kib() - before, digest.hexdigest())
"""


class TestS3:
    """What is special about S3."""

    def test_a_signed_url_gives_the_object_and_ranges_of_it(self, s3: S3Store) -> None:
        s3.put("songs/1.wav", TEXT, media_type="audio/wav")
        url = s3.sign("songs/1.wav", life_s=600, download_name="Größe.wav")
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == TEXT
            assert answer.headers["Content-Type"] == "audio/wav"
            assert answer.headers["Content-Disposition"] == content_disposition("Größe.wav")
        request = urllib.request.Request(url, headers={"Range": "bytes=10-19"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 206
            assert answer.read() == TEXT[10:20]
            assert answer.headers["Content-Range"] == "bytes 10-19/3000"

    def test_a_signed_url_is_for_a_while_and_in_the_path_style(self, s3: S3Store, s3_url: str) -> None:
        url = urlsplit(s3.sign("a/b", life_s=600))
        query = parse_qs(url.query)
        assert f"{url.scheme}://{url.netloc}" == s3_url
        assert url.path == "/songs/a/b"
        assert query["X-Amz-Expires"] == ["600"]
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]

    def test_on_aws_itself_the_bucket_is_in_the_host_name(self) -> None:
        store = S3Store(StoreSettings(kind="s3", region="eu-central-1", bucket="songs", access_key="k", secret_key="s"))
        assert urlsplit(store.sign("a", life_s=60)).netloc == "songs.s3.eu-central-1.amazonaws.com"

    def test_objects_are_private(self, s3: S3Store, s3_url: str) -> None:
        s3.put("a", b"x", media_type="text/plain")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{s3_url}/songs/a")
        caught.value.close()
        assert caught.value.code == 403

    def test_an_object_put_by_another_program_is_examined(self, s3: S3Store, s3_url: str) -> None:
        client = boto3.client(
            "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t"
        )
        client.put_object(Bucket="songs", Key="a", Body=TEXT, ContentType="text/plain")
        client.close()
        asset = s3.head("a")
        assert asset is not None
        assert asset.sha256 == hashlib.sha256(TEXT).hexdigest()

    def test_more_keys_than_one_page_are_listed(self, s3: S3Store) -> None:
        keys = [f"a/{number:04}" for number in range(1_001)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put(key, b"", media_type="text/plain"), keys))
        assert list(s3.list("a/")) == keys

    def test_a_service_that_is_down_is_a_sentence(self) -> None:
        store = S3Store(s3_settings(f"http://127.0.0.1:{free_port()}"))
        calls: list[Callable[[], object]] = [
            lambda: store.put("a", b"x", media_type="text/plain"),
            lambda: store.get("a"),
            lambda: store.head("a"),
            lambda: store.delete("a"),
            lambda: list(store.list()),
            store.ping,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                call()

    def test_a_missing_bucket_is_a_sentence(self, s3: S3Store, s3_url: str) -> None:
        store = S3Store(s3_settings(s3_url, bucket="nowhere"))
        for call in (store.ping, lambda: store.put("a", b"x", media_type="text/plain"), lambda: store.get("a")):
            with pytest.raises(StoreUnavailable, match=r"no bucket “nowhere”"):
                call()

    def test_it_has_no_links_of_our_own(self, s3: S3Store) -> None:
        with pytest.raises(BadLink):
            s3.verify_link("token")


def test_the_settings_choose_the_body(tmp_path: Path) -> None:
    store = open_store(StoreSettings(), var=tmp_path, link_key=LINK_KEY)
    store.put("a", b"x", media_type="text/plain")
    assert (tmp_path / "objects/a").read_bytes() == b"x"
    assert isinstance(open_store(s3_settings("http://127.0.0.1:9"), var=tmp_path / "other", link_key=LINK_KEY), S3Store)
    assert not (tmp_path / "other").exists()
