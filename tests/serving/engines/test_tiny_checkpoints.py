"""Tiny checkpoints load through the real classes, sound like something and are the same bytes each time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving.engines.tiny import AUDIO_CODES, TINY

MOST_BYTES = 4_000_000


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", TINY)
def test_two_builds_give_the_same_small_safe_files(name: str, tiny_models: Path, tmp_path: Path) -> None:
    import torch

    torch.rand(3)  # whatever was drawn before must not matter
    before = torch.get_rng_state()
    TINY[name](tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    built = digests(tmp_path)
    first = digests(tiny_models / f"tiny-{name}")
    first.pop("melodeon-checkpoint.json", None)
    assert built == first
    assert {Path(file).suffix for file in built} <= {".safetensors", ".json", ".jinja", ".txt"}
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < MOST_BYTES


def test_another_process_with_another_hash_seed_builds_the_same(tiny_models: Path, tmp_path: Path) -> None:
    program = "import sys, pathlib; from serving.engines.tiny import TINY; TINY['planner'](pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, env={**os.environ, "PYTHONHASHSEED": "77"}
    )
    first = digests(tiny_models / "tiny-planner")
    first.pop("melodeon-checkpoint.json", None)
    assert digests(tmp_path) == first


@pytest.mark.parametrize(("name", "is_turbo"), [("ace-step-turbo", True), ("ace-step-base", False)])
def test_ace_step_is_audible_stereo_at_48_khz(name: str, is_turbo: bool, tiny_models: Path) -> None:
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_models / f"tiny-{name}", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline, diffusers.AceStepPipeline)
    assert pipeline.is_turbo is is_turbo
    assert (pipeline.sample_rate, pipeline.latents_per_second) == (48_000, 25.0)
    sound = pipeline(
        prompt=["calm lo-fi"],
        lyrics=["[verse]\nla"],
        audio_duration=2.0,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(5),
    ).audios[0]
    samples = sound.numpy()
    assert samples.shape == (2, 96_000)
    assert np.isfinite(samples).all()
    assert samples.reshape(2, 20, -1).std(axis=-1).min() > 0.005  # every tenth of a second is heard
    assert np.abs(samples.mean(axis=1)).max() < 1e-4


@pytest.mark.parametrize("name", ["sdxl", "z-image", "flux2-klein"])
def test_image_models_paint_by_seed_without_guidance(name: str, tiny_models: Path) -> None:
    import diffusers
    import torch

    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(tiny_models / f"tiny-{name}", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def paint(seed: int) -> np.ndarray:
        image = pipeline(
            prompt="a red boat",
            num_inference_steps=2,
            guidance_scale=0.0,
            height=64,
            width=64,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        return np.asarray(image)

    first = paint(1)
    assert first.shape == (64, 64, 3)
    assert first.std() > 1.0
    assert np.array_equal(first, paint(1))
    assert not np.array_equal(first, paint(2))


@pytest.mark.parametrize("name", ["qwen", "planner"])
def test_language_models_generate_in_left_padded_batches(name: str, tiny_models: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_models / f"tiny-{name}"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    talk = [{"role": "user", "content": "Ünïcode\n and  spaces"}]
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    batch = tokenizer([text, "short"], padding=True, return_tensors="pt")
    assert tokenizer.padding_side == "left"
    written = model.generate(**batch, max_new_tokens=4, do_sample=False)
    assert written.shape == (2, batch["input_ids"].shape[1] + 4)


def test_the_planners_codes_are_single_and_special_tokens_as_in_the_real_one(tiny_models: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "tiny-planner", local_files_only=True)
    codes = "".join(f"<|audio_code_{number}|>" for number in (0, 7, AUDIO_CODES - 1))
    ids = tokenizer(codes).input_ids
    assert len(ids) == 3
    assert tokenizer.decode(ids) == codes
    assert tokenizer.decode(ids, skip_special_tokens=True) == ""
