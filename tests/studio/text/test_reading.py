"""What prompts are understood to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.music.theory import KEYS
from studio.text.reading import read_style
from studio.text.subject import singable_subject, subject_of
from studio.text.vocabulary import GENRE_WORDS, MOODS


@pytest.mark.parametrize(
    ("prompt", "genre"),
    [
        ("dreamy synthwave about driving home at midnight", "synthwave"),
        ("a lo-fi hip hop beat", "lofi"),
        ("old school hip-hop", "hiphop"),
        ("deep house for the summer", "house"),
        ("80s synth track", "synthwave"),
        ("neo-soul with a gospel choir", "rnb"),
        ("R&B slow jam", "rnb"),
        ("bossa nova", "jazz"),
        ("sad piano ballad", "ballad"),
        ("folk rock about trains", "folk"),
        ("no rock, just folk", "folk"),
        ("a folk song about my house", "folk"),
        ("song about a rock in the garden", "pop"),
        ("Irish sea shanty", "folk"),
        ("film score", "ambient"),
        ("heavy metal", "rock"),
        ("something peaceful and calm", "ambient"),
        ("something sad", "ballad"),
        ("", "pop"),
    ],
)
def test_genre(prompt: str, genre: str) -> None:
    assert read_style(prompt).genre == genre


@pytest.mark.parametrize(
    ("prompt", "moods"),
    [
        ("dreamy synthwave about driving home at midnight", ("dreamy",)),
        ("driving home, synthwave", ()),
        ("a driving rock song", ("driving",)),
        ("sad, slow and bittersweet", ("sad", "slow", "bittersweet")),
        ("happy summer pop", ("happy",)),
        ("a song about being happy", ()),
        ("not too dark ambient", ()),
        ("upbeat, energetic house", ("upbeat", "energetic")),
        ("a really angry metal track", ("angry",)),
        ("late-night jazz", ("late-night",)),
    ],
)
def test_moods(prompt: str, moods: tuple[str, ...]) -> None:
    assert read_style(prompt).moods == moods


@pytest.mark.parametrize(
    ("prompt", "tempo_bpm"),
    [
        ("house, 124 bpm", 124),
        ("124BPM", 124),
        ("tempo: 90", 90),
        ("98.5 bpm", 98),
        ("100-110 bpm", 105),
        ("at 92 beats per minute", 92),
        ("999 bpm", None),
        ("in 1984", None),
    ],
)
def test_tempo(prompt: str, tempo_bpm: int | None) -> None:
    assert read_style(prompt).tempo_bpm == tempo_bpm


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ("100 bpm, A minor", "A minor"),
        ("in a minor key of life", "A minor"),
        ("F# minor", "F# minor"),
        ("Bb major swing", "A# major"),
        ("E-flat major", "D# major"),
        ("key of G", "G major"),
        ("key: Dm", "D minor"),
        ("rock song in E about freedom", "E major"),
        ("a song in Am", "A minor"),
        ("a major hit about a minor setback", None),
        ("A minor setback", None),
        ("in A world of pain", None),
        ("vitamin C", None),
    ],
)
def test_key(prompt: str, key: str | None) -> None:
    assert read_style(prompt).key == key


@pytest.mark.parametrize(
    ("prompt", "duration_s"),
    [
        ("90 seconds", 90),
        ("a two-minute song", 120),
        ("1.5 minutes", 90),
        ("2 minutes and 30 seconds", 150),
        ("2:30 long", 150),
        ("half a minute", 30),
        ("a 30s jingle", 30),
        ("80s synthpop", None),
        ("about waking up at 3:30 am", None),
        ("folk", None),
    ],
)
def test_duration(prompt: str, duration_s: float | None) -> None:
    assert read_style(prompt).duration_s == duration_s


@pytest.mark.parametrize(
    ("prompt", "voice", "instrumental"),
    [
        ("sad ballad, male vocals", "male", False),
        ("sung by a man", "male", False),
        ("tenor sax solo", "female", False),
        ("female and male vocals", "female", False),
        ("lo-fi, no vocals", "female", True),
        ("instrumental deep house", "female", True),
        ("pop with an instrumental break", "female", False),
        ("jazz without any singing", "female", True),
    ],
)
def test_voice(prompt: str, voice: str, *, instrumental: bool) -> None:
    style = read_style(prompt)
    assert (style.voice, style.instrumental) == (voice, instrumental)


@pytest.mark.parametrize(
    ("prompt", "without"),
    [
        ("ambient, no drums", ("drums",)),
        ("jazz without drums or bass", ("drums", "bass")),
        ("no loud electric guitars, no piano", ("guitar", "piano")),
        ("no way home", ()),
        ("drum-free", ("drums",)),
        ("with drums", ()),
    ],
)
def test_without(prompt: str, without: tuple[str, ...]) -> None:
    assert read_style(prompt).without == without


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("dreamy synthwave about driving home at midnight, 100 bpm", "driving home at midnight"),
        ("sad piano ballad for a lost dog", "a lost dog"),
        ("lofi beats for studying", ""),
        ("pop song called “Neon Hearts”", "Neon Hearts"),
        ("song about love with strings", "love"),
        ("a tribute to my grandmother. 90 bpm", "my grandmother"),
        ("Grandma's garden", "Grandma's garden"),
        ("chill lofi", ""),
        ("", ""),
    ],
)
def test_subject(prompt: str, subject: str) -> None:
    assert subject_of(prompt) == subject


@pytest.mark.parametrize(
    ("prompt", "kind", "phrase"),
    [
        ("about driving home at midnight", "gerund", "driving home at midnight"),
        ("a song for my mother on her birthday", "person", "my mother"),
        ("a song for Sarah", "person", "Sarah"),
        ("about a girl named Anna", "person", "Anna"),
        ("about a lost dog", "noun", "my lost dog"),
        ("about a small town", "noun", "the small town"),
        ("about summer nights", "noun", "summer nights"),
        ("about how much I miss you", "phrase", "how much I miss you"),
        ("about never giving up", "phrase", "never giving up"),
        ("about the morning", "noun", "the morning"),
        ("about my grandfather's beautiful old pickup truck", "noun", "my old pickup truck"),
    ],
)
def test_singable_subject(prompt: str, kind: str, phrase: str) -> None:
    subject = singable_subject(prompt)
    assert subject is not None
    assert (subject.kind, subject.phrase) == (kind, phrase)


@given(st.text(max_size=200))
def test_any_text_gives_a_sane_style(text: str) -> None:
    style = read_style(text)
    assert style.genre in GENRE_WORDS
    assert set(style.moods) <= set(MOODS)
    assert -1 <= style.valence <= 1
    assert -1 <= style.arousal <= 1
    assert style.key is None or style.key in KEYS
    assert style.tempo_bpm is None or 30 <= style.tempo_bpm <= 300
    assert style.duration_s is None or 1 <= style.duration_s <= 3600
    assert style == read_style(text)
