"""Sound and pictures by HTTP: ranges, validators, signed links, downloads, and files that are gone."""

import io
import itertools
from dataclasses import replace
from urllib.parse import unquote

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from configs.settings import StoreSettings
from data.folder_store import FolderStore
from data.object_links import SignedLink, make_token
from data.object_store import S3Store
from data.repositories import songs as song_rows
from serving.avatars import remove_avatar, set_avatar
from studio.words.asset import AssetRole


@pytest.fixture
def browser(account, signed_in) -> httpx.Client:
    return signed_in(account)


@pytest.fixture
def song(account, make_song):
    return make_song(account)


CONTENT = b"0123456789abcdefghij1"
RANGES = [
    ("bytes=0-3", 206, b"0123", "bytes 0-3/21"),
    ("bytes=5-", 206, CONTENT[5:], "bytes 5-20/21"),
    ("bytes=-4", 206, b"hij1", "bytes 17-20/21"),
    ("bytes=-400", 206, CONTENT, "bytes 0-20/21"),
    ("bytes=20-999999999999", 206, b"1", "bytes 20-20/21"),
    ("bytes=21-", 416, None, "bytes */21"),
    ("bytes=99-100", 416, None, "bytes */21"),
    ("bytes=-0", 416, None, "bytes */21"),
    ("bytes=5-2", 200, CONTENT, None),
    ("bytes=-", 200, CONTENT, None),
    ("bytes=0-1,3-4", 200, CONTENT, None),
    ("bytes=+1-2", 200, CONTENT, None),
    ("bytes=1_0-", 200, CONTENT, None),
    ("bytes=" + "9" * 40 + "-", 200, CONTENT, None),
    ("seconds=0-1", 200, CONTENT, None),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges(browser, song, method) -> None:
    for header, status, content, content_range in RANGES:
        answer = browser.request(method, f"/songs/{song.id}/stream", headers={"Range": header})
        assert (answer.status_code, answer.headers.get("content-range")) == (status, content_range), header
        if content is not None:
            assert answer.headers["content-length"] == str(len(content)), header
            assert answer.content == (content if method == "GET" else b""), header
        elif method == "GET":
            assert answer.json()["error"] == "bad_range"


def test_what_the_browser_has_is_not_sent_again(browser, song) -> None:
    path = f"/songs/{song.id}/stream"
    answer = browser.get(path)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["accept-ranges"] == "bytes"
    assert "private" in answer.headers["cache-control"]
    etag = answer.headers["etag"]
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        again = browser.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert browser.get(path, headers={"If-None-Match": '"x"'}).content == CONTENT
    ranged = {"Range": "bytes=0-1"}
    assert browser.get(path, headers={**ranged, "If-Range": etag}).status_code == 206
    assert browser.get(path, headers={**ranged, "If-Range": '"x"'}).content == CONTENT


def test_pictures_and_the_waveform(browser, song) -> None:
    urls = browser.get(f"/songs/{song.id}").json()["data"]["urls"]
    for name, media_type in (("cover", "image/png"), ("cover_512", "image/webp"), ("peaks", "application/json")):
        answer = httpx.get(
            f"{browser.base_url.copy_with(path='/')}".rstrip("/") + urls[name], cookies=dict(browser.cookies)
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("title", "saved_as"),
    [
        ("Sea & Sky", "Sea & Sky"),
        ("Größe 海 🎷", "Größe 海 🎷"),
        ('../"a"\\b', "_a__b"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie_ x"),
    ],
)
def test_a_download_has_the_song_s_name(browser, account, make_song, database, title, saved_as) -> None:
    song = make_song(account, title=title)
    for form, content in (("wav", b"RIFF"), ("mp3", b"0123"), ("cover", b"png")):
        answer = browser.get(f"/songs/{song.id}/download", params={"form": form})
        assert answer.status_code == 307
        assert "no-store" in answer.headers["cache-control"]
        file = browser.get(f"http://{browser.base_url.netloc.decode()}{answer.headers['location']}")
        assert file.content.startswith(content)
        assert "set-cookie" not in file.headers
        disposition = file.headers["content-disposition"]
        assert disposition.startswith("attachment; ")
        name = unquote(disposition.split("filename*=UTF-8''")[1])
        assert name.removesuffix(".png").removesuffix(f".{form}").lstrip("_.") == saved_as.lstrip("_")
    with database.transaction() as session:
        assert song_rows.by_id(session, song.id).download_count == 2
    assert browser.get(f"/songs/{song.id}/download", params={"form": "exe"}).status_code == 422


def test_signed_links_cannot_be_altered_and_die(services, serve, store, signed_in, account, make_song) -> None:
    anybody, song = signed_in(None), make_song(account, published=True)
    link = store.sign(song.assets[AssetRole.WAV].key, life_s=60).removeprefix("/api/v1")
    good = anybody.get(link, headers={"Range": "bytes=0-3"})
    assert (good.status_code, good.content) == (206, b"RIFF")
    assert anybody.head(link).headers["content-length"] == str(song.assets[AssetRole.WAV].size_bytes)
    token = link.rpartition("/")[2]
    positions = itertools.chain(range(0, len(token), 7), [len(token) - 1])
    for forged in [
        *(token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in positions),
        "x",
        "a.b",
        "é.é",
        ".",
    ]:
        answer = anybody.get(f"/objects/{forged}")
        assert (answer.status_code, answer.json()["error"]) in ((403, "bad_link"), (404, "http")), forged
    old = make_token(services.secrets.link_key, SignedLink(key="songs/1/wav", download_name=None), expires_s=1)
    other_key = make_token("another key", SignedLink(key="songs/1/wav", download_name=None), expires_s=2**33)
    for dead in (old, other_key):
        assert anybody.get(f"/objects/{dead}").status_code == 403


def test_a_link_is_dead_after_its_life(services, serve, tmp_path, account, make_song) -> None:
    song = make_song(account, published=True)
    clock = itertools.chain([1000.0, 1059.0], itertools.repeat(1060.0))
    store = FolderStore(tmp_path / "objects", "the link key of tests", clock=lambda: next(clock))
    link = store.sign(song.assets[AssetRole.WAV].key, life_s=60)
    later = replace(services, store=store)
    address = serve(later).removesuffix("/api/v1")
    assert [httpx.get(address + link).status_code for _ in range(2)] == [200, 403]


def test_a_file_that_is_gone_is_a_404_from_the_start(browser, song, store) -> None:
    link = store.sign(song.assets[AssetRole.WAV].key, life_s=60).removeprefix("/api/v1")
    for asset in song.assets.values():
        store.delete(asset.key)
    for path in (f"/songs/{song.id}/stream", f"/songs/{song.id}/files/cover", link):
        for method in ("GET", "HEAD"):
            assert browser.request(method, path).status_code == 404, path
        assert browser.get(path).json()["ok"] is False


def test_an_unpublished_song_stops_playing_for_others(browser, account, make_song, signed_in) -> None:
    song, anybody = make_song(account, published=True), signed_in(None)
    assert anybody.get(f"/songs/{song.id}/stream").content.startswith(b"0123")
    browser.post(f"/songs/{song.id}/unpublish")
    assert anybody.get(f"/songs/{song.id}/stream").status_code == 404
    assert anybody.get(f"/songs/{song.id}/download").status_code == 404


def test_a_song_without_its_sound_has_no_stream(browser) -> None:
    job = browser.post("/generate", json={"description": "x"}).json()["data"]["job"]
    for path in ("stream", "download", "files/cover"):
        assert browser.get(f"/songs/{job['song_ids'][0]}/{path}").status_code == 404


def test_an_s3_store_gets_the_browser_by_a_short_link(account, make_song, services, serve, signed_in) -> None:
    song = make_song(account, published=True)
    chosen = StoreSettings(
        kind="s3", endpoint_url="https://s3.example", access_key=SecretStr("me"), secret_key=SecretStr("hush")
    )
    address = serve(
        replace(services, settings=services.settings.model_copy(update={"store": chosen}), store=S3Store(chosen))
    )
    stream = httpx.get(f"{address}/songs/{song.id}/stream")
    assert stream.status_code == 307
    assert stream.headers["cache-control"] == "private, no-store"
    assert stream.headers["location"].startswith("https://s3.example/melodeon/songs/")
    assert "X-Amz-Expires=600" in stream.headers["location"]
    download = httpx.get(f"{address}/songs/{song.id}/download")
    assert "X-Amz-Expires=600" in download.headers["location"]
    cookie = "; ".join(f"{name}={value}" for name, value in signed_in(account).cookies.items())
    own_link = httpx.get(f"{address}/songs/{song.id}/download", headers={"Cookie": cookie}).headers["location"]
    assert "X-Amz-Expires=3600" in own_link
    assert httpx.get(f"{address}/objects/x").status_code == 403


def test_the_picture_of_the_artist_comes_with_the_song(account, make_account, make_song, services, signed_in) -> None:
    song = make_song(account)
    mine, bob = signed_in(account), signed_in(make_account())
    path = f"/songs/{song.id}/files/artist"
    assert "artist" not in mine.get(f"/songs/{song.id}").json()["data"]["urls"]
    assert mine.get(path).status_code == 404
    drawn = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(drawn, "PNG")
    key = set_avatar(services, account, drawn.getvalue())
    shown = mine.get(f"/songs/{song.id}").json()["data"]["urls"]["artist"]
    assert shown.startswith(f"/api/v1{path}?v=")
    answer = mine.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert answer.content == b"".join(services.store.get(key))
    assert mine.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert bob.get(path).status_code == 404  # the song is private, and so is what comes with it
    with services.database.transaction() as session:
        song_rows.publish(session, song.id)
    assert bob.get(path).content == signed_in(None).get(path).content == answer.content
    remove_avatar(services, account)
    assert mine.get(path).status_code == 404
    assert "artist" not in mine.get(f"/songs/{song.id}").json()["data"]["urls"]
