"""The traps of diffusers' ACE-Step pipeline, each with the test that would fall into it."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from serving.engines.acestep import AceStep, grouped
from serving.engines.acestep_ask import FADE_FRAMES, ask_of
from serving.engines.acestep_sound import BrokenSound, SilentSound
from serving.engines.device import OutOfMemory
from serving.engines.setup import Setup
from studio.sound.clip import Clip
from studio.units import RATE_HZ
from studio.words.brief import Brief, Controls, MusicTask
from studio.words.take import Sources, Take
from tests.serving.engines.conftest import ace_step_spec

LONG = "dreamy synthwave with warm pads and a slow beat, " * 30


def clip(seconds: float = 3.0, *, rate_hz: int = RATE_HZ, channels: int = 2) -> Clip:
    noise = np.random.default_rng(3).standard_normal((channels, round(seconds * rate_hz))) * 0.1
    return Clip(samples=noise.astype(np.float32), rate_hz=rate_hz)


def brief(task: MusicTask = MusicTask.TEXT2MUSIC, *, seed: int = 11, duration_s: float = 3.0, **words) -> Brief:
    fixed = task is MusicTask.TEXT2MUSIC
    controls = Controls(duration_s=duration_s if fixed else None, steps=3, seed=seed)
    given = {"prompt": "warm folk", "lyrics": "[verse]\nla la", "source": "" if fixed else "songs/a.wav", "takes": 1}
    return Brief(**{**given, "task": task, "controls": controls, **words})


def made(engine: AceStep, wanted: Brief, source: Clip | None = None) -> tuple[Take, ...]:
    return engine.make(wanted, lambda _: None, Sources(source=source or clip()))


def samples(take: Take) -> np.ndarray:
    return take.result.clip.samples


def asked(engine: AceStep, wanted: Brief, source: Clip | None = None):
    return ask_of(wanted, engine.spec, Sources(source=source), {})


@contextmanager
def hooked(engine: AceStep, part: str, hook: Callable[..., object]) -> Iterator[None]:
    """torch's own hook before each call of one part of the pipeline."""
    module = engine._model.pipe.vae.decoder if part == "decoder" else getattr(engine._model.pipe, part)
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


# ---- turbo and guidance ----


def test_takes_of_turbo_differ_by_seed_and_have_guidance_1(turbo):
    first, second = made(turbo, brief(takes=2))
    assert not np.array_equal(samples(first), samples(second))
    assert [take.settings["guidance_scale"] for take in (first, second)] == [1.0, 1.0]


def test_two_guidances_on_base_are_two_calls_and_one_guidance_is_one(base, turbo):
    pair = asked(base, brief(takes=2))
    assert grouped(pair, together=True) == [(7.5, (11,)), (15.0, (12,))]
    same = asked(base, brief(takes=4, controls=Controls(duration_s=3.0, guidance_scale=5.0, seed=1)))
    assert grouped(same, together=True) == [(5.0, (1, 2, 3, 4))]
    assert grouped(asked(turbo, brief(takes=2)), together=True) == [(1.0, (11, 12))]
    assert grouped(asked(turbo, brief(takes=2)), together=False) == [(1.0, (11,)), (1.0, (12,))]


def test_guidance_doubles_the_rows_on_base_and_not_on_turbo(turbo, base):
    rows: list[int] = []
    for engine in (turbo, base):
        with hooked(engine, "transformer", lambda _m, _a, kwargs: rows.append(len(kwargs["hidden_states"]))):
            made(engine, brief())
    assert rows == [1, 1, 1, 2, 2, 2]


class Records(logging.Handler):
    """Everything that a library says on its own logger, which passes nothing up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.mark.parametrize("task", [MusicTask.TEXT2MUSIC, MusicTask.COVER])
def test_a_call_warns_of_nothing(turbo, task):
    records = Records()
    libraries = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for library in libraries:
        library.addHandler(records)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made(turbo, brief(task, prompt=LONG, lyrics="la la la\n" * 400))
    finally:
        for library in libraries:
            library.removeHandler(records)
    assert records.said == []


# ---- seeds and batches ----


@pytest.mark.parametrize("task", [MusicTask.TEXT2MUSIC, MusicTask.REPAINT, MusicTask.COVER])
def test_torchs_global_generator_neither_changes_a_take_nor_is_changed_by_it(turbo, task):
    wanted = brief(task, window=(1.0, 2.0) if task is MusicTask.REPAINT else None)
    torch.manual_seed(1)
    first = samples(made(turbo, wanted)[0])
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert np.array_equal(samples(made(turbo, wanted)[0]), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("task", [MusicTask.TEXT2MUSIC, MusicTask.REPAINT, MusicTask.COVER])
@pytest.mark.parametrize("name", ["turbo", "base"])
def test_a_take_of_a_batch_is_the_one_made_alone(turbo, base, name, task):
    engine = turbo if name == "turbo" else base
    model = engine._model
    fixed = task is MusicTask.TEXT2MUSIC
    wanted = brief(task, window=(1.0, 2.0) if task is MusicTask.REPAINT else None)
    ask = asked(engine, wanted, None if fixed else clip())
    texts = model.texts(ask)

    def latents(*seeds: int) -> list[torch.Tensor]:
        return model.latents(ask, texts, seeds=seeds, guidance=ask.guidances[0], tiled=False, on_step=lambda _: None)

    batch, (alone,) = latents(1, 2, 3), latents(2)
    torch.testing.assert_close(batch[1], alone, atol=1e-4, rtol=1e-4)
    assert (batch[0] - batch[1]).abs().max() > 0.1


def test_the_tokenizer_pads_right_whatever_the_checkpoint_says(tiny_models, tmp_path):
    import json
    import shutil

    folder = tmp_path / "left"
    shutil.copytree(tiny_models / "tiny-ace-step-turbo", folder)
    config = folder / "tokenizer" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"padding_side": "left"}))
    engine = AceStep(Setup(spec=ace_step_spec("turbo"), folder=folder, device="cpu"))
    engine.load()
    assert engine._model.pipe.tokenizer.padding_side == "right"


# ---- lengths ----


@pytest.mark.parametrize("duration_s", [2.2, 1.0001, 4.4, 2.999])
def test_lengths_that_the_pipeline_would_round_into_a_crash(turbo, duration_s):
    assert samples(made(turbo, brief(duration_s=duration_s))[0]).shape == (2, round(duration_s * RATE_HZ))
    cover = made(turbo, brief(MusicTask.COVER), clip(duration_s))[0]
    assert samples(cover).shape == (2, round(duration_s * RATE_HZ))


@pytest.mark.parametrize("task", [MusicTask.TEXT2MUSIC, MusicTask.COVER])
def test_the_text_names_the_real_length_also_with_a_source(turbo, task):
    said: list[str] = []
    tokenizer = turbo._model.pipe.tokenizer
    with hooked(turbo, "text_encoder", lambda _m, _a, kwargs: said.append(tokenizer.decode(kwargs["input_ids"][0]))):
        made(turbo, brief(task, duration_s=3.0), clip(3.0))
    assert "- duration: 3 seconds" in said[0]


def test_a_long_style_does_not_push_tempo_and_length_out_of_what_the_model_reads(turbo):
    said: list[str] = []
    tokenizer = turbo._model.pipe.tokenizer
    with hooked(turbo, "text_encoder", lambda _m, _a, kwargs: said.append(tokenizer.decode(kwargs["input_ids"][0]))):
        (take,) = made(turbo, brief(prompt=LONG, controls=Controls(duration_s=3.0, steps=1, tempo_bpm=97)))
    assert "- bpm: 97" in said[0]
    assert "- duration: 3 seconds" in said[0]
    assert "only the beginning of this style" in take.settings["note"]
    assert LONG.startswith(take.settings["caption"])


def test_lyrics_beyond_what_the_model_reads_are_owned_up_to(turbo):
    (take,) = made(turbo, brief(lyrics="[verse]\n" + "walking home beneath the moon\n" * 90))
    assert "lines of the lyrics are more than the model reads" in take.settings["note"]


# ---- sources ----


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 1), (16_000, 2)])
def test_a_mono_source_of_any_rate_is_covered(turbo, rate_hz, channels):
    (take,) = made(turbo, brief(MusicTask.COVER), clip(rate_hz=rate_hz, channels=channels))
    assert samples(take).shape == (2, 3 * RATE_HZ)


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.73, 1.91), (2.0, 3.0), (0.0, 3.0)])
def test_outside_the_repainted_window_every_sample_is_the_sources(turbo, window):
    source = clip()
    (take,) = made(turbo, brief(MusicTask.REPAINT, window=window), source)
    first, end = (round(second * RATE_HZ) for second in window)
    assert np.array_equal(samples(take)[:, :first], source.samples[:, :first])
    assert np.array_equal(samples(take)[:, end:], source.samples[:, end:])
    assert not np.array_equal(samples(take)[:, first:end], source.samples[:, first:end])


def test_the_whole_window_is_made_anew_also_when_it_lies_between_latents(turbo):
    spans: list[tuple[int, int]] = []

    def look(_module, _arguments, kwargs) -> None:
        mask = kwargs["context_latents"][0, :, -1].nonzero().flatten()
        spans.append((int(mask[0]), int(mask[-1]) + 1))

    with hooked(turbo, "transformer", look):
        made(turbo, brief(MusicTask.REPAINT, window=(0.73, 1.91)))
        made(turbo, brief(MusicTask.REPAINT, window=(0.28, 2.2)))
    assert spans[0] == (18, 48)
    assert spans[-1] == (7, 55)


def test_an_extension_keeps_the_source_and_goes_on_beyond_it(turbo):
    source = clip()
    (take,) = made(turbo, brief(MusicTask.EXTEND, window=(3.0, 5.0)), source)
    kept = 3 * RATE_HZ - FADE_FRAMES
    assert samples(take).shape == (2, 5 * RATE_HZ)
    assert np.array_equal(samples(take)[:, :kept], source.samples[:, :kept])
    assert np.abs(samples(take)[:, 3 * RATE_HZ :]).max() > 1e-3


# ---- broken and silent sound ----


@contextmanager
def weights(engine: AceStep, part: str, value: float) -> Iterator[None]:
    parameter = (
        engine._model.pipe.vae.decoder.conv2.weight_g
        if part == "vae"
        else next(iter(engine._model.pipe.transformer.parameters()))
    )
    kept = parameter.data.clone()
    parameter.data.fill_(value)
    try:
        yield
    finally:
        parameter.data.copy_(kept)


@pytest.mark.parametrize("part", ["vae", "transformer"])
@pytest.mark.parametrize("task", [MusicTask.TEXT2MUSIC, MusicTask.REPAINT])
def test_sound_that_is_no_sound_is_refused(turbo, part, task):
    wanted = brief(task, window=(1.0, 2.0) if task is MusicTask.REPAINT else None)
    with weights(turbo, part, float("nan")), pytest.raises(BrokenSound, match="another seed"):
        made(turbo, wanted)


@pytest.mark.parametrize("task", [MusicTask.TEXT2MUSIC, MusicTask.REPAINT])
def test_silence_is_refused_and_not_brought_to_full_level(turbo, task):
    wanted = brief(task, window=(1.0, 2.0) if task is MusicTask.REPAINT else None)
    with weights(turbo, "vae", 0.0), pytest.raises(SilentSound, match="only silence"):
        made(turbo, wanted)


# ---- memory ----


class OutOfMemoryAt:
    """A card that is full for the first calls of a part."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("part", ["transformer", "decoder"])
def test_out_of_memory_is_tried_once_more_in_tiles_and_progress_does_not_fall(turbo, part):
    fractions: list[float] = []
    with hooked(turbo, part, OutOfMemoryAt(1)):
        takes = turbo.make(brief(takes=2), lambda progress: fractions.append(progress.fraction))
    assert fractions == sorted(fractions)
    assert [take.settings["tiled"] for take in takes] == [True, True]
    for take, usual in zip(takes, made(turbo, brief(takes=2)), strict=True):
        assert np.array_equal(samples(take), samples(usual))


def test_out_of_memory_twice_ends_with_a_sentence(turbo):
    with hooked(turbo, "transformer", OutOfMemoryAt(2)), pytest.raises(OutOfMemory, match="shorter length"):
        made(turbo, brief())
    assert made(turbo, brief())


def test_tiles_are_really_used_and_join_without_a_seam(turbo):
    model = turbo._model
    latents = torch.randn((530, 8), generator=torch.Generator().manual_seed(1))
    pieces: list[int] = []
    with hooked(turbo, "decoder", lambda _m, arguments, _k: pieces.append(arguments[0].shape[-1])):
        whole = model.decode(latents, frames=530 * 1920, tiled=False)
        tiled = model.decode(latents, frames=530 * 1920, tiled=True)
    assert pieces == [530, 448, 210]
    assert np.abs(whole - tiled).max() < 1e-4 * np.abs(whole).max()
