"""What the built-in engines make of a Brief beyond the common exam."""

import pytest

from serving.engines.builtin_cover import BuiltinCover
from serving.engines.builtin_song import BuiltinSong
from serving.engines.builtin_words import BuiltinWords
from serving.engines.length import length_s
from studio.text.reading import read_style
from studio.words.brief import Brief, BriefKind, BriefMode, Controls
from studio.words.take import Picture, Progress, Sound, Take, Words

LINE = "Walking home beneath the silver moon tonight\n"


def song(**words) -> Take:
    controls = words.pop("controls", Controls(seed=3, duration_s=15))
    brief = Brief(**{"prompt": "warm folk", "takes": 1, "controls": controls, **words})
    [take] = BuiltinSong().make(brief, lambda _: None)
    assert isinstance(take.result, Sound)
    return take


def written(**words) -> Words:
    brief = Brief(**{"kind": BriefKind.LYRICS, "takes": 1, "controls": Controls(seed=3), **words})
    [take] = BuiltinWords().make(brief, lambda _: None)
    assert isinstance(take.result, Words)
    return take.result


def test_a_song_says_so_when_lines_did_not_fit():
    assert "lyric lines did not fit into 15 s" in song(lyrics="[verse]\n" + LINE * 40).settings["note"]


def test_a_song_whose_lines_fit_has_no_note():
    take = song(lyrics="[verse]\n" + LINE)
    assert "note" not in take.settings
    assert {line.text for line in take.result.lines} == {LINE.strip()}


def test_a_song_says_so_when_its_words_cannot_be_pronounced():
    some = song(lyrics="[verse]\n" + LINE + "你好世界 你好世界\n", controls=Controls(seed=3, duration_s=20))
    assert "Some lines are in a script this voice cannot pronounce" in some.settings["note"]
    every = song(lyrics="[verse]\n你好世界 你好世界\n")
    assert "The lyrics are in a script" in every.settings["note"]


def test_an_instrumental_song_sings_nothing_and_says_nothing_about_it():
    take = song(lyrics="[verse]\n" + LINE, instrumental=True)
    assert take.result.lines == ()
    assert take.settings["instrumental"] is True
    assert "note" not in take.settings


def test_the_shortest_song_sings_the_lyrics_written_for_it():
    controls = Controls(seed=4, duration_s=10)
    lyrics = written(prompt="warm folk", described_lyrics="the sea", mode=BriefMode.DESCRIBED_LYRICS, controls=controls)
    take = song(lyrics=lyrics.lyrics, controls=controls)
    assert len(take.result.lines) >= 2
    assert "note" not in take.settings


def test_the_controls_decide_over_the_style():
    take = song(controls=Controls(seed=3, duration_s=10, tempo_bpm=77, key="F# major"))
    assert (take.result.tempo_bpm, take.result.key) == (77, "F# major")


def test_an_error_of_one_take_is_the_error_of_the_call():
    def burst(progress: Progress) -> None:
        if progress.fraction > 0:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        BuiltinSong().make(Brief(prompt="folk", takes=3, controls=Controls(seed=1, duration_s=10)), burst)


@pytest.mark.parametrize(
    ("text", "asked_s", "length"),
    [
        ("folk", None, 60),
        ("folk, 90 seconds", None, 90),
        ("folk, 90 seconds", 30.0, 30),
        ("a 30 minute drone", None, 240),
    ],
)
def test_the_length_is_the_persons_else_the_styles_else_the_default(text, asked_s, length):
    brief = Brief(prompt=text, controls=Controls(duration_s=asked_s))
    assert length_s(brief, read_style(text), BuiltinSong().spec) == length


def test_missing_texts_are_written_and_given_ones_stay():
    texts = written(description="a dreamy synthwave song about driving home")
    assert "synthwave" in texts.prompt
    assert texts.title
    assert "[" in texts.lyrics
    kept = written(prompt="my style", title="My title", lyrics="my words", mode=BriefMode.LYRICS)
    assert kept == Words(prompt="my style", title="My title", lyrics="my words")


def test_an_instrumental_gets_no_lyrics_however_it_is_asked_for():
    assert written(description="folk about rain", instrumental=True).lyrics == ""
    assert written(description="instrumental lofi about rain").lyrics == ""


def test_lyrics_are_about_what_was_described_for_them():
    texts = written(
        prompt="pop", mode=BriefMode.DESCRIBED_LYRICS, described_lyrics="a song about my grandmother's kitchen"
    )
    assert "kitchen" in (texts.lyrics + texts.title).lower()


def test_tempo_and_key_of_the_controls_stand_in_the_written_style():
    texts = written(description="warm folk", controls=Controls(seed=1, tempo_bpm=91, key="D minor"))
    assert "91 bpm" in texts.prompt
    assert "D minor" in texts.prompt


def test_tags_name_the_genre_and_what_is_sung():
    tags = written(kind=BriefKind.TAGS, prompt="warm folk, 100 bpm", title="Home", lyrics="[verse]\nla").tags
    assert 3 <= len(tags) <= 8
    assert "folk" in tags


def test_many_covers_of_one_title_all_differ():
    brief = Brief(
        kind=BriefKind.COVER, prompt="warm folk", title="Home", artist="ada", takes=4, controls=Controls(seed=9)
    )
    takes = BuiltinCover().make(brief, lambda _: None)
    pixels = set()
    for take in takes:
        assert isinstance(take.result, Picture)
        pixels.add(take.result.pixels.tobytes())
    assert len(pixels) == 4
