"""The catalogue: what stands in engines.toml, without importing an engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.catalogue import (
    BadCatalogue,
    NoEngine,
    UnknownEngine,
    application_of,
    catalogue,
    default_engine,
    engines,
    read_catalogue,
    spec_of,
)
from studio.music.theory import KEYS
from studio.words.brief import Brief, BriefKind, Controls, UnfitBrief
from studio.words.engine_spec import ChoiceControl, NumberControl

ENTRY = """
[mine]
body = "somewhere.mine:Mine"
application = "songs"
label = "Mine"
version = "1"
kinds = ["song"]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "engines.toml"
    path.write_text(text)
    return path


def test_every_kind_has_a_default_engine_that_makes_it():
    for kind in BriefKind:
        assert kind in spec_of(default_engine(kind)).kinds


def test_reading_the_catalogue_imports_no_engine_no_ray_and_no_model_library():
    code = (
        "import sys, serving.catalogue as c; c.engines();"
        "heavy = ('ray', 'torch', 'numba');"
        "print([m for m in sys.modules if m.startswith('serving.engines') or m.split('.')[0] in heavy])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_built_in_song_engine_offers_its_four_controls_and_no_steps():
    spec = spec_of("builtin-song")
    assert [control.name for control in spec.controls] == ["duration_s", "tempo_bpm", "key", "guidance_scale"]
    length, key = spec.control("duration_s"), spec.control("key")
    assert isinstance(length, NumberControl)
    assert (length.least, length.most) == (10, 240)
    assert isinstance(key, ChoiceControl)
    assert key.choices == KEYS
    assert "synthetic guide vocal" in spec.note


@pytest.mark.parametrize(
    ("controls", "field"),
    [
        (Controls(duration_s=9.9), "duration_s"),
        (Controls(duration_s=240.1), "duration_s"),
        (Controls(tempo_bpm=29), "tempo_bpm"),
        (Controls(key="H major"), "key"),
        (Controls(steps=20), "steps"),
        (Controls(guidance_scale=20.5), "guidance_scale"),
    ],
)
def test_a_brief_outside_the_controls_is_unfit(controls: Controls, field: str):
    with pytest.raises(UnfitBrief) as caught:
        spec_of("builtin-song").fit(Brief(description="x", controls=controls))
    assert caught.value.field_name == field


def test_every_default_lies_within_its_own_control():
    for spec in engines():
        for control in spec.controls:
            if isinstance(control, NumberControl) and control.default is not None:
                assert control.least <= control.default <= control.most


def test_an_unknown_engine_is_refused_with_the_names_there_are():
    with pytest.raises(UnknownEngine, match="builtin-song"):
        application_of("suno")


def test_a_catalogue_without_an_engine_of_a_kind_says_so(tmp_path: Path):
    with pytest.raises(NoEngine, match="cover"):
        read_catalogue(written(tmp_path, ENTRY)).default_engine(BriefKind.COVER)


def test_the_first_engine_of_a_kind_is_its_default(tmp_path: Path):
    both = read_catalogue(written(tmp_path, ENTRY + ENTRY.replace("[mine]", "[other]")))
    assert both.default_engine(BriefKind.SONG) == "mine"
    assert both.applications() == ("songs",)


@pytest.mark.parametrize(
    "text",
    [
        ENTRY + 'colour = "red"\n',
        ENTRY.replace('label = "Mine"\n', ""),
        ENTRY.replace('["song"]', "[]"),
        ENTRY.replace('"song"', '"opera"'),
        ENTRY.replace("somewhere.mine:Mine", "somewhere.mine"),
        ENTRY + '[mine.controls.wetness]\nlabel = "Wet"\nleast = 0\nmost = 1\nstep = 1\n',
        ENTRY + '[mine.controls.steps]\nlabel = "Steps"\nleast = 0\n',
        "[mine",
    ],
    ids=["unknown word", "missing word", "no kinds", "unknown kind", "no class", "unknown control", "half", "no TOML"],
)
def test_a_wrong_catalogue_is_refused_with_a_sentence(tmp_path: Path, text: str):
    with pytest.raises(BadCatalogue, match=r"engines\.toml cannot be used: .+"):
        read_catalogue(written(tmp_path, text))


def test_a_missing_catalogue_is_refused(tmp_path: Path):
    with pytest.raises(BadCatalogue):
        read_catalogue(tmp_path / "engines.toml")


def test_every_application_of_the_catalogue_is_named_once():
    assert catalogue().applications() == ("songs", "words", "covers")
