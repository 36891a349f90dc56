"""Checkpoints on disk: whether a folder of weights may be loaded, found out without loading it and without torch.

Only safetensors are ever loaded: the older formats are pickles, which run whatever code is in them. The layout of a
safetensors file is that of its reference implementation (https://github.com/huggingface/safetensors, README "Format"):
8 bytes little-endian header length, a JSON header, then the numbers without gaps.
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.errors import MelodeonError
from studio.words.engine_spec import ModelCard

MANIFEST: Final = "melodeon-checkpoint.json"
TAKEN: Final = frozenset({".safetensors", ".json", ".txt", ".jinja", ".model"})
"""Suffixes of files that belong to a checkpoint; ``.model`` is sentencepiece."""
UNSAFE: Final = frozenset(
    {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".msgpack", ".onnx", ".h5"}
)
"""Suffixes of files that may run code when they are loaded, or that no engine here reads."""

_HEADER_MAX_BYTES: Final = 100_000_000
_JSON_MAX_BYTES: Final = 200_000_000
_BITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Kinds of numbers of the format and their size."""
_PART_CONFIGS: Final = ("scheduler_config.json", "preprocessor_config.json", "processor_config.json")


class BadCheckpoint(MelodeonError):
    """A checkpoint that must not be loaded; the sentence names the file and what to do."""

    code = "bad_checkpoint"

    def __init__(self, folder: Path, name: str, problem: str, advice: str = "Fetch the checkpoint again.") -> None:
        checkpoint = folder.name.removesuffix(".part")
        super().__init__(f"The checkpoint “{checkpoint}” cannot be used: {name} {problem}. {advice}")


class FileRecord(BaseModel):
    """Size in bytes and SHA-256 of one file, as it was fetched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a fetch wrote down: from where, which commit, and every file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    revision: str
    commit: str
    files: dict[str, FileRecord] = Field(min_length=1)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(record.size_bytes for record in self.files.values())


class _Tensor(BaseModel):
    """One entry of a safetensors header."""

    model_config = ConfigDict(strict=True)

    dtype: str
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=64)]
    data_offsets: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


def check(folder: Path, card: ModelCard, *, hashes: bool, manifest: Path | None = None) -> None:
    """Return quietly if the checkpoint in ``folder`` is whole, safe and the one that ``card`` describes.

    Headers, sizes and configurations are read, never the weights, unless ``hashes`` asks for it.

    Args:
        folder: a diffusers folder (``model_index.json``) or a transformers one (``config.json``).
        card: source, revision and architecture that it must have.
        hashes: also compute the SHA-256 of every file that the manifest lists; some seconds for each 10 GB.
        manifest: where the manifest is, when it is not in the folder. Without one only the form is checked.

    Raises:
        BadCheckpoint: for the first fault found.
    """
    try:
        files = checkpoint_files(folder)
        _check_manifest(folder, files, card, manifest or folder / MANIFEST, hashes=hashes)
        _check_form(folder, files, card)
    except (OSError, RuntimeError) as error:
        # a link in a loop is a RuntimeError of pathlib
        raise BadCheckpoint(folder, "a file", f"cannot be read ({error})", "Look at its owner and rights.") from None


def _check_form(folder: Path, files: Sequence[str], card: ModelCard) -> None:
    tensors = {name: _tensor_names(folder, name) for name in files if name.endswith(".safetensors")}
    for name in files:
        if name.endswith(".safetensors.index.json"):
            _check_shards(folder, name, tensors)
    if "model_index.json" in files:
        _check_pipeline(folder, files, card)
    elif "config.json" in files:
        _check_architecture(folder, "config.json", _first_architecture(_json(folder, "config.json")), card)
        _check_part(folder, "", files)
        _check_tokenizer(folder, "", files)
    else:
        raise BadCheckpoint(folder, "model_index.json or config.json", "is missing", "Is this the right folder?")


def checkpoint_files(folder: Path) -> tuple[str, ...]:
    """Names (with ``/``) of the files that belong to the checkpoint; hidden ones and the manifest do not.

    Raises:
        BadCheckpoint: when there is no folder, a link leads out of it or a file could run code.
    """
    if not folder.is_dir():
        raise BadCheckpoint(folder, "the folder", "is not there")
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (*folders, *(name for name in sorted(files) if not name.startswith("."))):
            path = Path(place, name)
            _refuse_link_outside(folder, path)
            if path.suffix.lower() in UNSAFE:
                raise BadCheckpoint(
                    folder,
                    _relative(folder, path),
                    "is of a kind that may run code when it is loaded; only safetensors are taken",
                    "Remove that file, or choose a source with safetensors.",
                )
            if path.is_file() and path.suffix in TAKEN:
                names.append(_relative(folder, path))
    return tuple(name for name in names if name != MANIFEST)


def record(folder: Path, *, source: str, revision: str, commit: str) -> Manifest:
    """Read every file of the checkpoint once and say what it is."""
    files = {name: _record_of(folder / name) for name in checkpoint_files(folder)}
    if not files:
        raise BadCheckpoint(folder, "the folder", "holds no checkpoint", "Is this the right source?")
    return Manifest(source=source, revision=revision, commit=commit, files=files)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at this path; None where there is none.

    Raises:
        BadCheckpoint: when it cannot be read.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise BadCheckpoint(path.parent, path.name, "cannot be read") from None


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write it whole or not at all."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
    aside.replace(path)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _record_of(path: Path) -> FileRecord:
    return FileRecord(size_bytes=path.stat().st_size, sha256=sha256_of(path))


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _refuse_link_outside(folder: Path, path: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise BadCheckpoint(
            folder,
            _relative(folder, path),
            "is a link that leads out of the folder",
            "Copy the files themselves (cp -rL).",
        )


def _check_manifest(folder: Path, files: Iterable[str], card: ModelCard, path: Path, *, hashes: bool) -> None:
    manifest = read_manifest(path)
    if manifest is None:
        return
    if (manifest.source, manifest.revision) != (card.source, card.revision):
        known = f"came from {manifest.source} at {manifest.revision or 'no revision'}"
        raise BadCheckpoint(folder, "it", f"{known}, and the catalogue names {card.source} at {card.revision}")
    for name, known_as in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BadCheckpoint(folder, name, "is missing")
        size_bytes = path.stat().st_size
        if size_bytes != known_as.size_bytes:
            raise BadCheckpoint(folder, name, f"has {size_bytes:,} bytes instead of {known_as.size_bytes:,}")
        if hashes and sha256_of(path) != known_as.sha256:
            raise BadCheckpoint(folder, name, "was changed after it was fetched (its SHA-256 differs)")
    added = sorted(set(files) - set(manifest.files))
    if added:
        raise BadCheckpoint(folder, added[0], "was put there after the fetch", "Remove it, or fetch again.")


def _tensor_names(folder: Path, name: str) -> frozenset[str]:
    """The tensors of one safetensors file, after its layout has been checked against its size."""
    header, data_bytes = _header(folder, name)
    header.pop("__metadata__", None)
    spans = []
    for tensor, entry in header.items():
        try:
            known = _Tensor.model_validate(entry)
        except ValidationError:
            raise BadCheckpoint(folder, name, f"is corrupt: its entry “{tensor[:80]}” makes no sense") from None
        start, end = known.data_offsets
        bits = _BITS.get(known.dtype)
        if bits is None or math.prod(known.shape) * bits != (end - start) * 8:
            raise BadCheckpoint(folder, name, f"is corrupt: “{tensor[:80]}” has another size than its shape says")
        spans.append((start, end))
    position = 0
    for start, end in sorted(spans):
        if start != position or end < start:
            raise BadCheckpoint(folder, name, "is corrupt: its tensors overlap or leave gaps")
        position = end
    if position > data_bytes:
        raise BadCheckpoint(
            folder, name, f"is cut off: {position:,} bytes of numbers are announced, {data_bytes:,} there"
        )
    if position < data_bytes:
        raise BadCheckpoint(folder, name, f"is corrupt: {data_bytes - position:,} bytes follow after its numbers")
    return frozenset(header)


def _header(folder: Path, name: str) -> tuple[dict[str, Any], int]:
    path = folder / name
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else None
        if length is None:
            raise BadCheckpoint(folder, name, f"is cut off: it has only {size_bytes} bytes")
        if length > _HEADER_MAX_BYTES:
            raise BadCheckpoint(folder, name, f"is no safetensors file: its header would have {length:,} bytes")
        if length > size_bytes - 8:
            raise BadCheckpoint(folder, name, "is cut off within its header")
        try:
            header = json.loads(stream.read(length).decode("utf-8"))
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        raise BadCheckpoint(folder, name, "is corrupt: its header is no JSON table")
    return header, size_bytes - 8 - length


def _check_shards(folder: Path, name: str, tensors: Mapping[str, frozenset[str]]) -> None:
    weight_map = _json(folder, name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadCheckpoint(folder, name, "names no weights")
    here = PurePosixPath(name).parent
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or "/" in shard or "\\" in shard:
            raise BadCheckpoint(folder, name, "names a file outside its folder")
        held = tensors.get((here / shard).as_posix())
        if held is None:
            raise BadCheckpoint(folder, (here / shard).as_posix(), f"is missing, and {name} names it")
        if tensor not in held:
            raise BadCheckpoint(
                folder, (here / shard).as_posix(), f"lacks “{tensor[:80]}”, which {name} looks for there"
            )


def _check_pipeline(folder: Path, files: Iterable[str], card: ModelCard) -> None:
    index = _json(folder, "model_index.json")
    _check_architecture(folder, "model_index.json", index.get("_class_name"), card)
    for part, kind in index.items():
        if part.startswith("_") or not isinstance(kind, list) or None in kind:
            continue
        if not any(name.startswith(f"{part}/") for name in files):
            raise BadCheckpoint(folder, part, "is missing, and model_index.json names it")
        _check_part(folder, f"{part}/", files)
        if part.startswith("tokenizer"):
            _check_tokenizer(folder, f"{part}/", files)


def _check_part(folder: Path, part: str, files: Iterable[str]) -> None:
    """A model has a configuration and weights; other parts have a configuration of their own kind."""
    here = [name.removeprefix(part) for name in files if name.startswith(part) and "/" not in name.removeprefix(part)]
    has_weights = any(name.endswith(".safetensors") for name in here)
    if "config.json" in here:
        _json(folder, f"{part}config.json")
        if not has_weights:
            raise BadCheckpoint(folder, f"{part or 'the folder'}", "has no weights as safetensors")
    elif has_weights:
        raise BadCheckpoint(folder, f"{part}config.json", "is missing")
    elif not part.startswith("tokenizer") and not any(name in here for name in _PART_CONFIGS):
        raise BadCheckpoint(folder, part, "holds no configuration")


def _check_tokenizer(folder: Path, part: str, files: Iterable[str]) -> None:
    here = {name.removeprefix(part) for name in files if name.startswith(part)}
    if "tokenizer.json" in here:
        _json(folder, f"{part}tokenizer.json")
    elif not ({"vocab.json", "merges.txt"} <= here or any(name.endswith(".model") for name in here)):
        raise BadCheckpoint(folder, f"{part}tokenizer.json", "is missing: there is no tokenizer")


def _first_architecture(config: Mapping[str, Any]) -> object:
    names = config.get("architectures")
    return names[0] if isinstance(names, list) and names else None


def _check_architecture(folder: Path, name: str, found: object, card: ModelCard) -> None:
    if found != card.architecture:
        raise BadCheckpoint(
            folder,
            name,
            f"says {found if isinstance(found, str) else 'nothing'} where {card.architecture} is needed",
            "Correct the engine's entry in the catalogue, or fetch the right source.",
        )


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        if path.stat().st_size > _JSON_MAX_BYTES:
            raise BadCheckpoint(folder, name, "is far too large")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise BadCheckpoint(folder, name, "is no readable JSON") from None
    if not isinstance(value, dict):
        raise BadCheckpoint(folder, name, "is no JSON table")
    return value
