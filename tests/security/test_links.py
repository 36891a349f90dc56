"""Links to files: only the one we signed, only for its life, only while the person may have the file.

Of an S3 store the service itself checks its links. Whether it does is shown against OpenStack Swift's s3api, a real
server that verifies signatures (marked ``long``: it is installed and started for the test).
"""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import boto3
import httpx
import pytest
from pydantic import SecretStr

from configs.settings import StoreSettings
from data.embedded_postgres import free_port
from data.object_links import LINK_PATH, SignedLink, make_token
from data.object_store import S3Store
from data.repositories import songs
from studio.words.account import Account
from studio.words.asset import AssetRole
from studio.words.song import DownloadRule, Song


@pytest.fixture(scope="module")
def owner(site) -> Account:
    """Somebody with songs."""
    site.account("admin")
    return site.account("owner")


class Asks:
    """Knocks at the doors of the running product as somebody."""

    def __init__(self, site, account: Account | None) -> None:
        cookie = {} if account is None else {"Cookie": f"melodeon_session={site.token(account)}"}
        self.client = httpx.Client(base_url=site.url, headers={"X-Melodeon": "1", **cookie}, timeout=30)

    def link(self, song: Song, form: str = "wav") -> str:
        answer = self.client.get(f"/api/v1/songs/{song.id}/download", params={"form": form})
        assert answer.status_code == 307, answer.text
        return answer.headers["location"]

    def status(self, link: str) -> int:
        return self.client.get(link).status_code

    def post(self, path: str) -> int:
        return self.client.post(f"/api/v1{path}").status_code


@pytest.fixture
def asks(site) -> Iterator[Callable[[Account | None], Asks]]:
    """Opens a client for an account or for nobody."""
    opened: list[Asks] = []

    def make(account: Account | None) -> Asks:
        opened.append(Asks(site, account))
        return opened[-1]

    yield make
    for one in opened:
        one.client.close()


def test_a_link_is_for_those_who_may_have_the_file(site, owner: Account, asks) -> None:
    private, published = site.song(owner, published=False), site.song(owner)
    own, other, nobody = asks(owner), asks(site.account()), asks(None)
    link = own.link(private)
    assert [who.status(link) for who in (own, other, nobody)] == [200, 403, 403]
    link = other.link(published)
    assert [who.status(link) for who in (own, other, nobody)] == [200, 200, 200]


def test_a_link_dies_within_its_life_when_the_song_is_made_private(site, owner: Account, asks) -> None:
    song = site.song(owner)
    own, other = asks(owner), asks(site.account())
    links = [other.link(song, form) for form in ("wav", "mp3", "cover")]
    assert [other.status(link) for link in links] == [200] * 3
    assert own.post(f"/songs/{song.id}/unpublish") == 200
    assert [other.status(link) for link in links] == [403] * 3
    assert [other.client.get(link, headers={"Range": "bytes=0-3"}).status_code for link in links] == [403] * 3
    assert [other.client.head(link).status_code for link in links] == [403] * 3
    assert own.status(links[0]) == 200


@pytest.mark.parametrize("rule", [DownloadRule.NOBODY, DownloadRule.FOLLOWERS])
def test_a_link_dies_when_its_owner_no_longer_gives_the_file_away(site, owner: Account, asks, rule) -> None:
    song = site.song(owner)
    other = asks(site.account())
    link = other.link(song)
    with site.database.transaction() as session:
        songs.publish(session, song.id, download_rule=rule)
    assert other.status(link) == 403


def test_a_link_dies_with_its_song_and_before_the_clean_up(site, owner: Account, asks) -> None:
    song = site.song(owner)
    own, other = asks(owner), asks(site.account())
    link = other.link(song)
    assert own.client.delete(f"/api/v1/songs/{song.id}").status_code == 200
    assert site.store.head(song.assets[AssetRole.WAV].key) is not None
    assert [who.status(link) for who in (own, other)] == [403, 403]


def test_a_session_that_ended_takes_the_links_of_private_songs_along(site, owner: Account, asks) -> None:
    song = site.song(owner, published=False)
    own = asks(owner)
    link = own.link(song)
    assert own.status(link) == 200
    assert own.client.delete("/api/v1/auth/session").status_code == 204
    assert own.status(link) == 403


def test_an_edited_or_old_link_is_dead(site, owner: Account, asks) -> None:
    song, another = site.song(owner), site.song(owner)
    own = asks(owner)
    link, key = own.link(song), song.assets[AssetRole.WAV].key
    body, _, signature = link.removeprefix(LINK_PATH).partition(".")
    other_body, _, other_signature = own.link(another).removeprefix(LINK_PATH).partition(".")
    secret = site_link_key(site)
    forged = [
        f"{body}.{other_signature}",
        f"{other_body}.{signature}",
        f"{body}.{signature[:-1]}",
        f"{body}.{signature.upper()}",
        f"{body}=.{signature}",
        f"{body}.{'0' * 64}",
        f".{signature}",
        signature,
        make_token(secret, SignedLink(key=key, download_name=None), expires_s=int(time.time()) - 1),
        make_token(secret, SignedLink(key=key, download_name=None), expires_s=0),
        make_token("another installation", SignedLink(key=key, download_name=None), expires_s=2**33),
    ]
    assert [own.status(LINK_PATH + token) for token in forged] == [403] * len(forged)
    whole = make_token(secret, SignedLink(key=key, download_name=None), expires_s=int(time.time()) + 60)
    assert own.status(LINK_PATH + whole) == 200


def site_link_key(site) -> str:
    from configs.secrets import load_or_create

    return load_or_create(site.var).link_key


def test_a_link_lasts_minutes_for_others_and_an_hour_for_its_owner(site, owner: Account, asks) -> None:
    import base64
    import json

    song = site.song(owner)
    lives = []
    for who in (owner, site.account()):
        body = asks(who).link(song).removeprefix(LINK_PATH).partition(".")[0]
        lives.append(json.loads(base64.urlsafe_b64decode(body + "=="))[0] - time.time())
    assert lives == [pytest.approx(3_600, abs=30), pytest.approx(600, abs=30)]


# --- the real thing: Swift -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """OpenStack Swift with s3api on one folder, in an environment of its own; where it is, as a store's settings."""
    folder = tmp_path_factory.mktemp("swift")
    tools = _swift_tools()
    ports = {name: free_port() for name in ("account", "container", "object", "proxy")}
    _write_swift(folder, ports)
    for name in ("account", "container", "object"):
        builder = str(folder / f"{name}.builder")
        device = f"r1z1-127.0.0.1:{ports[name]}/d1"
        for words in (["create", "3", "1", "1"], ["add", device, "1"], ["rebalance"]):
            subprocess.run([tools / "swift-ring-builder", builder, *words], check=True, capture_output=True)
    (folder / "devices" / "d1").mkdir(parents=True)
    environment = {**os.environ, "SWIFT_DIR": str(folder), "PYTHONWARNINGS": "ignore"}
    running = []
    with (folder / "swift.txt").open("wb") as log:
        for name in ("account", "container", "object", "proxy"):
            command = [str(tools / "python"), "-c", _START, name, str(folder)]
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        try:
            _await(ports["proxy"], folder / "swift.txt")
            made = StoreSettings(
                kind="s3", endpoint_url=f"http://127.0.0.1:{ports['proxy']}", region="us-east-1", bucket="melodeon",
                access_key=SecretStr("test:tester"), secret_key=SecretStr("testing"),
            )  # fmt: skip
            client = boto3.client(
                "s3", endpoint_url=made.endpoint_url, region_name="us-east-1", aws_access_key_id="test:tester",
                aws_secret_access_key="testing",
            )  # fmt: skip
            client.create_bucket(Bucket="melodeon")
            client.close()
            yield made
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(timeout=60)


_START = """
import sys
from swift.common import utils
name, folder = sys.argv[1:]
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(f"{folder}/{name}.conf", f"{name}-server"))
"""


def _swift_tools() -> Path:
    """The programs of an environment that holds Swift and nothing of ours, made once per machine."""
    place = Path(os.environ.get("MELODEON_TEST_SWIFT", "/tmp/melodeon-swift"))
    if not (place / "bin" / "swift-ring-builder").exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "-q", "swift", "setuptools<81"], check=True)
    return place / "bin"


def _write_swift(folder: Path, ports: dict[str, int]) -> None:
    user = "root" if os.getuid() == 0 else os.environ.get("USER", "nobody")
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    for name in ("account", "container", "object"):
        (folder / f"{name}.conf").write_text(
            textwrap.dedent(f"""
            [DEFAULT]
            bind_ip = 127.0.0.1
            bind_port = {ports[name]}
            devices = {folder}/devices
            swift_dir = {folder}
            mount_check = false
            disable_fallocate = true
            workers = 0
            user = {user}
            [pipeline:main]
            pipeline = {name}-server
            [app:{name}-server]
            use = egg:swift#{name}
            [{name}-replicator]
            """)
        )
    filters = [
        "catch_errors", "gatekeeper", "healthcheck", "proxy-logging", "cache", "listing_formats", "bulk", "tempurl",
        "s3api", "tempauth", "copy", "slo", "dlo", "versioned_writes", "symlink",
    ]  # fmt: skip
    eggs = {"cache": "memcache", "proxy-logging": "proxy_logging"}
    sections = "\n".join(f"[filter:{name}]\nuse = egg:swift#{eggs.get(name, name)}\n" for name in filters)
    sections = sections.replace(
        "use = egg:swift#tempauth\n", "use = egg:swift#tempauth\nuser_test_tester = testing .admin\n"
    ).replace(
        "use = egg:swift#versioned_writes\n", "use = egg:swift#versioned_writes\nallow_object_versioning = true\n"
    )
    (folder / "proxy.conf").write_text(
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {ports['proxy']}\nswift_dir = {folder}\nworkers = 0\n"
        f"user = {user}\n[pipeline:main]\npipeline = {' '.join(filters)} proxy-logging proxy-server\n"
        f"[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n{sections}"
    )


def _await(port: int, log: Path) -> None:
    until = time.monotonic() + 240
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthcheck", timeout=60).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < until, log.read_text()[-3_000:]
        time.sleep(0.2)


def _with(url: str, **changed: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | changed)))


@pytest.mark.long
def test_a_real_store_honours_only_what_was_signed(swift: StoreSettings) -> None:
    store = S3Store(swift)
    store.put("songs/1/wav", b"0123456789", media_type="audio/wav")
    store.put("songs/2/wav", b"another one", media_type="audio/wav")
    good = store.sign("songs/1/wav", life_s=60, download_name="Größe.wav")
    answer = httpx.get(good)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert "attachment" in answer.headers["content-disposition"]
    part = httpx.get(good, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    signature = dict(parse_qsl(urlsplit(good).query))["X-Amz-Signature"]
    edited = [
        good.replace("songs/1/", "songs/2/"),
        _with(good, **{"X-Amz-Expires": "604800"}),
        _with(good, **{"X-Amz-Signature": signature[:-1] + ("0" if signature[-1] != "0" else "1")}),
        _with(good, **{"response-content-disposition": "inline"}),
        _with(good, **{"X-Amz-Date": "20990101T000000Z"}),
        _with(good, **{"X-Amz-Credential": "other:tester/20261120/us-east-1/s3/aws4_request"}),
        urlunsplit(urlsplit(good)._replace(query="")),
    ]
    answers = [httpx.get(link) for link in edited]
    # a date that is not that of the credential, or no signature at all, make no valid request
    assert [answer.status_code for answer in answers] == [403, 403, 403, 403, 400, 403, 400]
    assert not any(b"0123456789" in answer.content for answer in answers)
    assert [httpx.request(method, good, content=b"x").status_code for method in ("PUT", "DELETE")] == [403, 403]
    assert b"".join(store.get("songs/1/wav")) == b"0123456789"


@pytest.mark.long
def test_a_real_store_lets_links_die(swift: StoreSettings) -> None:
    store = S3Store(swift)
    store.put("songs/3/wav", b"0123456789", media_type="audio/wav")
    life_s = 20
    link = store.sign("songs/3/wav", life_s=life_s)
    assert httpx.get(link).status_code == 200
    time.sleep(life_s + 2)
    assert httpx.get(link).status_code == 403


@pytest.mark.long
def test_a_real_store_lists_and_shows_nothing_to_strangers(swift: StoreSettings) -> None:
    S3Store(swift).put("songs/4/wav", b"0123456789", media_type="audio/wav")
    for path in ("", "/melodeon", "/melodeon?list-type=2", "/melodeon/songs/4/wav"):
        answer = httpx.get(f"{swift.endpoint_url}{path}")
        assert 400 <= answer.status_code < 500, path
        assert not any(secret in answer.content for secret in (b"songs/4/wav</Key>", b"0123456789")), path
