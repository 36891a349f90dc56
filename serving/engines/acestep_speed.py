"""What makes ACE-Step fast on a card: attention by window, fixed tiles, fewer launches.

diffusers' pipeline leaves three things on the table. Every second layer of the transformer looks only 128 tokens to
each side, but without a flash-attention package it computes the whole square behind a dense mask, which also keeps
the fast kernels away. The decoder unpacks its weight norms at every call, crosses memory several times for every Snake
and tiles with an overlap of 64 latents where its layers reach 9. And a step is a thousand small launches, which at one
minute of music take longer than the work. Each remedy computes the same function and can be switched alone; see
``bench/gpu.py`` for what each is worth on a card.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from studio.errors import MelodeonError

TILE_LATENTS: Final = 512
REACH_LATENTS: Final = 16
"""How far a decoded sample looks to each side, rounded up: 3 latents by the first convolution, 1 by the first
upsampling, (1 + 3 + 9) * 3 frames of 250 Hz by the first residual units, and little by the later, finer ones."""

GRAPHS_KEPT: Final = 4


class BadSpeed(MelodeonError):
    """An option about speed has an unknown value."""

    code = "bad_engine_options"

    def __init__(self, name: str, value: object) -> None:
        super().__init__(f"“{value}” is no way to set the option “{name}” of ACE-Step; see docs/ml-engineers.md.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How the transformer and the decoder run. The defaults are diffusers' own ways.

    Attributes:
        attention: ``window`` computes the sliding layers by blocks; any other name but ``native`` is a backend of
            diffusers (``flash``, ``_flash_3``, ``flex`` …), whose package must be there.
        compiled: the transformer's blocks and, with ``tiles``, the decoder go through ``torch.compile``.
        graphs: steps are played back from a CUDA graph, one for each shape.
        tiles: the sound is decoded in tiles of one size with the least overlap, its weights unpacked once.
        channels_last: the decoder's convolutions keep channels together in memory, as tensor cores want them.
    """

    attention: str = "native"
    compiled: bool = False
    graphs: bool = False
    tiles: bool = False
    channels_last: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Speed":
        """Those of an engine's options that are about speed. Raises `BadSpeed`."""
        found = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        for name, value in found.items():
            if not isinstance(value, str if name == "attention" else bool):
                raise BadSpeed(name, value)
        return cls(**found)


def quicken(pipe: Any, speed: Speed) -> None:
    """Make ``pipe.transformer`` and ``pipe.vae`` run as ``speed`` says, in place; once, after loading.

    With ``graphs``, call `forget_graphs` after the transformer's weights or layers changed (adapters).

    Raises:
        BadSpeed: diffusers has no such attention, or lacks the package for it.
    """
    if speed.tiles:
        _one_size_tiles(pipe.vae, compiled=speed.compiled, channels_last=speed.channels_last)
    if speed.attention == "window":
        for layer in pipe.transformer.layers:
            layer.self_attn.set_processor(WindowAttention())
    elif speed.attention != "native":
        try:
            pipe.transformer.set_attention_backend(speed.attention)
        except (ValueError, RuntimeError, ImportError) as error:
            raise BadSpeed("attention", speed.attention) from error
    if speed.compiled:
        for layer in pipe.transformer.layers:
            # one block at a time: compiled once for all layers, in seconds instead of a minute
            layer.compile(dynamic=True)
    if speed.graphs and next(pipe.transformer.parameters()).is_cuda:
        pipe.transformer.forward = StepGraphs(pipe.transformer.forward)


def forget_graphs(pipe: Any) -> None:
    """Capture the steps anew when they are next asked for."""
    if isinstance(pipe.transformer.forward, StepGraphs):
        pipe.transformer.forward.forget()


class WindowAttention:
    """Self-attention of one transformer layer, as diffusers' ``AceStepAttnProcessor2_0`` has it.

    Sliding layers compute each block of queries against its own and the two neighbouring blocks of keys: 3 windows of
    keys instead of the whole song. Full layers have no mask, so that the fast kernels take them.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,  # noqa: ARG002 - self-attention has none
        attention_mask: torch.Tensor | None = None,  # noqa: ARG002 - the window says as much
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim)))
        value = attn.to_v(hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim))
        if image_rotary_emb is not None:
            query, key = _rotated(query, image_rotary_emb), _rotated(key, image_rotary_emb)
        if attn.sliding_window is None or attn.sliding_window >= query.shape[1]:
            made = _full(query, key, value, attn.scaling)
        else:
            made = windowed(query, key, value, window=attn.sliding_window, scale=attn.scaling)
        made = made.flatten(2, 3).to(query.dtype)
        for module in attn.to_out:
            made = module(made)
        return made


def windowed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, window: int, scale: float) -> torch.Tensor:
    """Attention to the keys at most ``window`` away: ``softmax(scale * q k^T) v`` over ``|i - j| <= window``.

    Args:
        query: ``[batch, length, heads, channels]``.
        key, value: the same with a number of heads that divides ``heads``.
        window: > 0, in tokens.
        scale: of the products.

    Returns:
        As ``query``. Work grows with ``length * window`` instead of ``length**2``.
    """
    batch, length, heads, channels = query.shape
    blocks = -(-length // window)
    missing = blocks * window - length
    # [batch, blocks, window, heads, channels] -> one attention for each block
    queries = functional.pad(query, (0, 0, 0, 0, 0, missing)).unflatten(1, (blocks, window))
    queries = queries.flatten(0, 1).transpose(1, 2)

    def neighbours(tokens: torch.Tensor) -> torch.Tensor:
        around = functional.pad(tokens, (0, 0, 0, 0, window, window + missing)).unfold(1, 3 * window, window)
        repeated = around.repeat_interleave(heads // tokens.shape[2], dim=2)
        return repeated.flatten(0, 1).transpose(2, 3)

    near = _near(length, blocks, window, query.device).repeat(batch, 1, 1).unsqueeze(1)
    made = functional.scaled_dot_product_attention(
        queries, neighbours(key), neighbours(value), attn_mask=near, scale=scale
    )
    return made.transpose(1, 2).reshape(batch, blocks * window, heads, channels)[:, :length]


def _near(length: int, blocks: int, window: int, device: torch.device) -> torch.Tensor:
    """Which keys a block's queries may see: bool ``[blocks, window, 3 * window]``."""
    place = torch.arange(window, device=device)
    offset = torch.arange(3 * window, device=device) - window
    close = (place[:, None] - offset[None, :]).abs() <= window
    token = torch.arange(blocks, device=device)[:, None] * window + offset
    inside = (token >= 0) & (token < length)
    return close[None] & inside[:, None, :]


def _full(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    made = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        scale=scale,
        enable_gqa=query.shape[2] != key.shape[2],
    )
    return made.transpose(1, 2)


def _rotated(tokens: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary positions in halves, as Qwen3 and ACE-Step lay them out (Su et al., 2021)."""
    cos, sin = (angle[None, :, None, :] for angle in turn)
    first, second = tokens.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (tokens.float() * cos + turned.float() * sin).to(tokens.dtype)


class StepGraphs:
    """A forward function whose launches are recorded once for each shape and then played back as one.

    Only inputs that are tensors may change between calls of one shape. The newest few shapes are kept; a song has one.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self._graphs: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()

    def __call__(self, *args: Any, **inputs: Any) -> tuple[torch.Tensor]:
        if args or inputs.get("return_dict", True):
            answer: tuple[torch.Tensor] = self._forward(*args, **inputs)
            return answer
        shape = tuple((name, _shape(value)) for name, value in sorted(inputs.items()))
        if shape not in self._graphs:
            self._graphs[shape] = _Graph(self._forward, inputs)
            if len(self._graphs) > GRAPHS_KEPT:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(shape)
        return (self._graphs[shape].play(inputs),)

    def forget(self) -> None:
        """Drop every recording."""
        self._graphs.clear()


class _Graph:
    """One recording and the places its inputs and its output have in the card's memory."""

    def __init__(self, forward: Callable[..., Any], inputs: Mapping[str, Any]) -> None:
        self._places = {name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        fixed = {**inputs, **self._places}
        # what is compiled, tuned or allocated at first use must be over before the recording
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                forward(**fixed)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = forward(**fixed)[0]

    def play(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        for name, place in self._places.items():
            place.copy_(inputs[name])
        self._graph.replay()
        # the next play writes into the same place
        return self._output.clone()


def _shape(value: object) -> object:
    return (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else repr(value)


def _one_size_tiles(vae: Any, *, compiled: bool, channels_last: bool) -> None:
    """Decode in tiles that all have one number of latents, so that what is compiled or tuned serves every length."""
    for module in vae.decoder.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            if hasattr(module, "weight_g"):
                nn.utils.remove_weight_norm(module)
            if channels_last:
                module.forward = _ChannelsLast(module)
    vae.tile_latent_min_length = TILE_LATENTS
    decode = torch.compile(vae.decoder) if compiled else vae.decoder
    vae._tiled_decode = lambda latents: decoded_in_tiles(decode, latents)


def decoded_in_tiles(decode: Callable[[torch.Tensor], torch.Tensor], latents: torch.Tensor) -> torch.Tensor:
    """Decode ``[batch, channels, length]``, ``length`` > `TILE_LATENTS`, tile by tile.

    Each tile has `TILE_LATENTS` latents, of which those nearer than `REACH_LATENTS` to an inner edge are thrown away:
    what is kept is what one decoding of the whole would give. The last tile begins earlier instead of being shorter.
    """
    length = latents.shape[-1]
    core = TILE_LATENTS - 2 * REACH_LATENTS
    pieces = []
    done = 0
    while done < length:
        begin = min(max(0, done - REACH_LATENTS), length - TILE_LATENTS)
        end = begin + TILE_LATENTS
        until = length if end == length else begin + REACH_LATENTS + core
        sound = decode(latents[..., begin:end].contiguous())
        samples = sound.shape[-1] // TILE_LATENTS
        pieces.append(sound[..., (done - begin) * samples : (until - begin) * samples].clone())
        done = until
    return torch.cat(pieces, dim=-1)


class _ChannelsLast:
    """A one-dimensional convolution computed as a flat two-dimensional one, for which cuDNN has the layout."""

    def __init__(self, module: nn.Conv1d | nn.ConvTranspose1d) -> None:
        self._module = module
        # only laid out anew: it stays the module's own weight, which offload moves from device to device
        module.weight.data = module.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def __call__(self, signal: torch.Tensor) -> torch.Tensor:
        module = self._module
        weight = module.weight.unsqueeze(2)
        if isinstance(module, nn.ConvTranspose1d):
            made = functional.conv_transpose2d(
                signal.unsqueeze(2),
                weight,
                module.bias,
                stride=(1, module.stride[0]),
                padding=(0, module.padding[0]),
            )
        else:
            made = functional.conv2d(
                signal.unsqueeze(2),
                weight,
                module.bias,
                padding=(0, int(module.padding[0])),
                dilation=(1, module.dilation[0]),
            )
        return made.squeeze(2)
