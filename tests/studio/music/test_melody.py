"""What is sung is singable: in the scale, on the chords, with the words, and built from motifs."""

import itertools
import random
import statistics
from bisect import bisect_right

import pytest

from studio.music.compose import compose, lines_sung
from studio.music.form import plan_sections
from studio.music.genres import GENRES
from studio.music.melody import HELD_S, VOICE_RANGE
from studio.music.score import Chord, Note, Part, Score
from studio.music.theory import Key, parse_key
from studio.text.phonetics import stresses
from studio.text.style import Style

VERSES = (
    "The quiet evening turns to blue|I trace your name on fogged-up glass|the city hums beneath my hands"
    "|I know you're looking for it too",
    "I kept the letters that you wrote|there is a fire inside my chest|another exit rolling by"
    "|and every window holds a ghost",
)
CHORUS = "Driving home at midnight|we're a little closer than before|driving home at midnight|I don't need a reason"


def lyrics_for(duration_s: float, tempo_bpm: float) -> str:
    written, verse = [], 0
    for name, count in plan_sections(duration_s, tempo_bpm, instrumental=False):
        text = CHORUS if name == "chorus" else VERSES[verse % 2]
        verse += name == "verse"
        written += [f"[{name}]", *text.split("|")[:count]]
    return "\n".join(written)


def song(genre: str, seed: int, *, voice: str = "female", duration_s: float = 90) -> Score:
    tempo = sum(GENRES[genre].tempo_bpm) / 2
    return compose(
        Style(genre=genre, voice=voice),
        lyrics=lyrics_for(duration_s, tempo),
        tempo_bpm=tempo,
        key=None,
        duration_s=duration_s,
        seed=seed,
        guidance=15,
        instrumental=False,
    )


SONGS = {genre: [song(genre, seed) for seed in (1, 2)] for genre in GENRES}


def chord_at(score: Score, beats: float) -> Chord:
    starts = [chord.start_beats for chord in score.chords]
    return score.chords[max(0, bisect_right(starts, beats) - 1)]


def key_at(score: Score, beats: float) -> Key:
    """The key of the section at ``beats``; a pickup already belongs to the section it leads into."""
    section = next(s for s in reversed(score.sections) if s.start_bar * 4 <= beats + 1 or s.start_bar == 0)
    return parse_key(score.key).transposed(section.lift)


def classes(chord: Chord) -> set[int]:
    return {pitch % 12 for pitch in chord.pitches}


def intervals(notes: tuple[Note, ...]) -> list[int]:
    return [b.pitch - a.pitch for a, b in itertools.pairwise(notes)]


def repeated_share(steps: list[int]) -> float:
    grams = [tuple(steps[at : at + 3]) for at in range(len(steps) - 2)]
    return sum(grams.count(gram) > 1 for gram in grams) / len(grams)


@pytest.mark.parametrize("genre", GENRES)
def test_the_voice_stays_in_the_scale_or_on_the_chord(genre: str) -> None:
    for score in SONGS[genre]:
        for note in score.of_part(Part.VOCAL):
            scale = set(key_at(score, note.start_beats).scale)
            around = classes(chord_at(score, note.start_beats + 0.1))
            after = classes(chord_at(score, note.start_beats + note.length_beats))
            # A borrowed chord, come or coming, replaces a note of the scale; nothing else may leave the key.
            assert note.pitch % 12 in scale | around | after


@pytest.mark.parametrize("genre", GENRES)
def test_strong_beats_carry_chord_tones(genre: str) -> None:
    for score in SONGS[genre]:
        strong = [n for n in score.of_part(Part.VOCAL) if abs((n.start_beats + 1) % 2 - 1) < 0.06]
        fitting = [n.pitch % 12 in classes(chord_at(score, n.start_beats + 0.1)) for n in strong]
        assert statistics.mean(fitting) >= 0.9


@pytest.mark.parametrize("genre", GENRES)
def test_held_notes_do_not_rub_against_the_chord(genre: str) -> None:
    for score in SONGS[genre]:
        sung_s = rubbing_s = 0.0
        for note in score.of_part(Part.VOCAL):
            length_s = score.seconds(note.length_beats)
            sung_s += length_s
            for chord in score.chords if length_s >= HELD_S else ():
                start = max(chord.start_beats, note.start_beats)
                overlap = min(chord.start_beats + chord.length_beats, note.start_beats + note.length_beats) - start
                if overlap > 0 and any((note.pitch - tone) % 12 in {1, 11} for tone in classes(chord)):
                    rubbing_s += score.seconds(overlap)
        assert rubbing_s / sung_s <= 0.05


@pytest.mark.parametrize("genre", GENRES)
def test_leaps_are_rare_and_motifs_return(genre: str) -> None:
    for score in SONGS[genre]:
        notes = score.of_part(Part.VOCAL)
        steps = intervals(notes)
        assert sum(abs(step) > 7 for step in steps) / len(steps) <= 0.06
        assert sum(step == 0 for step in steps) / len(steps) <= 0.35
        assert repeated_share(steps) >= 0.5


@pytest.mark.parametrize("genre", GENRES)
def test_motifs_return_far_more_than_by_chance(genre: str) -> None:
    ratios = []
    for score in SONGS[genre]:
        notes = list(score.of_part(Part.VOCAL))
        shuffled = notes[:]
        random.Random(1).shuffle(shuffled)
        ratios.append(repeated_share(intervals(tuple(notes))) / max(0.05, repeated_share(intervals(tuple(shuffled)))))
    assert statistics.mean(ratios) >= 2.0


@pytest.mark.parametrize("genre", GENRES)
def test_stressed_syllables_seek_the_beat(genre: str) -> None:
    on_beat: dict[bool, list[bool]] = {True: [], False: []}
    for score in SONGS[genre]:
        marks = [mark for line in lines_sung(score) for mark in stresses(line)]
        for note, mark in zip(score.of_part(Part.VOCAL), marks, strict=True):
            on_beat[mark].append(abs(note.start_beats - round(note.start_beats)) < 0.08)
    assert statistics.mean(on_beat[True]) - statistics.mean(on_beat[False]) >= 0.25


@pytest.mark.parametrize("voice", ["female", "male"])
@pytest.mark.parametrize("genre", ["pop", "jazz", "ballad"])
def test_the_voice_keeps_its_range(genre: str, voice: str) -> None:
    low, high = VOICE_RANGE[voice]
    notes = song(genre, 5, voice=voice).of_part(Part.VOCAL)
    assert all(low <= note.pitch <= high for note in notes)
    assert max(n.pitch for n in notes) - min(n.pitch for n in notes) >= 7


@pytest.mark.parametrize("genre", GENRES)
def test_choruses_lie_higher_than_verses(genre: str) -> None:
    heights: dict[str, list[int]] = {"verse": [], "chorus": []}
    for score in SONGS[genre]:
        for section in score.sections:
            if section.name in heights:
                first, last = section.start_bar * 4, (section.start_bar + section.bars) * 4
                heights[section.name] += [
                    note.pitch for note in score.of_part(Part.VOCAL) if first <= note.start_beats < last
                ]
    assert statistics.mean(heights["chorus"]) > statistics.mean(heights["verse"])


@pytest.mark.parametrize("genre", GENRES)
def test_the_last_sung_note_is_the_tonic(genre: str) -> None:
    for score in SONGS[genre]:
        last = score.of_part(Part.VOCAL)[-1]
        assert last.pitch % 12 == key_at(score, last.start_beats).tonic


@pytest.mark.parametrize("part", [Part.VOCAL, Part.HARMONY])
def test_a_voice_sings_one_note_at_a_time(part: Part) -> None:
    for scores in SONGS.values():
        for score in scores:
            notes = score.of_part(part)
            for a, b in itertools.pairwise(notes):
                assert a.start_beats + a.length_beats <= b.start_beats + 1e-9


def test_the_second_voice_sings_the_same_words_below_the_first() -> None:
    score = song("pop", 1)
    first = {note.syllable: note for note in score.of_part(Part.VOCAL)}
    second = score.of_part(Part.HARMONY)
    assert second
    assert all(note.syllable in first for note in second)
    assert statistics.mean(n.pitch for n in second) < statistics.mean(n.pitch for n in first.values())


@pytest.mark.parametrize("genre", ["pop", "rock", "folk"])
def test_a_hook_is_sung_to_one_tune(genre: str) -> None:
    for score in SONGS[genre]:
        chorus = sung_lines(score, "chorus")
        alike = [a == b for a, b in zip(intervals(chorus[0]), intervals(chorus[2]), strict=True)]
        assert statistics.mean(alike) >= 0.5
        starts = [[note.start_beats for note in line] for line in (chorus[0], chorus[2])]
        gaps = [[b - a for a, b in itertools.pairwise(line)] for line in starts]
        assert gaps[0] == pytest.approx(gaps[1], abs=0.15)


def test_the_second_verse_varies_the_tune_of_the_first() -> None:
    verses = (
        "the sun will rise above the hill|the day will find us standing still",
        "the moon will fall behind the tree|the night will take my hand from me",
    )
    lyrics = "\n".join(f"[verse]\n{verse}\n[chorus]\n{CHORUS}" for verse in verses).replace("|", "\n")
    kept = varied = 0
    for seed in range(6):
        score = compose(
            Style(),
            lyrics=lyrics,
            tempo_bpm=100,
            key="C",
            duration_s=80,
            seed=seed,
            guidance=15,
            instrumental=False,
        )
        first, second = sung_lines(score, "verse")[:2], sung_lines(score, "verse")[2:4]
        kept += sum(a == b for a, b in zip(intervals(first[0]), intervals(second[0]), strict=True))
        varied += intervals(first[1]) != intervals(second[1])
    assert varied >= 4
    assert kept >= 0.6 * 6 * 7


def sung_lines(score: Score, name: str) -> list[tuple[Note, ...]]:
    """The notes of every line sung in the sections called ``name``."""
    vocal = score.of_part(Part.VOCAL)
    starts = [at for at, note in enumerate(vocal) if note.syllable is not None and note.syllable.starts_line]
    names = [section.name for section in score.sections for _ in section.lines]
    spans = zip(names, starts, [*starts[1:], len(vocal)], strict=True)
    return [vocal[first:last] for owner, first, last in spans if owner == name]


def test_a_final_chorus_may_be_raised_and_all_players_with_it() -> None:
    raised = [score for seed in range(8) if (score := song("ballad", seed, duration_s=180)).sections[-1].lift]
    assert 1 <= len(raised) < 8
    for score in raised:
        lifts = [section.lift for section in score.sections]
        first = next(at for at, lift in enumerate(lifts) if lift)
        assert score.sections[first].name == "chorus"
        assert set(lifts[first:]) == {lifts[-1]} <= {1, 2}
        keys = [parse_key(score.key), parse_key(score.key).transposed(lifts[-1])]
        border = score.sections[first].start_bar * 4
        for low, high, key in ((0, border, keys[0]), (border, 10_000, keys[1])):
            chords = [chord for chord in score.chords if low <= chord.start_beats < high]
            fitting = [classes(chord) <= set(key.scale) for chord in chords]
            assert statistics.mean(fitting) > 0.5
        assert score.chords[-1].pitches[0] % 12 == keys[1].tonic


def test_who_asks_for_a_key_gets_it_to_the_end() -> None:
    for seed in range(5):
        style = Style(genre="ballad", key="D major")
        score = compose(
            style,
            lyrics=lyrics_for(180, 70),
            tempo_bpm=70,
            key=None,
            duration_s=180,
            seed=seed,
            guidance=15,
            instrumental=False,
        )
        assert {section.lift for section in score.sections} == {0}
