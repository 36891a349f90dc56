"""The create form: obtains one Brief. Its numbers are drawn from the engine's own declaration."""

import random
from typing import Any, Final, TypedDict

import streamlit as st

from billing.pricing import price_of
from serving.outlook import Pace
from studio.words.brief import (
    DESCRIPTION_MAX,
    LYRICS_MAX,
    TITLE_MAX,
    Brief,
    BriefMode,
    Controls,
)
from studio.words.credit import Balance
from studio.words.engine_spec import ChoiceControl, EngineSpec, NumberControl
from ui import state
from ui.widgets.engine_choice import choose_engine, draw_engine_choice
from ui.widgets.plain import credits_text
from ui.widgets.quote import draw_quote
from ui.widgets.writing_help import draw_expand_style, draw_write_lyrics, take_over_written

IDEAS: Final = (
    "dreamy synthwave about driving home at midnight",
    "a hopeful indie folk song about leaving the harbour at dawn",
    "slow piano ballad about a letter that never arrived",
    "warm lo-fi for a rainy Sunday, no vocals",
    "joyful house track about dancing on the roof",
    "smoky jazz about the last train of the night",
)
WHOLE_NUMBERS: Final = ("tempo_bpm", "steps", "seed")
_ENGINE_CHOICE: Final = "Automatic"
_KEPT: Final[Any] = {"on_change": "ignore", "persist_state": "session"}
"""For the fields: what is typed travels with the next click and outlives a look at another page. (A form would hold it
back until it is sent, and lose it when the person switches between Simple and Custom.)"""


class Texts(TypedDict, total=False):
    """The texts of a Brief that the form asks for."""

    description: str
    prompt: str
    lyrics: str
    described_lyrics: str
    title: str


def draw_brief_form(balance: Balance, *, pace: Pace | None) -> Brief | None:
    """Draw the form; the Brief when Create was pressed, not yet fitted to its engine."""
    start = _start_from_reuse()
    take_over_written()
    mode = st.segmented_control(
        "How", ["Simple", "Custom"], default="Simple", required=True, key="mode", label_visibility="collapsed",
        width="stretch", persist_state="session",
    )  # fmt: skip
    source = BriefMode.DESCRIPTION if mode == "Simple" else _draw_lyrics_source()
    engine = draw_engine_choice()
    with st.container(border=True):
        if start is not None:
            st.caption("Started from one of your songs. The same settings make the same song again.")
        texts = _draw_texts(source)
        instrumental = st.toggle("Instrumental", key="instrumental", help="No voice and no lyrics.", **_KEPT)
        controls = _draw_controls(engine)
        brief = Brief(mode=source, instrumental=instrumental, engine=engine.name, controls=controls, **texts)
        pressed = _draw_submit(brief, balance, pace=pace)
    return brief if pressed else None


def _start_from_reuse() -> Brief | None:
    brief = state.reuse()
    if brief is not None:
        found = {
            "mode": "Custom",
            "lyrics_source": "My own lyrics",
            "prompt": brief.prompt,
            "lyrics": brief.lyrics,
            "title": brief.title,
            "instrumental": brief.instrumental,
            "control_duration_s": brief.controls.duration_s and round(brief.controls.duration_s),
            "control_tempo_bpm": brief.controls.tempo_bpm,
            "control_key": brief.controls.key,
            "control_seed": brief.controls.seed,
            "control_steps": brief.controls.steps,
            "control_guidance_scale": brief.controls.guidance_scale,
        }
        st.session_state.update({name: value for name, value in found.items() if value is not None})
        choose_engine(brief.engine)
    return brief


def _draw_lyrics_source() -> BriefMode:
    chosen = st.segmented_control(
        "Whose lyrics", ["My own lyrics", "Describe the lyrics"], default="My own lyrics", required=True,
        key="lyrics_source", label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    return BriefMode.LYRICS if chosen == "My own lyrics" else BriefMode.DESCRIBED_LYRICS


def _draw_texts(source: BriefMode) -> Texts:
    if source is BriefMode.DESCRIPTION:
        idea = random.Random(st.session_state.setdefault("idea", 0)).choice(IDEAS)  # noqa: S311 - a placeholder
        description = st.text_area(
            "Describe your song", key="description", height=120, max_chars=DESCRIPTION_MAX, placeholder=idea, **_KEPT
        )
        return {"description": description or ""}
    prompt = st.text_area(
        "Style", key="prompt", height=80, max_chars=DESCRIPTION_MAX,
        placeholder="warm indie folk, female voice, 96 bpm", **_KEPT,
    )  # fmt: skip
    draw_expand_style(prompt or "")
    texts: Texts = {"prompt": prompt or ""}
    if source is BriefMode.LYRICS:
        texts["lyrics"] = st.text_area(
            "Lyrics", key="lyrics", height=220, max_chars=LYRICS_MAX, placeholder="[verse]\n…\n\n[chorus]\n…",
            help="Mark the parts with [verse], [chorus], [bridge], [intro], [outro], [instrumental].", **_KEPT,
        ) or ""  # fmt: skip
        draw_write_lyrics(prompt or "", texts["lyrics"], length_s=st.session_state.get("control_duration_s"))
    else:
        texts["described_lyrics"] = st.text_area(
            "What should the lyrics tell?", key="described_lyrics", height=110, max_chars=DESCRIPTION_MAX,
            placeholder="Two friends meet again after ten years and miss the last bus together.", **_KEPT,
        ) or ""  # fmt: skip
    texts["title"] = st.text_input("Title (optional)", key="title", max_chars=TITLE_MAX, **_KEPT) or ""
    return texts


def _draw_controls(engine: EngineSpec) -> Controls:
    _keep_within(engine)
    values: dict[str, float | str | None] = {}
    duration = engine.control("duration_s")
    if isinstance(duration, NumberControl):
        values["duration_s"] = st.slider(
            f"{duration.label} ({duration.unit})", int(duration.least), int(duration.most),
            int(duration.default or duration.least), int(duration.step), key="control_duration_s",
            **_KEPT,
        )  # fmt: skip
    with st.expander("Advanced", type="compact"):
        for control in engine.controls:
            if control.name != "duration_s":
                values[control.name] = _draw_control(control)
        values["seed"] = st.number_input(
            "Seed", 0, 2**31 - 1, None, 1, key="control_seed", placeholder="random",
            help="The same seed and settings make the same song again.", **_KEPT,
        )  # fmt: skip
        if not engine.uses_guidance:
            st.caption("This engine ignores guidance; its two takes differ by seed.")
        if engine.note:
            st.caption(engine.note)
    return Controls(**values)  # type: ignore[arg-type]


def _keep_within(engine: EngineSpec) -> None:
    """What was set for another engine is brought into this one's ranges: a widget refuses a value outside its own."""
    for control in engine.controls:
        key = f"control_{control.name}"
        value = st.session_state.get(key)
        if isinstance(control, NumberControl) and isinstance(value, int | float):
            st.session_state[key] = type(value)(min(max(value, control.least), control.most))


def _draw_control(control: NumberControl | ChoiceControl) -> float | str | None:
    key = f"control_{control.name}"
    if isinstance(control, ChoiceControl):
        choice: str | None = st.selectbox(
            control.label, control.choices, index=None, key=key, placeholder=_ENGINE_CHOICE, help=control.help or None,
            **_KEPT,
        )  # fmt: skip
        return choice
    whole = control.name in WHOLE_NUMBERS
    kind = int if whole else float
    label = f"{control.label} ({control.unit})" if control.unit else control.label
    return st.number_input(
        label, kind(control.least), kind(control.most), None, kind(control.step), key=key,
        placeholder=_ENGINE_CHOICE.lower(), help=control.help or None, **_KEPT,
    )  # fmt: skip


def _draw_submit(brief: Brief, balance: Balance, *, pace: Pace | None) -> bool:
    price = price_of(brief)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            f"Create · {credits_text(price)}", type="primary", icon=":material/auto_awesome:", key="create",
            shortcut="Ctrl+Enter",
        )  # fmt: skip
        about = ""
        if pace is not None:
            # the slider's value comes with the next run, so the length this is said of is named
            length_s = brief.controls.duration_s or pace.typical_length_s
            about = f"{length_s:.0f} s of song take about {max(1.0, pace.seconds(length_s)):.0f} s"
        draw_quote(price, balance, what="Two takes cost", more=about)
    return pressed
