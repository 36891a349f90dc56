"""What a Brief asks of ACE-Step: sounds, lengths and windows are checked before any model works."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.catalogue import known
from serving.engines.acestep_ask import FADE_FRAMES, LostSound, ask_of
from serving.engines.acestep_model import LATENTS_A_SECOND, _spoken_s
from studio.sound.clip import Clip
from studio.units import RATE_HZ
from studio.words.brief import Brief, Controls, MusicTask, UnfitBrief
from studio.words.take import Sources

TURBO, BASE = (known().spec_of(f"tiny-ace-step-{name}") for name in ("turbo", "base"))


def clip(seconds: float = 5.0, *, rate_hz: int = RATE_HZ, channels: int = 2) -> Clip:
    noise = np.random.default_rng(3).standard_normal((channels, round(seconds * rate_hz))) * 0.1
    return Clip(samples=noise.astype(np.float32), rate_hz=rate_hz)


def ask(spec=TURBO, *, source: Clip | None = None, reference: Clip | None = None, options=None, **words):
    keys = {"source": "s" if source else "", "reference": "r" if reference else ""}
    brief = Brief(**{"prompt": "folk", **keys, **words})
    return ask_of(brief, spec, Sources(source=source, reference=reference), options or {})


def repaint(start_s: float, end_s: float, task: MusicTask = MusicTask.REPAINT):
    return ask(source=clip(), task=task, window=(start_s, end_s))


def test_without_a_source_the_length_is_the_one_chosen_or_named_or_the_usual_one():
    assert ask(controls=Controls(duration_s=12.5)).frames == 600_000
    assert ask(prompt="folk, 30 seconds long").duration_s == 30
    assert ask().duration_s == TURBO.control("duration_s").default


def test_from_a_source_the_length_is_the_sources_and_the_note_says_so():
    made = ask(source=clip(), task=MusicTask.COVER, controls=Controls(duration_s=60))
    assert made.duration_s == 5
    assert "5.0 s long" in made.note
    assert ask(source=clip(), task=MusicTask.COVER).note == ""


@given(st.integers(1, 15_000))
def test_the_length_told_to_the_pipeline_is_this_many_latents_and_the_right_second(latents):
    told_s = _spoken_s(latents)
    assert math.ceil(told_s * LATENTS_A_SECOND) == latents
    if latents % LATENTS_A_SECOND == 0:
        assert int(told_s) == latents // LATENTS_A_SECOND


def test_turbo_has_guidance_1_for_every_take_and_base_the_pair():
    assert ask(TURBO).guidances == (1.0, 1.0)
    assert ask(BASE).guidances == (7.5, 15.0)
    assert ask(BASE, controls=Controls(guidance_scale=5)).guidances == (5, 5)


def test_steps_are_the_checkpoints_own_unless_chosen():
    assert (ask(TURBO).steps, ask(BASE).steps) == (8, 50)
    assert ask(TURBO, controls=Controls(steps=4)).steps == 4


def test_the_shift_is_3_unless_the_options_say_otherwise():
    assert (ask().shift, ask(options={"shift": 2}).shift) == (3.0, 2.0)


def test_an_instrumental_is_told_so_and_an_unnamed_language_is_left_open():
    assert ask(lyrics="la", instrumental=True, language="de").lyrics == "[Instrumental]"
    assert ask(lyrics="  ").lyrics == "[Instrumental]"
    assert ask(lyrics="la").language == "unknown"
    assert ask(lyrics="la", language="de").language == "de"


def test_control_tokens_of_the_tokenizer_are_only_text():
    made = ask(prompt="folk<|endoftext|> # Metas", lyrics="la <|im_end|> la")
    assert "<|" not in made.caption + made.lyrics
    assert made.caption == "folk< |endoftext|> # Metas"


def test_the_caption_is_the_style_and_else_the_description():
    assert ask(prompt="dark techno", description="a night in Berlin").caption == "dark techno"
    assert ask(prompt=" ", description="a night in Berlin").caption == "a night in Berlin"


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 1), (44_100, 2), (16_000, 1), (48_000, 1), (96_000, 2)])
def test_every_source_comes_to_48_khz_stereo(rate_hz, channels):
    made = ask(source=clip(rate_hz=rate_hz, channels=channels), task=MusicTask.COVER)
    assert made.source.shape == (2, 5 * RATE_HZ)
    assert made.source.dtype == np.float32


@pytest.mark.parametrize("what", ["source", "reference"])
def test_a_named_sound_that_did_not_come_is_never_taken_for_silence(what):
    brief = Brief(prompt="folk", task=MusicTask.COVER, **{"source": "a", "reference": "b", what: "songs/lost.wav"})
    held = {name: clip() for name in ("source", "reference") if name != what}
    with pytest.raises(LostSound, match=rf"{what} “songs/lost.wav”"):
        ask_of(brief, TURBO, Sources(**held), {})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_source_with_values_that_are_no_numbers_is_refused(value):
    bad = clip()
    bad.samples[0, 100] = value
    with pytest.raises(UnfitBrief, match="no numbers"):
        ask(source=bad, task=MusicTask.COVER)


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_a_source_too_short_to_work_on_is_refused(seconds):
    with pytest.raises(UnfitBrief, match="at least 1 s"):
        ask(source=clip(seconds), task=MusicTask.COVER)


def test_a_source_longer_than_the_engine_makes_is_refused():
    with pytest.raises(UnfitBrief, match="at most 600 s"):
        ask(source=Clip(samples=np.full((1, 601 * 8_000), 0.1, np.float32), rate_hz=8_000), task=MusicTask.COVER)


@pytest.mark.parametrize(("start_s", "end_s"), [(1.0, 5.2), (5.0, 6.0), (100.0, 200.0)])
def test_a_repainted_window_lies_inside_the_source(start_s, end_s):
    with pytest.raises(UnfitBrief, match=r"ends at 5\.00 s"):
        repaint(start_s, end_s)


def test_a_window_too_short_to_be_heard_is_refused():
    with pytest.raises(UnfitBrief, match="too short"):
        repaint(1.0, 1.03)


def test_a_window_that_ends_a_rounding_beyond_the_source_ends_with_it():
    made = repaint(4.0, 5.04)
    assert (made.frames, made.window.first, made.window.end) == (240_000, 192_000, 240_000)


def test_an_extension_ends_beyond_the_source_and_overlaps_it_by_a_crossfade():
    made = repaint(5.0, 8.0, MusicTask.EXTEND)
    assert made.frames == made.window.end == 8 * RATE_HZ
    assert made.window.first == 5 * RATE_HZ - FADE_FRAMES
    assert repaint(4.0, 8.0, MusicTask.EXTEND).window.first == 4 * RATE_HZ


@pytest.mark.parametrize(("start_s", "end_s", "sentence"), [(5.2, 8, "begin there or before"), (3, 4.9, "beyond that")])
def test_an_extension_that_leaves_a_hole_or_adds_nothing_is_refused(start_s, end_s, sentence):
    with pytest.raises(UnfitBrief, match=sentence):
        repaint(start_s, end_s, MusicTask.EXTEND)


def test_an_extension_is_no_longer_than_the_engine_makes():
    with pytest.raises(UnfitBrief, match="at most 600 s"):
        repaint(5.0, 601.0, MusicTask.EXTEND)
