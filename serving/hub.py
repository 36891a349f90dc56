"""The hub of checkpoints: the one door of ``huggingface_hub``, which is imported when something is fetched.

Its client names a file by its final name only when it is complete, and keeps what is complete. Beyond that it trusts
what lies in the folder, so size and SHA-256 of every file are compared here with what the hub lists.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from serving.checkpoints import TAKEN, UNSAFE, checkpoint_files, sha256_of
from studio.errors import MelodeonError
from studio.words.engine_spec import ModelCard

Say = Callable[[str], None]
_VARIANT: Final = re.compile(r"\.(fp16|bf16|fp32|non_ema)(?=[.-])")
_CLIENT: Final = frozenset({"httpx2", "httpcore2", "huggingface_hub"})
"""Packages whose errors the hub's client lets through."""


class FetchFailed(MelodeonError):
    """The weights could not be brought here."""

    code = "fetch_failed"

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{source} was not fetched: {problem}")


def size_words(size_bytes: int) -> str:
    """A size for people, in powers of ten: ``6.3 GB``, ``1.5 MB``, ``12 kB``."""
    for unit, unit_bytes in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:,.1f} {unit}"
    return f"{size_bytes / 1e3:.0f} kB"


def load(card: ModelCard, part: Path, *, say: Say, endpoint: str | None = None) -> str:
    """Load the safe files of the card's source into ``part``; those that lie there whole are not loaded again.

    Args:
        card: names source and revision.
        part: a folder of this fetch alone; kept for the next try when this one breaks off.
        say: is told each file and its size.
        endpoint: address of the hub; the library's own default when absent.

    Returns:
        The commit that the files are of.

    Raises:
        FetchFailed: no network, no such source or revision, no access, too little space, wrong content.
        OSError: the disk cannot be written, ``ENOSPC`` when it is full.
    """
    try:
        return _load(card, part, say, endpoint)
    except ModuleNotFoundError as error:
        raise FetchFailed(card.source, f"{error.name} is not installed; install melodeon[models].") from None
    except FetchFailed:
        raise
    except Exception as error:
        # what the client raises are classes of its HTTP library, which is not ours to import, and for a file that is
        # shorter than announced an OSError that no system call gave
        broke_off = isinstance(error, OSError) and error.errno is None
        if type(error).__module__.partition(".")[0] not in _CLIENT and not broke_off:
            raise
        raise FetchFailed(card.source, _sentence(error, card)) from error


def _load(card: ModelCard, part: Path, say: Say, endpoint: str | None) -> str:
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415 - only the extra "models" has it

    info = HfApi(endpoint=endpoint).model_info(card.source, revision=card.revision, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings or ()}
    wanted = _wanted(card, tuple(files))
    commit = str(info.sha)
    part.mkdir(exist_ok=True)
    _prune(part, wanted)
    _require_space(card, part, sum(files[name].size or 0 for name in wanted))
    for number, name in enumerate(wanted, start=1):
        say(f"{number}/{len(wanted)} {name} ({size_words(files[name].size or 0)})")
        hf_hub_download(
            card.source, name, revision=commit, local_dir=part, cache_dir=part / ".cache", endpoint=endpoint
        )
        _require_whole(card, part / name, files[name])
    shutil.rmtree(part / ".cache", ignore_errors=True)
    return commit


def _wanted(card: ModelCard, names: Sequence[str]) -> tuple[str, ...]:
    """The files to load of a repository's: safe ones, each weight once.

    Repositories of pipelines often carry the same weights again as one large file at the top, and again at another
    precision (``model.fp16.safetensors``); loading takes neither.
    """
    safe = [name for name in names if PurePosixPath(name).suffix in TAKEN and not name.startswith(".")]
    plain = {_folder(name) for name in safe if name.endswith(".safetensors") and not _VARIANT.search(name)}
    is_pipeline = "model_index.json" in safe
    wanted = tuple(
        name
        for name in safe
        if not (_VARIANT.search(name) and ".safetensors" in name and _folder(name) in plain)
        and not (is_pipeline and "/" not in name and ".safetensors" in name)
    )
    if not any(name.endswith(".safetensors") for name in wanted):
        unsafe = [name for name in names if PurePosixPath(name).suffix in UNSAFE]
        only = f" (only {unsafe[0]}, which may run code when it is loaded)" if unsafe else ""
        raise FetchFailed(card.source, f"it offers no weights as safetensors{only}; choose another source.")
    return wanted


def _folder(name: str) -> PurePosixPath:
    return PurePosixPath(name).parent


def _prune(part: Path, wanted: Sequence[str]) -> None:
    """Leave of an interrupted fetch only what this one would load as well."""
    for name in checkpoint_files(part):
        if name not in wanted:
            (part / name).unlink()


def _require_space(card: ModelCard, part: Path, total_bytes: int) -> None:
    have_bytes = sum((part / name).stat().st_size for name in checkpoint_files(part))
    free_bytes = shutil.disk_usage(part).free
    if total_bytes - have_bytes > free_bytes:
        needed = f"it needs {size_words(total_bytes - have_bytes)} more and {size_words(free_bytes)} are free"
        raise FetchFailed(
            card.source, f"{needed} in {part.parent}. Make room, or set MELODEON_MODELS__FOLDER to a larger disk."
        )


def _require_whole(card: ModelCard, path: Path, file: Any) -> None:
    right_size = file.size is None or path.stat().st_size == file.size
    if right_size and (file.lfs is None or sha256_of(path) == file.lfs.sha256):
        return
    path.unlink()
    raise FetchFailed(card.source, f"{file.rfilename} arrived with another content than the hub names. Fetch it again.")


def _sentence(error: Exception, card: ModelCard) -> str:
    from huggingface_hub import errors  # noqa: PLC0415

    page = f"https://huggingface.co/{card.source}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    kinds: tuple[tuple[bool, str], ...] = (
        (isinstance(error, errors.HFValidationError), "that is no name of a source on the hub (owner/name)."),
        (
            isinstance(error, errors.GatedRepoError),
            f"its owner asks you to accept terms first: do so at {page} and set HF_TOKEN to your token.",
        ),
        (
            isinstance(error, errors.RevisionNotFoundError),
            f"it has no revision “{card.revision}”; correct the engine's entry in the catalogue.",
        ),
        (
            isinstance(error, errors.RepositoryNotFoundError) or status == 404,
            "the hub has no such source or file, or it is private: check the name, or set HF_TOKEN to your token.",
        ),
        (status in (401, 403), f"the hub refuses access; check HF_TOKEN and look at {page}."),
        (status is not None, f"the hub answered {status}. Try again later; whole files are kept."),
    )
    unreachable = "the hub cannot be reached, or broke off. Check the network and fetch again; whole files are kept."
    return next((text for holds, text in kinds if holds), unreachable)
