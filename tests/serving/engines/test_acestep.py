"""ACE-Step on its tiny checkpoints: every task, the same again, cancelled anywhere, refused with sentences."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from serving.engines.acestep import AceStep
from serving.engines.acestep_model import WrongCheckpoint
from serving.engines.acestep_speed import BadSpeed
from serving.engines.device import NotEnoughMemory
from serving.engines.setup import Setup
from studio.sound.clip import Clip
from studio.units import RATE_HZ
from studio.words.brief import Brief, Controls, MusicTask, UnfitBrief
from studio.words.take import Cancelled, Progress, Sources, Take
from tests.serving.engines.conftest import ace_step, ace_step_spec

ALL_TASKS = list(MusicTask)
TURBO_TASKS = [MusicTask.TEXT2MUSIC, MusicTask.COVER, MusicTask.REPAINT, MusicTask.EXTEND]
WORDS = {
    MusicTask.REPAINT: {"window": (1.0, 2.0)},
    MusicTask.EXTEND: {"window": (2.5, 4.0)},
    MusicTask.EXTRACT: {"tracks": ("vocals",)},
    MusicTask.LEGO: {"tracks": ("drums",)},
    MusicTask.COMPLETE: {"tracks": ("drums", "bass")},
}


def clip(seconds: float = 3.0, *, rate_hz: int = RATE_HZ, channels: int = 2, seed: int = 3) -> Clip:
    noise = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate_hz))) * 0.1
    return Clip(samples=noise.astype(np.float32), rate_hz=rate_hz)


SOURCES = Sources(source=clip(), reference=clip(2.0, seed=4))


def brief(task: MusicTask = MusicTask.TEXT2MUSIC, *, seed: int = 11, **words) -> Brief:
    """A small Brief: 3 s in 3 steps."""
    fixed = task is MusicTask.TEXT2MUSIC
    controls = Controls(duration_s=3.0 if fixed else None, steps=3, seed=seed)
    given = {"prompt": "warm folk", "lyrics": "[verse]\nla la", "source": "" if fixed else "songs/a.wav"}
    return Brief(**{**given, "task": task, "controls": controls, "takes": 1, **WORDS.get(task, {}), **words})


def samples(take: Take) -> np.ndarray:
    return take.result.clip.samples


def make(engine: AceStep, wanted: Brief, sources: Sources = SOURCES) -> tuple[Take, ...]:
    return engine.make(wanted, lambda _: None, sources)


@pytest.fixture(params=[("turbo", task) for task in TURBO_TASKS] + [("base", task) for task in ALL_TASKS], ids=str)
def case(request, turbo, base) -> tuple[AceStep, MusicTask]:
    name, task = request.param
    return (turbo if name == "turbo" else base), task


def test_every_task_makes_takes_that_differ_and_each_can_be_made_again_alone(case):
    engine, task = case
    wanted = brief(task, takes=2, controls=replace(brief(task).controls, guidance_scale=None))
    if engine.spec.uses_guidance:
        wanted = replace(wanted, controls=replace(wanted.controls, guidance_scale=6.0))
    takes = make(engine, wanted)
    seconds = 4.0 if task is MusicTask.EXTEND else 3.0
    for take in takes:
        assert samples(take).shape == (2, round(seconds * RATE_HZ))
        assert take.result.clip.rate_hz == RATE_HZ
        assert take.result.sections[-1].end_s == seconds
    assert not np.array_equal(samples(takes[0]), samples(takes[1]))

    torch.manual_seed(99)
    alone = replace(wanted, takes=1, controls=replace(wanted.controls, seed=takes[1].seed))
    assert np.array_equal(samples(make(engine, alone)[0]), samples(takes[1]))


def test_a_reference_changes_the_sound_the_same_way_each_time_and_every_take_says_how_it_was_made(base):
    wanted = brief(MusicTask.COVER, strength=0.5, language="de", metre="3", reference="r")
    wanted = replace(wanted, controls=replace(wanted.controls, tempo_bpm=90, key="A minor"))
    torch.manual_seed(1)
    (take,) = make(base, wanted)
    torch.manual_seed(2)
    assert np.array_equal(samples(make(base, wanted)[0]), samples(take))
    assert not np.array_equal(samples(make(base, replace(wanted, reference=""))[0]), samples(take))

    assert json.loads(json.dumps(take.settings)) == take.settings
    told = {
        "task": "cover", "caption": "warm folk", "language": "de", "duration_s": 3.0, "tempo_bpm": 90,
        "key": "A minor", "metre": "3", "steps": 3, "shift": 3.0, "guidance_scale": 7.5, "strength": 0.5,
        "reference": True, "batch": 1, "tiled": False, "device": "cpu", "dtype": "float32",
        "checkpoint": "tiny:ace-step-base", "revision": base.spec.card.revision,
    }  # fmt: skip
    assert told.items() <= take.settings.items()
    assert np.abs(samples(take)).max() == pytest.approx(10 ** (-1 / 20), rel=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "dark techno"},
        {"lyrics": "[verse]\nlo lo"},
        {"instrumental": True},
        {"language": "de"},
        {"metre": "3"},
        {"controls": Controls(duration_s=3.0, steps=3, seed=11, tempo_bpm=90)},
        {"controls": Controls(duration_s=3.0, steps=3, seed=11, key="A minor")},
        {"controls": Controls(duration_s=3.0, steps=4, seed=11)},
        {"controls": Controls(duration_s=3.0, steps=3, seed=11, guidance_scale=2.0)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_the_person_says_reaches_the_model(base, other):
    assert not np.array_equal(samples(make(base, brief(**other))[0]), samples(make(base, brief())[0]))


@pytest.mark.parametrize(
    ("task", "other"),
    [
        (MusicTask.COVER, {"strength": 0.3}),
        (MusicTask.EXTRACT, {"tracks": ("drums",)}),
        (MusicTask.LEGO, {"tracks": ("bass",)}),
        (MusicTask.COMPLETE, {"tracks": ("drums",)}),
    ],
)
def test_strength_and_tracks_reach_the_model(base, task, other):
    assert not np.array_equal(samples(make(base, brief(task, **other))[0]), samples(make(base, brief(task))[0]))


@pytest.mark.parametrize("task", [MusicTask.EXTRACT, MusicTask.LEGO, MusicTask.COMPLETE])
def test_turbo_refuses_the_tasks_it_was_never_trained_for(turbo, task):
    with pytest.raises(UnfitBrief, match="choose another engine"):
        make(turbo, brief(task))


def test_progress_rises_from_0_to_1_and_says_what_is_done(turbo):
    told: list[Progress] = []
    turbo.make(brief(takes=2), told.append)
    fractions = [progress.fraction for progress in told]
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 2 * 3
    assert all(progress.message for progress in told)


class StopAt:
    """Cancels at the n-th word it hears, or at the first that begins so."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.heard: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.heard.append(progress)
        if len(self.heard) >= self.at:
            raise Cancelled


def test_it_stops_at_whatever_word_it_is_told_to_and_decodes_nothing_more(turbo):
    whole: list[Progress] = []
    expected = turbo.make(brief(takes=2), whole.append)
    decoded: list[int] = []
    hook = turbo._model.pipe.vae.decoder.register_forward_hook(lambda *_: decoded.append(1))
    try:
        for at in range(1, len(whole)):
            decoded.clear()
            stop = StopAt(at)
            with pytest.raises(Cancelled):
                turbo.make(brief(takes=2), stop)
            assert len(stop.heard) == at
            assert len(decoded) == max(0, [word.message for word in stop.heard].count("Rendering the sound") - 1)
    finally:
        hook.remove()
    again = turbo.make(brief(takes=2), lambda _: None)
    assert all(np.array_equal(samples(one), samples(other)) for one, other in zip(expected, again, strict=True))


def test_two_at_once_do_not_disturb_each_other(turbo):
    wanted = [brief(MusicTask.REPAINT, seed=1), brief(MusicTask.COVER, seed=2), brief(seed=3)]
    alone = [samples(make(turbo, one)[0]) for one in wanted]
    made: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        made[index] = samples(make(turbo, wanted[index])[0])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(made[index], alone[index]) for index in range(3))


def test_it_gives_its_memory_back_and_loads_again(tiny_models):
    engine = ace_step("turbo", tiny_models)
    before = samples(make(engine, brief())[0])
    engine.unload()
    assert engine._model is None
    engine.unload()
    assert np.array_equal(samples(make(engine, brief())[0]), before)


def test_the_options_of_speed_make_the_same_sound_and_stand_in_the_settings(turbo, tiny_models):
    fast = ace_step("turbo", tiny_models, attention="window", tiles=True)
    usual, (take,) = samples(make(turbo, brief())[0]), make(fast, brief())
    assert take.settings["speed"]["attention"] == "window"
    assert take.settings["tiled"]
    np.testing.assert_allclose(samples(take), usual, atol=1e-3)


def test_an_unknown_word_about_speed_is_refused_at_the_start(tiny_models):
    with pytest.raises(BadSpeed, match="attention"):
        ace_step("turbo", tiny_models, attention="warp")


def copied(models: Path, to: Path, change: Callable[[Path], object]) -> Path:
    folder = to / "checkpoint"
    shutil.copytree(models / "tiny-ace-step-turbo", folder)
    change(folder)
    return folder


def truncate(folder: Path) -> None:
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1_000])


def pickle_instead(folder: Path) -> None:
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


@pytest.mark.parametrize(
    "change",
    [
        shutil.rmtree,
        truncate,
        pickle_instead,
        lambda folder: shutil.rmtree(folder / "tokenizer"),
        lambda folder: (folder / "model_index.json").write_text("{}"),
        lambda folder: (folder / "vae" / "config.json").write_text("nonsense"),
    ],
    ids=["absent", "truncated", "pickle", "no tokenizer", "no index", "bad config"],
)
def test_a_checkpoint_that_is_not_whole_is_refused_with_a_sentence(tiny_models, tmp_path, change):
    folder = copied(tiny_models, tmp_path, change)
    engine = AceStep(Setup(spec=ace_step_spec("turbo"), folder=folder, device="cpu"))
    with pytest.raises(WrongCheckpoint, match=r"Tiny ACE-Step turbo cannot be loaded"):
        engine.load()


def test_without_a_folder_it_says_where_checkpoints_are_listed():
    with pytest.raises(WrongCheckpoint, match="melodeon models list"):
        AceStep(Setup(spec=ace_step_spec("turbo"), device="cpu")).load()


def test_a_turbo_checkpoint_under_an_entry_with_guidance_is_refused(tiny_models):
    engine = AceStep(Setup(spec=ace_step_spec("base"), folder=tiny_models / "tiny-ace-step-turbo", device="cpu"))
    with pytest.raises(WrongCheckpoint, match="follows no guidance"):
        engine.load()


def test_a_checkpoint_without_the_audio_tokenizer_makes_no_covers(tiny_models, tmp_path):
    def drop(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text())
        index |= {"audio_tokenizer": [None, None], "audio_token_detokenizer": [None, None]}
        (folder / "model_index.json").write_text(json.dumps(index))

    engine = AceStep(Setup(spec=ace_step_spec("turbo"), folder=copied(tiny_models, tmp_path, drop), device="cpu"))
    with pytest.raises(UnfitBrief, match="audio tokenizer that covers need"):
        make(engine, brief(MusicTask.COVER))
    assert make(engine, brief())


def test_weights_beyond_memory_are_not_even_begun(tiny_models):
    spec = ace_step_spec("turbo")
    spec = replace(spec, card=replace(spec.card, memory_gb=1e6))
    with pytest.raises(NotEnoughMemory, match=r"needs 2000000\.0 GB"):
        AceStep(Setup(spec=spec, folder=tiny_models / "tiny-ace-step-turbo", device="cpu")).load()


def test_a_length_beyond_memory_is_refused_with_a_sentence_before_the_work(tiny_models):
    engine = ace_step("turbo", tiny_models)
    engine._model.footprint = replace(engine._model.footprint, hidden=10**12)
    stop = StopAt(1)
    with pytest.raises(NotEnoughMemory, match="GB are free"):
        engine.make(brief(), stop)
    assert not stop.heard


def test_weights_that_offload_brings_in_only_for_the_work_count_before_it(tiny_models):
    engine = ace_step("turbo", tiny_models)
    assert engine._model.moving_gb == 0
    engine._model.moving_gb = 10**6
    with pytest.raises(NotEnoughMemory, match=r"needs 1000000\.\d GB"):
        engine.make(brief(), lambda _: None)
