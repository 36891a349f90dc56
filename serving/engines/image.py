"""Covers by an image model: whatever diffusers' ``AutoPipelineForText2Image`` loads from a local folder.

SDXL-Turbo, Z-Image-Turbo and FLUX.2 klein are distilled: few steps and no guidance, so there is no negative prompt and
what covers must not show is kept out of the prompt (`image_prompt`). Title and artist are drawn over by the studio's
own typography.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.engines.device import Device, choose_device, preflight_weights, release, smaller_once
from serving.engines.image_prompt import CoverPrompt, cover_prompt
from serving.engines.protocol import NO_SOURCES
from serving.engines.setup import Setup
from studio.art.lettering import letter_picture
from studio.errors import MelodeonError
from studio.text.reading import read_style
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import Cancelled, OnProgress, Picture, Progress, Sources, Take

COVER_PX: Final = 1024
"""Side of a finished cover; smaller pictures are enlarged before the letters are drawn."""

_LEAST_SPREAD: Final = 1.0
"""Standard deviation, in steps of 0-255, below which a picture shows nothing."""

_LEFT_OUT: Final = "Some words were left out, because covers must not show what they name."


class BadImageOptions(MelodeonError):
    """The options of an image engine in engines.toml or the Serve file mean nothing to it."""

    code = "bad_options"

    def __init__(self, engine: str, error: ValidationError) -> None:
        first = error.errors()[0]
        super().__init__(f"The options of {engine} cannot be used: {'.'.join(map(str, first['loc']))}: {first['msg']}.")


class EmptyPicture(MelodeonError):
    """The model painted nothing, or something that is no picture (NaN)."""

    code = "empty_picture"

    def __init__(self, engine: str) -> None:
        super().__init__(f"{engine} painted an empty picture; please try again with another title or seed.")


class ImageOptions(BaseModel):
    """What the catalogue and the Serve file may say to an image engine.

    Attributes:
        steps: of diffusion, where the person says nothing.
        guidance_scale: 0 for distilled models.
        size_px: side of the square that the model paints.
        max_sequence_length: tokens of the prompt that the model reads; only for models that have such a limit.
        batch: pictures in one pass; None: 4 on a card and 1 on a processor, where passes gain nothing and a picture
            made alone is the same to the last bit.
        offload: parts of the model stay in the machine's memory until they are needed (cards that cannot hold it all).
        letters: title and artist are drawn over the picture.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=4, ge=1, le=100)
    guidance_scale: float = Field(default=0.0, ge=0, le=20)
    size_px: int = Field(default=512, ge=64, le=2048, multiple_of=16)
    max_sequence_length: int | None = Field(default=None, ge=16, le=1024)
    batch: int | None = Field(default=None, ge=1, le=16)
    offload: bool = False
    letters: bool = True


class ImageModel:
    """One image model. Raises `BadImageOptions` for options that it does not know."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._pipe: Any = None
        self._device: Device | None = None
        try:
            self._options = ImageOptions(**setup.options)
        except ValidationError as error:
            raise BadImageOptions(setup.spec.name, error) from None

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return self._setup.spec

    def load(self) -> None:
        """Read the weights. Raises `NoDevice`, `NotEnoughMemory`."""
        if self._pipe is not None:
            return
        device = choose_device(self._setup.device)
        if not self._options.offload:
            preflight_weights(self.spec, device)
        self._pipe = _pipeline(self._setup, device, offload=self._options.offload)
        self._device = device

    def unload(self) -> None:
        """Give the memory back."""
        if self._pipe is not None:
            self._pipe = None
            release(self._device)

    def make(self, brief: Brief, on_progress: OnProgress, sources: Sources = NO_SOURCES) -> tuple[Take, ...]:  # noqa: ARG002
        """Paint every take, as many at once as the memory allows."""
        [answer] = self.make_many([brief], [on_progress])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def make_many(
        self, briefs: Sequence[Brief], on_progress: Sequence[OnProgress]
    ) -> list[tuple[Take, ...] | Exception]:
        """Paint the covers of several requests together; each is answered with its takes or with its own error.

        One request that stops or fails does not touch the others. Pictures of the same number of steps share a pass.
        """
        self.load()
        orders = [_Order(brief, told, self) for brief, told in zip(briefs, on_progress, strict=True)]
        wishes = [wish for order in orders for wish in order.wishes]
        for steps in sorted({wish.order.steps for wish in wishes}):
            alike = [wish for wish in wishes if wish.order.steps == steps]
            for some in _chunks(alike, self._batch):
                self._paint(some)
        return [order.answer() for order in orders]

    @property
    def options(self) -> ImageOptions:
        """What it was told."""
        return self._options

    @property
    def _batch(self) -> int:
        on_processor = self._device is not None and self._device.kind == "cpu"
        return self._options.batch or (1 if on_processor else 4)

    def _paint(self, wishes: Sequence["_Wish"]) -> None:
        """Paint what is still wanted. What fails together is tried again request by request, to find whose it is."""
        wishes = [wish for wish in wishes if wish.order.error is None]
        orders = list(dict.fromkeys(wish.order for wish in wishes))
        if not orders:
            return
        try:
            smaller_once(lambda smaller: self._pass(wishes, smaller=smaller))
        except Exception as error:  # noqa: BLE001 - answered to whoever asked
            if len(orders) == 1:
                orders[0].fail(error)
                return
            for order in orders:
                self._paint([wish for wish in wishes if wish.order is order])

    def _pass(self, wishes: Sequence["_Wish"], *, smaller: bool) -> None:
        """All in one pass of the model; ``smaller``: one by one, decoded in tiles."""
        if smaller:
            self._pipe.vae.enable_tiling()
        try:
            for some in _chunks(wishes, 1 if smaller else len(wishes)):
                begun = time.perf_counter()
                for wish, picture in zip(some, self._pictures(some), strict=True):
                    wish.picture = picture
                    wish.seconds = (time.perf_counter() - begun) / len(some)
        finally:
            self._pipe.vae.disable_tiling()

    def _pictures(self, wishes: Sequence["_Wish"]) -> list[NDArray[np.uint8] | None]:
        import torch

        def step(_: Any, __: int, ___: Any, kept: dict[str, Any]) -> dict[str, Any]:
            for wish in wishes:
                wish.order.advance()
            if all(wish.order.error is not None for wish in wishes):
                raise Cancelled
            return kept

        options = self._options
        limit = {} if options.max_sequence_length is None else {"max_sequence_length": options.max_sequence_length}
        try:
            painted = self._pipe(
                prompt=[wish.order.prompt.text for wish in wishes],
                # drawn on the processor, so that a seed means the same on every device
                generator=[torch.Generator("cpu").manual_seed(wish.seed) for wish in wishes],
                num_inference_steps=wishes[0].order.steps,
                guidance_scale=options.guidance_scale,
                height=options.size_px,
                width=options.size_px,
                output_type="pt",
                callback_on_step_end=step,
                **limit,
            ).images
        finally:
            self._pipe.maybe_free_model_hooks()
        return [_pixels(picture.float().cpu().numpy()) for picture in painted]


class _Order:
    """One request within a batch: what it wants, how far it is, and what became of it."""

    def __init__(self, brief: Brief, on_progress: OnProgress, model: ImageModel) -> None:
        self._brief = brief
        self._on_progress = on_progress
        self._model = model
        self._style = read_style(brief.music_text)
        self._done = 0
        self.prompt: CoverPrompt = cover_prompt(brief, self._style)
        self.steps = brief.controls.steps or model.options.steps
        self.error: Exception | None = None
        self.wishes = [_Wish(self, brief.take_seed(index)) for index in range(brief.takes)]
        try:
            model.spec.fit(brief)
        except MelodeonError as error:
            self.fail(error)
        self._tell(0.0, "Painting the cover")

    def advance(self) -> None:
        """One step of one picture is done."""
        self._done += 1
        self._tell(min(0.98, self._done / (self.steps * len(self.wishes)) * 0.98), "Painting the cover")

    def fail(self, error: Exception) -> None:
        """Nothing comes of it; the first reason counts."""
        self.error = self.error or error

    def answer(self) -> tuple[Take, ...] | Exception:
        """The takes, lettered; or why there are none."""
        try:
            takes = tuple(self._take(wish) for wish in self.wishes) if self.error is None else ()
        except MelodeonError as error:
            self.fail(error)
        self._tell(1.0, "Painted")
        return self.error or takes

    def _tell(self, fraction: float, message: str) -> None:
        """Told until it failed; whoever listens may stop this request, and only this one."""
        if self.error is None:
            try:
                self._on_progress(Progress(fraction=fraction, message=message))
            except Exception as error:  # noqa: BLE001 - answered to whoever asked
                self.fail(error)

    def _take(self, wish: "_Wish") -> Take:
        spec, options, brief = self._model.spec, self._model.options, self._brief
        if wish.picture is None:
            raise EmptyPicture(spec.label)
        picture = Picture(pixels=wish.picture)
        if options.letters:
            picture = letter_picture(
                picture, style=self._style, title=brief.title, artist=brief.artist, seed=wish.seed, size_px=COVER_PX
            )
        settings: dict[str, object] = {
            "prompt": self.prompt.text,
            "steps": self.steps,
            "guidance_scale": options.guidance_scale,
            "size_px": options.size_px,
        }
        note = {"note": _LEFT_OUT} if self.prompt.left_out else {}
        return Take(
            result=picture,
            engine=spec.name,
            engine_version=spec.version,
            seed=wish.seed,
            settings={**settings, **note},
            seconds=wish.seconds,
        )


class _Wish:
    """One picture of a request."""

    def __init__(self, order: _Order, seed: int) -> None:
        self.order = order
        self.seed = seed
        self.picture: NDArray[np.uint8] | None = None
        self.seconds = 0.0


def _pipeline(setup: Setup, device: Device, *, offload: bool) -> Any:
    import diffusers
    import transformers

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    sdxl = setup.spec.card is not None and setup.spec.card.architecture.startswith("StableDiffusionXL")
    pipe = diffusers.AutoPipelineForText2Image.from_pretrained(
        str(setup.folder),
        dtype=device.dtype,
        use_safetensors=True,
        local_files_only=True,
        # the picture is labelled as made by a machine in its file; a hidden mark would need another library
        **({"add_watermarker": False} if sdxl else {}),
    )
    pipe.set_progress_bar_config(disable=True)
    if offload and device.kind != "cpu":
        pipe.enable_model_cpu_offload(device=device.name)
        return pipe
    return pipe.to(device.name)


def _pixels(planes: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """From float ``[3, height, width]`` 0-1; None when it shows nothing."""
    if not np.isfinite(planes).all():
        return None
    pixels = np.ascontiguousarray(np.rint(planes.transpose(1, 2, 0) * 255).astype(np.uint8))
    return pixels if float(pixels.std()) >= _LEAST_SPREAD else None


def _chunks(wishes: Sequence[_Wish], size: int) -> Iterator[Sequence[_Wish]]:
    for start in range(0, len(wishes), size):
        yield wishes[start : start + size]
