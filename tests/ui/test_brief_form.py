"""The create form follows the engine: its controls, their ranges, and what it does not do."""

import pytest
from streamlit.testing.v1 import AppTest

from serving.catalogue import known
from studio.words.brief import BriefKind
from studio.words.engine_spec import ChoiceControl, NumberControl

ENGINES = [spec.name for spec in known().engines() if BriefKind.SONG in spec.kinds]
SEED_ONLY = "This engine ignores guidance; its two takes differ by seed."


def _controls() -> None:
    import streamlit as st

    from serving.catalogue import known
    from ui.widgets.brief_form import _draw_controls

    st.session_state["drawn"] = _draw_controls(known().spec_of(st.session_state["engine_name"]))


def drawn(engine: str, **kept: object) -> AppTest:
    page = AppTest.from_function(_controls, default_timeout=180)
    for name, value in {"engine_name": engine, **kept}.items():
        page.session_state[name] = value
    page.run()
    assert not page.exception
    return page


@pytest.mark.parametrize("name", ENGINES)
def test_exactly_the_engines_controls_are_drawn_within_its_ranges(name: str) -> None:
    page = drawn(name)
    numbers = {number.key: (number.min, number.max, number.step) for number in (*page.slider, *page.number_input)}
    assert numbers.pop("control_seed")[0] == 0
    choices = {choice.key: tuple(choice.options) for choice in page.selectbox}
    spec = known().spec_of(name)
    assert numbers == {
        f"control_{control.name}": (control.least, control.most, control.step)
        for control in spec.controls
        if isinstance(control, NumberControl)
    }
    assert choices == {
        f"control_{control.name}": control.choices for control in spec.controls if isinstance(control, ChoiceControl)
    }


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_without_guidance_says_that_its_takes_differ_by_seed(name: str) -> None:
    captions = [caption.value for caption in drawn(name).caption]
    spec = known().spec_of(name)
    assert (SEED_ONLY in captions) is not spec.uses_guidance
    assert spec.note in captions


def test_what_was_set_for_another_engine_comes_into_this_ones_ranges_and_what_it_lacks_is_not_sent() -> None:
    page = drawn("builtin-song", control_duration_s=600, control_steps=50, control_guidance_scale=9.0)
    controls = page.session_state["drawn"]
    assert (controls.duration_s, controls.steps, controls.guidance_scale) == (240, None, 9.0)
    page = drawn("ace-step-turbo", control_duration_s=600, control_steps=50, control_guidance_scale=9.0)
    controls = page.session_state["drawn"]
    assert (controls.duration_s, controls.steps, controls.guidance_scale) == (600, 20, None)


def _reused() -> None:
    import streamlit as st

    from serving.catalogue import known
    from studio.words.brief import Brief, Controls
    from ui import state
    from ui.widgets.brief_form import _draw_controls, _start_from_reuse

    if "begun" not in st.session_state:
        st.session_state["begun"] = True
        controls = Controls(duration_s=90.0, tempo_bpm=96, key="A minor", seed=8, steps=12)
        state.set_reuse(Brief(prompt="folk", lyrics="la", engine="ace-step-turbo", controls=controls))
    _start_from_reuse()
    st.session_state["drawn"] = _draw_controls(known().spec_of("ace-step-turbo"))


def test_reuse_brings_back_every_number_of_the_take() -> None:
    page = AppTest.from_function(_reused, default_timeout=180).run()
    assert not page.exception
    controls = page.session_state["drawn"]
    assert (controls.duration_s, controls.tempo_bpm, controls.key) == (90, 96, "A minor")
    assert (controls.seed, controls.steps, controls.guidance_scale) == (8, 12, None)
