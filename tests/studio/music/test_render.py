"""Rendering: exact length, the same bits everywhere, progress, cancelling, and a mix that follows the form."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studio.music.patches import UnknownPatch
from studio.music.render import EmptyScore, render, warm_up
from studio.music.score import FormSection, Note, Part, Score, Syllable
from studio.sound.analyse import check
from studio.sound.clip import Clip
from studio.sound.loudness import integrated_lufs
from studio.sound.master import master
from studio.words.take import Cancelled, Progress

RATE_HZ = 48_000
CHORDS = ((57, 60, 64), (53, 57, 60), (55, 60, 64), (55, 59, 62))
ROOTS = (33, 29, 36, 31)
SYLLABLES = (("L", "EH1", "T"), ("DH", "AH0"), ("M", "AO1", "R"), ("N", "IH0", "NG"), ("K", "AH1", "M"), ("AA1",))


def small_score(*, duration_s: float = 12.0, genre: str = "synthwave", seed: int = 3, **changes) -> Score:
    """A verse and a chorus of two bars each, at 80 bpm, and a final chord."""
    notes: list[Note] = []

    def add(part: Part, start: float, length: float, pitch: int, velocity: float, phones=None) -> None:
        syllable = Syllable(text="x", phones=phones) if phones else None
        notes.append(
            Note(part=part, start_beats=start, length_beats=length, pitch=pitch, velocity=velocity, syllable=syllable)
        )

    for bar in range(3):
        loud = bar >= 1
        for pitch in CHORDS[bar]:
            add(Part.PAD, 4 * bar, 4, pitch, 0.5)
            for beat in range(4):
                add(Part.KEYS, 4 * bar + beat, 0.8, pitch, 0.6 + 0.2 * loud)
        for eighth in range(8):
            add(Part.BASS, 4 * bar + eighth / 2, 0.45, ROOTS[bar], 0.8)
            add(Part.DRUMS, 4 * bar + eighth / 2, 0.2, 42, 0.5)
        for beat, key in enumerate((36, 38, 36, 38)):
            add(Part.DRUMS, 4 * bar + beat, 0.2, key, 0.9)
        for k, phones in enumerate(SYLLABLES):
            add(Part.VOCAL, 4 * bar + k / 2, 0.48, CHORDS[bar][k % 3] + 3, 0.7, phones)
            if loud:
                add(Part.HARMONY, 4 * bar + k / 2, 0.48, CHORDS[bar][k % 3], 0.5, phones)
                add(Part.ARP, 4 * bar + k / 2, 0.25, CHORDS[bar][k % 3] + 12, 0.5)
    for pitch in CHORDS[0]:
        add(Part.KEYS, 12, 3, pitch, 0.6)
    settings = {
        "genre": genre,
        "tempo_bpm": 80.0,
        "key": "A minor",
        "duration_s": duration_s,
        "sections": (
            FormSection(name="verse", start_bar=0, bars=1, energy=0.5),
            FormSection(name="chorus", start_bar=1, bars=2, energy=1.0),
            FormSection(name="outro", start_bar=3, bars=1, energy=0.4),
        ),
        "chords": (),
        "notes": tuple(sorted(notes, key=lambda note: note.start_beats)),
        "instruments": {
            Part.DRUMS: "electronic",
            Part.BASS: "synthbass",
            Part.KEYS: "polysaw",
            Part.PAD: "pad",
            Part.ARP: "arp",
        },
        "seed": seed,
    }
    return Score(**(settings | changes))


def quietly(progress: Progress) -> None:
    """Nobody is watching."""


def fingerprint(clip: Clip) -> str:
    return hashlib.sha256(clip.samples.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def rendered() -> Clip:
    return render(small_score(), on_progress=quietly)


@pytest.mark.parametrize("duration_s", [8.0371, 12.5])
def test_the_length_is_exact(duration_s):
    clip = render(small_score(duration_s=duration_s), on_progress=quietly)
    assert clip.rate_hz == RATE_HZ
    assert clip.samples.shape == (2, round(duration_s * RATE_HZ))


def test_it_starts_and_ends_in_silence_and_sounds_in_between(rendered):
    assert np.abs(rendered.samples[:, [0, -1]]).max() < 1e-4
    assert rendered.samples[:, RATE_HZ : 2 * RATE_HZ].std() > 0.02


def test_a_song_cut_off_in_full_swing_fades():
    clip = render(small_score(duration_s=7.0), on_progress=quietly)
    assert np.abs(clip.samples[:, -10:]).max() < 1e-3


def test_mastered_it_passes_every_gate(rendered):
    result = master(rendered)
    assert result.loudness_lufs == pytest.approx(-14.0, abs=0.3)
    check(result.clip, asked_s=12.0)


def test_the_image_is_wide_but_not_hollow(rendered):
    assert 0.3 < np.corrcoef(rendered.samples)[0, 1] < 0.98


def test_the_chorus_is_louder_than_the_verse(rendered):
    def loudness(start_s: float, end_s: float) -> float:
        piece = rendered.samples[:, round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
        return integrated_lufs(Clip(samples=np.ascontiguousarray(piece)))

    assert loudness(3.2, 8.8) - loudness(0.2, 2.8) >= 1.0


def test_the_same_score_is_the_same_bits(rendered):
    assert fingerprint(render(small_score(), on_progress=quietly)) == fingerprint(rendered)


def test_another_process_makes_the_same_bits(rendered):
    program = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('scores', sys.argv[1])\n"
        "scores = importlib.util.module_from_spec(spec); spec.loader.exec_module(scores)\n"
        "print(scores.fingerprint(scores.render(scores.small_score(), on_progress=scores.quietly)))\n"
    )
    root = Path(__file__).parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", program, __file__],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": str(root)},
    )
    assert answer.stdout.strip() == fingerprint(rendered)


def test_another_seed_is_another_performance(rendered):
    assert fingerprint(render(small_score(seed=4), on_progress=quietly)) != fingerprint(rendered)


def test_progress_rises_to_one_and_names_what_is_done():
    seen: list[Progress] = []
    score = small_score()
    render(score, on_progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.05
    assert fractions[-1] == pytest.approx(1.0)
    said = {progress.message for progress in seen}
    assert {"playing drums", "playing bass", "singing vocal", "singing harmony", "mixing"} <= said
    assert len(seen) > len(score.notes) / 20


@pytest.mark.parametrize("after", [0, 3, 20])
def test_cancelling_passes_through_at_once(after):
    calls = 0

    def stop(progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Cancelled

    with pytest.raises(Cancelled):
        render(small_score(), on_progress=stop)
    assert calls == after + 1


@pytest.mark.parametrize("genre", ["house", "lofi", "jazz", "a genre nobody has heard of"])
def test_every_genre_has_a_mix(genre):
    clip = render(small_score(genre=genre), on_progress=quietly)
    assert integrated_lufs(clip) == pytest.approx(-16.0, abs=2.0)


def test_an_instrument_that_does_not_exist_is_never_silence():
    with pytest.raises(UnknownPatch, match="theremin"):
        render(small_score(instruments=dict.fromkeys(Part, "theremin")), on_progress=quietly)


@pytest.mark.parametrize("notes", [(), (Note(part=Part.BASS, start_beats=99, length_beats=1, pitch=33, velocity=1),)])
def test_a_score_without_notes_is_refused(notes):
    with pytest.raises(EmptyScore, match="no notes"):
        render(small_score(notes=notes), on_progress=quietly)


def test_one_lonely_note_is_a_song():
    one = Note(part=Part.KEYS, start_beats=0, length_beats=4, pitch=60, velocity=0.7)
    clip = render(small_score(notes=(one,), sections=(), duration_s=5.0), on_progress=quietly)
    assert integrated_lufs(clip) > -25


def test_a_voice_alone_is_a_song():
    notes = tuple(note for note in small_score().notes if note.part is Part.VOCAL)
    clip = render(small_score(notes=notes), on_progress=quietly)
    assert integrated_lufs(clip) > -25


def test_warming_up_needs_nothing():
    warm_up()
