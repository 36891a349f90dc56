"""The planner: its format, and on its tiny checkpoint the laws of plans, of understanding and of audio codes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from serving.catalogue import known
from serving.checkpoints import MANIFEST, check
from serving.engines import planner_format as form
from serving.engines.device import OutOfMemory
from serving.engines.planner import NoCodes, Planner
from serving.engines.setup import Setup
from serving.engines.tiny import AUDIO_CODES
from studio.music.theory import KEYS
from studio.words.brief import METRES, Brief, BriefKind, Controls, UnfitBrief
from studio.words.take import Cancelled, Plan, Progress, Words

SPEC = replace(known().spec_of("tiny-planner"), controls=known().spec_of("tiny-qwen").controls)
BRIEF = Brief(kind=BriefKind.PLAN, prompt="warm folk", takes=1, controls=Controls(seed=3))
CODES = "".join(f"<|audio_code_{number}|>" for number in range(50))
PLANS = st.builds(
    Plan,
    tempo_bpm=st.integers(30, 300),
    key=st.sampled_from(KEYS),
    metre=st.sampled_from(METRES),
    language=st.sampled_from(form.LANGUAGES),
    duration_s=st.integers(10, 600).map(float),
    caption=st.lists(st.text("abcdefghij'\"#-,é", min_size=1, max_size=9), min_size=1, max_size=40).map(" ".join),
)


@pytest.fixture(scope="module")
def planner(tiny_models: Path) -> Planner:
    return Planner(Setup(spec=SPEC, folder=tiny_models / "tiny-planner", device="cpu"))


def words(planner: Planner, brief: Brief) -> list[Words]:
    return [take.result for take in planner.make(brief, lambda _: None)]


@given(PLANS)
def test_a_block_says_its_plan(plan):
    assert replace(form.plan_of(form.block_of(plan), Brief()), caption="") == replace(plan, caption="")


def test_a_block_of_the_real_planner_is_read():
    block = (
        "bpm: 128\ncaption: An upbeat synth-pop track with a driving four-on-the-floor beat and a\n  bright melody.\n"
        "duration: 210\nkeyscale: Bb minor\nlanguage: 'no'\ntimesignature: 4"
    )
    assert form.plan_of(block, Brief()) == Plan(
        tempo_bpm=128,
        key="A# minor",
        metre="4",
        language="no",
        duration_s=210.0,
        caption="An upbeat synth-pop track with a driving four-on-the-floor beat and a bright melody.",
    )


@given(st.text())
def test_any_text_is_read_as_some_plan_within_its_limits(text):
    for block in (text, f"bpm: {text}\nduration: {text}\nkeyscale: {text}\nlanguage: {text}\ntimesignature: {text}"):
        plan = form.plan_of(block, Brief())
        assert plan.tempo_bpm is None or 30 <= plan.tempo_bpm <= 300
        assert plan.duration_s is None or 10 <= plan.duration_s <= 600
        assert plan.key is None or plan.key in KEYS
        assert plan.metre in ("", *METRES)
        assert plan.language in ("", *form.LANGUAGES)


def test_no_control_token_of_a_person_reaches_the_prompt():
    _, user = form.plan_messages("a</think><|im_end|>", "<|audio_code_3|>")
    assert "<" not in user["content"]


def test_what_is_open_is_planned(planner):
    (made,) = words(planner, replace(BRIEF, prompt="", description="a warm folk song"))
    plan = made.plan
    assert 30 <= plan.tempo_bpm <= 300
    assert plan.key in KEYS
    assert plan.metre in METRES
    assert plan.language in ("", *form.LANGUAGES)
    assert 10 <= plan.duration_s <= 600
    assert made.prompt == plan.caption != ""
    assert "\n" not in plan.caption


def test_the_persons_own_values_stand(planner):
    prompt = "warm folk: 100% 'cosy' \"quoted\" #1 <|im_end|> [x] (y) \\d+"
    controls = Controls(seed=3, tempo_bpm=101, key="A# minor", duration_s=95.5)
    for brief in (
        replace(BRIEF, prompt=prompt, controls=controls, metre="3", language="no"),
        replace(BRIEF, prompt=prompt, controls=controls),
        replace(BRIEF, prompt=prompt, controls=replace(controls, tempo_bpm=None), metre="6", language="yue"),
    ):
        (made,) = words(planner, brief)
        plan = made.plan
        assert made.prompt == plan.caption == prompt
        assert (plan.key, plan.duration_s) == ("A# minor", 95.5)
        assert plan.tempo_bpm == brief.controls.tempo_bpm or brief.controls.tempo_bpm is None
        assert plan.metre == brief.metre or not brief.metre
        assert plan.language == brief.language or not brief.language


def test_lyrics_get_their_tags_in_the_studios_form_and_keep_every_line(planner):
    (made,) = words(planner, replace(BRIEF, lyrics="verse 1:\nla la la\n\n[CHORUS]\nlo lo lo", title="Song"))
    assert made.lyrics == "[Verse 1]\nla la la\n\n[Chorus]\nlo lo lo"
    assert made.title == "Song"
    assert words(planner, replace(BRIEF, lyrics="la la"))[0].lyrics == "la la"
    assert words(planner, replace(BRIEF, lyrics="la la", instrumental=True))[0].lyrics == ""


def test_the_published_1_7b_is_saved_without_its_head_and_read_all_the_same(planner, tiny_models, tmp_path):
    weights = load_file(tiny_models / "tiny-planner" / "model.safetensors")
    folder = tmp_path / "bare"
    shutil.copytree(tiny_models / "tiny-planner", folder, ignore=shutil.ignore_patterns(MANIFEST))
    bare = {name.removeprefix("model."): weight for name, weight in weights.items()}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["Qwen3Model"]}), "utf-8")
    check(folder, known().spec_of("planner-1-7b").card, hashes=False)
    assert words(Planner(Setup(spec=SPEC, folder=folder, device="cpu")), BRIEF) == words(planner, BRIEF)


def test_plans_differ_by_seed_and_can_be_made_again_alone(planner):
    takes = planner.make(replace(BRIEF, takes=2), lambda _: None)
    assert takes[0].result != takes[1].result
    again = replace(BRIEF, controls=Controls(seed=takes[1].seed))
    assert words(planner, again) == [takes[1].result]


def test_guidance_changes_the_plan(planner, tiny_models):
    setup = Setup(spec=SPEC, folder=tiny_models / "tiny-planner", device="cpu", options={"guidance": 1.0})
    assert words(Planner(setup), BRIEF) != words(planner, BRIEF)


def test_codes_are_understood(planner):
    told: list[Progress] = []
    (take,) = planner.make(Brief(kind=BriefKind.UNDERSTAND, description=CODES, takes=1), told.append)
    assert take.result.plan.duration_s == 10.0
    assert take.result.prompt == take.result.plan.caption != ""
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


@pytest.mark.parametrize(
    "brief",
    [
        Brief(kind=BriefKind.UNDERSTAND, description="no codes", takes=1),
        Brief(kind=BriefKind.UNDERSTAND, description=f"{CODES}<|audio_code_63999|>", takes=1),
        Brief(kind=BriefKind.PLAN, takes=1),
    ],
)
def test_without_anything_to_work_on_it_refuses(planner, brief):
    with pytest.raises(UnfitBrief):
        planner.make(brief, lambda _: None)


@pytest.mark.parametrize("at", [1, 2, 9])
def test_it_stops_at_the_token_at_which_it_is_told_to(planner, at):
    told = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if len(told) == at:
            raise Cancelled

    with pytest.raises(Cancelled):
        planner.make(BRIEF, stop)
    assert len(told) == at


@pytest.mark.parametrize("duration_s", [10.0, 12.4])
def test_codes_are_five_a_second_exactly(planner, duration_s):
    told: list[Progress] = []
    plan = Plan(duration_s=duration_s, caption="x", tempo_bpm=90)
    codes = planner.codes_for(BRIEF, plan, seed=4, on_progress=told.append)
    assert len(codes) == round(duration_s) * 5
    assert all(0 <= code < AUDIO_CODES for code in codes)
    assert planner.codes_for(BRIEF, plan, seed=4, on_progress=lambda _: None) == codes
    assert planner.codes_for(BRIEF, plan, seed=5, on_progress=lambda _: None) != codes
    assert [progress.fraction for progress in told] == sorted(progress.fraction for progress in told)
    assert told[-1].fraction == 1


def test_codes_need_a_length_and_a_planner(planner, tiny_models):
    with pytest.raises(UnfitBrief):
        planner.codes_for(BRIEF, Plan(), seed=1, on_progress=lambda _: None)
    other = Planner(Setup(spec=SPEC, folder=tiny_models / "tiny-qwen", device="cpu"))
    with pytest.raises(NoCodes, match="5 Hz planners"):
        other.codes_for(BRIEF, Plan(duration_s=10), seed=1, on_progress=lambda _: None)


@pytest.mark.parametrize("times", [1, 2])
def test_out_of_memory_is_tried_once_more_and_then_told(planner, monkeypatch, times):
    expected = words(planner, BRIEF)
    model = planner._loaded()
    generate, left = model._generate, [None] * times

    def failing(*args: object) -> None:
        if left:
            left.pop()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        generate(*args)

    monkeypatch.setattr(model, "_generate", failing)
    if times == 1:
        assert words(planner, BRIEF) == expected
    else:
        with pytest.raises(OutOfMemory):
            words(planner, BRIEF)


@pytest.mark.parametrize("times", [1, 2])
def test_codes_out_of_memory_are_written_once_more_and_then_told(planner, monkeypatch, times):
    plan = Plan(duration_s=10.0, caption="x", tempo_bpm=90)
    expected = planner.codes_for(BRIEF, plan, seed=4, on_progress=lambda _: None)
    model = planner._loaded()
    generate, left, told = model._generate, [None] * times, []

    def failing(encoded: object, pen: object, most_tokens: int) -> None:
        if left:
            left.pop()
            generate(encoded, pen, most_tokens // 2)  # half of them are written and told when the memory ends
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        generate(encoded, pen, most_tokens)

    monkeypatch.setattr(model, "_generate", failing)
    if times == 1:
        assert planner.codes_for(BRIEF, plan, seed=4, on_progress=told.append) == expected
        fractions = [progress.fraction for progress in told]
        assert fractions == sorted(fractions)
        assert len(fractions) > len(expected), "some were told before the memory ended"
    else:
        with pytest.raises(OutOfMemory):
            planner.codes_for(BRIEF, plan, seed=4, on_progress=told.append)
