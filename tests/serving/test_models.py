"""Checkpoints: fetched from a hub that speaks HTTP on loopback, checked, refused. No model library is involved."""

import errno
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.checkpoints import MANIFEST, BadCheckpoint, check, read_manifest, sha256_of
from serving.models import (
    FetchFailed,
    ForbiddenModel,
    Held,
    NoCheckpoint,
    NoWeights,
    allowed,
    fetch,
    folder_of,
    held,
    listing,
    size_words,
    verify,
)
from studio.words.brief import BriefKind
from studio.words.engine_spec import EngineSpec, ModelCard

SOURCE = "owner/little-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def tensors(**sizes: int) -> bytes:
    """A safetensors file of float32 vectors."""
    header: dict[str, Any] = {}
    position = 0
    for name, size in sizes.items():
        header[name] = {"dtype": "F32", "shape": [size], "data_offsets": [position, position + 4 * size]}
        position += 4 * size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(256)) * (position // 256) + b"\x01" * (position % 256)


LANGUAGE_MODEL = {
    "config.json": json.dumps({"architectures": ["Qwen3ForCausalLM"]}).encode(),
    "tokenizer.json": b"{}",
    "model.safetensors": tensors(embed=300, head=20),
}
PIPELINE = {
    "model_index.json": json.dumps(
        {
            "_class_name": "ZImagePipeline",
            "transformer": ["diffusers", "ZImageTransformer2DModel"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "safety_checker": [None, None],
        }
    ).encode(),
    "transformer/config.json": b"{}",
    "transformer/a-00001-of-00002.safetensors": tensors(first=8),
    "transformer/a-00002-of-00002.safetensors": tensors(second=8),
    "transformer/a.safetensors.index.json": json.dumps(
        {"weight_map": {"first": "a-00001-of-00002.safetensors", "second": "a-00002-of-00002.safetensors"}}
    ).encode(),
    "tokenizer/vocab.json": b"{}",
    "tokenizer/merges.txt": b"#version: 0.2\n",
    "scheduler/scheduler_config.json": b"{}",
}


def card(source: str = SOURCE, architecture: str = "Qwen3ForCausalLM", revision: str = "main") -> ModelCard:
    return ModelCard(source=source, revision=revision, architecture=architecture, memory_gb=1.0, download_gb=0.5)


def spec(model: ModelCard | None, **more: Any) -> EngineSpec:
    return EngineSpec(name="little", label="Little model", version="1", kinds=(BriefKind.LYRICS,), card=model, **more)


LITTLE = spec(card())


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


# ---- a hub ----------------------------------------------------------------------------------------------------------


class Door(BaseHTTPRequestHandler):
    """Speaks as much of the hub's HTTP as a fetch uses: one repository, listed and served by commit."""

    protocol_version = "HTTP/1.1"
    hub: "Hub"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        if self.hub.refuse:
            self.fail(*self.hub.refuse)
        elif path == f"/api/models/{SOURCE}/revision/main":
            self.send(json.dumps(self.hub.listing()).encode(), {"Content-Type": "application/json"}, with_body)
        elif path.startswith(f"/api/models/{SOURCE}/revision/"):
            self.fail(404, "RevisionNotFound")
        elif path.startswith(f"/{SOURCE}/resolve/{COMMIT}/"):
            self.file(path.removeprefix(f"/{SOURCE}/resolve/{COMMIT}/"), with_body)
        else:
            self.fail(404, "RepoNotFound")

    def file(self, name: str, with_body: bool) -> None:
        if name not in self.hub.files:
            self.fail(404, "EntryNotFound")
            return
        content = self.hub.served.get(name, self.hub.files[name])
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if with_body:
            self.hub.loads[name] += 1
            self.hub.reached.set()
            if name in self.hub.hold:
                self.hub.hold[name].wait(30)
        if not with_body or name not in self.hub.cut:
            self.send(content, headers, with_body)
        elif self.hub.loads[name] == 1:
            self.send(content, headers, with_body, only=len(content) // 2)
            self.close_connection = True
        else:
            self.fail(503, "")

    def send(self, body: bytes, headers: dict[str, str], with_body: bool, only: int | None = None) -> None:
        self.send_response(200)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body[:only])

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()


class Hub:
    """One repository and how its door misbehaves."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.refuse: tuple[int, str] | None = None  # every answer: status and X-Error-Code
        self.listed_size: dict[str, int] = {}
        self.served: dict[str, bytes] = {}  # other content than the listing says
        self.cut: set[str] = set()  # break off in the middle of these, then answer 503
        self.hold: dict[str, threading.Event] = {}  # wait for the event before the body
        self.loads: Counter[str] = Counter()
        self.reached = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHubsDoor", (Door,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        for event in self.hold.values():
            event.set()
        self.server.shutdown()
        self.server.server_close()

    def listing(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.files.items():
            size = self.listed_size.get(name, len(content))
            file: dict[str, Any] = {"rfilename": name, "size": size, "blobId": hashlib.sha1(content).hexdigest()}
            if name.endswith((".safetensors", ".bin")):
                file["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
            siblings.append(file)
        return {"id": SOURCE, "modelId": SOURCE, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    running = Hub(
        {
            ".gitattributes": b"*.bin filter=lfs",
            "README.md": b"# Little",
            "pytorch_model.bin": b"\x80\x04pickle",
            "model.fp16.safetensors": tensors(embed=300),
            **LANGUAGE_MODEL,
        }
    )
    yield running
    running.close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def bring(hub: Hub, models: Path) -> Callable[..., Held]:
    def fetch_little(of: EngineSpec = LITTLE, **options: Any) -> Held:
        options = {"offline": False, "say": lambda _: None, "endpoint": hub.url, **options}
        return fetch(of, models, **options)

    return fetch_little


def test_a_fetch_takes_the_safe_files_once_and_writes_down_their_hashes(
    bring: Callable[..., Held], hub: Hub, models: Path
) -> None:
    said: list[str] = []
    done = bring(say=said.append)
    folder = models / "little"
    assert {path.name for path in folder.iterdir()} == {*LANGUAGE_MODEL, MANIFEST}
    assert done == Held(
        engine="little",
        folder=folder,
        source=SOURCE,
        revision=COMMIT,
        size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        state="held",
    )
    manifest = read_manifest(folder / MANIFEST)
    assert manifest is not None
    assert (manifest.source, manifest.revision, manifest.commit) == (SOURCE, "main", COMMIT)
    for name, content in LANGUAGE_MODEL.items():
        assert manifest.files[name].sha256 == hashlib.sha256(content).hexdigest()
        assert manifest.files[name].size_bytes == len(content)
    assert held(LITTLE, models, hashes=True) == folder
    assert any("model.safetensors" in line for line in said)
    assert list(models.glob("*.part")) == []


def test_what_is_here_is_not_fetched_again_unless_asked(bring: Callable[..., Held], hub: Hub) -> None:
    bring()
    bring()
    bring(offline=True)
    assert hub.loads["model.safetensors"] == 1
    bring(again=True)
    assert hub.loads["model.safetensors"] == 2


def test_a_pipeline_is_fetched_without_its_single_file_copies(hub: Hub, bring: Callable[..., Held]) -> None:
    hub.files = {
        **PIPELINE,
        "one_large_file.safetensors": tensors(all=9),
        "transformer/a.fp16-00001-of-00001.safetensors": tensors(first=8, second=8),
        "transformer/a.safetensors.index.fp16.json": b"{}",
        "onnx/model.onnx": b"x",
    }
    bring(spec(card(architecture="ZImagePipeline")))
    assert set(hub.loads) == set(PIPELINE)


def test_a_broken_checkpoint_is_replaced(bring: Callable[..., Held], models: Path) -> None:
    bring()
    weights = models / "little" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (broken,) = listing([LITTLE], models)
    assert broken.state == "broken"
    assert "model.safetensors has" in broken.problem
    assert bring().state == "held"
    assert sorted(path.name for path in models.iterdir()) == [".little.lock", "little"]


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ((403, "GatedRepo"), r"accept terms first.*huggingface\.co/owner/little-model.*HF_TOKEN"),
        ((401, "GatedRepo"), r"accept terms first"),
        ((401, ""), r"refuses access"),
        ((404, "RepoNotFound"), r"no such source"),
        ((404, ""), r"no such source"),
        ((403, ""), r"refuses access; check HF_TOKEN"),
        ((500, ""), r"the hub answered 500\. Try again later"),
    ],
)
def test_the_hubs_refusals_are_sentences(
    refusal: tuple[int, str], sentence: str, hub: Hub, bring: Callable[..., Held], models: Path
) -> None:
    hub.refuse = refusal
    with pytest.raises(FetchFailed, match=sentence) as caught:
        bring()
    assert caught.value.code == "fetch_failed"
    assert verify(LITTLE, models).state == "absent"


def test_a_missing_revision_is_named(bring: Callable[..., Held]) -> None:
    with pytest.raises(FetchFailed, match=r"no revision “v9”; correct the engine's entry"):
        bring(spec(card(revision="v9")))


def test_another_source_is_not_there(bring: Callable[..., Held]) -> None:
    with pytest.raises(FetchFailed, match="owner/other was not fetched: the hub has no such source"):
        bring(spec(card(source="owner/other")))


def test_no_name_of_a_source(bring: Callable[..., Held]) -> None:
    with pytest.raises(FetchFailed, match="no name of a source"):
        bring(spec(card(source="-../x--y")))


def test_without_a_network_it_is_a_sentence(hub: Hub, bring: Callable[..., Held]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    with pytest.raises(FetchFailed, match=r"cannot be reached.*Check the network"):
        bring(endpoint=f"http://127.0.0.1:{port}")


def test_offline_nothing_is_asked(hub: Hub, bring: Callable[..., Held]) -> None:
    with pytest.raises(FetchFailed, match="MELODEON_MODELS__OFFLINE is set"):
        bring(offline=True)
    assert not hub.reached.is_set()


def test_more_than_the_disk_holds_is_refused_before_it_is_loaded(hub: Hub, bring: Callable[..., Held]) -> None:
    hub.listed_size["model.safetensors"] = 10**18
    with pytest.raises(FetchFailed, match=r"needs 1,000,000,000\.0 GB more and .* are free.*MELODEON_MODELS__FOLDER"):
        bring()
    assert not hub.loads


def test_a_full_disk_is_a_sentence(hub: Hub, bring: Callable[..., Held], models: Path) -> None:
    def full(_: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FetchFailed, match=r"the disk of .*models is full\. Make room"):
        bring(say=full)


def test_a_folder_that_cannot_be_written_is_a_sentence(bring: Callable[..., Held], tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(FetchFailed, match=r"models cannot be written \(File exists\)"):
        bring()


def test_a_source_with_pickles_only_is_refused(hub: Hub, bring: Callable[..., Held]) -> None:
    del hub.files["model.safetensors"], hub.files["model.fp16.safetensors"]
    with pytest.raises(FetchFailed, match=r"no weights as safetensors \(only pytorch_model.bin, which may run code"):
        bring()
    assert not hub.loads


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_other_content_than_listed_is_refused_and_not_kept(
    name: str, hub: Hub, bring: Callable[..., Held], models: Path
) -> None:
    content = hub.files[name]
    hub.served[name] = content[:-1] + b"?" if name.endswith("safetensors") else content + b" "
    with pytest.raises(FetchFailed, match=f"{name} arrived with another content"):
        bring()
    assert verify(LITTLE, models).state == "absent"
    hub.served.clear()
    assert bring().state == "held"
    assert verify(LITTLE, models).state == "held"


def test_a_wrong_model_is_fetched_for_nothing(hub: Hub, bring: Callable[..., Held], models: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"config\.json says Qwen3ForCausalLM where OtherModel is needed"):
        bring(spec(card(architecture="OtherModel")))
    assert [path.name for path in models.iterdir()] == [".little.lock"]


def test_a_fetch_that_breaks_off_keeps_whole_files_and_nothing_else(
    hub: Hub, bring: Callable[..., Held], models: Path
) -> None:
    hub.cut.add("model.safetensors")
    with pytest.raises(FetchFailed, match="the hub answered 503"):
        bring()
    assert verify(LITTLE, models).state == "absent"
    assert not (models / "little.part" / "model.safetensors").exists()
    hub.cut.clear()
    assert bring().state == "held"
    assert hub.loads["config.json"] == 1
    assert verify(LITTLE, models).state == "held"


def test_what_an_older_fetch_left_behind_is_not_taken_over(hub: Hub, bring: Callable[..., Held], models: Path) -> None:
    write(models / "little.part", {"old.safetensors": tensors(old=1), "model.safetensors": tensors(old=2)})
    assert bring().state == "held"
    assert not (models / "little" / "old.safetensors").exists()
    assert sha256_of(models / "little" / "model.safetensors") == (
        hashlib.sha256(LANGUAGE_MODEL["model.safetensors"]).hexdigest()
    )


FETCHER = """
import sys
from pathlib import Path
from serving.models import fetch
from studio.words.brief import BriefKind
from studio.words.engine_spec import EngineSpec, ModelCard
card = ModelCard(source=sys.argv[3], revision="main", architecture="Qwen3ForCausalLM", memory_gb=1.0, download_gb=0.5)
spec = EngineSpec(name="little", label="Little model", version="1", kinds=(BriefKind.LYRICS,), card=card)
fetch(spec, Path(sys.argv[1]), offline=False, say=lambda text: print(text, flush=True), endpoint=sys.argv[2])
"""


def test_a_killed_fetch_leaves_nothing_that_looks_whole(hub: Hub, bring: Callable[..., Held], models: Path) -> None:
    hub.hold["model.safetensors"] = threading.Event()
    process = subprocess.Popen(
        [sys.executable, "-c", FETCHER, str(models), hub.url, SOURCE], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as lines:
        assert any("model.safetensors" in line for line in lines)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert verify(LITTLE, models).state == "absent"
    hub.hold["model.safetensors"].set()
    assert bring().state == "held"
    assert hub.loads["config.json"] == 1


def test_two_fetches_at_once_load_once(hub: Hub, bring: Callable[..., Held]) -> None:
    event = hub.hold["model.safetensors"] = threading.Event()
    done: list[Held] = []
    waits = threading.Event()
    first = threading.Thread(target=lambda: done.append(bring()))
    first.start()
    assert hub.reached.wait(30)

    def second() -> None:
        done.append(bring(say=lambda text: waits.set() if "under way" in text else None))

    other = threading.Thread(target=second)
    other.start()
    assert waits.wait(30)
    event.set()
    first.join(30)
    other.join(30)
    assert [one.state for one in done] == ["held", "held"]
    assert hub.loads["model.safetensors"] == 1


# ---- folders, tiny models, licences ---------------------------------------------------------------------------------


def test_a_folder_is_used_where_it_lies_and_watched(tmp_path: Path, models: Path) -> None:
    folder = write(tmp_path / "own", LANGUAGE_MODEL)
    local = spec(card(source=str(folder)))
    assert folder_of(models, local) == folder
    assert verify(local, models).state == "held"
    done = fetch(local, models, offline=True, say=lambda _: None)
    assert (done.state, done.folder) == ("held", folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(LANGUAGE_MODEL)
    weights = bytearray(LANGUAGE_MODEL["model.safetensors"])
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert verify(local, models, hashes=False).state == "held"
    changed = verify(local, models)
    assert changed.state == "broken"
    assert "model.safetensors was changed after it was fetched" in changed.problem
    fetch(local, models, offline=True, say=lambda _: None)
    assert verify(local, models).state == "held"


def test_an_absent_folder_says_where_to_put_the_weights(tmp_path: Path, models: Path) -> None:
    local = spec(card(source=str(tmp_path / "nowhere")))
    with pytest.raises(NoCheckpoint, match=r"Put them into .*nowhere"):
        fetch(local, models, offline=True, say=lambda _: None)


def test_an_absent_checkpoint_says_what_to_run(models: Path) -> None:
    with pytest.raises(NoCheckpoint, match=r"Run `melodeon models fetch little` \(0\.5 GB\)") as caught:
        held(LITTLE, models, hashes=False)
    assert caught.value.code == "no_checkpoint"
    assert verify(LITTLE, models) == Held(
        engine="little", folder=models / "little", source=SOURCE, revision="main", size_bytes=0, state="absent"
    )


def test_an_unknown_tiny_model_is_a_sentence(models: Path) -> None:
    with pytest.raises(FetchFailed, match="no such tiny model; choose one of: ace-step-turbo"):
        fetch(spec(card(source="tiny:nothing")), models, offline=True, say=lambda _: None)


def test_an_engine_without_weights_has_nothing_to_fetch(models: Path) -> None:
    with pytest.raises(NoWeights, match="no weights of its own"):
        fetch(spec(None), models, offline=False, say=lambda _: None)
    assert listing([spec(None), LITTLE], models)[0].engine == "little"


def test_the_catalogue_may_name_another_revision_than_the_one_held(bring: Callable[..., Held], models: Path) -> None:
    bring()
    moved = verify(spec(card(revision="v2")), models)
    assert moved.state == "broken"
    assert "came from owner/little-model at main, and the catalogue names owner/little-model at v2" in moved.problem


def test_non_commercial_models_need_a_yes() -> None:
    toy = spec(card(), licence="sai-nc-community", commercial=False)
    with pytest.raises(ForbiddenModel, match=r"sai-nc-community.*MELODEON_MODELS__NON_COMMERCIAL=true") as caught:
        allowed(toy, non_commercial=False)
    assert caught.value.code == "forbidden_model"
    allowed(toy, non_commercial=True)
    allowed(LITTLE, non_commercial=False)


@pytest.mark.parametrize(
    ("size_bytes", "words"), [(0, "0 kB"), (999, "1 kB"), (1_533_366, "1.5 MB"), (6_300_000_000, "6.3 GB")]
)
def test_sizes_for_people(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words


def test_no_model_library_is_imported() -> None:
    program = (
        "import sys, serving.models; heavy = {'torch', 'transformers', 'diffusers', 'huggingface_hub', 'ray'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ---- what must not be loaded ----------------------------------------------------------------------------------------

Spoil = Callable[[Path], object]


def fails(folder: Path, model: ModelCard | None = None, *, hashes: bool = False) -> str:
    with pytest.raises(BadCheckpoint) as caught:
        check(folder, model or card(), hashes=hashes)
    assert caught.value.code == "bad_checkpoint"
    return caught.value.sentence


def test_whole_checkpoints_pass(tmp_path: Path) -> None:
    check(write(tmp_path / "words", LANGUAGE_MODEL), card(), hashes=True)
    check(write(tmp_path / "picture", PIPELINE), card(architecture="ZImagePipeline"), hashes=True)


def weights(folder: Path) -> Path:
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda at: weights(at).write_bytes(b""), "model.safetensors is cut off: it has only 0 bytes"),
        (lambda at: weights(at).write_bytes(b"\x00" * 7), "is cut off: it has only 7 bytes"),
        (lambda at: weights(at).write_bytes(weights(at).read_bytes()[:40]), "is cut off within its header"),
        (
            lambda at: weights(at).write_bytes(weights(at).read_bytes()[:-4]),
            "model.safetensors is cut off: 1,280 bytes",
        ),
        (lambda at: weights(at).write_bytes(weights(at).read_bytes() + b"\0"), "1 bytes follow after its numbers"),
        (lambda at: weights(at).write_bytes(b"\xff" * 64), "header would have 18,446,744,073,709,551,615 bytes"),
        (lambda at: weights(at).write_bytes(b"\x80\x04\x95\x10\0\0\0\0\0\0\0."), "is no safetensors file"),
        (lambda at: weights(at).write_bytes(b"PK\x03\x04" + b"\0" * 60), "is cut off within its header"),
        (lambda at: weights(at).write_bytes(struct.pack("<Q", 4) + b'{"a"'), "its header is no JSON table"),
        (lambda at: weights(at).write_bytes(struct.pack("<Q", 2) + b"[]"), "its header is no JSON table"),
        (lambda at: weights(at).unlink(), "has no weights as safetensors"),
        (lambda at: write(at, {"pytorch_model.bin": b"\x80"}), "pytorch_model.bin is of a kind that may run code"),
        (lambda at: write(at, {"sub/Model.CKPT": b"\x80"}), "sub/Model.CKPT is of a kind that may run code"),
        (lambda at: (at / "config.json").unlink(), "model_index.json or config.json is missing"),
        (lambda at: (at / "config.json").write_text("{"), "config.json is no readable JSON"),
        (lambda at: (at / "config.json").write_text("[]"), "config.json is no JSON table"),
        (lambda at: (at / "config.json").write_text("{}"), "config.json says nothing where Qwen3ForCausalLM is needed"),
        (lambda at: (at / "config.json").write_text('{"architectures": ["Llama"]}'), "says Llama where"),
        (lambda at: (at / "tokenizer.json").unlink(), "tokenizer.json is missing: there is no tokenizer"),
        (lambda at: (at / "tokenizer.json").write_text('{"cut": '), "tokenizer.json is no readable JSON"),
        (lambda at: (at / MANIFEST).write_text("{}"), "melodeon-checkpoint.json cannot be read"),
    ],
)
def test_spoilt_language_models_are_refused_by_name(spoil: Spoil, sentence: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    spoil(folder)
    assert sentence in fails(folder)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda at: (at / "transformer/a-00002-of-00002.safetensors").unlink(),
            "00002-of-00002.safetensors is missing",
        ),
        (
            lambda at: (at / "transformer/a-00002-of-00002.safetensors").write_bytes(tensors(third=8)),
            "a-00002-of-00002.safetensors lacks “second”",
        ),
        (
            lambda at: (at / "transformer/a.safetensors.index.json").write_text(
                '{"weight_map": {"first": "../../secret.safetensors"}}'
            ),
            "names a file outside its folder",
        ),
        (lambda at: (at / "transformer/a.safetensors.index.json").write_text("{}"), "names no weights"),
        (lambda at: (at / "transformer/config.json").unlink(), "transformer/config.json is missing"),
        (lambda at: (at / "scheduler/scheduler_config.json").unlink(), "scheduler is missing"),
        (lambda at: (at / "scheduler/scheduler_config.json").rename(at / "scheduler/x.json"), "holds no configuration"),
        (lambda at: (at / "tokenizer/merges.txt").unlink(), "tokenizer/tokenizer.json is missing"),
        (lambda at: (at / "model_index.json").write_text('{"_class_name": ["evil", "Pipe"]}'), "says nothing where"),
        (lambda at: (at / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'), "says FluxPipeline where"),
    ],
)
def test_spoilt_pipelines_are_refused_by_name(spoil: Spoil, sentence: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "picture", PIPELINE)
    spoil(folder)
    assert sentence in fails(folder, card(architecture="ZImagePipeline"))


def header_file(header: object, data: int = 8) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}},
        {"a": {"dtype": "F32", "data_offsets": [0, 8]}},
        {"a": {"shape": [2], "data_offsets": [0, 8]}},
        {"a": [0, 8]},
        {"a": {"dtype": "X32", "shape": [2], "data_offsets": [0, 8]}},
        {name: {"dtype": "F32", "shape": [1 + (name == "a")], "data_offsets": [4 * (name == "b"), 8]} for name in "ab"},
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 8]}},
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(header: object, tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    weights(folder).write_bytes(header_file(header))
    assert "model.safetensors is " in fails(folder)


def test_a_header_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    weights(folder).write_bytes(struct.pack("<Q", 400_000) + b'{"a":' * 80_000)
    assert "its header is no JSON table" in fails(folder)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    outside = tmp_path / "secret.safetensors"
    weights(folder).rename(outside)
    weights(folder).symlink_to(outside)
    assert "model.safetensors is a link that leads out of the folder" in fails(folder)


def test_linked_folders_are_refused_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    (folder / "more").symlink_to(tmp_path)
    assert "more is a link that leads out of the folder" in fails(folder)


def test_links_within_the_folder_are_fine(tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    weights(folder).rename(folder / "blob.safetensors")
    weights(folder).symlink_to("blob.safetensors")
    check(folder, card(), hashes=True)


def test_a_link_to_nowhere_is_no_weight(tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    weights(folder).unlink()
    weights(folder).symlink_to("gone.safetensors")
    assert "has no weights as safetensors" in fails(folder)


def test_a_link_in_a_loop_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "words", LANGUAGE_MODEL)
    (folder / "more.json").symlink_to("more.json")
    assert "cannot be" in fails(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert "the folder is not there" in fails(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "the folder is not there" in fails(tmp_path / "file")


@pytest.mark.parametrize(
    ("spoil", "hashes", "sentence"),
    [
        (lambda at: weights(at).write_bytes(tensors(embed=299, head=21)), True, "was changed after it was fetched"),
        (lambda at: weights(at).write_bytes(tensors(embed=299)), False, "bytes instead of"),
        (lambda at: (at / "tokenizer.json").unlink(), False, "tokenizer.json is missing"),
        (lambda at: write(at, {"extra.safetensors": tensors(a=1)}), False, "extra.safetensors was put there after"),
    ],
)
def test_changes_after_the_fetch_are_noticed(
    spoil: Spoil, hashes: bool, sentence: str, bring: Callable[..., Held], models: Path
) -> None:
    folder = bring().folder
    spoil(folder)
    assert sentence in fails(folder, hashes=hashes)


CONTENT = tensors(embed=5, head=3)


@given(length=st.integers(min_value=0, max_value=len(CONTENT) - 1))
def test_every_cut_is_noticed(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write(tmp_path_factory.mktemp("cut"), {**LANGUAGE_MODEL, "model.safetensors": CONTENT[:length]})
    assert "model.safetensors is c" in fails(folder)


@given(place=st.integers(min_value=0, max_value=len(CONTENT) - 1), value=st.integers(min_value=0, max_value=255))
def test_whatever_passes_the_reference_reader_takes_too(
    place: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One byte is changed; a file that is let through must be one that the library itself opens."""
    safetensors = pytest.importorskip("safetensors")
    changed = bytearray(CONTENT)
    changed[place] = value
    folder = write(tmp_path_factory.mktemp("changed"), {**LANGUAGE_MODEL, "model.safetensors": bytes(changed)})
    try:
        check(folder, card(), hashes=False)
    except BadCheckpoint:
        return
    names = [name for name, _ in safetensors.deserialize(bytes(changed))]
    assert len(names) == 2
