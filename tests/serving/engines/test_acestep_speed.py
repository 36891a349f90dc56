"""What makes ACE-Step fast computes what diffusers computes."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from serving.engines.acestep_speed import (  # noqa: E402
    REACH_LATENTS,
    TILE_LATENTS,
    BadSpeed,
    Speed,
    StepGraphs,
    decoded_in_tiles,
    forget_graphs,
    quicken,
    windowed,
)


def transformer():
    torch.manual_seed(1)
    return diffusers.AceStepTransformer1DModel(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        in_channels=24,
        audio_acoustic_hidden_dim=8,
        sliding_window=16,
        is_turbo=True,
    ).eval()


def decoder():
    torch.manual_seed(1)
    with pytest.warns(FutureWarning, match="weight_norm"):
        vae = diffusers.AutoencoderOobleck(
            encoder_hidden_size=16,
            downsampling_ratios=[2, 4, 4, 6, 10],
            channel_multiples=[1, 1, 1, 1, 1],
            decoder_channels=8,
            decoder_input_channels=8,
            sampling_rate=48_000,
        )
    return vae.eval()


def step(model, frames: int = 301):
    torch.manual_seed(2)
    return model(
        hidden_states=torch.randn(2, frames, 8),
        timestep=torch.full((2,), 0.5),
        timestep_r=torch.full((2,), 0.5),
        encoder_hidden_states=torch.randn(2, 20, 32),
        context_latents=torch.randn(2, frames, 16),
        return_dict=False,
    )[0]


@settings(max_examples=40)
@given(length=st.integers(1, 90), window=st.integers(1, 40), groups=st.sampled_from([1, 2, 4]))
def test_blocks_of_windows_are_attention_behind_a_band(length, window, groups):
    torch.manual_seed(length)
    query = torch.randn(2, length, 4, 8)
    key, value = torch.randn(2, 2, length, 4 // groups, 8).unbind()
    place = torch.arange(length)
    band = (place[:, None] - place[None, :]).abs() <= window
    heads = [tokens.transpose(1, 2).repeat_interleave(times, 1) for tokens, times in ((key, groups), (value, groups))]
    expected = torch.nn.functional.scaled_dot_product_attention(query.transpose(1, 2), *heads, attn_mask=band)
    found = windowed(query, key, value, window=window, scale=8**-0.5)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("frames", [20, 301])
def test_the_transformer_answers_the_same_with_attention_by_window(frames):
    plain, quick = transformer(), transformer()
    quicken(SimpleNamespace(transformer=quick, vae=None), Speed(attention="window"))
    with torch.no_grad():
        assert torch.allclose(step(quick, frames), step(plain, frames), atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("length", [60, 65, 99])
def test_tiles_of_one_size_give_the_sound_of_one_decoding(monkeypatch, length, channels_last):
    # on a processor 512 latents take half a minute
    monkeypatch.setattr("serving.engines.acestep_speed.TILE_LATENTS", 64)
    plain, quick = decoder(), decoder()
    quicken(SimpleNamespace(transformer=None, vae=quick), Speed(tiles=True, channels_last=channels_last))
    quick.enable_tiling()
    latents = torch.randn(1, 8, length)
    with torch.no_grad():
        expected = plain.decode(latents).sample
        found = quick.decode(latents).sample
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_decoders_weights_move_with_it_as_offload_needs(channels_last):
    plain, quick = decoder(), decoder()
    quicken(SimpleNamespace(transformer=None, vae=quick), Speed(tiles=True, channels_last=channels_last))
    latents = torch.randn(1, 8, 4, dtype=torch.float64)
    with torch.no_grad():
        # another precision stands for another device, of which a processor has only one
        expected = plain.to(torch.float64).decode(latents).sample
        found = quick.to(torch.float64).decode(latents).sample
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", [torch.nn.Conv1d, torch.nn.ConvTranspose1d])
def test_channels_lie_together_in_the_weights_also_after_a_move(kind):
    vae = decoder()
    quicken(SimpleNamespace(transformer=None, vae=vae), Speed(tiles=True, channels_last=True))
    vae.to(torch.float64)
    weights = [module.weight.unsqueeze(2) for module in vae.decoder.modules() if isinstance(module, kind)]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@settings(max_examples=60)
@given(length=st.integers(TILE_LATENTS + 1, 6 * TILE_LATENTS))
def test_tiles_cover_every_latent_once_and_none_near_an_inner_edge(length):
    shapes = set()

    def decode(tile):
        shapes.add(tile.shape[-1])
        inner = tile.clone()
        if tile[0, 0, 0] > 0:
            inner[..., : REACH_LATENTS - 1] = -1
        if tile[0, 0, -1] < length - 1:
            inner[..., -REACH_LATENTS + 1 :] = -1
        return inner.repeat_interleave(3, dim=-1)

    latents = torch.arange(length, dtype=torch.float64).expand(1, 1, length)
    assert torch.equal(decoded_in_tiles(decode, latents), latents.repeat_interleave(3, dim=-1))
    assert shapes == {TILE_LATENTS}


def test_a_far_latent_does_not_reach_a_sample():
    vae = decoder()
    latents = torch.randn(1, 8, 40)
    moved = latents.clone()
    moved[..., 20 + REACH_LATENTS :] += 10
    with torch.no_grad():
        one, other = vae.decode(latents).sample, vae.decode(moved).sample
    assert torch.equal(one[..., : 21 * 1920], other[..., : 21 * 1920])
    assert not torch.equal(one, other)


def test_options_of_other_things_are_left_alone_and_wrong_values_refused():
    assert Speed.of({"shift": 3, "tiles": True, "attention": "window"}) == Speed(tiles=True, attention="window")
    with pytest.raises(BadSpeed, match="graphs"):
        Speed.of({"graphs": "yes"})
    with pytest.raises(BadSpeed, match="attention"):
        quicken(SimpleNamespace(transformer=transformer(), vae=None), Speed(attention="no-such-backend"))


def test_without_a_card_steps_are_not_recorded():
    model = transformer()
    pipe = SimpleNamespace(transformer=model, vae=None)
    quicken(pipe, Speed(graphs=True))
    forget_graphs(pipe)
    assert not isinstance(model.forward, StepGraphs)
    assert step(model).shape == (2, 301, 8)
