"""The models of the GPU bench with random weights: full-size on a card, tiny on a processor.

What a kernel costs does not depend on what the weights say, so nothing needs to be fetched. The full sizes are those of
the published checkpoints (ACE-Step 1.5 2B and XL turbo, Qwen3-4B, SDXL, Z-Image-Turbo).
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import (
    AceStepTransformer1DModel,
    AutoencoderKL,
    AutoencoderOobleck,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from serving.engines.acestep_speed import Speed, quicken

LATENTS_PER_S: Final = 25
STEPS: Final = 8
CAPTION_TOKENS: Final = 256
LYRIC_TOKENS: Final = 1024
REFERENCE_LATENTS: Final = 750

_DIT: Final[dict[str, dict[str, Any]]] = {
    "2b": {},
    "xl": {
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "encoder_hidden_size": 2048,
    },
}
_TINY_LAYERS: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": 16,
}
_QWEN: Final[dict[str, dict[str, Any]]] = {
    "embedding": {"vocab_size": 151_669, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28},
    "qwen-4b": {
        "vocab_size": 151_936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
    },
    "tiny": {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    },
}


@dataclass(frozen=True)
class Place:
    """Where the models live and how large they are."""

    device: str
    dtype: torch.dtype

    @property
    def tiny(self) -> bool:
        """On a processor everything is tiny."""
        return self.device == "cpu"

    @contextmanager
    def building(self) -> Iterator[None]:
        """New modules are made here, with values in them (a model made on ``meta`` would have none)."""
        torch.manual_seed(7)
        usual = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            with torch.device(self.device), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            torch.set_default_dtype(usual)

    def noise(self, *shape: int) -> torch.Tensor:
        """Normal numbers of the models' type."""
        return torch.randn(*shape, device=self.device, dtype=self.dtype)

    def tokens(self, batch: int, length: int) -> torch.Tensor:
        """Token numbers that every vocabulary has."""
        return torch.randint(0, 256, (batch, length), device=self.device)


def new_tokens(place: Place) -> int:
    """How many tokens a language model writes in one call."""
    return 4 if place.tiny else 64


class Music:
    """The parts of ACE-Step's pipeline and its three movements, as the pipeline makes them."""

    def __init__(self, name: str, place: Place, speed: Speed, *, tiled: bool) -> None:
        self._place = place
        tiny = place.tiny
        self._latent = 8 if tiny else 64
        dit = {**_TINY_LAYERS, "num_hidden_layers": 2, "in_channels": 24, "audio_acoustic_hidden_dim": 8}
        layers = {"num_lyric_encoder_hidden_layers": 2, "num_timbre_encoder_hidden_layers": 2}
        conditions = {**_TINY_LAYERS, **layers, "text_hidden_dim": 32, "timbre_hidden_dim": 8}
        with place.building():
            self.transformer = AceStepTransformer1DModel(
                **(dit if tiny else _DIT[name]), is_turbo=True, model_version="turbo"
            ).eval()
            self.conditioner = AceStepConditionEncoder(**(conditions if tiny else {})).eval()
            self.text_encoder = _qwen("tiny" if tiny else "embedding", place, causal=False)
            self.vae = _oobleck(tiny=tiny).eval()
        quicken(self, speed)
        if tiled:
            self.vae.enable_tiling()

    def encode(self, batch: int) -> torch.Tensor:
        """Caption, lyrics and timbre to the condition ``[batch, tokens, channels]``."""
        caption, lyrics = (16, 32) if self._place.tiny else (CAPTION_TOKENS, LYRIC_TOKENS)
        device = self._place.device
        encoded, _ = self.conditioner(
            text_hidden_states=self.text_encoder(self._place.tokens(batch, caption)).last_hidden_state,
            text_attention_mask=torch.ones(batch, caption, device=device, dtype=torch.long),
            lyric_hidden_states=self.text_encoder.embed_tokens(self._place.tokens(batch, lyrics)),
            lyric_attention_mask=torch.ones(batch, lyrics, device=device, dtype=torch.long),
            refer_audio_acoustic_hidden_states_packed=self._place.noise(batch, REFERENCE_LATENTS, self._latent),
            refer_audio_order_mask=torch.arange(batch, device=device),
        )
        return encoded

    def start(self, audio_s: float, batch: int) -> dict[str, torch.Tensor]:
        """The inputs of a first step."""
        length = math.ceil(audio_s * LATENTS_PER_S)
        time = torch.ones(batch, device=self._place.device, dtype=self._place.dtype)
        return {
            "hidden_states": self._place.noise(batch, length, self._latent),
            "timestep": time,
            "timestep_r": time,
            "context_latents": self._place.noise(batch, length, 2 * self._latent),
        }

    def step(self, condition: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """One pass of the transformer."""
        return self.transformer(**inputs, encoder_hidden_states=condition, attention_kwargs=None, return_dict=False)[0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents ``[batch, length, channels]`` to sound, one take after the other, as the engine does it."""
        sounds = [self.vae.decode(one.transpose(0, 1).unsqueeze(0)).sample[0].float().cpu() for one in latents]
        return torch.stack(sounds)

    def song(self, audio_s: float, batch: int) -> torch.Tensor:
        """A whole turbo song for each row of the batch: from tokens to samples in the processor's memory."""
        condition = self.encode(batch)
        inputs = self.start(audio_s, batch)
        for step in range(STEPS):
            time = 1 - step / STEPS
            inputs["timestep"] = inputs["timestep_r"] = torch.full_like(inputs["timestep"], time)
            inputs["hidden_states"] = inputs["hidden_states"] - self.step(condition, inputs) / STEPS
        return self.decode(inputs["hidden_states"])


class LanguageModel:
    """A Qwen3 that writes a fixed number of tokens."""

    def __init__(self, place: Place) -> None:
        self._place = place
        with place.building():
            self.model = _qwen("tiny" if place.tiny else "qwen-4b", place, causal=True)

    def read(self, batch: int) -> torch.Tensor:
        """A prompt of 512 tokens, all at once."""
        return self.model(self._place.tokens(batch, 512), logits_to_keep=1).logits

    def one_token(self, batch: int) -> torch.Tensor:
        """What one token costs at least."""
        return self.model(self._place.tokens(batch, 1)).logits

    def write(self, batch: int, *, cache: str | None) -> torch.Tensor:
        """`new_tokens` after a short prompt; ``cache`` "static" lets transformers compile the loop's body."""
        count = new_tokens(self._place)
        asked = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False, "pad_token_id": 0}
        tokens = self._place.tokens(batch, 32)
        mask = torch.ones_like(tokens)
        return self.model.generate(tokens, attention_mask=mask, **asked, cache_implementation=cache)


class Pictures:
    """A denoiser and its decoder, for covers: SDXL-Turbo (4 steps at 512 px) or Z-Image-Turbo (8 at 1024 px)."""

    def __init__(self, name: str, place: Place) -> None:
        self._place = place
        self._sdxl = name == "sdxl"
        self.steps = 4 if self._sdxl else 8
        self._channels = 4 if self._sdxl else 16
        self._side = 8 if place.tiny else 64 if self._sdxl else 128
        with place.building():
            self.denoiser = (_unet if self._sdxl else _z_image)(tiny=place.tiny).eval()
            self.vae = _picture_vae(self._channels, tiny=place.tiny).eval()

    def start(self, batch: int) -> torch.Tensor:
        """Noise of a picture's latents."""
        return self._place.noise(batch, self._channels, self._side, self._side)

    def step(self, latents: torch.Tensor) -> torch.Tensor:
        """One pass of the denoiser without guidance."""
        batch = len(latents)
        tiny = self._place.tiny
        if not self._sdxl:
            texts = list(self._place.noise(batch, 64, 32 if tiny else 2560))
            time = torch.full((batch,), 0.5, device=self._place.device, dtype=self._place.dtype)
            made = self.denoiser([one.unsqueeze(1) for one in latents], time, texts, return_dict=False)[0]
            return torch.stack([one.squeeze(1) for one in made])
        pooled = self._place.noise(batch, 32 if tiny else 1280)
        added = {"text_embeds": pooled, "time_ids": self._place.noise(batch, 6)}
        text = self._place.noise(batch, 77, 64 if tiny else 2048)
        return self.denoiser(latents, 500, text, added_cond_kwargs=added, return_dict=False)[0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents to pixels in the processor's memory."""
        return self.vae.decode(latents, return_dict=False)[0].float().cpu()

    def cover(self, batch: int) -> torch.Tensor:
        """A whole picture for each row."""
        latents = self.start(batch)
        for _ in range(self.steps):
            latents = latents - self.step(latents) / self.steps
        return self.decode(latents)


def _qwen(size: str, place: Place, *, causal: bool) -> Any:
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    ends = {"bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": True}
    model = (Qwen3ForCausalLM if causal else Qwen3Model)(Qwen3Config(**{**heads, **ends, **_QWEN[size]}))
    return model.to(place.device, place.dtype).eval()


def _oobleck(*, tiny: bool) -> Any:
    sizes: dict[str, Any] = {"encoder_hidden_size": 128, "decoder_channels": 128, "decoder_input_channels": 64}
    if tiny:
        sizes = {"encoder_hidden_size": 16, "decoder_channels": 8, "decoder_input_channels": 8}
        sizes["channel_multiples"] = [1, 1, 1, 1, 1]
    return AutoencoderOobleck(**sizes, downsampling_ratios=[2, 4, 4, 6, 10], sampling_rate=48_000)


def _unet(*, tiny: bool) -> Any:
    sizes: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    if tiny:
        sizes = {
            "block_out_channels": (8, 16, 16),
            "layers_per_block": 1,
            "attention_head_dim": (2, 2, 4),
            "transformer_layers_per_block": (1, 1, 1),
            "cross_attention_dim": 64,
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80,
            "norm_num_groups": 4,
        }
    return UNet2DConditionModel(
        **sizes,
        sample_size=64,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        addition_embed_type="text_time",
    )


def _z_image(*, tiny: bool) -> Any:
    sizes = {"dim": 32, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 32}
    made = ZImageTransformer2DModel(**({**sizes, "axes_dims": [8, 4, 4]} if tiny else {}))
    for token in (made.x_pad_token, made.cap_pad_token):
        # the class leaves them to the checkpoint
        torch.nn.init.normal_(token, std=0.02)
    return made


def _picture_vae(channels: int, *, tiny: bool) -> Any:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8) if tiny else (128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1 if tiny else 2,
        norm_num_groups=4 if tiny else 32,
        latent_channels=channels,
        sample_size=64,
    )
