"""The catalogue: what stands in engines.toml, without importing an engine."""

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import configs
from configs.settings import settings
from serving.catalogue import (
    BadCatalogue,
    NoEngine,
    Reread,
    UnknownEngine,
    catalogue,
    default_engine,
    engines,
    known,
    read_applications,
    read_catalogue,
    spec_of,
)
from studio.music.theory import KEYS
from studio.words.brief import Brief, BriefKind, Controls, MusicTask, UnfitBrief
from studio.words.engine_spec import ChoiceControl, NumberControl

ENTRY = """
[mine]
body = "somewhere.mine:Mine"
label = "Mine"
version = "1"
kinds = ["song"]
"""


def catalogue_file() -> Path:
    return Path(configs.__file__).with_name("engines.toml")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "engines.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", [BriefKind.SONG, BriefKind.LYRICS, BriefKind.TAGS, BriefKind.COVER])
def test_every_stage_of_a_song_has_a_default_engine_that_makes_it(kind: BriefKind):
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
        catalogue().application_of("suno")


def test_a_catalogue_without_an_engine_of_a_kind_says_so(tmp_path: Path):
    with pytest.raises(NoEngine, match="cover"):
        read_catalogue(written(tmp_path, ENTRY)).default_engine(BriefKind.COVER)


def test_the_first_engine_of_a_kind_is_its_default(tmp_path: Path):
    both = read_catalogue(written(tmp_path, ENTRY + ENTRY.replace("[mine]", "[other]")))
    assert both.default_engine(BriefKind.SONG) == "mine"


def test_the_serve_file_says_which_engines_run_in_which_order_and_where(tmp_path: Path):
    serve = tmp_path / "serve.yaml"
    serve.write_text(
        "applications:\n- {name: gateway}\n- {name: turns, args: {engines: [qwen-4b, z-image-turbo]}}\n"
        "- {name: composer, args: {engine: builtin-song}}\n"
    )
    served = known().served_by(read_applications(serve))
    assert [spec.name for spec in served.engines()] == ["qwen-4b", "z-image-turbo", "builtin-song"]
    assert served.applications() == ("turns", "composer")
    assert served.application_of("z-image-turbo") == "turns"
    assert served.makes(BriefKind.COVER)
    assert not served.makes(BriefKind.PLAN)


def test_a_serve_file_that_names_a_stranger_or_is_none_is_refused(tmp_path: Path):
    serve = tmp_path / "serve.yaml"
    serve.write_text("applications: [{name: songs, args: {engine: suno}}]")
    with pytest.raises(UnknownEngine, match="suno"):
        known().served_by(read_applications(serve))
    for text in ("", "[", "applications: 3", "applications: [songs]"):
        serve.write_text(text)
        with pytest.raises(BadCatalogue, match=r"serve\.yaml"):
            read_applications(serve)


def test_an_entry_takes_over_what_it_does_not_say(tmp_path: Path):
    like = (
        '[other]\nlike = "mine"\nlabel = "Other"\n[other.controls.steps]\nlabel = "S"\nleast = 1\nmost = 2\nstep = 1\n'
    )
    spec = read_catalogue(written(tmp_path, ENTRY + like)).spec_of("other")
    assert (spec.label, spec.version, [control.name for control in spec.controls]) == ("Other", "1", ["steps"])


@pytest.mark.parametrize("model", ["nobody", "mine"])
def test_an_entry_like_no_other_is_refused(tmp_path: Path, model: str):
    with pytest.raises(BadCatalogue, match="like"):
        read_catalogue(written(tmp_path, f'[mine]\nlike = "{model}"\n'))


def test_a_later_file_adds_and_replaces(tmp_path: Path):
    own = tmp_path / "own.toml"
    own.write_text('[mine]\nlike = "builtin-song"\nlabel = "My composer"\n[builtin-cover]\nlike = "builtin-words"\n')
    both = read_catalogue(catalogue_file(), own)
    assert both.spec_of("mine").controls == spec_of("builtin-song").controls
    assert BriefKind.COVER not in both.spec_of("builtin-cover").kinds


def test_every_known_model_says_its_licence_and_its_weights():
    for entry in known().entries.values():
        if entry.set_up and entry.spec.card is not None:
            assert entry.spec.card.memory_gb > 0
            assert entry.spec.licence
    assert not known().spec_of("sdxl-turbo").commercial


@pytest.mark.parametrize(
    ("engine", "words", "field"),
    [
        ("builtin-song", {"task": "cover", "source": "a"}, "task"),
        ("ace-step-turbo", {"task": "extract", "source": "a", "tracks": ("drums",)}, "task"),
        ("ace-step-turbo", {"task": "cover"}, "source"),
        ("ace-step-turbo", {"source": "a"}, "source"),
        ("ace-step-turbo", {"task": "repaint", "source": "a"}, "window"),
        ("ace-step-turbo", {"window": (1.0, 2.0)}, "window"),
        ("ace-step-base", {"task": "lego", "source": "a"}, "tracks"),
        ("ace-step-base", {"task": "lego", "source": "a", "tracks": ("drums", "bass")}, "tracks"),
        ("ace-step-turbo", {"strength": 0.5}, "strength"),
        ("builtin-song", {"reference": "a"}, "reference"),
        ("builtin-song", {"adapter": "mine"}, "adapter"),
    ],
)
def test_a_task_that_the_engine_cannot_do_or_that_lacks_something_is_unfit(engine: str, words: dict, field: str):
    brief = Brief(description="x", **{**words, "task": MusicTask(words.get("task", "text2music"))})
    with pytest.raises(UnfitBrief) as caught:
        known().spec_of(engine).fit(brief)
    assert caught.value.field_name == field


def test_a_base_checkpoint_completes_a_source():
    brief = Brief(description="x", task=MusicTask.COMPLETE, source="a", tracks=("drums", "bass"))
    known().spec_of("ace-step-base").fit(brief)


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
    assert sorted(catalogue().applications()) == ["covers", "songs", "words"]


def names(catalogue: object) -> list[str]:
    return [spec.name for spec in catalogue.engines()]


def test_a_catalogue_that_changes_is_read_again_and_one_that_does_not_is_not(tmp_path: Path):
    path, reads = written(tmp_path, ENTRY), []

    def read(*paths: Path) -> object:
        reads.append(paths)
        return read_catalogue(*paths)

    kept = Reread(read)
    assert names(kept.of(path)) == names(kept.of(path)) == ["mine"]
    assert len(reads) == 1
    written(tmp_path, ENTRY + ENTRY.replace("[mine]", "[yours]"))
    assert names(kept.of(path)) == ["mine", "yours"]


@pytest.mark.parametrize("broken", ["[mine", "[mine]\nbody = 3\n", None])
def test_a_catalogue_that_breaks_leaves_what_was_there_and_the_log_says_why(tmp_path: Path, broken: str | None):
    path, kept = written(tmp_path, ENTRY), Reread(read_catalogue)
    kept.of(path)
    path.unlink() if broken is None else path.write_text(broken)
    with capture_logs() as lines:
        assert names(kept.of(path)) == names(kept.of(path)) == ["mine"]
    assert [(line["event"], line["code"]) for line in lines] == [("catalogue.kept", "bad_catalogue")], "once, not twice"
    written(tmp_path, ENTRY.replace("[mine]", "[yours]"))
    assert names(kept.of(path)) == ["yours"]


def test_a_catalogue_that_never_could_be_used_is_refused_again_and_again(tmp_path: Path):
    kept = Reread(read_catalogue)
    for _ in range(2):
        with pytest.raises(BadCatalogue):
            kept.of(tmp_path / "none.toml")


def test_a_process_that_runs_offers_an_engine_as_soon_as_both_files_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    serve_file, own = tmp_path / "serve.yaml", tmp_path / "own.toml"
    serve_file.write_text("applications: [{name: songs, args: {engine: builtin-song}}]")
    own.write_text("")
    monkeypatch.setenv("MELODEON_SERVE__CONFIG", str(serve_file))
    monkeypatch.setenv("MELODEON_SERVE__ENGINES_FILE", str(own))
    settings.cache_clear()
    try:
        assert names(catalogue()) == ["builtin-song"]
        own.write_text('[my-turbo]\nlike = "tiny-ace-step-turbo"\n')
        assert "my-turbo" in names(known())
        serve_file.write_text(
            "applications: [{name: next, args: {engine: my-turbo}}, {name: songs, args: {engine: builtin-song}}]"
        )
        assert names(catalogue()) == ["my-turbo", "builtin-song"]
        assert default_engine(BriefKind.SONG) == "my-turbo"
        assert catalogue().application_of("my-turbo") == "next"
        serve_file.write_text("applications: [{name: next, args: {engine: my-turb}}]")
        assert names(catalogue()) == ["my-turbo", "builtin-song"], "a name that is in no catalogue changes nothing"
    finally:
        monkeypatch.undo()
        settings.cache_clear()
