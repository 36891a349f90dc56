"""The line of musical words for an engine."""

from hypothesis import given
from hypothesis import strategies as st

from studio.text.prompts import style_prompt
from studio.text.reading import read_style


def test_what_was_said_is_kept() -> None:
    text = "dreamy deep house with saxophone, no drums, 122 bpm, F# minor, male vocals"
    line = style_prompt(text, read_style(text), seed=1)
    assert line.startswith("dreamy deep house, saxophone")
    for part in ("male vocals", "no drums", "122 bpm", "F# minor"):
        assert part in line
    assert "drum machine" not in line


def test_an_instrumental_names_no_singer() -> None:
    for seed in range(20):
        line = style_prompt("pop", read_style("instrumental pop"), seed=seed)
        assert "vocal" not in line
        assert "instrumental" in line


@given(st.text(max_size=200), st.integers(min_value=0, max_value=2**31 - 1))
def test_any_description_gives_a_short_line(text: str, seed: int) -> None:
    style = read_style(text)
    line = style_prompt(text, style, seed=seed)
    assert line == style_prompt(text, style, seed=seed)
    assert 10 <= len(line) <= 400
    parts = line.split(", ")
    assert len(parts) == len(set(parts)) >= 3


def test_seeds_vary_the_textures() -> None:
    style = read_style("folk")
    assert len({style_prompt("folk", style, seed=seed) for seed in range(30)}) > 10
