"""Tiny checkpoints: the real classes of each model engine at toy size, with seeded random weights.

No weights can be fetched where this product is built and tested, and a laptop may have no network either. These
checkpoints take the same loading and inference code as the full-size ones: a folder of safetensors and JSON, under
4 MB, written in well under a second and byte for byte the same each time. What they make is noise of the right shape,
never music. A catalogue entry names one as ``source = "tiny:qwen"``; ``melodeon models fetch`` writes it.

The sizes keep what callers can see: 48 kHz stereo and 25 latents a second for ACE-Step, 5 codes a second for the
planner, an eightfold image decoder, chat templates and control tokens of the real tokenizers.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from serving.engines.device import seeded

SEED: Final = 20_260_208
AUDIO_CODES: Final = 640
"""Codes that the tiny planner knows; the real one has 64,000."""

_CHATML: Final = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
"""Qwen's chat format; as there, ``enable_thinking=False`` closes the thoughts before they begin."""

_END_OF_TEXT: Final = "<|endoftext|>"
_TURN_START: Final = "<|im_start|>"
_TURN_END: Final = "<|im_end|>"


def _byte_tokenizer(*, chat: bool = False, words: Sequence[str] = (), padding_side: str = "right") -> Any:
    """A tokenizer that needs no files: the 256 bytes, no merges, Qwen's control tokens; any text survives it.

    Args:
        chat: adds ``<think>``, ``</think>`` and the ChatML template.
        words: further tokens that stay whole, such as ``<|audio_code_7|>``; they are special as in the planner's own
            tokenizer, so that decoding with ``skip_special_tokens`` leaves them out.
        padding_side: ``"left"`` for what generates in batches.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([_END_OF_TEXT, _TURN_START, _TURN_END])
    thoughts = ("<think>", "</think>") if chat else ()
    inner.add_tokens([AddedToken(word, normalized=False, special=False) for word in thoughts])
    inner.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in words])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=_TURN_END,
        pad_token=_END_OF_TEXT,
        padding_side=padding_side,
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
    if chat:
        tokenizer.chat_template = _CHATML
    return tokenizer


def _rounded_to_64(size: int) -> int:
    return -(-size // 64) * 64


def _qwen3_config(tokenizer: Any, **sizes: Any) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(
        **{
            "vocab_size": _rounded_to_64(len(tokenizer)),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **sizes,
        }
    )


def _language_model(folder: Path, words: Sequence[str] = ()) -> None:
    from transformers import Qwen3ForCausalLM

    tokenizer = _byte_tokenizer(chat=True, words=words, padding_side="left")
    with seeded(SEED):
        model = Qwen3ForCausalLM(_qwen3_config(tokenizer))
    _save(model, folder)
    tokenizer.save_pretrained(folder)


def _qwen(folder: Path) -> None:
    _language_model(folder)


def _planner(folder: Path) -> None:
    _language_model(folder, [f"<|audio_code_{number}|>" for number in range(AUDIO_CODES)])


_ACE_LAYERS: Final[Mapping[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": 16,
}
_ACE_LATENT: Final = 8


def _ace_step(folder: Path, *, version: str) -> None:
    import diffusers
    from diffusers.pipelines.ace_step import modeling_ace_step as parts
    from transformers import Qwen3Model

    tokenizer = _byte_tokenizer()
    pooled = {
        **_ACE_LAYERS,
        "audio_acoustic_hidden_dim": _ACE_LATENT,
        "pool_window_size": 5,
        "num_attention_pooler_hidden_layers": 1,
    }
    with seeded(SEED):
        pipeline = diffusers.AceStepPipeline(
            vae=_audible_oobleck(),
            text_encoder=Qwen3Model(_qwen3_config(tokenizer, hidden_size=32, intermediate_size=64)),
            tokenizer=tokenizer,
            transformer=diffusers.AceStepTransformer1DModel(
                **_ACE_LAYERS,
                num_hidden_layers=2,
                in_channels=3 * _ACE_LATENT,
                audio_acoustic_hidden_dim=_ACE_LATENT,
                is_turbo=version == "turbo",
                model_version=version,
            ),
            condition_encoder=parts.AceStepConditionEncoder(
                **_ACE_LAYERS,
                text_hidden_dim=32,
                timbre_hidden_dim=_ACE_LATENT,
                num_lyric_encoder_hidden_layers=2,
                num_timbre_encoder_hidden_layers=2,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
            audio_tokenizer=parts.AceStepAudioTokenizer(**pooled, fsq_dim=32),
            audio_token_detokenizer=parts.AceStepAudioTokenDetokenizer(**pooled),
        )
        pipeline.condition_encoder.silence_latent.normal_(std=0.1)
    _save_pipeline(pipeline, folder)


def _audible_oobleck() -> Any:
    """The sound decoder, with whatever makes a constant taken out.

    With random biases and an output filter that passes 0 Hz most of the sound would be one constant, which the quality
    gates rightly refuse. Without them what is heard follows the latents.
    """
    from diffusers import AutoencoderOobleck

    vae = AutoencoderOobleck(
        encoder_hidden_size=2 * _ACE_LATENT,
        downsampling_ratios=[2, 4, 4, 6, 10],
        channel_multiples=[1, 1, 1, 1, 1],
        decoder_channels=_ACE_LATENT,
        decoder_input_channels=_ACE_LATENT,
        audio_channels=2,
        sampling_rate=48_000,
    )
    for name, parameter in vae.decoder.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    taps = vae.decoder.conv2.weight_v.data
    taps -= taps.mean(dim=-1, keepdim=True)
    return vae


def _clip_encoder(kind: type, **more: Any) -> Any:
    from transformers import CLIPTextConfig

    return kind(
        CLIPTextConfig(
            vocab_size=320,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="gelu",
            **more,
        )
    )


def _sdxl(folder: Path) -> None:
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = _byte_tokenizer()
    tokenizer.model_max_length = 77
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    with seeded(SEED):
        pipeline = diffusers.StableDiffusionXLPipeline(
            vae=diffusers.AutoencoderKL(
                block_out_channels=(8, 8, 8, 8),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                latent_channels=4,
                norm_num_groups=4,
                sample_size=64,
                scaling_factor=0.13025,
            ),
            text_encoder=_clip_encoder(CLIPTextModel, projection_dim=32, **ends),
            text_encoder_2=_clip_encoder(CLIPTextModelWithProjection, projection_dim=32, **ends),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=diffusers.UNet2DConditionModel(
                block_out_channels=(8, 16, 16),
                layers_per_block=1,
                sample_size=8,
                in_channels=4,
                out_channels=4,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=(2, 2, 4),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 1, 1),
                projection_class_embeddings_input_dim=80,
                cross_attention_dim=64,
                norm_num_groups=4,
            ),
            scheduler=diffusers.EulerAncestralDiscreteScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing"
            ),
            add_watermarker=False,
        )
    _save_pipeline(pipeline, folder)


def _z_image(folder: Path) -> None:
    import diffusers
    import torch
    from transformers import Qwen3Model

    tokenizer = _byte_tokenizer(chat=True)
    with seeded(SEED):
        transformer = diffusers.ZImageTransformer2DModel(
            in_channels=16,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 512, 512],
        )
        for name in ("x_pad_token", "cap_pad_token"):
            # the class leaves them uninitialised: trained weights always follow
            torch.nn.init.normal_(getattr(transformer, name), std=0.02)
        pipeline = diffusers.ZImagePipeline(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0),
            vae=diffusers.AutoencoderKL(
                block_out_channels=(8, 8, 8, 8),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                latent_channels=16,
                norm_num_groups=4,
                sample_size=64,
                scaling_factor=0.3611,
                shift_factor=0.1159,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            text_encoder=Qwen3Model(_qwen3_config(tokenizer, hidden_size=32, intermediate_size=64)),
            tokenizer=tokenizer,
            transformer=transformer,
        )
    _save_pipeline(pipeline, folder)


_FLUX2_LATENT: Final = 4
"""Channels of its image codec; the transformer sees squares of two by two."""


def _flux2_klein(folder: Path) -> None:
    import diffusers
    from transformers import Qwen3ForCausalLM

    tokenizer = _byte_tokenizer(chat=True)
    # the pipeline reads the text after layers 9, 18 and 27, so the encoder is thin and deep
    encoder = _qwen3_config(tokenizer, hidden_size=32, intermediate_size=32, num_hidden_layers=28)
    with seeded(SEED):
        pipeline = diffusers.Flux2KleinPipeline(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0),
            vae=diffusers.AutoencoderKLFlux2(
                block_out_channels=(8, 8, 8, 8),
                latent_channels=_FLUX2_LATENT,
                layers_per_block=1,
                norm_num_groups=4,
                sample_size=64,
            ),
            text_encoder=Qwen3ForCausalLM(encoder),
            tokenizer=tokenizer,
            transformer=diffusers.Flux2Transformer2DModel(
                in_channels=4 * _FLUX2_LATENT,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * encoder.hidden_size,
                timestep_guidance_channels=32,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            ),
            is_distilled=True,
        )
    _save_pipeline(pipeline, folder)


def _save(model: Any, folder: Path) -> None:
    model.eval().save_pretrained(folder)


def _save_pipeline(pipeline: Any, folder: Path) -> None:
    for part in pipeline.components.values():
        if hasattr(part, "eval"):
            part.eval()
    pipeline.save_pretrained(folder)


TINY: Final[Mapping[str, Callable[[Path], None]]] = {
    "ace-step-turbo": lambda folder: _ace_step(folder, version="turbo"),
    "ace-step-base": lambda folder: _ace_step(folder, version="base"),
    "qwen": _qwen,
    "planner": _planner,
    "sdxl": _sdxl,
    "z-image": _z_image,
    "flux2-klein": _flux2_klein,
}
"""Writes a tiny checkpoint into a folder, by the name that stands after ``tiny:``."""
