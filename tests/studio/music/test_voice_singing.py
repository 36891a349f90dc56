"""The singer: on the note, on the beat, and with the vowels' formants where they belong."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import resample_poly

from studio.music.diction import DIPHTHONGS, FRICATIVES, SONORANTS, STOPS, VOWELS, UnknownPhone, phrases, pronounce
from studio.music.score import FormSection, Note, Part, Score, Syllable
from studio.music.voice import SINGERS, UnknownVoice, sing

RATE_HZ = 48_000
WORDS = (
    ("DH", "AH0"), ("N", "AY1", "T"), ("IH1", "Z"), ("F", "AO1"), ("L", "IH0", "NG"), ("D", "AW1", "N"),
    ("S", "T", "R", "IY1", "T"), ("CH", "EY1", "N", "JH"), ("HH", "OW1", "M"), ("W", "ER1", "L", "D"),
)  # fmt: skip
TUNE = (60, 62, 64, 67, 65, 64, 62, 69, 67, 64)


def sung(pitch: int, start: float, length: float, phones: tuple[str, ...] | None, part: Part = Part.VOCAL) -> Note:
    syllable = Syllable(text="x", phones=phones) if phones else None
    return Note(part=part, start_beats=start, length_beats=length, pitch=pitch, velocity=0.7, syllable=syllable)


def song(*notes: Note, voice: str = "female", energy: float = 0.5, seconds: float = 10.0, seed: int = 3) -> Score:
    return Score(
        genre="pop",
        tempo_bpm=60,
        key="C major",
        duration_s=seconds,
        sections=(FormSection(name="verse", start_bar=0, bars=8, energy=energy),),
        chords=(),
        notes=notes,
        voice=voice,
        seed=seed,
    )


def melody(voice: str, **settings) -> Score:
    low = 12 if voice == "male" else 0
    notes = [sung(pitch - low, 0.5 + 0.9 * k, 0.86, WORDS[k]) for k, pitch in enumerate(TUNE)]
    return song(*notes, voice=voice, **settings)


def stem_of(score: Score, part: Part = Part.VOCAL) -> np.ndarray:
    stem = np.zeros((2, round(score.duration_s * RATE_HZ)), np.float32)
    fractions = list(sing(score, part, stem))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert np.isfinite(stem).all()
    return stem


def pitch_hz(piece: np.ndarray, guess_hz: float) -> float:
    """The autocorrelation peak nearest to a guess, refined by a parabola."""
    x = piece - piece.mean()
    spectrum = np.fft.rfft(x * np.hanning(len(x)), 4 * len(x))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    lags = np.arange(int(RATE_HZ / guess_hz * 0.8), int(RATE_HZ / guess_hz * 1.25))
    k = int(lags[correlation[lags].argmax()])
    left, here, right = correlation[k - 1 : k + 2]
    return float(RATE_HZ / (k + 0.5 * (left - right) / (left - 2 * here + right)))


@pytest.mark.parametrize("voice", ["female", "male"])
def test_the_median_pitch_error_is_under_10_cents(voice):
    score = melody(voice)
    mono = stem_of(score).mean(axis=0).astype(np.float64)
    errors = []
    for note in score.notes:
        target = 440 * 2 ** ((note.pitch - 69) / 12)
        start = score.seconds(note.start_beats)
        piece = mono[round((start + 0.12) * RATE_HZ) : round((start + 0.42) * RATE_HZ)]
        errors.append(abs(1200 * np.log2(pitch_hz(piece, target) / target)))
    assert np.median(errors) <= 10
    assert np.mean(np.array(errors) <= 50) >= 0.95


def formants_hz(samples: np.ndarray) -> np.ndarray:
    """Resonances by linear prediction (autocorrelation method, order 10 at 8 kHz), low to high."""
    x = resample_poly(samples.astype(np.float64), 1, 6)
    x = np.append(x[0], x[1:] - 0.95 * x[:-1]) * np.hanning(len(x))
    correlation = np.correlate(x, x, "full")[len(x) - 1 : len(x) + 10]
    coefficients = solve_toeplitz(correlation[:-1], correlation[1:])
    roots = np.roots(np.append(1.0, -coefficients))
    roots = roots[(roots.imag > 0) & (np.abs(roots) > 0.9)]
    return np.sort(np.angle(roots) * 8_000 / (2 * np.pi))


@pytest.mark.parametrize("vowel", ["IY", "IH", "EH", "AE", "AA", "AO", "UH", "AH"])
def test_the_formants_of_a_vowel_are_within_15_percent(vowel):
    """Sung very low, where the harmonics lie close enough to show the resonances."""
    score = song(sung(40, 1.0, 2.0, (f"{vowel}1",)), seconds=4.0)
    found = formants_hz(stem_of(score)[0, round(1.3 * RATE_HZ) : round(2.6 * RATE_HZ)])
    for wanted in np.array(VOWELS[vowel][:2]) * SINGERS["female"].formant_scale:
        assert np.abs(found / wanted - 1).min() <= 0.15, (wanted, found)


def test_vowels_start_on_their_notes_and_consonants_before():
    score = melody("female")
    (phrase,) = phrases(score, score.of_part(Part.VOCAL))
    segments = pronounce(phrase)
    for index, note in enumerate(phrase):
        own = [segment for segment in segments if segment.note == index]
        vowel = next(segment for segment in own if segment.phone == note.vowel)
        assert vowel.start_s == pytest.approx(note.start_s)
        assert vowel.end_s - vowel.start_s >= 0.4 * note.length_s
        assert [segment.phone for segment in own] == [*note.onset, note.vowel, *note.coda]
    for before, after in pairwise(segments):
        assert before.end_s <= after.start_s + 1e-6
        assert before.start_s < before.end_s


def test_pauses_part_the_phrases_and_a_note_without_syllable_carries_the_vowel_on():
    score = song(sung(60, 0, 0.9, ("M", "IY1")), sung(62, 1, 0.9, None), sung(60, 4, 1.0, ("G", "OW1")))
    first, second = phrases(score, score.notes)
    assert [note.vowel for note in first] == ["IY", "IY"]
    assert first[1].onset == ()
    assert [note.vowel for note in second] == ["OW"]


def test_the_chorus_is_doubled_at_the_sides_and_the_verse_stands_in_the_middle():
    verse, chorus = stem_of(melody("female", energy=0.5)), stem_of(melody("female", energy=0.95))
    assert np.array_equal(verse[0], verse[1])
    assert 0.5 < np.corrcoef(chorus)[0, 1] < 0.99


def test_the_harmony_is_wide():
    notes = [sung(60 + k, 1.0 + k, 0.95, ("L", "AA1"), Part.HARMONY) for k in range(4)]
    assert np.corrcoef(stem_of(song(*notes), Part.HARMONY))[0, 1] < 0.8


def test_the_same_score_sings_the_same_and_another_seed_does_not():
    first, again, other = (stem_of(melody("female", seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_before_the_first_note_there_is_at_most_a_breath():
    score = song(sung(60, 2.0, 1.0, ("S", "AA1")), seconds=4.0)
    stem = stem_of(score)
    assert np.abs(stem[:, : round(1.2 * RATE_HZ)]).max() < 1e-3
    assert stem[:, round(2.1 * RATE_HZ) : round(2.8 * RATE_HZ)].std() > 20 * stem[:, : round(1.8 * RATE_HZ)].std()


@pytest.mark.parametrize("phones", [("QQ", "AA1"), ("S", "T")])
def test_what_is_not_arpabet_is_refused(phones):
    with pytest.raises(UnknownPhone, match="ARPAbet") as caught:
        stem_of(song(sung(60, 0, 1, phones)))
    assert caught.value.code == "unknown_phone"


def test_an_unknown_singer_is_refused():
    with pytest.raises(UnknownVoice, match="female, male"):
        stem_of(song(sung(60, 0, 1, ("AA1",)), voice="parrot"))


def test_every_phone_of_arpabet_can_be_sung():
    consonants = [*SONORANTS, *FRICATIVES, *STOPS]
    vowels = [*VOWELS, *DIPHTHONGS]
    assert (len(consonants), len(vowels)) == (24, 15)
    notes = [sung(60, 1 + 0.4 * k, 0.38, (phone, "AA1", phone)) for k, phone in enumerate(consonants)]
    notes += [sung(60, 12 + 0.4 * k, 0.38, (f"{phone}1",)) for k, phone in enumerate(vowels)]
    stem = stem_of(song(*notes, seconds=20.0))
    for note in notes:
        start = round(note.start_beats * RATE_HZ)
        assert stem[:, start : start + 9_600].std() > 0.01
