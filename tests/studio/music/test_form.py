"""The form fills the asked duration exactly, in the order of the lyrics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.music.budget import RING_S, bar_budget
from studio.music.form import plan_form, plan_sections
from studio.music.stanzas import LONGEST_LINE, fitting_pieces, read_stanzas
from studio.text.phonetics import count_syllables, words
from studio.text.style import Style

LINE = "The quiet evening turns to blue"
durations = st.floats(10, 600)
tempi = st.floats(30, 300)


def lyrics_for(plan: tuple[tuple[str, int], ...]) -> str:
    return "\n".join(f"[{name}]\n" + "\n".join([LINE] * lines) for name, lines in plan)


@given(durations, tempi)
def test_the_final_chord_starts_in_time_to_ring(duration_s: float, tempo_bpm: float) -> None:
    budget = bar_budget(duration_s, tempo_bpm)
    final_s = budget.body * budget.bar_s
    ring_s = min(RING_S, 0.12 * duration_s)
    assert final_s <= max(duration_s - ring_s + 1e-6, budget.tail * budget.bar_s)
    assert duration_s - final_s < ring_s + budget.tail * budget.bar_s + 1e-6
    assert 240 / 165 - 0.01 <= budget.bar_s <= 240 / 55 + 0.01 or tempo_bpm > 165 or tempo_bpm < 55
    assert budget.bars * budget.factor == round(budget.bars * budget.factor)


@given(durations, tempi, st.booleans())
def test_a_planned_song_fills_its_bars_without_gaps(duration_s: float, tempo_bpm: float, instrumental: bool) -> None:
    plan = plan_sections(duration_s, tempo_bpm, instrumental=instrumental)
    budget = bar_budget(duration_s, tempo_bpm)
    passages = plan_form(Style(), lyrics_for(plan), budget)
    bar = 0
    for passage in passages:
        assert passage.start_bar == bar
        assert passage.bars > 0
        assert passage.start_bar % budget.tail == 0
        bar = passage.end_bar
    assert bar == budget.bars
    assert passages[-1].final
    assert all(0 <= passage.energy <= 1 for passage in passages)
    assert sum(lines for _, lines in plan) >= 2 or instrumental
    assert all(lines % 2 == 0 for _, lines in plan)


@pytest.mark.parametrize("tempo_bpm", [45, 70, 84, 100, 124, 150, 200])
@pytest.mark.parametrize("duration_s", [10, 30, 60, 120, 180, 240, 600])
def test_planned_lyrics_are_sung_whole_and_nothing_is_padded(duration_s: float, tempo_bpm: float) -> None:
    plan = plan_sections(duration_s, tempo_bpm, instrumental=False)
    budget = bar_budget(duration_s, tempo_bpm)
    passages = plan_form(Style(), lyrics_for(plan), budget)
    sung = [(passage.name, len(passage.lines)) for passage in passages if passage.lines]
    assert sung[: len([p for p in plan if p[1]])] == [p for p in plan if p[1]]
    between = [p for p in passages if not p.lines and p.name not in {"intro", "outro"}]
    assert all(p.bars <= 2 * 4 * budget.line_bars for p in between)
    silent_s = sum(p.bars for p in passages if not p.lines) * budget.bar_s
    assert silent_s <= max(14.0, 0.45 * duration_s)


def test_tags_keep_their_order() -> None:
    lyrics = "\n".join(f"[{tag}]\n{LINE}\n{LINE}" for tag in ("Verse 1", "Pre-Chorus", "Hook", "Middle 8", "Chorus"))
    passages = plan_form(Style(), lyrics, bar_budget(90, 100))
    assert [p.name for p in passages if p.lines][:5] == ["verse", "pre-chorus", "chorus", "bridge", "chorus"]


def test_too_long_lyrics_end_with_a_chorus() -> None:
    lyrics = "\n".join(f"[{tag}]\n" + "\n".join([LINE] * 4) for tag in ("Verse", "Chorus") * 8)
    passages = plan_form(Style(), lyrics, bar_budget(60, 100))
    sung = [p for p in passages if p.lines]
    assert sung[-1].name == "chorus"
    assert 8 <= sum(len(p.lines) for p in sung) < 64


def test_short_lyrics_are_sung_again_rather_than_padded() -> None:
    passages = plan_form(Style(), f"[Verse]\n{LINE}\n{LINE}\n[Chorus]\n{LINE}\n{LINE}", bar_budget(240, 100))
    sung_bars = sum(p.bars for p in passages if p.lines)
    assert sung_bars >= 0.55 * sum(p.bars for p in passages)


def test_untagged_stanzas_find_their_chorus() -> None:
    verse, chorus, other = "one road\ntwo roads", "sing it loud\nsing it low", "three roads\nfour"
    stanzas = read_stanzas("\n\n".join([verse, chorus, other, chorus]))
    assert [s.name for s in stanzas] == ["verse", "chorus", "verse", "chorus"]


def test_an_empty_chorus_tag_repeats_the_chorus() -> None:
    stanzas = read_stanzas("[Chorus]\nsing it loud\n[Verse]\none road\n[Chorus]\n[Solo]")
    assert stanzas[2].lines == ("sing it loud",)
    assert stanzas[3].lines == ()


@given(st.lists(st.text(alphabet="abcdefgh i'", max_size=200), max_size=6))
def test_pieces_of_long_lines_keep_every_word_and_fit_a_breath(lines: list[str]) -> None:
    pieces = fitting_pieces(line for line in lines if words(line))
    assert all(count_syllables(piece) <= LONGEST_LINE + 8 for piece in pieces)
    joined = "".join("".join(words(piece)) for piece in pieces).replace("'", "")
    assert joined == "".join("".join(words(line)) for line in lines).replace("'", "")


def test_tags_may_be_written_in_many_ways() -> None:
    stanzas = read_stanzas("Verse 1:\none road\n**[Hook]**\nsing it\n🎸\n[Spoken word]\nthree roads\n[Guitar solo]")
    assert [(s.name, s.lines) for s in stanzas] == [
        ("verse", ("one road",)),
        ("chorus", ("sing it",)),
        ("verse", ("three roads",)),
        ("solo", ()),
    ]


@pytest.mark.parametrize("tempo_bpm", [72, 90, 100, 118, 124, 140])
def test_half_a_minute_holds_a_couplet_and_a_whole_chorus(tempo_bpm: float) -> None:
    sung = [part for part in plan_sections(30, tempo_bpm, instrumental=False) if part[1]]
    assert sung[0][0] == "verse"
    assert sung[-1] == ("chorus", 4)
