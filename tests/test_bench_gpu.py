"""The GPU bench where there is no card: its plan, its guards, and every part of every model once, tiny."""

import csv
import importlib.util
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "bench" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # the script puts itself at the head of the path
        patch.setattr(sys, "path", ["", *sys.path])
        patch.setitem(sys.modules, "bench_gpu", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def bench(gpu):
    return gpu.Bench(gpu.Place("cpu", torch.float32), until=time.monotonic() + 600, price_per_hour=2.0)


def test_without_a_card_every_part_runs_and_every_row_says_that_it_is_tiny(tmp_path):
    command = [sys.executable, SCRIPT, "--quick", "--cpu", "--json", "--csv", tmp_path / "rows.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    rows = json.loads(done.stdout)["rows"]
    assert {(row["model"], row["part"].split()[0]) for row in rows} == {
        *(("card", part) for part in ("matmul", "copy")),
        *(("2b", part) for part in ("song", "encode", "step", "decode")),
        ("xl", "step"),
        *(("qwen-4b", part) for part in ("read", "write")),
        *((name, part) for name in ("sdxl", "z-image") for part in ("cover", "step", "decode")),
    }
    assert all("tiny, CPU: says nothing about a GPU" in row["note"] for row in rows)
    assert all(row["time_ms"] > 0 and row["floor_ms"] > 0 for row in rows), rows
    assert all(row["cost_each"] == row["per_gpu_hour"] == "" for row in rows)
    with (tmp_path / "rows.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_the_plan_for_a_card_has_every_length_batch_and_way(gpu):
    cases = gpu.plan(tiny=False, quick=False)
    assert len(set(cases)) == len(cases)
    steps = [case for case in cases if case.name == "2b.step"]
    assert {case.audio_s for case in steps} == {30, 60, 120, 240}
    assert {case.batch for case in steps} == {1, 2, 4}
    for part in ("song", "decode"):
        assert {case.audio_s for case in cases if case.name == f"2b.{part}"} == {30, 60, 120, 240}
    assert {"eager", "flash, graphs", "compiled", "tiles"} <= {case.way.label for case in cases}
    assert {case.model for case in cases} == {"2b", "xl", "qwen-4b", "sdxl", "z-image"}
    assert set(gpu.plan(tiny=False, quick=True)) < set(cases)


def test_cases_of_one_build_stand_together(gpu):
    builds = [(case.model, case.way) for case in gpu.plan(tiny=False, quick=False)]
    changes = sum(one != other for one, other in pairwise(builds))
    assert changes + 1 == len(set(builds))


def test_only_the_wanted_cases_run(gpu):
    cases = gpu.plan(tiny=False, quick=False)
    assert {case.name for case in gpu.wanted(cases, "2b.song, sdxl")} == {
        "2b.song",
        "sdxl.cover",
        "sdxl.step",
        "sdxl.decode",
    }
    assert gpu.wanted(cases, "") == cases
    assert gpu.wanted(cases, "card") == []


def test_a_case_that_fails_is_a_row_and_the_next_one_runs(gpu, bench):
    bench.run([gpu.Case("sdxl", "no-such-part"), gpu.Case("sdxl", "step")])
    failed, passed = bench.rows[-2:]
    assert failed["note"].startswith("failed: AttributeError")
    assert failed["time_ms"] == failed["floor_ms"] == ""
    assert passed["time_ms"] > passed["floor_ms"] > 0


def test_when_the_time_is_over_cases_are_left_out_and_said(gpu, bench):
    late = gpu.Bench(gpu.Place("cpu", torch.float32), until=time.monotonic(), price_per_hour=2.0)
    late.run([gpu.Case("2b", "song", audio_s=60.0)])
    assert late.rows[-1]["note"].startswith("left out: no time was left")


def test_the_floor_is_arithmetic_or_traffic_and_a_whole_is_the_sum_of_its_parts(gpu, bench):
    card = gpu.Card(flops_per_s=1e12, bytes_per_s=1e9)
    assert card.floor_s(2e12, 1e9) == 2.0
    assert card.floor_s(1e12, 3e9) == 3.0
    parts = {part: bench._floor_s(gpu.Case("2b", part, audio_s=0.5)) for part in ("encode", "step", "decode", "song")}
    assert parts["song"] == pytest.approx(parts["encode"] + 8 * parts["step"] + parts["decode"])
    assert bench._floor_s(gpu.Case("2b", "decode", audio_s=0.5, batch=2)) == pytest.approx(2 * parts["decode"])


def test_the_full_size_models_have_the_published_sizes(gpu):
    """Made on torch's ``meta`` device, which has shapes and no memory."""
    place = gpu.Place("meta", torch.bfloat16)
    music = gpu.Music("2b", place, gpu.Speed(), tiled=False)
    millions = {name: _millions(getattr(music, name)) for name in ("transformer", "conditioner", "text_encoder", "vae")}
    assert millions == {"transformer": 1575.46, "conditioner": 608.37, "text_encoder": 595.78, "vae": 168.70}
    assert _millions(gpu.Music("xl", place, gpu.Speed(), tiled=False).transformer) == 4168.90


def _millions(module) -> float:
    return round(sum(parameter.numel() for parameter in module.parameters()) / 1e6, 2)
