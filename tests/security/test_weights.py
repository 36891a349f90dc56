"""Only safe weights: nothing of the product reads a pickle, and one changed byte of a weight file is refused."""

import ast
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.checkpoints import MANIFEST, BadCheckpoint, check, record, write_manifest
from studio.words.engine_spec import ModelCard

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "studio", "data", "billing", "analytics", "serving", "ui")
CARD = ModelCard(source="owner/model", revision="main", architecture="Qwen3ForCausalLM", memory_gb=1.0, download_gb=0.5)
RUNS_CODE = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
LOADERS = {"from_pretrained", "load_lora_weights", "load_lora_adapter", "from_single_file", "load_textual_inversion"}
WITHOUT_WEIGHTS = {"AutoTokenizer"}


def unsafe_loads(source: str) -> list[str]:
    """What in this module could run the code that stands in a file of weights."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in RUNS_CODE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in RUNS_CODE:
            found.append(str(node.module))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found += _unsafe_call(node, node.func)
    return found


def _unsafe_call(call: ast.Call, to: ast.Attribute) -> list[str]:
    words = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    name = ast.unparse(to)
    if name in {"torch.load", "torch.jit.load", "torch.package.PackageImporter", "numba.core.serialize.loads"}:
        return [name]
    if words.get("allow_pickle") or words.get("trust_remote_code"):
        return [name]
    whose = ast.unparse(to.value).rpartition(".")[2]
    if to.attr in LOADERS and whose not in WITHOUT_WEIGHTS and words.get("use_safetensors") is not True:
        return [f"{name} without use_safetensors=True"]
    return []


@pytest.mark.parametrize("room", ROOMS)
def test_no_pickle_is_ever_read(room: str) -> None:
    modules = list((ROOT / room).rglob("*.py"))
    assert modules
    assert {str(path): found for path in modules if (found := unsafe_loads(path.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x', weights_only=True)",
        "np.load('x.npy', allow_pickle=True)",
        "AutoModel.from_pretrained('x')",
        "AutoModel.from_pretrained('x', use_safetensors=False)",
        "AutoTokenizer.from_pretrained('x', trust_remote_code=True)",
        "pipe.load_lora_weights('x')",
    ],
)
def test_the_check_sees_a_planted_one(planted: str) -> None:
    assert unsafe_loads(planted) != []


def test_the_check_lets_safe_ones_pass() -> None:
    assert (
        unsafe_loads("AutoModel.from_pretrained('x', use_safetensors=True)\nAutoTokenizer.from_pretrained('x')") == []
    )


def weights() -> bytes:
    header = json.dumps({"embed": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(range(256))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as a fetch leaves it, with the hash of every file."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps({"architectures": [CARD.architecture]}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights())
    write_manifest(record(folder, source=CARD.source, revision="main", commit="0" * 40), folder / MANIFEST)
    return folder


@given(place=st.integers(min_value=0, max_value=len(weights()) - 1), bit=st.integers(min_value=0, max_value=7))
def test_one_changed_byte_is_refused_by_the_file_s_name(checkpoint: Path, place: int, bit: int) -> None:
    path = checkpoint / "model.safetensors"
    changed = bytearray(weights())
    changed[place] ^= 1 << bit
    path.write_bytes(changed)
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors"):
        check(checkpoint, CARD, hashes=True)
    path.write_bytes(weights())
    check(checkpoint, CARD, hashes=True)
