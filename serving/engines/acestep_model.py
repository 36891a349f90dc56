"""The loaded ACE-Step: diffusers' pipeline behind three calls: texts, latents, sound.

The pipeline is asked for latents only, and the sound is decoded here, one take at a time: its own ending decodes all
takes at once, cannot be cancelled, hides silence by bringing it to full level and forgets the gain it used.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from serving.engines.acestep_ask import LATENT_FRAMES, Ask
from serving.engines.acestep_memory import footprint_of, offloaded_gb
from serving.engines.acestep_text import CAPTION_TOKENS, LYRIC_TOKENS, Texts, fitted
from serving.engines.device import Device, seeded
from studio.errors import MelodeonError
from studio.sound.clip import Samples
from studio.units import RATE_HZ
from studio.words.brief import MusicTask, UnfitBrief

LATENTS_A_SECOND: Final = RATE_HZ // LATENT_FRAMES

SOURCE_SEED: Final = 0
"""The encoder draws its latents from torch's global generator. It draws the same ones for every take, so that a take
made in a batch is the one made alone; what makes takes differ is the noise they begin with."""

_TASKS: Final = {MusicTask.EXTEND: "repaint"}

OnStep = Callable[[int], None]
"""Told after each step of the diffusion how many are done; whatever it raises passes out."""


class WrongCheckpoint(MelodeonError):
    """The folder does not hold what the catalogue's entry is about."""

    code = "wrong_checkpoint"

    def __init__(self, label: str, folder: Path | None, problem: str) -> None:
        super().__init__(f"{label} cannot be loaded from {folder}: {problem}")


class Model:
    """One pipeline on one device. Not for several threads at once."""

    def __init__(
        self, pipe: Any, device: Device, speed: Mapping[str, object], *, always_tiles: bool, moving_gb: float
    ) -> None:
        """``speed``: how transformer and decoder run, for the settings of a take.

        ``moving_gb``: weights in 10^9 bytes that come to the device only while they are needed.
        """
        self.pipe = pipe
        self.device = device
        self.speed = speed
        self.always_tiles = always_tiles
        self.moving_gb = moving_gb
        self.footprint = footprint_of(pipe)

    @property
    def is_turbo(self) -> bool:
        """Whether guidance was distilled into the weights."""
        return bool(self.pipe.is_turbo)

    def fit(self, ask: Ask) -> None:
        """Raise `UnfitBrief` when the checkpoint lacks a part that ``ask`` needs."""
        if ask.task is MusicTask.COVER and not (self.pipe.audio_tokenizer and self.pipe.audio_token_detokenizer):
            raise UnfitBrief(
                "task", "This checkpoint came without the audio tokenizer that covers need; choose another engine."
            )

    def texts(self, ask: Ask) -> Texts:
        """The texts of ``ask`` as far as the encoders read them."""
        instruction = self.pipe._get_task_instruction(
            _task(ask), track_name=next(iter(ask.tracks), None), complete_track_classes=list(ask.tracks)
        )
        words = {"instruction": instruction, "vocal_language": ask.language, **_numbers(ask)}

        def tokens(index: int, caption: str, lyrics: str) -> int:
            formatted = self.pipe._format_prompt(caption, lyrics, **words)[index]
            return len(self.pipe.tokenizer(formatted, truncation=False, verbose=False).input_ids)

        return fitted(
            ask.caption,
            ask.lyrics,
            caption_tokens=lambda caption: tokens(0, caption, ""),
            lyric_tokens=lambda lyrics: tokens(1, "", lyrics),
        )

    def latents(
        self, ask: Ask, texts: Texts, *, seeds: Sequence[int], guidance: float, tiled: bool, on_step: OnStep
    ) -> list[Any]:
        """Diffuse one take for each seed in one batch: tensors ``[latents, channels]`` on the device.

        The batch has one text and one length, so nothing is padded and no take changes another.
        """
        self._tile(tiled)
        takes = len(seeds)

        def step_end(_pipe: Any, step: int, _time: float, state: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1)
            return state

        drawing = seeded(SOURCE_SEED) if ask.source is not None or ask.reference is not None else nullcontext()
        with drawing, self._hooks_freed():
            made = self.pipe(
                prompt=[texts.caption] * takes,
                lyrics=[texts.lyrics] * takes,
                vocal_language=[ask.language] * takes,
                num_inference_steps=ask.steps,
                guidance_scale=guidance,
                shift=ask.shift,
                latents=self._noise(ask, seeds),
                output_type="latent",
                callback_on_step_end=step_end,
                max_text_length=CAPTION_TOKENS,
                max_lyric_length=LYRIC_TOKENS,
                task_type=_task(ask),
                **_numbers(ask),
                **_sounds(ask),
            ).audios
        return list(made)

    def decode(self, latents: Any, *, frames: int, tiled: bool) -> Samples:
        """The sound of one take: float32 ``[2, frames]`` at the level the decoder gives it."""
        import torch

        self._tile(tiled)
        with torch.no_grad(), self._hooks_freed():
            sound = self.pipe.vae.decode(latents.transpose(0, 1).unsqueeze(0)).sample[0]
            return np.ascontiguousarray(sound[:, :frames].float().cpu().numpy())

    def _noise(self, ask: Ask, seeds: Sequence[int]) -> Any:
        """The noise each take begins with: from the processor's generator, the same on every device."""
        import torch

        shape = (ask.latents, self.pipe.transformer.config.audio_acoustic_hidden_dim)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def _tile(self, tiled: bool) -> None:  # noqa: FBT001 - the switch itself
        # the pipeline's source says that it switches tiling on; it does not
        (self.pipe.vae.enable_tiling if tiled else self.pipe.vae.disable_tiling)()

    @contextmanager
    def _hooks_freed(self) -> Iterator[None]:
        """With offload the parts go back to the processor's memory whatever happens; latents alone leave them."""
        try:
            yield
        finally:
            self.pipe.maybe_free_model_hooks()


def load_model(folder: Path | None, label: str, device: Device, options: Mapping[str, Any], *, offload: bool) -> Model:
    """Read the checkpoint in ``folder``, safetensors and local files only, and make it run as ``options`` say.

    Raises:
        WrongCheckpoint: when it is not a whole AceStepPipeline.
        BadSpeed: when an option about speed has an unknown value.
    """
    from serving.engines.acestep_speed import Speed, quicken

    speed = Speed.of(options)
    pipe = _read(folder, label, device)
    pipe.set_progress_bar_config(disable=True)
    # left padding would shift the text against what the model learnt
    pipe.tokenizer.padding_side = "right"
    if not offload:
        pipe.to(device.name)
    quicken(pipe, speed)
    if offload:
        pipe.enable_model_cpu_offload(device=device.name)
    moving_gb = offloaded_gb(folder) if offload and folder else 0.0
    return Model(pipe, device, asdict(speed), always_tiles=speed.tiles, moving_gb=moving_gb)


def _read(folder: Path | None, label: str, device: Device) -> Any:
    import diffusers
    import transformers
    from safetensors import SafetensorError

    if folder is None:
        raise WrongCheckpoint(label, folder, "no checkpoint is named; see `melodeon models list`.")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # diffusers' decoder still uses torch's older weight_norm
            warnings.filterwarnings("ignore", "`torch.nn.utils.weight_norm` is deprecated", FutureWarning)
            pipe = diffusers.AceStepPipeline.from_pretrained(
                folder, dtype=device.dtype, use_safetensors=True, local_files_only=True
            )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        raise WrongCheckpoint(label, folder, (str(error).splitlines() or [type(error).__name__])[0]) from error
    if (pipe.sample_rate, pipe.latents_per_second) != (RATE_HZ, LATENTS_A_SECOND):
        raise WrongCheckpoint(label, folder, f"its sound has {pipe.sample_rate} Hz instead of {RATE_HZ}.")
    return pipe


def _task(ask: Ask) -> str:
    return _TASKS.get(ask.task, ask.task.value)


def _numbers(ask: Ask) -> dict[str, Any]:
    """What stands beside the caption. The length is always the real one: left out, the text says 60 seconds."""
    return {
        "audio_duration": _spoken_s(ask.latents),
        "bpm": ask.tempo_bpm,
        "keyscale": ask.key,
        "timesignature": ask.metre or None,
    }


def _spoken_s(latents: int) -> float:
    """The length in seconds that the pipeline turns back into exactly this many latents.

    It takes the ceiling of seconds times 25, and for 2.2 s and many others the product lies a little above.
    """
    duration_s = latents / LATENTS_A_SECOND
    return math.nextafter(duration_s, 0) if math.ceil(duration_s * LATENTS_A_SECOND) > latents else duration_s


def _sounds(ask: Ask) -> dict[str, Any]:
    import torch

    words: dict[str, Any] = {}
    if ask.source is not None:
        whole = np.zeros((2, ask.latents * LATENT_FRAMES), np.float32)
        whole[:, : ask.source.shape[1]] = ask.source
        words["src_audio"] = torch.from_numpy(whole)
    if ask.reference is not None:
        words["reference_audio"] = torch.from_numpy(ask.reference)
    if ask.window is not None:
        # half a latent inside the first and behind the last one: the pipeline rounds down, whole ones are meant
        words["repainting_start"] = (ask.window.first // LATENT_FRAMES + 0.5) / LATENTS_A_SECOND
        words["repainting_end"] = (-(-ask.window.end // LATENT_FRAMES) + 0.5) / LATENTS_A_SECOND
    if ask.task is MusicTask.COVER:
        words["audio_cover_strength"] = ask.strength
    if ask.task in (MusicTask.EXTRACT, MusicTask.LEGO):
        words["track_name"] = ask.tracks[0]
    if ask.task is MusicTask.COMPLETE:
        words["complete_track_classes"] = list(ask.tracks)
    return words
