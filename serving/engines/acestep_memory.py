"""How much memory one request of ACE-Step takes beside the weights, and whether its decoder must work in tiles.

The largest activation of the sound decoder holds one value per channel and frame, and about four of that size live at
once: 0.05 GB per second of 16-bit sound at full size. In tiles it is that of one tile, whatever the length.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serving.engines.acestep_ask import LATENT_FRAMES, Ask
from serving.engines.device import GB
from studio.units import RATE_HZ

REFERENCE_FRAMES: Final = 30 * RATE_HZ
"""The pipeline encodes three pieces of 10 s of a reference, whatever its length."""

_ALIVE: Final = 4
_LAYER_VALUES: Final = 24
"""Values per token and hidden dimension that live at once in one layer of the transformer."""

_TOGETHER: Final = ("transformer", "condition_encoder", "vae")

_TILE_SHARE: Final = 0.5
"""Untiled only when it takes at most this part of what is free: the allocator needs room to move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The sizes of one checkpoint that memory depends on."""

    vae_channels: int
    tile_frames: int
    hidden: int
    bytes_a_value: int

    def sound_gb(self, frames: int, *, tiled: bool) -> float:
        """Activations of the decoder or encoder for ``frames`` of sound, and the sound itself, in 10^9 bytes."""
        at_once = min(frames, self.tile_frames) if tiled else frames
        return (self.vae_channels * at_once * self.bytes_a_value * _ALIVE + 2 * 4 * frames) / GB

    def diffusion_gb(self, latents: int, *, rows: int) -> float:
        """Activations of the transformer for ``rows`` of that many latents, in 10^9 bytes."""
        tokens = -(-latents // 2)
        values = rows * tokens * self.hidden * _LAYER_VALUES + tokens * tokens
        return values * self.bytes_a_value / GB

    def needs_gb(self, ask: Ask, *, rows: int, tiled: bool) -> float:
        """The most that ``ask`` takes at once: diffusion and decoding follow each other."""
        frames = ask.frames if ask.reference is None else max(ask.frames, REFERENCE_FRAMES)
        return max(self.sound_gb(frames, tiled=tiled), self.diffusion_gb(ask.latents, rows=rows))

    def must_tile(self, frames: int, free_gb: float) -> bool:
        """Whether the sound of ``frames`` is to be made in tiles when so much is free."""
        return self.sound_gb(frames, tiled=False) > _TILE_SHARE * free_gb


def footprint_of(pipe: Any) -> Footprint:
    """The footprint of a loaded pipeline."""
    vae = pipe.vae
    return Footprint(
        vae_channels=max(vae.config.decoder_channels, vae.config.encoder_hidden_size),
        tile_frames=max(vae.tile_latent_min_length * LATENT_FRAMES, vae.tile_sample_min_length),
        hidden=pipe.transformer.config.hidden_size,
        bytes_a_value=pipe.transformer.dtype.itemsize,
    )


def offloaded_gb(folder: Path) -> float:
    """Weights of a checkpoint that lie on the card at once with offload, in 10^9 bytes.

    diffusers sends a part back only when the one after it in a fixed order begins, so that the condition encoder and,
    once a source was read, the sound codec lie there beside the transformer.
    """
    files = (file for part in _TOGETHER for file in (folder / part).glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) / GB
