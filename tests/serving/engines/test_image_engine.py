"""Covers by image models: the real pipelines on tiny random weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serving.catalogue import known
from serving.engines.device import NotEnoughMemory
from serving.engines.image import COVER_PX, BadImageOptions, EmptyPicture, ImageModel
from serving.engines.setup import Setup
from studio.words.brief import Brief, BriefKind, Controls, UnfitBrief
from studio.words.take import Cancelled, Progress

BRIEF = Brief(
    kind=BriefKind.COVER,
    description="a warm folk song about walking home at night",
    title="Walking Home",
    artist="ada",
    takes=2,
    controls=Controls(seed=11),
)


@pytest.fixture(scope="module", params=["tiny-sdxl", "tiny-z-image", "tiny-flux2-klein"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model_of(tiny_models: Path) -> Callable[..., ImageModel]:
    held: dict[object, ImageModel] = {}

    def make(name: str, **options: Any) -> ImageModel:
        key = (name, tuple(options.items()))
        if key not in held:
            entry = known().entry(name)
            setup = Setup(
                spec=entry.spec, folder=tiny_models / name, device="cpu", options={**entry.options, **options}
            )
            held[key] = ImageModel(setup)
            held[key].load()
        return held[key]

    return make


@pytest.fixture(scope="module")
def model(model_of, name) -> ImageModel:
    return model_of(name)


def pixels(takes: tuple) -> list[np.ndarray]:
    return [take.result.pixels.astype(int) for take in takes]


def test_covers_are_large_lettered_and_say_how_they_were_made(model, name):
    told: list[Progress] = []
    takes = model.make(BRIEF, told.append)
    assert [take.seed for take in takes] == [11, 12]
    for take in takes:
        assert take.result.pixels.shape == (COVER_PX, COVER_PX, 3)
        assert take.settings["steps"] == 2
        assert take.settings["prompt"].startswith("Walking Home about walking home")
        assert "note" not in take.settings
    fractions = [progress.fraction for progress in told]
    assert (fractions[0], fractions[-1], fractions) == (0.0, 1.0, sorted(fractions))
    assert len(fractions) >= 2 + 2 * 2, "every step of every picture is told"


def test_the_letters_are_the_studios_own(model_of, name):
    bare = model_of(name, letters=False).make(BRIEF, lambda _: None)[0].result.pixels
    assert bare.shape[0] == known().entry(name).options["size_px"]
    lettered = model_of(name).make(BRIEF, lambda _: None)[0].result.pixels
    unnamed = model_of(name).make(replace(BRIEF, title="", artist=""), lambda _: None)[0].result.pixels
    assert lettered[-300:].max() == 255
    assert (lettered != unnamed).any()


def test_a_take_alone_is_the_same_to_the_last_bit(model):
    together = pixels(model.make(BRIEF, lambda _: None))
    alone = pixels(model.make(replace(BRIEF, takes=1, controls=Controls(seed=12)), lambda _: None))
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])


def test_in_a_batch_a_take_is_the_same_but_for_rounding(model_of, name):
    batched = model_of(name, batch=4, letters=False)
    one_by_one = model_of(name, letters=False)
    for one, other in zip(
        pixels(batched.make(BRIEF, lambda _: None)), pixels(one_by_one.make(BRIEF, lambda _: None)), strict=True
    ):
        assert abs(one - other).max() <= 1


def test_several_requests_share_a_batch_and_each_gets_its_own(model_of, name):
    model = model_of(name, batch=4, letters=False)
    other = replace(BRIEF, title="Another Day", description="loud angry rock", takes=1, controls=Controls(seed=3))
    first, second = model.make_many([BRIEF, other], [lambda _: None] * 2)
    assert abs(pixels(second)[0] - pixels(model.make(other, lambda _: None))[0]).max() <= 1
    assert [take.seed for take in first] == [11, 12]


def test_one_request_that_stops_or_is_unfit_does_not_touch_the_others(model_of, name):
    model = model_of(name, batch=4, letters=False)
    heard: list[float] = []

    def leave(progress: Progress) -> None:
        heard.append(progress.fraction)
        if progress.fraction > 0:
            raise Cancelled

    unfit = replace(BRIEF, kind=BriefKind.SONG)
    left, refused, made = model.make_many([BRIEF, unfit, BRIEF], [leave, lambda _: None, lambda _: None])
    assert isinstance(left, Cancelled)
    assert len(heard) == 2, "nobody is told anything after having said stop"
    assert isinstance(refused, UnfitBrief)
    assert len(made) == 2


def test_it_stops_at_the_next_step_when_nobody_waits(model, monkeypatch):
    steps: list[int] = []
    # the real loop, counted where it asks the model
    part = model._pipe.unet if hasattr(model._pipe, "unet") else model._pipe.transformer
    hook = part.register_forward_hook(lambda *_: steps.append(1))

    def stop(progress: Progress) -> None:
        if progress.fraction > 0:
            raise Cancelled

    try:
        with pytest.raises(Cancelled):
            model.make(BRIEF, stop)
    finally:
        hook.remove()
    assert len(steps) == 1


def test_out_of_memory_is_tried_again_smaller(model_of, name, monkeypatch):
    model = model_of(name, batch=4, letters=False)
    usual = pixels(model.make(BRIEF, lambda _: None))
    sizes: list[int] = []
    pipe = model._pipe

    def hungry(**asked: Any) -> Any:
        sizes.append(len(asked["prompt"]))
        if len(asked["prompt"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pipe(**asked)

    hungry.vae, hungry.maybe_free_model_hooks = pipe.vae, pipe.maybe_free_model_hooks
    monkeypatch.setattr(model, "_pipe", hungry)
    smaller = pixels(model.make(BRIEF, lambda _: None))
    assert sizes == [2, 1, 1]
    # decoded in tiles; with random weights that is another picture
    assert [picture.shape for picture in smaller] == [picture.shape for picture in usual]
    assert not pipe.vae.use_tiling


def test_a_request_that_breaks_the_batch_fails_alone(model_of, name, monkeypatch):
    model = model_of(name, batch=4, letters=False)
    pipe = model._pipe

    def fragile(**asked: Any) -> Any:
        if any("Poison" in prompt for prompt in asked["prompt"]):
            raise RuntimeError("shapes do not match")
        return pipe(**asked)

    fragile.vae, fragile.maybe_free_model_hooks = pipe.vae, pipe.maybe_free_model_hooks
    monkeypatch.setattr(model, "_pipe", fragile)
    poison = replace(BRIEF, title="Poison")
    made, failed = model.make_many([BRIEF, poison], [lambda _: None] * 2)
    assert len(made) == 2
    assert isinstance(failed, RuntimeError)


@pytest.mark.parametrize("broken", [float("nan"), 0.0])
def test_a_picture_of_nothing_is_no_picture(model, monkeypatch, broken):
    with torch.no_grad():
        weight = model._pipe.vae.decoder.conv_out.weight
        bias, kept, kept_bias = model._pipe.vae.decoder.conv_out.bias, weight.clone(), None
        kept_bias = bias.clone()
        weight.fill_(broken)
        bias.fill_(broken)
    try:
        with pytest.raises(EmptyPicture, match="empty picture"):
            model.make(BRIEF, lambda _: None)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
            bias.copy_(kept_bias)


def test_forbidden_words_are_left_out_and_the_person_is_told(model):
    take = model.make(replace(BRIEF, title="Naked Swords", takes=1), lambda _: None)[0]
    assert "aked" not in take.settings["prompt"]
    assert take.settings["note"] == "Some words were left out, because covers must not show what they name."


def test_unloading_frees_the_model_and_loading_brings_it_back(tiny_models, name):
    entry = known().entry(name)
    model = ImageModel(Setup(spec=entry.spec, folder=tiny_models / name, device="cpu", options=entry.options))
    before = pixels(model.make(BRIEF, lambda _: None))
    model.unload()
    assert model._pipe is None
    model.load()
    assert np.array_equal(pixels(model.make(BRIEF, lambda _: None))[0], before[0])


@pytest.mark.parametrize("options", [{"step": 4}, {"steps": 0}, {"size_px": 500}, {"batch": "many"}])
def test_options_that_mean_nothing_are_refused_by_name(options):
    spec = known().spec_of("tiny-sdxl")
    with pytest.raises(BadImageOptions, match=next(iter(options))):
        ImageModel(Setup(spec=spec, options=options))


def test_in_32_bits_weights_need_twice_what_the_catalogue_says(tiny_models, monkeypatch):
    monkeypatch.setattr("serving.engines.device.free_gb", lambda _: 30.0)
    entry = known().entry("z-image-turbo")
    model = ImageModel(Setup(spec=entry.spec, folder=tiny_models / "tiny-z-image", device="cpu", options=entry.options))
    with pytest.raises(NotEnoughMemory, match=r"needs 41\.0 GB on cpu"):
        model.load()


def test_the_catalogue_knows_what_the_weights_of_flux2_klein_take():
    """Its published sizes in 16 bits: transformer and image codec of diffusers, and Qwen3 4B as its text encoder."""
    import diffusers
    import transformers

    with torch.device("meta"):
        parts = [
            diffusers.Flux2Transformer2DModel(
                num_layers=5,
                num_single_layers=20,
                num_attention_heads=24,
                joint_attention_dim=7_680,
                guidance_embeds=False,
            ),
            diffusers.AutoencoderKLFlux2(),
            transformers.Qwen3Model(
                transformers.Qwen3Config(
                    vocab_size=151_936,
                    hidden_size=2_560,
                    intermediate_size=9_728,
                    num_hidden_layers=36,
                    num_attention_heads=32,
                    num_key_value_heads=8,
                    head_dim=128,
                )
            ),
        ]
    taken_gb = 2 * sum(weight.numel() for part in parts for weight in part.parameters()) / 1e9
    assert known().spec_of("flux2-klein-4b").card.memory_gb == pytest.approx(taken_gb, abs=0.1)
