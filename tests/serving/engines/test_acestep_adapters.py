"""LoRA adapters of ACE-Step: chosen by name, weighed, forgotten, refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from serving.catalogue import known
from serving.engines.acestep import AceStep
from serving.engines.acestep_adapters import HELD, BadAdapter, UnknownAdapter
from serving.engines.setup import Setup
from studio.words.brief import Brief, Controls
from studio.words.engine_spec import NumberControl

RANK = 4
DEFAULT = "pytorch_lora_weights.safetensors"


def write_adapter(folder: Path, *, seed: int = 1, peft: bool = False, prefix: str = "", width: int = 32) -> Path:
    """Random weights for the query projections, as diffusers writes them or as ACE-Step's own trainer does."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    name = "q_proj" if peft else "to_q"
    state = {}
    for layer in range(2):
        place = f"{'base_model.model.' if peft else 'transformer.'}{prefix}layers.{layer}.self_attn.{name}"
        state[f"{place}.lora_A.weight"] = torch.randn((RANK, width), generator=draw)
        state[f"{place}.lora_B.weight"] = torch.randn((64, RANK), generator=draw)
    save_file(state, folder / ("adapter_model.safetensors" if peft else DEFAULT))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    write_adapter(folder / "lofi-v1.2")
    write_adapter(folder / "metal", seed=2)
    write_adapter(folder / "quiet", seed=1)
    return folder


@pytest.fixture(scope="module")
def engine(tiny_models, folder) -> AceStep:
    torch.set_num_threads(1)
    spec = known().spec_of("tiny-ace-step-turbo")
    controls = (replace(one, least=1.0) if isinstance(one, NumberControl) else one for one in spec.controls)
    options = {"adapters": str(folder), "adapter_weights": {"quiet": 0.0}}
    setup = Setup(
        spec=replace(spec, controls=tuple(controls)),
        folder=tiny_models / "tiny-ace-step-turbo",
        device="cpu",
        options=options,
    )
    engine = AceStep(setup)
    engine.load()
    return engine


def take(engine: AceStep, adapter: str = ""):
    controls = Controls(duration_s=1.0, steps=2, seed=5)
    (made,) = engine.make(Brief(prompt="folk", adapter=adapter, takes=1, controls=controls), lambda _: None)
    return made


def sound(engine: AceStep, adapter: str = "") -> np.ndarray:
    return take(engine, adapter).result.clip.samples


@pytest.fixture(scope="module")
def plain(engine) -> np.ndarray:
    return sound(engine)


def test_an_adapter_changes_the_sound_and_is_gone_for_the_next_request(engine, plain):
    lofi, metal = sound(engine, "lofi-v1.2"), sound(engine, "metal")
    assert not np.array_equal(lofi, plain)
    assert not np.array_equal(metal, lofi)
    assert np.array_equal(sound(engine), plain)
    assert np.array_equal(sound(engine, "lofi-v1.2"), lofi)


def test_weight_0_is_the_plain_model_and_stands_in_the_settings(engine, plain):
    made = take(engine, "quiet")
    assert np.array_equal(made.result.clip.samples, plain)
    assert (made.settings["adapter"], made.settings["adapter_weight"]) == ("quiet", 0.0)


@pytest.mark.parametrize("name", ["jazz", "lofi", "metal2"])
def test_an_unknown_adapter_is_refused_and_the_others_are_named(engine, name):
    with pytest.raises(UnknownAdapter, match=r"choose one of: lofi-v1\.2, metal, quiet\."):
        take(engine, name)


def test_an_adapter_from_elsewhere_is_kept_over_an_unload_until_it_is_forgotten(engine, plain, tmp_path):
    engine.load_adapter("mine", write_adapter(tmp_path / "x", seed=9))
    mine = sound(engine, "mine")
    assert not np.array_equal(mine, plain)
    engine.unload()
    assert np.array_equal(sound(engine, "mine"), mine)
    engine.unload_adapter("mine")
    with pytest.raises(UnknownAdapter):
        take(engine, "mine")
    assert np.array_equal(sound(engine), plain)


def test_loading_a_name_again_takes_the_new_weights(engine, tmp_path):
    engine.load_adapter("mine", write_adapter(tmp_path / "x", seed=9))
    first = sound(engine, "mine")
    engine.load_adapter("mine", write_adapter(tmp_path / "y", seed=10))
    assert not np.array_equal(sound(engine, "mine"), first)
    engine.unload_adapter("mine")


def test_only_so_many_are_held_and_the_others_come_back_when_asked_for(engine, folder):
    for number in range(HELD + 2):
        write_adapter(folder / f"many{number}", seed=number + 20)
    sounds = [sound(engine, f"many{number}") for number in range(HELD + 2)]
    assert len(engine._model.pipe.get_list_adapters()["transformer"]) == HELD
    assert np.array_equal(sound(engine, "many0"), sounds[0])


def test_an_adapter_of_ace_steps_own_trainer_has_its_own_strength(engine, tmp_path):
    plain_peft = write_adapter(tmp_path / "a", seed=3, peft=True)
    diffusers = write_adapter(tmp_path / "b", seed=3)
    engine.load_adapter("same", diffusers)
    engine.load_adapter("peft", plain_peft)
    assert np.array_equal(sound(engine, "peft"), sound(engine, "same"))
    (plain_peft / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 2 * RANK}))
    engine.load_adapter("peft", plain_peft)
    assert not np.array_equal(sound(engine, "peft"), sound(engine, "same"))
    for name in ("same", "peft"):
        engine.unload_adapter(name)


def empty(folder: Path) -> None:
    folder.mkdir()


def pickled(folder: Path) -> None:
    write_adapter(folder)
    (folder / DEFAULT).rename(folder / "pytorch_lora_weights.bin")


def two(folder: Path) -> None:
    write_adapter(folder)
    (folder / "more.safetensors").write_bytes((folder / DEFAULT).read_bytes())


def truncated(folder: Path) -> None:
    write_adapter(folder)
    (folder / DEFAULT).write_bytes((folder / DEFAULT).read_bytes()[:-100])


def other_model(folder: Path) -> None:
    write_adapter(folder, prefix="down_blocks.")


def other_size(folder: Path) -> None:
    write_adapter(folder, width=48)


def no_lora(folder: Path) -> None:
    folder.mkdir()
    save_file({"weight": torch.zeros(2)}, folder / DEFAULT)


def bad_config(folder: Path) -> None:
    write_adapter(folder)
    (folder / "adapter_config.json").write_text('{"r": 0, "lora_alpha": 8}')


@pytest.mark.parametrize(
    "write", [empty, pickled, two, truncated, other_model, other_size, no_lora, bad_config], ids=lambda f: f.__name__
)
def test_files_that_are_no_adapter_of_this_model_are_refused_and_leave_no_trace(
    engine, plain, tmp_path, write: Callable[[Path], None]
):
    write(tmp_path / "bad")
    with pytest.raises(BadAdapter, match="“bad” cannot be used"):
        engine.load_adapter("bad", tmp_path / "bad")
    assert np.array_equal(sound(engine), plain)
    assert not np.array_equal(sound(engine, "metal"), plain)
