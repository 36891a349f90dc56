"""How long a song will be, agreed between the engines that must know before it exists."""

from studio.text.style import Style
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec, NumberControl


def length_s(brief: Brief, style: Style, spec: EngineSpec) -> float:
    """The person's length; else what the style names, as far as the engine's control allows it; else its default."""
    if brief.controls.duration_s is not None:
        return brief.controls.duration_s
    control = spec.control("duration_s")
    if not isinstance(control, NumberControl) or control.default is None:
        raise TypeError(f"The length of {spec.name} must be a number with a default; see engines.toml.")
    wanted = control.default if style.duration_s is None else style.duration_s
    return float(min(max(wanted, control.least), control.most))
