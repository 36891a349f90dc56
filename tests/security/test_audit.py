"""The gates of ``make audit``: each sees what is planted, and none passes by having looked at nothing."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

SCRIPT = Path(__file__).parents[2] / "tools" / "audit.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def advisory(folder: Path, name: str, **affected: object) -> Path:
    place = folder / "vulns" / name
    place.mkdir(parents=True)
    words = {"id": "PYSEC-0", "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}]}
    (place / "PYSEC-0.yaml").write_text(json.dumps(words))
    return folder


RANGE = [{"introduced": "2.0"}, {"last_affected": "2.3-NA"}, {"introduced": "0"}, {"fixed": "1.5"}]
"""In no order, as advisories are, and with a version that is none."""


@pytest.mark.parametrize(
    ("version", "hit"),
    [("1.4.9", True), ("1.5", False), ("1.9", False), ("2.0", True), ("2.3", True), ("2.3.1", False)],
)
def test_a_range_is_what_the_schema_says(audit: ModuleType, tmp_path: Path, version: str, hit: bool) -> None:
    folder = advisory(tmp_path, "thing", ranges=[{"type": "ECOSYSTEM", "events": RANGE}])
    assert audit.holes({"thing": Version(version)}, folder) == ([f"PYSEC-0 thing {version}"] if hit else [])


def test_a_listed_version_is_a_hole_and_another_is_not(audit: ModuleType, tmp_path: Path) -> None:
    folder = advisory(tmp_path, "thing", versions=["not a version", "v1.0.0"])
    assert audit.holes({"thing": Version("1.0.0")}, folder) == ["PYSEC-0 thing 1.0.0"]
    assert audit.holes({"thing": Version("1.1")}, folder) == []


def test_an_advisory_that_cannot_be_read_is_told_and_stops_nothing(audit: ModuleType, tmp_path: Path) -> None:
    folder = advisory(tmp_path, "odd", ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "so-so"}]}])
    advisory(tmp_path, "thing", versions=["1.0"])
    found = audit.holes({"odd": Version("1.0"), "thing": Version("1.0")}, folder)
    assert found == ["PYSEC-0 cannot be read (InvalidVersion): look at it by hand", "PYSEC-0 thing 1.0"]


def test_what_is_accepted_is_pinned_and_has_a_reason(audit: ModuleType) -> None:
    versions = audit.pinned(audit.ROOT / "constraints.txt")
    assert all(name in versions and reason for (_, name), reason in audit.ACCEPTED.items())


def test_an_advisory_that_was_withdrawn_counts_no_more(audit: ModuleType, tmp_path: Path) -> None:
    folder = advisory(tmp_path, "thing", versions=["1.0"])
    path = folder / "vulns" / "thing" / "PYSEC-0.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), "withdrawn": "2026-01-01T00:00:00Z"}))
    assert audit.holes({"thing": Version("1.0")}, folder) == []


def test_every_pin_of_ours_is_read(audit: ModuleType) -> None:
    versions = audit.pinned(audit.ROOT / "constraints.txt")
    assert versions["torch"] == Version("2.13.0")
    assert len(versions) > 150


def test_nothing_audited_is_a_failure(audit: ModuleType, tmp_path: Path) -> None:
    assert audit.known_holes(None) == audit.known_holes(tmp_path) != []


def test_what_is_pinned_is_looked_up(audit: ModuleType, tmp_path: Path) -> None:
    assert audit.known_holes(advisory(tmp_path, "torch", versions=["2.13.0"])) == ["PYSEC-0 torch 2.13.0"]


def test_this_tree_is_clean(audit: ModuleType) -> None:
    assert audit.careless(audit.ROOT) == []
    assert audit.leaked(audit.ROOT, list(audit.tracked(audit.ROOT))) == []


def test_careless_code_is_seen(audit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bad.py").write_text("import subprocess\nsubprocess.run('ls ' + input(), shell=True)\n")
    (found,) = audit.careless(tmp_path)
    assert "bad.py:2" in found


def test_code_that_cannot_be_read_is_no_clean_code(audit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bad.py").write_text("def (:\n")
    assert len(audit.careless(tmp_path)) == 1


def test_a_key_in_a_file_is_seen(audit: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "settings.py"
    # put together here, so that this file itself holds nothing that looks like a key
    path.write_text("token = 'gh" + "p_" + "a1B2c3D4e5" * 4 + "'\nkey = '-----BEGIN RSA " + "PRIVATE KEY-----'\n")
    assert audit.leaked(tmp_path, [path]) == ["settings.py:1 GitHub Token", "settings.py:2 Private Key"]


# put together here as well
KEYS = {
    "GitHub Token": "gh" + "p_" + "a1B2c3D4e5" * 4,
    "AWS Access Key": "AK" + "IA" + "Q7R2" * 4,
    "Artifactory Credentials": "AK" + "Cp8budTFpbypBqQbGJPz3RGCi28pPivfWczqjfYb9drAmd9LbRZbj6UpKFxJXA8ksWGc9fM",
    "Cloudant Credentials": "cloudant_password = 'a1b2c3d4" + "e5f6a7b8" * 7 + "'",
    "Stripe Access Key": "sk_" + "live_" + "a1B2" * 6,
    "Private Key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("around", ["{}", "{}\r\nlast\r\n", "first\n  {}  \nlast", "first\n\n\t{}", '\ufeff"{}"\n'])
def test_a_key_is_seen_wherever_its_line_stands(audit: ModuleType, tmp_path: Path, kind: str, around: str) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(around.format(KEYS[kind]).encode())
    assert kind in {line.partition(" ")[2] for line in audit.leaked(tmp_path, [path])}


def test_a_key_that_yaml_puts_together_from_two_lines_is_seen(audit: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text('token: "' + KEYS["GitHub Token"][:20] + "\\\n  " + KEYS["GitHub Token"][20:] + '"\n')
    assert len(audit.leaked(tmp_path, [path])) == 1
