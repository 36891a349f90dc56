"""Hostile files: each is refused with a sentence or made harmless; nobody is called, nothing grows, nothing hangs."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from PIL import Image

from data import uploads
from data.upload_limits import MEMORY_BYTES, Limits
from data.uploads import BadUpload, checked_picture, checked_sound

RATE_HZ = 48_000
RNG = np.random.default_rng(7)
NOISE = (RNG.standard_normal((RATE_HZ // 2, 2)) * 0.1).astype(np.float32)
PIXELS = np.add.outer(np.arange(48) * 2, np.arange(64) * 2)[..., None].repeat(3, axis=2).astype(np.uint8)
SECRET = "48.8584 N 2.2945 E"


def sound(form: str, subtype: str, samples: np.ndarray = NOISE, rate_hz: int = RATE_HZ) -> bytes:
    content = BytesIO()
    soundfile.write(content, samples, rate_hz, subtype=subtype, format=form)
    return content.getvalue()


def picture(form: str, image: Image.Image | None = None, **more: object) -> bytes:
    content = BytesIO()
    (image or Image.fromarray(PIXELS)).save(content, form, **more)
    return content.getvalue()


WAV = sound("WAV", "PCM_16")
FLAC = sound("FLAC", "PCM_16")
OGG = sound("OGG", "VORBIS")
MP3 = sound("MP3", "MPEG_LAYER_III")
PNG, JPEG, WEBP = (picture(form) for form in ("PNG", "JPEG", "WEBP"))
GOOD_SOUNDS = {"wav": WAV, "flac": FLAC, "ogg": OGG, "opus": sound("OGG", "OPUS"), "mp3": MP3}
GOOD_PICTURES = {"png": PNG, "jpeg": JPEG, "webp": WEBP}


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wave(*, channels: int = 2, rate_hz: int = RATE_HZ, bits: int = 16, code: int = 1, data: bytes = b"\0" * 4_000,
         claims: int | None = None, before: bytes = b"") -> bytes:  # fmt: skip
    align = max(1, channels * bits // 8)
    head = struct.pack("<HHIIHH", code, channels & 0xFFFF, rate_hz, rate_hz * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    body = b"data" + struct.pack("<I", len(data) if claims is None else claims) + data
    whole = b"WAVE" + chunk(b"fmt ", head) + before + body
    return b"RIFF" + struct.pack("<I", len(whole) & 0xFFFFFFFF) + whole


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, data: bytes, *more: bytes, colour: int = 0, depth: int = 1) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


@cache
def zeros(count: int) -> bytes:
    """A zlib stream of very many zeros."""
    packer = zlib.compressobj(1)
    blocks = [packer.compress(b"\0" * (1 << 20)) for _ in range(count >> 20)]
    return b"".join(blocks) + packer.flush()


def id3(size: int, body: bytes = b"") -> bytes:
    return b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + body


def floats(value: float) -> bytes:
    samples = np.zeros((1_000, 2), "<f4")
    samples[500] = value
    return wave(code=3, bits=32, data=samples.tobytes())


def long_silence(seconds: int) -> bytes:
    return sound("FLAC", "PCM_16", np.zeros((RATE_HZ * seconds, 1), np.int16))


def flac_that_claims(samples: int) -> bytes:
    """STREAMINFO's 36 bits of total samples (RFC 9639, 8.2)."""
    head = bytearray(FLAC)
    head[21] = head[21] & 0xF0 | samples >> 32 & 0x0F
    head[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    return bytes(head)


def ogg_of(codec: bytes) -> bytes:
    return b"OggS\0\x02" + b"\0" * 20 + b"\x01\x1e" + codec + b"\0" * 200


def playlists(address: str) -> dict[str, bytes]:
    """What a player that guesses would go and fetch."""
    url = f"http://{address}/stolen"
    return {
        "an M3U": f"#EXTM3U\n{url}\n".encode(),
        "an HLS list": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}.ts\n#EXT-X-ENDLIST\n".encode(),
        "an HLS list of local files": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n",
        "a PLS": f"[playlist]\nFile1={url}\nNumberOfEntries=1\n".encode(),
        "an XSPF": f'<?xml version="1.0"?><playlist><track><location>{url}</location></track></playlist>'.encode(),
        "an ASX": f'<asx version="3"><entry><ref href="{url}"/></entry></asx>'.encode(),
        "a concat script": f"ffconcat version 1.0\nfile '{url}'\n".encode(),
        "a DASH manifest": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>'.encode(),
        "a cue sheet": b'FILE "/etc/passwd" WAVE\n  TRACK 01 AUDIO\n',
        "an SVG": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'.encode(),
        "an SVG with entities": b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        "a web page": f"<html><img src='{url}'><script src='{url}'></script></html>".encode(),
        "an EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "a WebP that is a list": b"RIFF\x20\0\0\0WEBP#EXTM3U\n" + url.encode(),
        "a WAV that is a list": b"RIFF\x20\0\0\0WAVE#EXTM3U\n" + url.encode(),
        "an ID3 tag before a list": id3(16, b"\0" * 16) + f"#EXTM3U\n{url}\n".encode(),
    }


BAD_FOR_BOTH: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"R",
    "zeros": lambda: b"\0" * 4_096,
    "noise": lambda: RNG.bytes(4_096),
    "text": lambda: b"la la la " * 100,
    "a program": lambda: Path(sys.executable).resolve().read_bytes()[:4_096],
    "a zip": lambda: b"PK\x03\x04" + b"\0" * 100,
    "a gzip": lambda: b"\x1f\x8b\x08" + b"\0" * 100,
    "a pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a GIF": lambda: picture("GIF"),
    "a BMP": lambda: picture("BMP"),
    "a TIFF": lambda: picture("TIFF"),
    "an icon": lambda: picture("ICO"),
    "a PDF": lambda: picture("PDF"),
    "an AVI": lambda: b"RIFF\x20\0\0\0AVI LIST" + b"\0" * 100,
    "an MP4": lambda: b"\0\0\0\x18ftypisom" + b"\0" * 200,
    "a Matroska": lambda: b"\x1aE\xdf\xa3" + b"\0" * 200,
    "an AIFF": lambda: sound("AIFF", "PCM_16"),
    "an AU": lambda: sound("AU", "PCM_16"),
    "a CAF": lambda: sound("CAF", "PCM_16"),
    "an RF64": lambda: sound("RF64", "PCM_16"),
    "a MIDI file": lambda: b"MThd\0\0\0\x06\0\x01\0\x01\0\x60MTrk" + b"\0" * 20,
    "a module": lambda: b"Extended Module: " + b"\0" * 400,
    "a zip before a WAV": lambda: b"PK\x03\x04" + WAV,
    "a web page before a PNG": lambda: b"<html>" + PNG,
}

BAD_SOUNDS: dict[str, Callable[[], bytes]] = {
    **BAD_FOR_BOTH,
    "a picture": lambda: PNG,
    "a WAV's first 12 bytes": lambda: WAV[:12],
    "a WAV's first 40 bytes": lambda: WAV[:40],
    "a WAV without samples": lambda: wave(data=b""),
    "a WAV without a format": lambda: b"RIFF\x10\0\0\0WAVE" + chunk(b"data", b"\0" * 100),
    "a WAV of no channels": lambda: wave(channels=0),
    "a WAV of 64 channels": lambda: wave(channels=64, data=b"\0" * 12_800),
    "a WAV of 65,535 channels": lambda: wave(channels=65_535),
    "a WAV at 384 kHz": lambda: wave(rate_hz=384_000),
    "a WAV at 1 Hz": lambda: wave(rate_hz=1),
    "a WAV at 0 Hz": lambda: wave(rate_hz=0),
    "a WAV at 4 GHz": lambda: wave(rate_hz=0xFFFFFFFF),
    "a WAV of 0 bits": lambda: wave(bits=0),
    "a WAV of 512 bits": lambda: wave(bits=512),
    "a WAV of a codec that nobody knows": lambda: wave(code=0x1337),
    "a WAV that holds an MP3": lambda: wave(code=0x55, data=MP3),
    "a WAV with NaN": lambda: floats(float("nan")),
    "a WAV with infinity": lambda: floats(float("inf")),
    "a WAV of a giant chunk": lambda: wave(before=b"junk" + struct.pack("<I", 0x7FFFFFFF)),
    "a FLAC's first 4 bytes": lambda: FLAC[:4],
    "a FLAC's first 42 bytes": lambda: FLAC[:42],
    "a FLAC that claims 2**36 samples": lambda: flac_that_claims((1 << 36) - 1),
    "a WAV with a chunk of no name": lambda: wave(before=chunk(b"\0\xff<>", b"<script>")),
    "a FLAC whose picture is larger than the file": lambda: FLAC[:4] + b"\x06\xff\xff\xff" + FLAC[42:],
    "ten minutes and more in a FLAC of some kB": lambda: long_silence(31),
    "a FLAC with its frames gone bad": lambda: FLAC[:4_000] + b"\xff" * 4_000,
    "an OGG's first page": lambda: OGG[:58],
    "an OGG of Theora": lambda: ogg_of(b"\x80theora"),
    "an OGG of Speex": lambda: ogg_of(b"Speex   "),
    "an OGG of Skeleton": lambda: ogg_of(b"fishead\0"),
    "an OGG with its headers gone bad": lambda: OGG[:70] + b"\xff" * 3_000,
    "an MP3's first frame header": lambda: MP3[:4],
    "an ID3 tag and nothing": lambda: id3(100, b"\0" * 100),
    "an ID3 tag that claims 256 MB": lambda: id3((1 << 28) - 1, MP3),
    "an ID3 tag before a WAV": lambda: id3(10, b"\0" * 10) + WAV,
    "an ID3 tag before an ID3 tag before a FLAC": lambda: id3(10, b"\0" * 10) * 2 + FLAC,
    "an MPEG layer II file": lambda: b"\xff\xfd\x90\x00" + b"\0" * 2_000,
    "an AAC file": lambda: b"\xff\xf1\x50\x80" + b"\0" * 2_000,
    "more than fits": lambda: WAV + b"\0" * 3_000_000,
}

BAD_PICTURES: dict[str, Callable[[], bytes]] = {
    **BAD_FOR_BOTH,
    "a sound": lambda: MP3,
    "a PNG's first 8 bytes": lambda: PNG[:8],
    "half a PNG": lambda: PNG[: len(PNG) // 2],
    "half a JPEG": lambda: JPEG[: len(JPEG) // 2],
    "half a WebP": lambda: WEBP[: len(WEBP) // 2],
    "a PNG of 50,000 by 50,000": lambda: png(50_000, 50_000, zeros(312 << 20)),
    "a PNG that claims 2**31 by 2**31": lambda: png(2**31 - 1, 2**31 - 1, b""),
    "a PNG of no pixels": lambda: png(0, 0, zlib.compress(b"")),
    "a PNG whose profile unpacks to 300 MB": lambda: png(
        8, 8, zlib.compress(b"\0" * 16), png_chunk(b"iCCP", b"x\0\0" + zeros(312 << 20))
    ),
    "a PNG whose text unpacks to 300 MB": lambda: png(
        8, 8, zlib.compress(b"\0" * 16), png_chunk(b"zTXt", b"x\0\0" + zeros(312 << 20))
    ),
    "a PNG with a wrong checksum": lambda: PNG[:30] + bytes([PNG[30] ^ 1]) + PNG[31:],
    "a JPEG that claims 65,535 by 65,535": lambda: _jpeg_that_claims(65_535),
    "a WebP that claims 16,384 by 16,384": lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
    "a JPEG of markers alone": lambda: b"\xff\xd8\xff" + b"\xff\xe1\xff\xff" * 1_000,
    "more than fits": lambda: PNG + b"\0" * 3_000_000,
}


def _jpeg_that_claims(side: int) -> bytes:
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", side, side) + JPEG[place + 4 :]


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010E] = SECRET
    found[0x0112] = 6
    return found


HARMLESS_SOUNDS: dict[str, Callable[[], bytes]] = {
    "a web page behind a WAV": lambda: WAV + b"<script>alert(1)</script>",
    "a zip behind a FLAC": lambda: FLAC + b"PK\x03\x04" + b"\0" * 200,
    "a WAV with odd chunks": lambda: wave(
        before=chunk(b"junk", b"<script>") + chunk(b"LIST", b"INFO" + chunk(b"IART", SECRET.encode()))
    ),
    "a WAV that claims 2**31 samples": lambda: wave(claims=0xFFFFFFFF),
    "a WAV that claims less than it holds": lambda: wave(claims=400),
    "a WAV much louder than full scale": lambda: floats(1e6),
    "an MP3 with a tag": lambda: id3(20, SECRET.encode().ljust(20, b"\0")) + MP3,
    "half an MP3": lambda: MP3[: len(MP3) // 2],
    "half a WAV": lambda: WAV[: len(WAV) // 2],
}

HARMLESS_PICTURES: dict[str, Callable[[], bytes]] = {
    "a web page behind a PNG": lambda: PNG + b"<script>alert(1)</script>",
    "a zip behind a JPEG": lambda: JPEG + b"PK\x03\x04" + SECRET.encode(),
    "a JPEG that says where it was taken": lambda: picture("JPEG", exif=exif()),
    "a JPEG with a comment": lambda: picture("JPEG", comment=SECRET.encode()),
    "a PNG with a profile": lambda: picture("PNG", icc_profile=SECRET.encode() * 1_000),
    "a WebP with XMP": lambda: picture("WEBP", xmp=f"<x>{SECRET}</x>".encode()),
    "a WebP in motion": lambda: picture("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48))] * 3),
    "a PNG of one colour, see-through": lambda: picture("PNG", Image.new("P", (9, 9)), transparency=0),
    "a PNG whose pixels unpack to far more than it has": lambda: png(64, 64, zeros(312 << 20)),
    "a JPEG in CMYK": lambda: picture("JPEG", Image.new("CMYK", (64, 48))),
    "a PNG of 16 bits": lambda: picture("PNG", Image.new("I;16", (64, 48))),
    "a JPEG with 1,000 thumbnails' worth of tags": lambda: JPEG[:2] + b"\xff\xe1\xff\xff" + b"Exif\0\0".ljust(
        65_533, b"\xff"
    ) + JPEG[2:],
}  # fmt: skip


KINDS = (
    len(BAD_SOUNDS) + len(BAD_PICTURES) - len(BAD_FOR_BOTH)
    + len(HARMLESS_SOUNDS) + len(HARMLESS_PICTURES) + len(playlists(""))
)  # fmt: skip


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[str, list[str]]]:
    """An address, and whoever called there."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, caller = server.accept()
                except OSError:
                    return
                callers.append(str(caller))
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", callers
        server.shutdown(socket.SHUT_RDWR)


def check_sound(content: bytes | Path, folder: Path) -> uploads.CheckedSound:
    return checked_sound(content, into=folder, most_s=30, most_bytes=2_000_000)


def check_picture(content: bytes) -> bytes:
    return checked_picture(content, most_bytes=2_000_000)


def refusal(attempt: Callable[[], object]) -> str:
    """The sentence of the refusal; empty when it was none."""
    try:
        attempt()
    except BadUpload as error:
        return error.sentence
    return ""


@pytest.mark.parametrize("name", GOOD_SOUNDS)
def test_a_good_sound_comes_out_as_it_was(name: str, tmp_path: Path) -> None:
    checked = check_sound(GOOD_SOUNDS[name], tmp_path)
    samples, rate_hz = soundfile.read(checked.path, dtype="float32", always_2d=True)
    assert (checked.rate_hz, checked.channels, rate_hz) == (RATE_HZ, 2, RATE_HZ)
    assert checked.duration_s == len(samples) / RATE_HZ == pytest.approx(0.5, abs=0.06)
    original, _ = soundfile.read(BytesIO(GOOD_SOUNDS[name]), dtype="float32", always_2d=True)
    assert np.array_equal(samples, original)
    assert list(tmp_path.iterdir()) == [checked.path]


@pytest.mark.parametrize("name", GOOD_PICTURES)
def test_a_good_picture_comes_out_as_a_webp(name: str) -> None:
    with Image.open(BytesIO(check_picture(GOOD_PICTURES[name]))) as made:
        assert (made.format, made.size) == ("WEBP", (64, 48))
        assert np.abs(np.asarray(made.convert("RGB"), float) - PIXELS).mean() < 4


def test_every_hostile_sound_is_refused_with_a_sentence(tmp_path: Path, trap: tuple[str, list[str]]) -> None:
    address, callers = trap
    hostile = {name: make() for name, make in BAD_SOUNDS.items()} | playlists(address)
    with watched() as seen:
        for name, content in hostile.items():
            assert refusal(lambda content=content: check_sound(content, tmp_path)).endswith("."), name
    assert list(tmp_path.iterdir()) == []
    assert callers == []
    assert seen["most_bytes"] <= MEMORY_BYTES


def test_every_hostile_picture_is_refused_with_a_sentence(trap: tuple[str, list[str]]) -> None:
    address, callers = trap
    hostile = {name: make() for name, make in BAD_PICTURES.items()} | playlists(address)
    with watched() as seen:
        for name, content in hostile.items():
            assert refusal(lambda content=content: check_picture(content)).endswith("."), name
    assert callers == []
    assert seen["most_bytes"] <= MEMORY_BYTES


def zip_slip() -> bytes:
    """An archive that would write beside its folder, and unpacks to far more than it has."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../../tmp/melodeon-slipped", "out")
        archive.writestr("/etc/melodeon-slipped", "out")
        archive.writestr("bomb", b"\0" * (8 << 20))
    return packed.getvalue()


def spoilt(address: str) -> dict[str, bytes]:
    """Good files that were cut, whose bytes were changed, and that are something else as well."""
    found: dict[str, bytes] = {}
    good = {**GOOD_SOUNDS, **GOOD_PICTURES}
    others = {"a zip that slips": zip_slip(), "an HLS list": playlists(address)["an HLS list"], "a program": b"\x7fELF"}
    for name, content in good.items():
        for eighths in range(1, 8):
            found[f"{eighths}/8 of a {name}"] = content[: len(content) * eighths // 8]
        for seed in range(8):
            chance = np.random.default_rng(seed)
            bytes_ = bytearray(content)
            for place in chance.integers(4, len(bytes_), size=1 + 4 * seed):  # the first bytes stay: it gets in
                bytes_[place] = int(chance.integers(256))
            found[f"a {name} with {1 + 4 * seed} bytes changed"] = bytes(bytes_)
        for other, more in others.items():
            found[f"a {name} that is {other} too"] = content[: len(content) // 2] + more
            found[f"{other} that is a {name} too"] = more + content
    return found


def outcome(content: bytes, folder: Path) -> bytes:
    """What is left of a file: of a sound its samples alone, of a picture its pixels alone; nothing when refused."""
    left: list[bytes] = []
    told = refusal(lambda: left.append(check_sound(content, folder).path.read_bytes()))
    if told:
        told = refusal(lambda: left.append(check_picture(content)))
    assert left or told.endswith(".")
    return b"".join(left)


@pytest.mark.parametrize("most", [16, pytest.param(1_000, marks=pytest.mark.long)], ids=["some", "all"])
def test_a_spoilt_file_is_refused_or_made_harmless(tmp_path: Path, trap: tuple[str, list[str]], most: int) -> None:
    address, callers = trap
    everything = spoilt(address)
    assert KINDS + len(everything) >= 200
    with watched() as seen:
        for name, content in list(everything.items())[:: max(1, len(everything) // most)]:
            left = outcome(content, tmp_path)
            assert left[:4] in (b"", b"RIFF"), name  # WAV or WebP, written by us
            assert b"melodeon-slipped" not in left, name
            assert b"/stolen" not in left, name
    assert not Path("/tmp/melodeon-slipped").exists()
    assert callers == []
    assert seen["most_bytes"] <= MEMORY_BYTES


def test_the_limits_are_those_that_were_promised() -> None:
    assert MEMORY_BYTES <= 512 << 20
    assert uploads.LIFE_S <= 20


@pytest.mark.parametrize("name", HARMLESS_SOUNDS)
def test_an_odd_sound_leaves_as_samples_alone(name: str, tmp_path: Path) -> None:
    checked = check_sound(HARMLESS_SOUNDS[name](), tmp_path)
    samples, _ = soundfile.read(checked.path, dtype="float32", always_2d=True)
    assert np.isfinite(samples).all()
    content = checked.path.read_bytes()
    assert b"script" not in content
    assert SECRET.encode() not in content
    # RIFF, format, fact, peak and the samples themselves
    assert len(content) <= 4 * samples.size + 128


@pytest.mark.parametrize("name", HARMLESS_PICTURES)
def test_an_odd_picture_leaves_as_pixels_alone(name: str) -> None:
    content = check_picture(HARMLESS_PICTURES[name]())
    assert b"script" not in content
    assert SECRET.encode() not in content
    with Image.open(BytesIO(content)) as made:
        assert made.format == "WEBP"
        assert not {"exif", "icc_profile", "xmp"} & set(made.info)
        assert getattr(made, "n_frames", 1) == 1


def test_a_picture_is_turned_upright_and_made_smaller() -> None:
    turned = checked_picture(picture("JPEG", exif=exif()), side_px=32)
    with Image.open(BytesIO(turned)) as made:
        assert made.size == (24, 32)


def test_there_are_enough_of_them() -> None:
    assert KINDS >= 50


class watched:  # noqa: N801 - reads as a sentence
    """Samples what the children of this process hold in memory."""

    def __enter__(self) -> dict[str, int]:
        self.seen = {"most_bytes": 0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            for child in psutil.Process().children():
                try:
                    if "data.upload_child" in child.cmdline():
                        self.seen["most_bytes"] = max(self.seen["most_bytes"], child.memory_info().rss)
                except psutil.Error:
                    continue


@pytest.mark.parametrize("name", ["link.mp3", "pipe", "folder", "../../etc/passwd", "no\0name", "/dev/zero", "absent"])
def test_what_is_no_plain_file_is_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "real.wav").write_bytes(WAV)
    (tmp_path / "link.mp3").symlink_to(tmp_path / "real.wav")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadUpload):
        check_sound(tmp_path / name, tmp_path)


@pytest.mark.parametrize(
    "name", ["a'; DROP TABLE song; --.wav", "<img src=x onerror=alert(1)>.mp3", "-rf.wav", "名.wav"]
)
def test_a_name_means_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(WAV)
    checked = check_sound(tmp_path / name, tmp_path)
    assert checked.path.parent == tmp_path
    assert checked.path.name.removeprefix("sound_").removesuffix(".wav").isalnum()


PROBES = {
    "a file": "open('/etc/hostname')",
    "a file to write": "open('/tmp/melodeon-probe', 'w')",
    "a socket": "__import__('socket').socket()",
    "a pipe": "os.pipe()",
    "a process": "os.fork()",
    "a gigabyte": "bytes(1 << 30)",
    "more descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "more memory": "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
}


@pytest.mark.parametrize("name", PROBES)
def test_a_decoder_that_is_taken_over_finds_nothing_to_take(name: str) -> None:
    script = (
        "import os, resource, socket\n"
        "from data import upload_child\n"
        "from data.upload_limits import Limits\n"
        "upload_child._give_up_everything(1, Limits(form='wav', out_bytes=1000))\n"
        f"try:\n    {PROBES[name]}\n"
        "except (OSError, MemoryError, ValueError) as error:\n    os.write(3, b'refused')\n"
        "else:\n    os.write(3, b'taken')\n"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=False, timeout=60)
    # what may not fork as root may still do so: it has no other user's limits
    assert ended.stdout == b"refused", ended.stderr.decode()


def test_a_child_that_says_nothing_or_nonsense_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = tmp_path / "python"
    for told in ("", "[]", "not json", json.dumps({"refused": "no."})):
        liar.write_text(f"#!/bin/sh\necho '{told}' >&$4\n")
        liar.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(liar))
        with pytest.raises(BadUpload):
            check_sound(WAV, tmp_path)


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    monkeypatch.setattr(uploads, "LIFE_S", 0.3)
    with pytest.raises(BadUpload):
        check_sound(WAV, tmp_path)
    assert [child for child in psutil.Process().children() if child.name() == "sleep"] == []


def test_limits_travel_as_text() -> None:
    limits = Limits(form="wav", out_bytes=5, most_s=1.5, rates_hz=(1, 2))
    assert Limits.of_json(limits.to_json()).to_json() == limits.to_json()
