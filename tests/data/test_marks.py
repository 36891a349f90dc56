"""Marks: every file says who made it with what, a changed byte is seen, and the same song gives the same bytes."""

import io
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import c2pa
import numpy as np
import pytest
import soundfile
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from configs.settings import ProvenanceSettings
from data.audio_files import encode_mp3, encode_wav, read, read_labels
from data.mark_examination import examine_apart
from data.mark_layout import BEGINNING, Layout, StrangeLayout
from data.marks import LARGEST_BYTES, MARKED, Marker, NotExaminable, NotMarked, examine, open_marker
from data.picture_files import encode_png, encode_webp
from data.provenance import labels_for
from data.signing import BadSigner, Signer, given_signer, known_signers, open_signer, own_signer
from studio.sound.clip import Clip
from studio.words.mark import Making, MarkState, Origin
from studio.words.take import Picture

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SECRET = "s" * 43
ORIGIN = Origin(
    title="Walking Home – größe",
    engine="builtin-song",
    engine_label="Built-in composer",
    engine_version="1.0",
    making=Making.ALGORITHM,
)
LABELS = labels_for(title=ORIGIN.title, artist="ada", engine="Built-in composer", version="1.0", now=NOW)
SOUNDS, PICTURES = ("wav", "mp3", "flac"), ("png", "webp")
CHANGES = 240
"""Single-byte changes tried on each form of file."""


def write(path: Path, form: str) -> Path:
    """A small file as the product writes it, not yet marked."""
    chance = np.random.default_rng(4)
    clip = Clip(samples=chance.normal(0, 0.1, (2, 4_800)).astype(np.float32))
    picture = Picture(pixels=chance.integers(0, 255, (64, 64, 3), np.uint8))
    if form == "wav":
        encode_wav(clip, path, LABELS)
    elif form == "mp3":
        encode_mp3(clip, path, LABELS)
    elif form == "flac":
        soundfile.write(path, clip.samples.T, 48_000, format="FLAC")
    else:
        path.write_bytes(encode_png(picture) if form == "png" else encode_webp(picture, size_px=64))
    return path


@pytest.fixture(scope="module")
def marker() -> Marker:
    return Marker(own_signer(SECRET), version="0.1.0")


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    return known_signers(ProvenanceSettings(), SECRET)


@pytest.fixture
def marked(tmp_path: Path, marker: Marker) -> Callable[[str], Path]:
    def make(form: str) -> Path:
        path = write(tmp_path / f"song.{form}", form)
        marker.mark(path, form, ORIGIN)
        return path

    return make


@pytest.mark.parametrize("form", MARKED)
def test_a_marked_file_says_who_made_it_with_what(form, marked, ours, tmp_path):
    mark = examine(marked(form), ours=ours)
    assert (mark.state, mark.ours, mark.why) == (MarkState.VALID, True, "")
    assert mark.issuer.startswith("Self-hosted Melodeon ")
    assert (mark.generator, mark.engine) == ("Melodeon 0.1.0", "Built-in composer 1.0")
    assert (mark.making, mark.title) == (Making.ALGORITHM, ORIGIN.title)
    assert [path.name for path in tmp_path.iterdir()] == [f"song.{form}"], "nothing is left aside"


@pytest.mark.parametrize("form", ["wav", "mp3"])
def test_a_mark_changes_neither_sound_nor_labels(form, marked, tmp_path):
    plain = write(tmp_path / "plain", form)
    path = marked(form)
    assert np.array_equal(read(path).samples, read(plain).samples)
    assert read_labels(path) == read_labels(plain) == LABELS


@pytest.mark.parametrize("form", PICTURES)
def test_a_mark_changes_no_pixel_of_a_cover(form, marked, tmp_path):
    with Image.open(marked(form)) as seen, Image.open(write(tmp_path / "plain", form)) as plain:
        assert np.array_equal(np.asarray(seen), np.asarray(plain))
        assert seen.info.get("Comment", seen.info.get("xmp")) == plain.info.get("Comment", plain.info.get("xmp"))


@pytest.mark.parametrize("form", MARKED)
def test_the_same_file_marked_again_gives_the_same_bytes(form, marked):
    assert marked(form).read_bytes() == marked(form).read_bytes()


def test_what_differs_is_marked_differently(tmp_path, marker):
    made = set()
    for title, secret, version in (
        ("a", "x" * 43, "1"),
        ("b", "x" * 43, "1"),
        ("a", "y" * 43, "1"),
        ("a", "x" * 43, "2"),
    ):
        path = write(tmp_path / "song.mp3", "mp3")
        Marker(own_signer(secret), version=version).mark(path, "mp3", replace(ORIGIN, title=title))
        made.add(path.read_bytes())
    assert len(made) == 4


def places(content: bytes, chance: Random) -> Iterator[int]:
    """Places all over a file, most of them in its mark and around it, where not everything is sound."""
    begin = content.index(BEGINNING) - 4
    end = begin + int.from_bytes(content[begin : begin + 4])
    yield from range(max(0, begin - 70), begin + 60)
    yield from range(end - 4, min(end + 4, len(content)))
    while True:
        yield chance.randrange(begin, end) if chance.random() < 0.6 else chance.randrange(len(content))


@pytest.mark.parametrize("form", MARKED)
def test_every_changed_byte_is_seen(form, marked, tmp_path):
    content, chance = marked(form).read_bytes(), Random(7)
    path = tmp_path / "changed"
    believed = []
    for _, place in zip(range(CHANGES), places(content, chance), strict=False):
        changed = bytearray(content)
        changed[place] ^= chance.randrange(1, 256)
        path.write_bytes(changed)
        try:
            if examine(path).state is MarkState.VALID:
                believed.append(place)
        except NotExaminable:
            pass  # what made it a file of this form is gone
    assert believed == []


@pytest.mark.parametrize("form", MARKED)
def test_what_is_cut_off_or_added_is_seen(form, marked, tmp_path):
    content = marked(form).read_bytes()
    path = tmp_path / "changed"
    cut = [content[:length] for length in (20, len(content) // 2, len(content) - 1)]
    for other in (*cut, content + b"\x00", content + content):
        path.write_bytes(other)
        assert examine(path).state is not MarkState.VALID


@pytest.mark.parametrize("form", SOUNDS)
def test_a_sound_written_anew_is_not_marked_any_more(form, marked, tmp_path):
    path = tmp_path / "anew.wav"
    encode_wav(read(marked(form)), path, LABELS)
    assert examine(path).state is MarkState.UNMARKED


def test_a_mark_moved_to_another_sound_is_seen(marked, tmp_path):
    content = bytearray(marked("wav").read_bytes())
    begin = content.index(b"data") + 8
    content[begin : begin + 900] = bytes(900)
    (tmp_path / "moved").write_bytes(content)
    assert examine(tmp_path / "moved").why == "Its content was changed after it was marked."


def test_another_installation_is_valid_and_somebody_else(marked):
    strangers = known_signers(ProvenanceSettings(), "o" * 43)
    mark = examine(marked("wav"), ours=strangers)
    assert (mark.state, mark.ours) == (MarkState.VALID, False)
    assert mark.issuer.startswith("Self-hosted Melodeon ")


def test_a_mark_tells_nothing_about_a_person(marked):
    """The labels name the artist; the mark holds these claims and no others."""
    path = marked("wav")
    with path.open("rb") as file, c2pa.Reader("audio/wav", file) as reader:
        (manifest,) = json.loads(reader.json())["manifests"].values()
    (actions,) = manifest["assertions"]
    (created,) = actions["data"]["actions"]
    assert set(manifest) == {
        "claim_generator_info", "title", "instance_id", "assertions", "signature_info", "label", "claim_version",
    }  # fmt: skip
    assert created == {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
        "softwareAgent": {"name": "Built-in composer", "version": "1.0", "melodeon.engine": "builtin-song"},
    }
    whole = path.read_bytes()
    begin = whole.index(BEGINNING)
    assert b"ada" not in whole[begin : begin + int.from_bytes(whole[begin - 4 : begin])]


def test_a_file_that_cannot_be_marked_stays_as_it_was(tmp_path, marker):
    path = write(tmp_path / "song.wav", "wav")
    before = path.read_bytes()
    with pytest.raises(NotMarked, match="could not be marked as AI-generated"):
        marker.mark(path, "png", ORIGIN)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["song.wav"]


def test_only_what_would_be_written_again_is_a_layout(marked):
    content = marked("wav").read_bytes()
    begin = content.index(BEGINNING) - 4
    manifest = content[begin : begin + int.from_bytes(content[begin : begin + 4])]
    layout = Layout.of(manifest)
    assert layout.to_bytes() == manifest
    assert layout.settled(b"other", own_signer(SECRET).sign).to_bytes() != manifest
    padded = manifest.replace(bytes(300), bytes(299) + b"\x01", 1)
    for odd in (b"", manifest[:-1], manifest + b"\x00", b"\xff" * 64, padded):
        with pytest.raises(StrangeLayout):
            Layout.of(odd)


class TestSigners:
    """The installation's own, and those that an operator hands in."""

    def test_one_secret_is_one_signer_for_good(self):
        one, again = own_signer(SECRET), own_signer(SECRET)
        assert (one.chain_pem, one.sign(b"x")) == (again.chain_pem, again.sign(b"x"))
        assert one.chain_pem != own_signer("o" * 43).chain_pem
        own, root = x509.load_pem_x509_certificates(one.chain_pem)
        own.verify_directly_issued_by(root)
        assert own.not_valid_after_utc.year == 9999
        assert "PRIVATE" not in repr(one)

    @pytest.mark.parametrize("algorithm", ["ed25519", "es256", "es384"])
    def test_an_operators_chain_signs_alike_every_time(self, algorithm, tmp_path):
        settings = hand_in(tmp_path, algorithm)
        signer = open_signer(settings, SECRET, now=NOW)
        assert signer.algorithm == algorithm
        made = set()
        for _ in range(2):
            path = write(tmp_path / "song.wav", "wav")
            Marker(signer, version="1").mark(path, "wav", ORIGIN)
            made.add(path.read_bytes())
        assert len(made) == 1
        mark = examine(path, ours=known_signers(settings, SECRET))
        assert (mark.state, mark.ours, mark.issuer) == (MarkState.VALID, True, "Studio of ada")

    def test_whoever_has_the_same_authority_is_somebody_else(self, tmp_path):
        settings = hand_in(tmp_path, "es256")
        known = known_signers(settings, SECRET)
        stranger = {serial + "1": roots for serial, roots in known.items()}
        path = write(tmp_path / "song.wav", "wav")
        Marker(open_signer(settings, SECRET, now=NOW), version="1").mark(path, "wav", ORIGIN)
        assert [examine(path, ours=who).ours for who in (known, stranger)] == [True, False]

    @pytest.mark.parametrize(
        ("spoil", "sentence"),
        [
            (lambda one: one.chain.write_text("x"), "holds no certificates"),
            (lambda one: one.chain.unlink(), "holds no certificates"),
            (lambda one: one.key.write_text("x"), "holds no private key"),
            (lambda one: one.key.write_bytes(key_pem(new_key("es256"))), "is not the key of the first certificate"),
            (lambda one: one.key.write_bytes(key_pem(rsa.generate_private_key(65_537, 2_048))), "must be Ed25519"),
            (lambda one: one.chain.write_text(one.chain.read_text().partition("-\n\n")[0]), "at least two"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, spoil, sentence, tmp_path):
        settings = hand_in(tmp_path, "es256")
        if sentence == "at least two":
            first = x509.load_pem_x509_certificates(settings.chain.read_bytes())[0]
            settings.chain.write_bytes(first.public_bytes(Encoding.PEM))
        else:
            spoil(settings)
        with pytest.raises(BadSigner, match=sentence):
            open_signer(settings, SECRET, now=NOW)

    def test_a_chain_that_marks_nothing_is_found_when_it_is_opened(self, tmp_path):
        good, other = hand_in(tmp_path, "es256"), tmp_path / "other"
        options = {"version": "1", "scratch": other, "now": NOW}
        assert open_marker(good, SECRET, **options)
        assert list(other.iterdir()) == []
        # A signer must be allowed to sign documents, mail or claims; the root is allowed to vouch, and nothing else.
        first, root = x509.load_pem_x509_certificates(good.chain.read_bytes())
        good.chain.write_bytes(root.public_bytes(Encoding.PEM) + first.public_bytes(Encoding.PEM))
        good.key.write_bytes((tmp_path / "root.pem").read_bytes())
        with pytest.raises(BadSigner, match="are not valid"):
            open_marker(good, SECRET, **options)

    @pytest.mark.parametrize("days", [-400, 400])
    def test_a_certificate_out_of_its_time_is_refused(self, days, tmp_path):
        settings = hand_in(tmp_path, "ed25519")
        with pytest.raises(BadSigner, match="is not valid today"):
            given_signer(settings.chain, settings.key, now=NOW + timedelta(days=days))


def new_key(algorithm: str):
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1() if algorithm == "es256" else ec.SECP384R1())


def key_pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def hand_in(folder: Path, algorithm: str) -> ProvenanceSettings:
    """Chain and key as an authority would have given them."""
    root_key, key = new_key("es256"), new_key(algorithm)
    root_name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Authority")])
    names = [(NameOID.ORGANIZATION_NAME, "Studio of ada"), (NameOID.COMMON_NAME, "signer")]
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in names])
    usages = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only", "digital_signature", "key_cert_sign", "crl_sign"), False,
    )  # fmt: skip

    def certificate(subject, public, *, is_root: bool):
        wanted = usages | ({"key_cert_sign": True} if is_root else {"digital_signature": True})
        made = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=root_name, public_key=public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=300))
            .not_valid_after(NOW + timedelta(days=300))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**wanted), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )
        if not is_root:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
        return made.sign(root_key, SHA256()).public_bytes(Encoding.PEM)

    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(
        certificate(name, key.public_key(), is_root=False) + certificate(root_name, root_key.public_key(), is_root=True)
    )
    private.write_bytes(key_pem(key))
    (folder / "root.pem").write_bytes(key_pem(root_key))
    return ProvenanceSettings(chain=chain, key=private)


class Listener:
    """A server on this machine that hangs up on everybody and counts them."""

    def __init__(self) -> None:
        self.came = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            caller, _ = self._socket.accept()
            with caller:
                if caller.recv(4) == b"stop":
                    return
                self.came += 1

    def close(self) -> None:
        """Stop listening."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"stop")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def far_away(folder: Path, port: int, signer: Signer) -> Path:
    """A picture that says its mark lies on that server."""
    info = c2pa.C2paSignerInfo("ed25519", signer.chain_pem, signer.key_pem, None)
    made = io.BytesIO()
    claims = {"claim_generator_info": [{"name": "x"}], "assertions": []}
    with (
        c2pa.Signer.from_info(info) as signing,
        c2pa.Builder(claims) as builder,
        write(folder / "plain.png", "png").open("rb") as plain,
    ):
        builder.set_no_embed()
        builder.set_remote_url(f"http://127.0.0.1:{port}/mark.c2pa")
        builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
        builder.sign(signing, "image/png", plain, made)
    path = folder / "far.png"
    path.write_bytes(made.getvalue())
    return path


def test_nobody_is_asked_over_the_network(tmp_path, listener):
    path = far_away(tmp_path, listener.port, own_signer(SECRET))
    assert examine(path).state is not MarkState.VALID
    assert listener.came == 0
    with pytest.raises(c2pa.C2paError), path.open("rb") as file:
        c2pa.Reader("image/png", file)
    assert listener.came > 0, "the library as it comes does ask"


class TestHostileFiles:
    """Whatever a file does to its reader, the answer is a sentence."""

    @pytest.mark.parametrize(
        "content",
        [
            b"ID3\x04\x00\x00\x7f\x7f\x7f\x7fGEOB\x7f\x7f\x7f\x7f\x00\x00",
            b"RIFF\xff\xff\xff\xffWAVEC2PA\xff\xff\xff\xf0" + BEGINNING,
            b"RIFF\x40\x00\x00\x00WAVEC2PA\x30\x00\x00\x00" + b"\xff\xff\xff\xffjumb" * 6,
            b"RIFF\xf0\xff\x00\x00WAVEC2PA\xe0\xff\x00\x00" + b"\x00\x00\xff\xe0jumb" * 8_188,
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0xFFFFFFF0) + b"caBX" + BEGINNING,
            b"fLaC\x00\xff\xff\xff" + b"\x04" * 400,
            b"\xff\xfb\x90\x00" * 900,
        ],
        ids=range(7),
    )
    def test_a_hostile_file_is_not_believed(self, content, tmp_path, ours):
        path = tmp_path / "hostile"
        path.write_bytes(content)
        try:
            state = examine_apart(path, ours=ours).state
        except NotExaminable as error:
            state = error.code
        assert state in (MarkState.INVALID, MarkState.UNMARKED, NotExaminable.code)

    def test_what_is_no_file_of_ours_is_refused_with_a_sentence(self, tmp_path, ours):
        (tmp_path / "empty").touch()
        (tmp_path / "text").write_text("a song")
        (tmp_path / "folder").mkdir()
        with (tmp_path / "huge").open("wb") as file:
            file.truncate(LARGEST_BYTES + 1)
        said = {}
        for name in ("empty", "text", "folder", "huge", "missing"):
            with pytest.raises(NotExaminable) as refused:
                examine_apart(tmp_path / name, ours=ours)
            said[name] = refused.value.why
        assert said["huge"] == "it has more than 2,147 MB."
        assert said["text"] == said["empty"] == "it is no WAV, MP3, FLAC, PNG or WebP file."
        assert said["folder"] == said["missing"] == "it is not there, or no plain file."

    def test_a_reader_that_does_not_end_is_ended(self, marked, ours):
        with pytest.raises(NotExaminable, match="more time or memory than a file like this should"):
            examine_apart(marked("wav"), ours=ours, life_s=0.01)

    def test_the_child_says_what_is_said_here(self, marked, ours):
        path = marked("mp3")
        assert examine_apart(path, ours=ours) == examine(path, ours=ours)
