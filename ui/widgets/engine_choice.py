"""Which engine makes the song: the choice, what it waits for, and a way out when it cannot work now."""

from typing import Final

import streamlit as st

from serving import catalogue
from serving.contract import ApplicationHealth
from studio.words.brief import BriefKind
from studio.words.engine_spec import EngineSpec
from ui.wiring import engine_health

KEY: Final = "engine"


def draw_engine_choice() -> EngineSpec:
    """Let the person choose among the engines that make songs here, and say how the chosen one stands."""
    specs = {spec.label: spec for spec in catalogue.engines() if BriefKind.SONG in spec.kinds}
    chosen = specs[st.selectbox("Engine", list(specs), key=KEY)] if len(specs) > 1 else next(iter(specs.values()))
    _draw_standing(chosen, list(specs.values()))
    return chosen


def choose_engine(name: str) -> None:
    """Have this engine chosen on the next run, if it makes songs here."""
    for spec in catalogue.engines():
        if spec.name == name and BriefKind.SONG in spec.kinds:
            st.session_state[KEY] = spec.label


def _draw_standing(chosen: EngineSpec, specs: list[EngineSpec]) -> None:
    health = engine_health()
    if health is None:
        st.warning(
            "The engines do not answer at the moment. What you ask for now waits until they do.",
            icon=":material/cloud_off:",
        )
        return
    seen = _of(chosen, health)
    if seen is not None and seen.ready:
        if seen.replicas == 0:
            st.caption(f":material/bedtime: {chosen.label} sleeps and warms up first{_about(seen)}.")
        return
    st.warning(f"{chosen.label} is not ready yet. A song asked for now waits for it.", icon=":material/hourglass_top:")
    other = next((spec for spec in specs if (found := _of(spec, health)) is not None and found.ready), None)
    if other is not None:
        st.button(f"Use {other.label} instead", key="other_engine", on_click=choose_engine, args=(other.name,))


def _of(spec: EngineSpec, health: dict[str, ApplicationHealth]) -> ApplicationHealth | None:
    return health.get(catalogue.catalogue().application_of(spec.name))


def _about(seen: ApplicationHealth) -> str:
    return f", about {seen.cold_start_s:.0f} s" if seen.cold_start_s else ""
