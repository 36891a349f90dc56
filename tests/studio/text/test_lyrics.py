"""Reading, writing and formatting lyrics."""

from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text.lyrics import write_lyrics
from studio.text.material import closers, themes
from studio.text.phonetics import count_syllables, words
from studio.text.reading import read_style
from studio.text.sections import format_lyrics, parse_lyrics
from studio.text.style import Style
from studio.text.subject import singable_subject
from studio.text.verses import rhymes

PROMPTS = (
    "dreamy synthwave about driving home at midnight",
    "sad piano ballad for a lost dog",
    "happy folk song for my mother on her birthday",
    "angry metal",
    "pop about summer nights",
    "a song about how much I miss you",
    "שיר על אהבה",
    "",
)
seeds = st.integers(min_value=0, max_value=2**31 - 1)


@settings(max_examples=60)
@given(
    seed=seeds,
    prompt=st.sampled_from(PROMPTS),
    duration_s=st.sampled_from((10.0, 20.0, 30.0, 60.0, 120.0, 240.0, 600.0)),
    tempo_bpm=st.integers(min_value=30, max_value=300),
)
def test_laws_of_written_lyrics(seed: int, prompt: str, duration_s: float, tempo_bpm: int) -> None:
    style = read_style(prompt)
    text = write_lyrics(prompt, style, seed=seed, duration_s=duration_s, tempo_bpm=tempo_bpm)
    assert text == write_lyrics(prompt, style, seed=seed, duration_s=duration_s, tempo_bpm=tempo_bpm)
    sections = parse_lyrics(text)
    assert sections[-1].name == "chorus"
    assert format_lyrics(sections) == text
    for section in sections:
        if section.name != "verse":
            continue
        assert len(set(section.lines)) == len(section.lines)
        assert all(7 <= count_syllables(line) <= 9 for line in section.lines)
        ends = [words(line)[-1] for line in section.lines]
        assert rhymes(*((ends[1], ends[3]) if len(ends) == 4 else ends))
    chorus = next(section for section in sections if section.name == "chorus")
    subject = singable_subject(prompt)
    if subject is not None:
        assert subject.title.lower() in chorus.lines[0].lower()


@given(seed=seeds)
def test_verses_of_a_song_share_no_line(seed: int) -> None:
    prompt = PROMPTS[seed % len(PROMPTS)]
    text = write_lyrics(prompt, read_style(prompt), seed=seed, duration_s=200, tempo_bpm=100)
    lines = [line for section in parse_lyrics(text) if section.name == "verse" for line in section.lines]
    assert len(lines) == len(set(lines)) >= 8


def test_seeds_give_different_songs() -> None:
    texts = {
        write_lyrics(PROMPTS[0], Style(genre="synthwave"), seed=seed, duration_s=60, tempo_bpm=100)
        for seed in range(40)
    }
    assert len(texts) == 40


def test_mood_never_mixes_bright_and_dark_closers() -> None:
    moods = {stanza.lines[0]: stanza.mood for family in closers() for stanza in family}
    for seed in range(30):
        for prompt, wrong in (("sad ballad about the sea", "+"), ("happy pop about the sea", "-")):
            text = write_lyrics(prompt, read_style(prompt), seed=seed, duration_s=180, tempo_bpm=90)
            assert wrong not in {moods.get(line) for line in text.splitlines()}


def test_no_theme_leaks_into_another() -> None:
    openers = {line: theme.name for theme in themes() for line in theme.openers}
    for seed in range(30):
        prompt = "dreamy synthwave about driving home at midnight"
        text = write_lyrics(prompt, read_style(prompt), seed=seed, duration_s=180, tempo_bpm=100)
        assert {openers[line] for line in text.splitlines() if line in openers} == {"night"}


def test_longer_songs_have_more_lines() -> None:
    counts = [
        len(write_lyrics("love", Style(), seed=1, duration_s=duration_s, tempo_bpm=100).splitlines())
        for duration_s in (10, 30, 60, 120, 240)
    ]
    assert counts == sorted(counts)
    assert counts[-1] > 3 * counts[1]


def test_an_instrumental_has_no_words() -> None:
    text = write_lyrics("love", Style(instrumental=True), seed=1, duration_s=60, tempo_bpm=100)
    assert text == "[Instrumental]"
