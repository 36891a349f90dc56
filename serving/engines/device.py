"""The device that an engine runs on: choosing it, its memory, its health and torch's one global generator.

torch is imported inside the functions: a process that only asks what this module offers stays small.
"""

import gc
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import psutil

from studio.errors import MelodeonError
from studio.words.engine_spec import EngineSpec

T = TypeVar("T")
Kind = Literal["cuda", "mps", "cpu"]
Precision = Literal["bfloat16", "float16", "float32"]
GB: Final = 1e9
"""Every figure of memory for people is in 10^9 bytes."""

_CGROUP: Final = Path("/sys/fs/cgroup")
_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED|Cannot allocate memory"
)
"""What allocators say that raise a plain RuntimeError: CPU, MPS, cuBLAS, cuDNN."""

_generator_lock = threading.RLock()


class NoDevice(MelodeonError):
    """The device that was asked for is not on this machine."""

    code = "no_device"

    def __init__(self, wanted: str, reason: str) -> None:
        super().__init__(
            f"The device “{wanted}” cannot be used here: {reason} "
            "Say device: cpu in the Serve file, or start this engine on a machine that has one."
        )


class NotEnoughMemory(MelodeonError):
    """The model does not fit into what is free."""

    code = "not_enough_memory"

    def __init__(self, spec: EngineSpec, device: "Device", needed_gb: float, have_gb: float) -> None:
        advice = "free some memory" if device.kind == "cpu" else "offload"
        super().__init__(
            f"{spec.label} needs {needed_gb:.1f} GB on {device.name}, {have_gb:.1f} GB are free: "
            f"choose a smaller checkpoint (such as turbo 2B) or {advice}."
        )


class OutOfMemory(MelodeonError):
    """The memory did not suffice, not even for the smaller way of doing it."""

    code = "out_of_memory"

    def __init__(self) -> None:
        super().__init__(
            "The memory of the device does not suffice for this, not even in small pieces. "
            "Ask for a shorter length or a smaller size, or choose a smaller engine."
        )


class DeadDevice(MelodeonError):
    """The device answers no more; only a new process can use it again."""

    code = "dead_device"

    def __init__(self, device: "Device", error: BaseException) -> None:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        super().__init__(f"The device {device.name} answers no more ({first_line}); this replica must be restarted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where an engine runs and with which numbers.

    Attributes:
        kind: ``cuda`` (NVIDIA, and AMD's ROCm build), ``mps`` (Apple) or ``cpu``.
        dtype_name: precision of the weights: ``bfloat16``, ``float16`` or ``float32``.
        index: which card of the visible ones; Ray shows a replica only its own, so 0.
    """

    kind: Kind
    dtype_name: Precision
    index: int = 0

    @property
    def name(self) -> str:
        """What torch calls it: ``cuda:0``, ``mps``, ``cpu``."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @property
    def dtype(self) -> Any:
        """The precision as torch's own object."""
        import torch

        return getattr(torch, self.dtype_name)


def choose_device(wanted: str, *, low_precision: bool = True) -> Device:
    """The device to use: the one wanted, or with ``"auto"`` the best there is, CUDA before MPS before CPU.

    Args:
        wanted: ``auto``, ``cuda``, ``cuda:1``, ``mps`` or ``cpu``.
        low_precision: 16-bit numbers where the device computes well with them; False: 32 bits everywhere.

    Raises:
        NoDevice: when the wanted one is absent or the word means nothing.
    """
    match = re.fullmatch(r"(auto|cuda|mps|cpu)(?::(\d+))?", wanted)
    if not match or (match[2] and match[1] != "cuda"):
        raise NoDevice(wanted, "the words are auto, cuda, cuda:1, mps and cpu.")
    kind = _best_kind() if match[1] == "auto" else match[1]
    index = int(match[2] or 0)
    if kind == "cuda":
        _require_cuda(wanted, index)
        return Device(kind="cuda", index=index, dtype_name=_cuda_precision() if low_precision else "float32")
    if kind == "mps":
        _require_mps(wanted)
        return Device(kind="mps", dtype_name=_mps_precision() if low_precision else "float32")
    return Device(kind="cpu", dtype_name="float32")


def _best_kind() -> Kind:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _require_cuda(wanted: str, index: int) -> None:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or getattr(torch.version, "hip", None)
        raise NoDevice(wanted, "no CUDA card is visible." if built else "this torch was built without CUDA.")
    if index >= torch.cuda.device_count():
        raise NoDevice(wanted, f"{torch.cuda.device_count()} CUDA cards are visible, counted from 0.")


def _require_mps(wanted: str) -> None:
    import torch

    if not torch.backends.mps.is_available():
        raise NoDevice(wanted, "MPS needs an Apple processor and macOS.")


def _cuda_precision() -> Precision:
    import torch

    # emulated bfloat16 on older cards is slower than float32
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _mps_precision() -> Precision:
    import torch

    return "bfloat16" if torch.backends.mps.is_macos_or_newer(14, 0) else "float16"


def free_gb(device: Device) -> float:
    """Memory in 10^9 bytes that this process could still take on ``device``; what torch caches counts as free."""
    import torch

    if device.kind == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device.index)
        cached_bytes = torch.cuda.memory_reserved(device.index) - torch.cuda.memory_allocated(device.index)
        return float(free_bytes + cached_bytes) / GB
    if device.kind == "mps":
        # Apple's memory is the machine's own: both the driver's limit and what is left of it count
        limit_bytes = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return float(min(limit_bytes, psutil.virtual_memory().available)) / GB
    return float(min(psutil.virtual_memory().available, _cgroup_free_bytes(_CGROUP))) / GB


def _cgroup_free_bytes(folder: Path) -> float:
    """What a container's own limit (cgroup v2) leaves; infinite without one. File cache counts as free."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        cache = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    except OSError:
        return float("inf")
    if limit == "max":
        return float("inf")
    return max(0, int(limit) - used + (int(cache[1]) if cache else 0))


def preflight(spec: EngineSpec, device: Device, *, needed_gb: float) -> None:
    """Return quietly when ``needed_gb`` (10^9 bytes) are free on the device. Raises `NotEnoughMemory`."""
    have_gb = free_gb(device)
    if needed_gb > have_gb:
        raise NotEnoughMemory(spec, device, needed_gb, have_gb)


def preflight_weights(spec: EngineSpec, device: Device) -> None:
    """Return quietly when the weights of the spec's card, if it has one, fit on the device. Raises `NotEnoughMemory`.

    Cards are about numbers of 16 bits; in 32 the same weights take twice as much.
    """
    if spec.card is not None:
        preflight(spec, device, needed_gb=spec.card.memory_gb * (2 if device.dtype_name == "float32" else 1))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one that caused it, says that memory did not suffice, on any device."""
    import torch

    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False


def smaller_once(run: Callable[[bool], T]) -> T:
    """``run(False)``, and if the memory did not suffice ``run(True)``: the smaller way, such as tiling or halves.

    Raises:
        OutOfMemory: when it does not suffice the second time either; any other error passes as it is.
    """
    result, done = _unless_out_of_memory(run, smaller=False)
    if not done:
        # here the first error and its frames are gone: they would have kept the tensors alive
        release()
        result, done = _unless_out_of_memory(run, smaller=True)
    if not done:
        release()
        raise OutOfMemory
    return result  # type: ignore[return-value]  # done says that there is one


def _unless_out_of_memory(run: Callable[[bool], T], *, smaller: bool) -> tuple[T | None, bool]:
    try:
        return run(smaller), True
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None, False


def check_alive(device: Device) -> None:
    """Compute one small sum on the device and wait for it.

    After some CUDA errors every later call of the process fails; this finds out before a song does.

    Raises:
        DeadDevice: when the device fails or has no memory even for this.
    """
    import torch

    try:
        total = smaller_once(lambda _: float(torch.ones(64, device=device.name).sum().item()))
    except (RuntimeError, MelodeonError) as error:
        raise DeadDevice(device, error) from error
    if total != 64:
        raise DeadDevice(device, ArithmeticError(f"64 ones add up to {total:g}"))


def release(device: Device | None = None) -> None:
    """Give back what nobody uses any more: Python's cycles, then torch's cache on this device (None: any in use)."""
    import torch

    gc.collect()
    kind = device.kind if device else None
    if kind in ("cuda", None) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if kind in ("mps", None) and torch.backends.mps.is_available():
        torch.mps.empty_cache()


def resident_gb() -> float:
    """This process's share of the machine's memory in 10^9 bytes: PSS where the system tells it, else RSS.

    RSS would count what all replicas share (Ray's object store, mapped weights) once for each of them.
    """
    memory = psutil.Process().memory_full_info()
    return float(getattr(memory, "pss", memory.rss)) / GB


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Everything in the block that draws from torch's global generators draws the same for the same seed.

    Some models take no generator where they draw (a VAE samples its latents from the global one). The generators
    of all devices in use are put back afterwards. One block at a time in a process: others wait, the same thread may
    nest.
    """
    import torch

    with _generator_lock, _generators_kept():
        torch.manual_seed(seed)
        yield


@contextmanager
def _generators_kept() -> Iterator[None]:
    import torch

    on_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    on_mps = torch.backends.mps.is_available()
    cpu_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if on_cuda else []
    mps_state = torch.mps.get_rng_state() if on_mps else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if on_cuda:
            torch.cuda.set_rng_state_all(cuda_states)
        if mps_state is not None:
            torch.mps.set_rng_state(mps_state)
