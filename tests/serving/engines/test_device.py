"""Devices: the choice, memory, health and the one global generator, on whatever this machine really has.

What needs a card runs where there is one and is skipped elsewhere; nothing pretends to be a card.
"""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from serving.engines import device as devices
from serving.engines.device import (
    DeadDevice,
    Device,
    NoDevice,
    NotEnoughMemory,
    OutOfMemory,
    check_alive,
    choose_device,
    free_gb,
    is_out_of_memory,
    preflight,
    preflight_weights,
    release,
    resident_gb,
    seeded,
    smaller_once,
)
from studio.words.brief import BriefKind
from studio.words.engine_spec import EngineSpec, ModelCard

CPU = Device(kind="cpu", dtype_name="float32")
SPEC = EngineSpec(name="big", label="Big model", version="1", kinds=(BriefKind.SONG,))
HAS_CUDA = torch.cuda.is_available()
HAS_MPS = torch.backends.mps.is_available()
needs_cuda = pytest.mark.skipif(not HAS_CUDA, reason="no CUDA card here")
IMPOSSIBLE_BYTES = 1 << 50


def devour(*_: object) -> torch.Tensor:
    """Really ask for more memory than any machine has."""
    return torch.empty(IMPOSSIBLE_BYTES, dtype=torch.uint8)


def out_of_memory_error() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        devour()
    return caught.value


def test_auto_takes_the_best_there_is() -> None:
    best = "cuda" if HAS_CUDA else "mps" if HAS_MPS else "cpu"
    assert choose_device("auto").kind == best


def test_the_cpu_computes_with_32_bits() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("cpu", low_precision=False) == CPU
    assert (CPU.name, CPU.dtype) == ("cpu", torch.float32)


@pytest.mark.skipif(HAS_CUDA, reason="a CUDA card is here")
@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:3"])
def test_an_absent_cuda_card_is_a_sentence(wanted: str) -> None:
    with pytest.raises(NoDevice, match=rf"“{wanted}” cannot be used here.*CUDA.*device: cpu") as caught:
        choose_device(wanted)
    assert caught.value.code == "no_device"


@pytest.mark.skipif(HAS_MPS, reason="this is a Mac")
def test_absent_mps_is_a_sentence() -> None:
    with pytest.raises(NoDevice, match="MPS needs an Apple processor"):
        choose_device("mps")


@pytest.mark.parametrize("wanted", ["", "gpu", "CUDA", "cpu:1", "mps:0", "cuda:", "cuda:-1", "cuda:0 "])
def test_other_words_are_refused(wanted: str) -> None:
    with pytest.raises(NoDevice, match="the words are auto, cuda, cuda:1, mps and cpu"):
        choose_device(wanted)


@needs_cuda
def test_a_cuda_card_gets_16_bits_and_tells_its_memory() -> None:
    card = choose_device("cuda")
    assert (card.name, card.dtype_name in ("bfloat16", "float16")) == ("cuda:0", True)
    assert choose_device("cuda", low_precision=False).dtype_name == "float32"
    with pytest.raises(NoDevice, match="cards are visible"):
        choose_device("cuda:99")
    check_alive(card)
    before_gb = free_gb(card)
    block = torch.empty(200_000_000, dtype=torch.uint8, device=card.name)
    assert before_gb - free_gb(card) == pytest.approx(0.2, abs=0.05)
    del block
    release(card)
    assert free_gb(card) == pytest.approx(before_gb, abs=0.05)


@needs_cuda
def test_cuda_generators_are_seeded_and_put_back() -> None:
    torch.rand(1, device="cuda")
    before = torch.cuda.get_rng_state()
    with seeded(3):
        first = torch.rand(4, device="cuda")
    with seeded(3):
        assert torch.equal(torch.rand(4, device="cuda"), first)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_free_memory_is_part_of_the_machine() -> None:
    import psutil

    assert 0 < free_gb(CPU) <= psutil.virtual_memory().total / 1e9


@pytest.mark.parametrize(
    ("limit", "current", "cache", "free"),
    [("8000", "5000", "1500", 4500), ("8000", "9500", "0", 0), ("max", "5000", "0", float("inf"))],
)
def test_a_containers_limit_counts(limit: str, current: str, cache: str, free: float, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(current + "\n")
    (tmp_path / "memory.stat").write_text(f"anon 100\ninactive_file {cache}\nactive_file 3\n")
    assert devices._cgroup_free_bytes(tmp_path) == free


def test_no_container_no_limit(tmp_path: Path) -> None:
    assert devices._cgroup_free_bytes(tmp_path) == float("inf")


def test_preflight_says_what_is_needed_and_what_to_do() -> None:
    preflight(SPEC, CPU, needed_gb=0.0)
    with pytest.raises(NotEnoughMemory, match=r"Big model needs 99999\.0 GB on cpu, \d+\.\d GB are free: choose"):
        preflight(SPEC, CPU, needed_gb=99_999.0)


def test_weights_take_twice_as_much_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_gb", lambda _: 10.0)
    spec = replace(
        SPEC, card=ModelCard(source="a/b", revision="main", architecture="X", memory_gb=6.0, download_gb=6.0)
    )
    preflight_weights(spec, Device(kind="cuda", dtype_name="bfloat16"))
    with pytest.raises(NotEnoughMemory, match=r"needs 12\.0 GB on cpu, 10\.0 GB are free"):
        preflight_weights(spec, CPU)
    preflight_weights(replace(spec, card=None), CPU)


def test_a_card_is_told_to_offload() -> None:
    error = NotEnoughMemory(SPEC, Device(kind="cuda", dtype_name="bfloat16"), 11.5, 8.2)
    assert "needs 11.5 GB on cuda:0, 8.2 GB are free: choose a smaller checkpoint (such as turbo 2B) or offload." in (
        error.sentence
    )


def test_real_out_of_memory_errors_are_known() -> None:
    assert is_out_of_memory(out_of_memory_error())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(MemoryError())
    wrapped = ValueError("the pipeline failed")
    wrapped.__cause__ = out_of_memory_error()
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "text",
    [
        "MPS backend out of memory (MPS allocated: 17.9 GB, other allocations: 1 GB, max allowed: 18.1 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_the_texts_of_other_backends_are_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_out_of_memory(None)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("not enough memory words"))
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(caught.value)


def test_enough_memory_runs_once() -> None:
    tried: list[bool] = []

    def run(smaller: bool) -> str:
        tried.append(smaller)
        return "made"

    assert smaller_once(run) == "made"
    assert tried == [False]


def test_too_little_memory_is_tried_smaller_once() -> None:
    tried: list[bool] = []

    def run(smaller: bool) -> str | torch.Tensor:
        tried.append(smaller)
        return "made in pieces" if smaller else devour()

    assert smaller_once(run) == "made in pieces"
    assert tried == [False, True]


def test_too_little_memory_twice_is_a_sentence() -> None:
    tried: list[bool] = []

    def run(smaller: bool) -> torch.Tensor:
        tried.append(smaller)
        return devour()

    with pytest.raises(OutOfMemory, match="shorter length") as caught:
        smaller_once(run)
    assert caught.value.code == "out_of_memory"
    assert tried == [False, True]


def test_a_first_try_leaves_nothing_alive_for_the_second() -> None:
    """The failed try's frames hold its tensors; they must be gone before the second try."""
    import weakref

    remains: list[weakref.ref[torch.Tensor]] = []

    def run(smaller: bool) -> bool:
        if smaller:
            return remains[0]() is None
        large = torch.zeros(1000)
        remains.append(weakref.ref(large))
        devour(large)
        return False

    assert smaller_once(run)


@pytest.mark.parametrize("error", [ValueError("wrong"), RuntimeError("shape"), KeyboardInterrupt()])
def test_other_errors_pass_and_are_not_tried_again(error: BaseException) -> None:
    tried: list[bool] = []

    def run(smaller: bool) -> None:
        tried.append(smaller)
        raise error

    with pytest.raises(type(error)) as caught:
        smaller_once(run)
    assert caught.value is error
    assert tried == [False]


def test_a_device_that_answers_is_alive() -> None:
    check_alive(CPU)


@pytest.mark.skipif(HAS_CUDA or HAS_MPS, reason="an accelerator is here")
def test_a_device_that_does_not_answer_is_dead() -> None:
    """Meta tensors have no values: the one device here that truly fails when asked for a sum."""
    with pytest.raises(DeadDevice, match=r"device meta answers no more .* must be restarted"):
        check_alive(Device(kind="meta", dtype_name="float32"))


def test_release_and_resident_memory() -> None:
    release()
    release(CPU)
    before_gb = resident_gb()
    block = torch.ones(400_000_000, dtype=torch.uint8)
    # shares of libraries change when other processes come and go
    assert resident_gb() - before_gb == pytest.approx(0.4, abs=0.15)
    del block
    assert 0.05 < resident_gb() < 100


def test_seeded_blocks_draw_the_same_and_leave_no_trace() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(7):
        first = torch.rand(4)
        with seeded(8):
            inner = torch.rand(4)
    assert torch.equal(torch.rand(2), expected)
    with seeded(7):
        assert torch.equal(torch.rand(4), first)
    assert not torch.equal(first, inner)


def test_seeded_puts_the_generator_back_after_an_error() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with seeded(7):
            torch.rand(4)
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_blocks_of_several_threads_do_not_mix() -> None:
    drawn: list[torch.Tensor] = []

    def draw() -> None:
        with seeded(5):
            drawn.append(torch.cat([torch.rand(1) for _ in range(400)]))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with seeded(5):
        one_by_one = torch.cat([torch.rand(1) for _ in range(400)])
    assert len(drawn) == 4
    assert all(torch.equal(numbers, one_by_one) for numbers in drawn)
